/** Shows a document's canonical text, with the cited passage marked. */

import { CitationVerdict, type Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { NO_LIMIT, type Api } from "./api.js";
import { CanonicalText } from "./canonical.js";
import { button, element, focused, replace, WRITTEN } from "./dom.js";
import { failureOf } from "./errors.js";

/** The number of bytes that are shown at first on each side of the passage. */
const AROUND = 8_192;
/** The number of bytes that "Show the text before" and "Show the text after" each add. */
const STEP = 65_536;

export interface Cited {
  readonly citation: Citation;
  /** The name of the citation's answer, `turns/{uuid}` or `messages/{uuid}`. */
  readonly answer: string;
  /** The number of the citation in the answer, from 0. */
  readonly index: number;
}

const VERDICTS: Partial<Record<CitationVerdict, readonly [style: string, text: string]>> = {
  [CitationVerdict.VALID]: ["good", "Verified: the document’s current version contains the quote."],
  [CitationVerdict.SOURCE_CHANGED]: ["warn", "The document has changed since this answer. You see the quoted version."],
  [CitationVerdict.SOURCE_DELETED]: ["warn", "This document was deleted after this answer."],
  [CitationVerdict.NOT_PERMITTED]: ["warn", "You are no longer allowed to read this document."],
};

const UNCHECKED = ["", "The source could not be checked. Try again later."] as const;

export class DocumentPanel {
  readonly root: HTMLElement;
  readonly #api: Api;
  readonly #title = element("h2", { id: "document-title", tabindex: "-1", ...WRITTEN });
  readonly #note = element("p", { class: "note", role: "status" });
  readonly #badge = element("p", { class: "badge" });
  readonly #text = element("div", { class: "document-text", tabindex: "0", role: "region", "aria-label": "Text of the document", ...WRITTEN });
  readonly #toggled: (open: boolean) => void;
  #by: HTMLElement | undefined;
  #reading = new AbortController();

  /** `toggled` is called when the panel opens and closes. */
  constructor(api: Api, toggled: (open: boolean) => void) {
    this.#api = api;
    this.#toggled = toggled;
    const close = button("✕", () => this.close(), { class: "plain icon", "aria-label": "Close the document", title: "Close (Escape)" });
    this.root = element(
      "aside",
      { class: "document", "aria-labelledby": "document-title", hidden: true },
      element("header", {}, this.#title, close),
      this.#badge,
      this.#note,
      this.#text,
    );
  }

  get isOpen(): boolean {
    return !this.root.hidden;
  }

  /** Close the panel, and return the focus to the element that opened it. */
  close(): void {
    if (!this.isOpen) return;
    this.#reading.abort();
    this.root.hidden = true;
    this.#by?.removeAttribute("aria-current");
    this.#toggled(false);
    if (this.#by?.isConnected) this.#by.focus();
    else document.getElementById("main")?.focus();
    this.#by = undefined;
  }

  async openCitation(cited: Cited, by: HTMLElement): Promise<void> {
    const { citation } = cited;
    this.#badge.className = "badge";
    this.#badge.textContent = "Checking the source…"; // the badge takes its space from the beginning, so the text below does not move
    const signal = this.#begin(citation.title || citation.uri, by);
    const range = { start: Number(citation.sourceRange?.start ?? 0n), end: Number(citation.sourceRange?.end ?? 0n) };
    this.#badge.hidden = false;
    await Promise.all([this.#verify(cited, signal), this.#read(citation.documentVersion, range, citation.quote, signal)]);
  }

  /** Open a document by its name, `documents/{uuid}`. */
  async openDocument(name: string, title: string, by: HTMLElement): Promise<void> {
    await this.#read(name, { start: 0, end: 0 }, "", this.#begin(title, by));
  }

  #begin(title: string, by: HTMLElement): AbortSignal {
    this.#reading.abort();
    this.#reading = new AbortController();
    this.#by?.removeAttribute("aria-current");
    this.#by = by;
    by.setAttribute("aria-current", "true");
    this.#title.textContent = title || "Document";
    this.#note.textContent = "Opening…";
    this.#badge.hidden = true;
    replace(this.#text);
    this.root.hidden = false;
    this.#toggled(true);
    this.#title.focus({ preventScroll: true });
    return this.#reading.signal;
  }

  async #verify({ citation, answer, index }: Cited, signal: AbortSignal): Promise<void> {
    try {
      const { checks } = await this.#api.chat.verifyCitations({ name: answer }, { signal });
      const check = checks[index];
      const [style, text] = (check?.citation?.passage === citation.passage && VERDICTS[check.verdict]) || UNCHECKED;
      if (signal.aborted) return;
      this.#badge.className = `badge ${style}`;
      this.#badge.textContent = text;
    } catch {
      if (!signal.aborted) this.#badge.textContent = UNCHECKED[1]; // the passage is shown even without a check
    }
  }

  async #read(name: string, range: Range, quote: string, signal: AbortSignal): Promise<void> {
    const text = new CanonicalText((inner) => this.#api.knowledge.getDocumentContent({ name }, { signal: inner, ...NO_LIMIT }));
    try {
      await text.need(range.end + AROUND, signal);
      if (signal.aborted) return;
      this.#show(text, range, signal);
    } catch (error) {
      if (signal.aborted) return;
      const failure = failureOf(error);
      const gone = failure.reason === "RESOURCE_NOT_FOUND";
      this.#note.textContent = gone
        ? quote
          ? "This document, or this version of it, is no longer stored. The answer quoted:"
          : "This document is no longer stored."
        : `${failure.message}${quote ? " The answer quoted:" : ""}`;
      if (quote) replace(this.#text, element("blockquote", {}, quote));
    }
  }

  #show(text: CanonicalText, { start, end }: Range, signal: AbortSignal): void {
    const from = text.borderBefore(start - AROUND);
    const to = text.borderBefore(end + AROUND);
    const cited = end > start;
    this.#note.textContent = cited ? "The cited passage is marked." : "";
    const rows: (Node | string)[] = [this.#before(text, from), text.slice(from, start)];
    const mark = element("mark", { tabindex: "-1" }, text.slice(start, end));
    if (cited) rows.push(mark);
    rows.push(text.slice(end, to), this.#behind(text, to, signal));
    replace(this.#text, ...rows);
    if (!cited) return;
    mark.scrollIntoView({ block: "center" });
    // Do not move the focus if the user has already moved it.
    if (focused() === this.#title) mark.focus({ preventScroll: true });
  }

  /** A button that shows more text before `from`; an empty text if `from` is the beginning. */
  #before(text: CanonicalText, from: number): Node {
    if (from === 0) return document.createTextNode("");
    const more = button("Show the text before", () => {
      const start = text.borderBefore(from - STEP);
      const height = this.#text.scrollHeight;
      const next = this.#before(text, start);
      more.replaceWith(next, text.slice(start, from));
      this.#text.scrollTop += this.#text.scrollHeight - height; // the text that the user reads stays in its place
      (next instanceof HTMLElement ? next : this.#text).focus({ preventScroll: true });
    });
    return more;
  }

  #behind(text: CanonicalText, to: number, signal: AbortSignal): Node {
    if (text.whole && to >= text.read) return document.createTextNode("");
    const more = button("Show the text after", () => void further());
    const further = async () => {
      more.disabled = true;
      try {
        await text.need(to + STEP, signal);
      } catch (error) {
        more.disabled = false;
        if (!signal.aborted) this.#note.textContent = failureOf(error).message;
        return;
      }
      if (signal.aborted) return;
      const end = text.borderBefore(to + STEP);
      const next = this.#behind(text, end, signal);
      more.replaceWith(text.slice(to, end), next);
      (next instanceof HTMLElement ? next : this.#text).focus({ preventScroll: true });
    };
    return more;
  }
}

interface Range {
  /** The first byte of the range. The range is empty if nothing is cited. */
  readonly start: number;
  readonly end: number;
}
