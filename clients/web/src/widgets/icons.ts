/** Icons. They are drawn node by node, because the page makes no elements from strings. */

import type { IconNode } from "lucide";
import { button } from "./dom.js";

const SVG = "http://www.w3.org/2000/svg";

/** An icon of the size of the text, in its colour. Screen readers skip it. */
export function icon(drawing: IconNode): SVGSVGElement {
  const made = node("svg", { viewBox: "0 0 24 24", class: "glyph", "aria-hidden": "true" });
  made.append(...drawing.map(([tag, attributes]) => node(tag as "path", attributes)));
  return made;
}

/** A button with an icon and a word. `label`, which contains the word, is its name for screen readers. */
export function wordButton(drawing: IconNode, word: string, label: string, click: () => void, attributes: Parameters<typeof button>[2] = {}): HTMLButtonElement {
  const made = button("", click, { class: "plain worded", "aria-label": label, ...attributes });
  made.append(icon(drawing), word);
  return made;
}

/** A button that shows only an icon. `label` is its name for screen readers, and its tip. */
export function iconButton(drawing: IconNode, label: string, click: () => void, attributes: Parameters<typeof button>[2] = {}): HTMLButtonElement {
  const made = button("", click, { class: "plain icon", "aria-label": label, title: label, ...attributes });
  made.append(icon(drawing));
  return made;
}

function node<Tag extends keyof SVGElementTagNameMap>(tag: Tag, attributes: Readonly<Record<string, string | number | undefined>>): SVGElementTagNameMap[Tag] {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(name, String(value));
  return made;
}
