/** Copies texts, and writes an answer as Markdown. */

import { Check, Copy, X } from "lucide";
import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { element, replace } from "../widgets/dom.js";
import { icon, iconButton, wordButton } from "../widgets/icons.js";
import { cleanName } from "../text/names.js";
import type { Part } from "./parts.js";
import { t } from "../language/language.js";

/** Milliseconds for which a button says that the text was copied. */
const SAID = 2_000;

/** A button that copies what `text` returns. `name` is its name for screen readers, and `say` announces the result. `word`: what it shows beside its icon. */
export function copyButton(name: string, text: () => string, say: (text: string) => void, word = ""): HTMLButtonElement {
  let back = 0;
  const made = word ? wordButton(Copy, word, name, () => void run()) : iconButton(Copy, name, () => void run(), { class: "plain icon copy" });
  const run = async () => {
    const done = await copyText(text(), say);
    replace(made, icon(done ? Check : X), t(done ? "copied" : "notCopied"));
    window.clearTimeout(back);
    back = window.setTimeout(() => replace(made, icon(Copy), word), SAID);
  };
  return made;
}

/** Copy a text, and say whether the browser allowed it. */
export async function copyText(text: string, say: (text: string) => void): Promise<boolean> {
  const done = await copied(text);
  say(done ? `${t("copied")}.` : t("copyForbidden"));
  return done;
}

/** The button that copies the block of code in which it stands. */
export function codeButton(say: (text: string) => void): HTMLElement {
  const made = copyButton(t("copyCode"), () => made.closest(".code")?.querySelector("pre")?.textContent ?? "", say);
  return made;
}

/** Put a text on the clipboard; returns false if the browser does not allow it. */
async function copied(text: string): Promise<boolean> {
  // Browsers offer the clipboard only to pages that come over TLS or from this machine.
  const clipboard = (navigator as { readonly clipboard?: Clipboard }).clipboard;
  if (clipboard) {
    try {
      await clipboard.writeText(text);
      return true;
    } catch {
      // the older way may still be allowed
    }
  }
  const before = document.activeElement;
  const field = element("textarea", { class: "unseen", "aria-hidden": "true", readonly: true });
  field.value = text;
  document.body.append(field);
  field.select();
  const done = document.execCommand("copy");
  field.remove();
  if (before instanceof HTMLElement) before.focus();
  return done;
}

/** The places where a footnote's mark may stand: behind the marks around `end`, or behind a block of code. */
export type Outside = (end: number) => { readonly end: number; readonly block: boolean };

const WEB = /^https?:\/\/[^\s<>\p{Cc}]+$/u;
const MARKUP = /[\\`*_[\]<>&|~$]|:(?=\/\/)/g;

/** A text of a source as one line of Markdown without markup: it makes no heading, footnote, link or element, and changes the order of no other letters. */
function literal(text: string): string {
  return cleanName(text.trim().replace(/\s+/g, " ")).replace(MARKUP, "\\$&");
}

/** A text below its question, as Markdown. */
export function titled(question: string, text: string): string {
  return `# ${literal(question)}\n\n${text.trimEnd()}\n`;
}

/** An answer as Markdown with a footnote for each citation. */
export function withSources(text: string, citations: readonly Citation[], found: readonly Part[], outside: Outside): string {
  const marks = found.map(({ index, to }) => {
    const { end, block } = outside(to);
    return { end, mark: `${block ? "\n\n" : ""}[^${index + 1}]` };
  });
  let marked = "";
  let place = 0;
  for (const { end, mark } of marks.sort((a, b) => a.end - b.end)) {
    marked += text.slice(place, end) + mark;
    place = end;
  }
  marked += text.slice(place);
  const notes = citations.map(({ title, uri, quote }, index) => {
    const where = [...new Set([title, uri])].filter(Boolean).map((one) => (WEB.test(one) ? `<${one}>` : literal(one)));
    return `[^${index + 1}]: ${where.join(", ") || t("document")}: “${literal(quote)}”`;
  });
  return notes.length > 0 ? `${marked.trimEnd()}\n\n${notes.join("\n")}\n` : text;
}
