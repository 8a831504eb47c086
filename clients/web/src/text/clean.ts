/** Lets only known elements and attributes through, whatever tree it gets: no scripts, styles, images or forms, and links only to web and mail addresses and within the page. */

import { sanitize, type Schema } from "hast-util-sanitize";
import type { Content } from "./content.js";

const SCHEMA: Required<Omit<Schema, "required">> = {
  tagNames: ["a", "blockquote", "br", "code", "del", "em", "h3", "h4", "h5", "h6", "hr", "li", "ol", "p", "pre", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul"],
  attributes: {
    "*": [["dir", "auto", "ltr", "rtl"]],
    a: ["href", "title", ["target", "_blank"], ["rel", "noopener", "noreferrer"]],
    ol: ["start"],
    p: [["className", "definition", "task"]],
    pre: [["className", "plain"], "dataLanguage"],
    span: [["className", "control"], "dataName"],
    td: [["className", "center", "end"]],
    th: [["className", "center", "end"], ["scope", "col"]],
  },
  protocols: { href: ["http", "https", "mailto"] },
  ancestors: {},
  strip: [],
  clobber: [],
  clobberPrefix: "",
  allowComments: false,
  allowDoctypes: false,
};

/** The same tree without everything that is not allowed. */
export function clean(content: readonly Content[]): Content[] {
  const cleaned = sanitize({ type: "root", children: [...content] }, { ...SCHEMA, required: {} });
  return cleaned.type === "root" ? (cleaned.children as Content[]) : [];
}
