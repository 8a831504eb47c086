/** Shows a document's canonical text, with the cited passage marked. A document in Markdown is shown rendered. */

import { CitationVerdict, type Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { NO_LIMIT, type Api } from "./api.js";
import { codeButton } from "./answer.js";
import { byteLength, unitsAt } from "./bytes.js";
import { CanonicalText } from "./canonical.js";
import { clean } from "./clean.js";
import { button, element, focused, replace, WRITTEN } from "./dom.js";
import { failureOf } from "./errors.js";
import { firstEnd, lastStart } from "./excerpt.js";
import { Markdown, unrendered, type Place } from "./markdown.js";
import { made } from "./paint.js";
import { keepInSight } from "./sight.js";
import { framed, wrapped, type View } from "./view.js";

/** The number of bytes that are shown at first on each side of the passage. */
const AROUND = 8_192;
/** The number of bytes that "Show the text before" and "Show the text after" each add. */
const STEP = 65_536;
/** The number of bytes in which the page looks for the border of a block. */
const SLACK = 16_384;
/** The number of bytes from which the page learns whether code is open. */
const CONTEXT = 1_048_576;
const MARKDOWN = "text/markdown";

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
const INCOMPLETE = ["", "Not checked: the server checks the sources of complete answers only."] as const;

export class DocumentPanel {
  readonly root: HTMLElement;
  readonly #api: Api;
  readonly #title = element("h2", { id: "document-title", tabindex: "-1", ...WRITTEN });
  readonly #note = element("p", { class: "note", role: "status" });
  readonly #badge = element("p", { class: "badge" });
  readonly #text = element("div", { class: "document-text", tabindex: "0", role: "region", "aria-label": "Text of the document", ...WRITTEN });
  readonly #toggled: (open: boolean) => void;
  readonly #say: (text: string) => void;
  #by: HTMLElement | undefined;
  #reading = new AbortController();
  /** The width of the window, in pixels, for which the open panel was placed. */
  #width = 0;

  /** `toggled` is called when the panel opens and closes. `say` announces a text to screen readers. */
  constructor(api: Api, toggled: (open: boolean) => void, say: (text: string) => void) {
    this.#api = api;
    this.#toggled = toggled;
    this.#say = say;
    const close = button("✕", () => this.close(), { class: "plain icon", "aria-label": "Close the document", title: "Close (Escape)" });
    this.root = element(
      "section",
      { class: "document", role: "complementary", "aria-labelledby": "document-title", hidden: true },
      element("header", {}, this.#title, close),
      this.#badge,
      this.#note,
      this.#text,
    );
  }

  get isOpen(): boolean {
    return !this.root.hidden;
  }

  /** Whether the rest of the page cannot be reached while the panel is open. */
  set modal(modal: boolean) {
    this.root.setAttribute("role", modal ? "dialog" : "complementary");
    if (modal) this.root.setAttribute("aria-modal", "true");
    else this.root.removeAttribute("aria-modal");
  }

  /** Close the panel, and return the focus to the element that opened it. */
  close(): void {
    if (!this.isOpen) return;
    const by = this.#by;
    this.#reading.abort();
    by?.removeAttribute("aria-current");
    this.#turn(false, by);
    if (by?.isConnected) by.focus({ preventScroll: true });
    else document.getElementById("main")?.focus();
    this.#by = undefined;
  }

  async openCitation(cited: Cited, by: HTMLElement): Promise<void> {
    const { citation } = cited;
    this.#badge.className = "badge";
    this.#badge.textContent = "Checking the source…"; // the badge takes its space from the beginning, so the text below does not move
    const signal = this.#begin(citation.title || citation.uri, by, true);
    const range = { start: Number(citation.sourceRange?.start ?? 0n), end: Number(citation.sourceRange?.end ?? 0n) };
    this.#badge.hidden = false;
    await Promise.all([this.#verify(cited, signal), this.#read(citation.documentVersion, range, citation.quote, "The cited passage is marked.", signal)]);
  }

  /** Open a passage of a document's version, `documents/{uuid}/versions/{n}`. The range is in bytes. */
  async openPassage(version: string, title: string, range: Range, by: HTMLElement): Promise<void> {
    await this.#read(version, range, "", "The passage is marked.", this.#begin(title, by));
  }

  /** Open a document by its name, `documents/{uuid}`. */
  async openDocument(name: string, title: string, by: HTMLElement): Promise<void> {
    await this.#read(name, { start: 0, end: 0 }, "", "", this.#begin(title, by));
  }

  /** `split`: on a small screen, the panel leaves room for the part of the answer that was clicked. */
  #begin(title: string, by: HTMLElement, split = false): AbortSignal {
    this.#reading.abort();
    this.#reading = new AbortController();
    this.#by?.removeAttribute("aria-current");
    this.#by = by;
    by.setAttribute("aria-current", "true");
    this.#title.textContent = title || "Document";
    this.#note.textContent = "Opening…";
    this.#badge.hidden = true;
    replace(this.#text);
    this.root.classList.toggle("split", split);
    this.#turn(true, by);
    this.#title.focus({ preventScroll: true });
    return this.#reading.signal;
  }

  /** Open or close the panel. The part of the answer that `by` belongs to stays in sight. */
  #turn(open: boolean, by: HTMLElement | undefined): void {
    this.#width = window.innerWidth;
    this.#keep(by, () => {
      this.root.hidden = !open;
      this.#toggled(open);
    });
  }

  /** Show the cited part of the answer and its source again if the width of the window has changed. */
  resized(): void {
    if (!this.isOpen || window.innerWidth === this.#width) return;
    this.#width = window.innerWidth;
    this.#keep(this.#by, () => undefined);
    this.#toMark();
  }

  #keep(by: HTMLElement | undefined, change: () => void): void {
    if (!by?.isConnected) return change();
    const parts = by.dataset["of"] === undefined ? [] : [...(by.closest(".cited")?.querySelectorAll(`[data-citation="${by.dataset["of"]}"]`) ?? [])];
    // Where there is little room, the panel covers the lower part of the page.
    const bottom = () => {
      const { left, top } = this.root.getBoundingClientRect();
      return this.isOpen && this.root.classList.contains("split") && left <= 0 ? top : Infinity;
    };
    keepInSight(by, parts, change, bottom);
  }

  async #verify({ citation, answer, index }: Cited, signal: AbortSignal): Promise<void> {
    if (citation.sha256.length === 0) {
      this.#badge.hidden = true; // a suggestion, which no answer cites
      return;
    }
    try {
      const { checks } = await this.#api.chat.verifyCitations({ name: answer }, { signal });
      const check = checks[index];
      const known = check?.citation?.passage === citation.passage ? VERDICTS[check.verdict] : undefined;
      const [style, text] = known ?? (checks.length === 0 ? INCOMPLETE : UNCHECKED);
      if (signal.aborted) return;
      this.#badge.className = `badge ${style}`;
      this.#badge.textContent = text;
    } catch {
      if (!signal.aborted) this.#badge.textContent = UNCHECKED[1]; // the passage is shown even without a check
    }
  }

  async #read(name: string, range: Range, quote: string, marked: string, signal: AbortSignal): Promise<void> {
    const text = new CanonicalText((inner) => this.#api.knowledge.getDocumentContent({ name }, { signal: inner, ...NO_LIMIT }));
    try {
      const [type] = await Promise.all([this.#type(name, signal), text.need(range.end + AROUND + SLACK, signal)]);
      if (signal.aborted) return;
      this.#note.textContent = range.end > range.start ? marked : "";
      this.#show(text, range, type === MARKDOWN, signal);
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

  /** The media type of a document; "" if it cannot be read. */
  async #type(name: string, signal: AbortSignal): Promise<string> {
    const document = name.replace(/\/versions\/.*/, "");
    const found = await this.#api.knowledge.getDocument({ name: document }, { signal }).catch(() => undefined);
    return found?.mediaType ?? "";
  }

  #show(text: CanonicalText, range: Range, markdown: boolean, signal: AbortSignal): void {
    const parts = markdown ? new Rendered(text, range, this.#say) : new Plain(text, range);
    const from = parts.startBefore(range.start - AROUND);
    const to = parts.endAfter(from, range.end + AROUND);
    replace(this.#text, this.#before(parts, from), parts.show(from, to), this.#behind(parts, to, signal));
    const first = this.#toMark();
    // A range without any text to show, such as the address of a link, can only be marked in the source itself.
    if (range.end > range.start && !first && markdown) return this.#show(text, range, false, signal);
    if (!first) return;
    first.tabIndex = -1;
    // Do not move the focus if the user has already moved it.
    if (focused() === this.#title) first.focus({ preventScroll: true });
  }

  /** Scroll to the marked text; returns its first element. */
  #toMark(): HTMLElement | undefined {
    const marks = [...this.#text.querySelectorAll("mark")];
    const [first] = marks;
    if (!first) return undefined;
    const height = marks.at(-1)!.getBoundingClientRect().bottom - first.getBoundingClientRect().top;
    first.scrollIntoView({ block: height > this.#text.clientHeight / 2 ? "start" : "center" });
    return first;
  }

  /** A button that shows more text before `from`; an empty text if `from` is the beginning. */
  #before(parts: Parts, from: number): Node {
    if (from === 0) return document.createTextNode("");
    const more = button("Show the text before", () => {
      const start = parts.startBefore(from - STEP);
      const height = this.#text.scrollHeight;
      const next = this.#before(parts, start);
      more.replaceWith(next, parts.show(start, from));
      this.#text.scrollTop += this.#text.scrollHeight - height; // the text that the user reads stays in its place
      (next instanceof HTMLElement ? next : this.#text).focus({ preventScroll: true });
    });
    return more;
  }

  #behind(parts: Parts, to: number, signal: AbortSignal): Node {
    const { text } = parts;
    if (text.whole && to >= text.read) return document.createTextNode("");
    const more = button("Show the text after", () => void further());
    const further = async () => {
      more.disabled = true;
      try {
        await text.need(to + STEP + SLACK, signal);
      } catch (error) {
        more.disabled = false;
        if (!signal.aborted) this.#note.textContent = failureOf(error).message;
        return;
      }
      if (signal.aborted) return;
      const end = parts.endAfter(to, to + STEP);
      const next = this.#behind(parts, end, signal);
      more.replaceWith(parts.show(to, end), next);
      (next instanceof HTMLElement ? next : this.#text).focus({ preventScroll: true });
    };
    return more;
  }
}

/** Cuts a document into parts and shows them. All places are in bytes. */
interface Parts {
  readonly text: CanonicalText;
  /** A place at or before this one at which a part can begin. */
  startBefore(place: number): number;
  /** A place at or after this one at which a part that begins at `from` can end. */
  endAfter(from: number, place: number): number;
  /** The text between two such places, with the cited range marked. */
  show(from: number, to: number): Node;
}

class Plain implements Parts {
  readonly text: CanonicalText;
  readonly #range: Range;

  constructor(text: CanonicalText, range: Range) {
    this.text = text;
    this.#range = range;
  }

  startBefore(place: number): number {
    return this.text.borderBefore(place);
  }

  endAfter(_: number, place: number): number {
    return this.text.borderBefore(place);
  }

  show(from: number, to: number): Node {
    const source = this.text.slice(from, to);
    const views = wrapped(clean(unrendered(source)), unitsOf(source, from, this.#range), "mark");
    return element("span", {}, ...views.map(made));
  }
}

class Rendered implements Parts {
  readonly text: CanonicalText;
  readonly #range: Range;
  readonly #say: (text: string) => void;

  constructor(text: CanonicalText, range: Range, say: (text: string) => void) {
    this.text = text;
    this.#range = range;
    this.#say = say;
  }

  startBefore(place: number): number {
    const first = this.text.borderBefore(place - CONTEXT);
    const before = this.text.slice(first, this.text.borderBefore(place));
    const block = byteLength(before.slice(0, lastStart(before)));
    const line = byteLength(before.slice(0, before.lastIndexOf("\n") + 1));
    return first + (line - block > SLACK ? line : block);
  }

  endAfter(from: number, place: number): number {
    const text = this.text.slice(from, this.text.borderBefore(place + SLACK));
    const [least = 0] = unitsAt(text, [place - from]);
    const block = firstEnd(text, least);
    const rest = block === text.length && !(this.text.whole && place + SLACK >= this.text.read);
    const line = text.lastIndexOf("\n") + 1;
    return from + byteLength(text.slice(0, rest && line > least ? line : block));
  }

  show(from: number, to: number): Node {
    const source = this.text.slice(from, to);
    const marked = unitsOf(source, from, this.#range);
    const blocks = new Markdown({ whole: true, front: from === 0 }).blocks(source);
    const views = blocks.flatMap((block): readonly View[] => framed(wrapped(clean(block.content), marked, "mark"), () => codeButton(this.#say)));
    return element("div", { class: "prose" }, ...views.map(made));
  }
}

/** The place of a range in a part of the document that begins at the byte `from`. */
function unitsOf(part: string, from: number, { start, end }: Range): Place {
  const [first = 0, last = 0] = unitsAt(part, [start - from, end - from]);
  return { from: first, to: last };
}

/** A range of bytes of the canonical text. */
export interface Range {
  /** The first byte of the range. The range is empty if nothing is cited. */
  readonly start: number;
  readonly end: number;
}
