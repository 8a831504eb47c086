/** The text of a document: its canonical text with the cited passage marked. A document in Markdown is shown rendered. */

import type { Document } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import type { Api } from "../server/api.js";
import { codeButton } from "../chat/copy.js";
import { byteLength, unitsAt } from "@responsa/client/parts.js";
import { CanonicalText } from "./canonical.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";
import { firstEnd, lastStart } from "../text/excerpt.js";
import { fragmentOfKeys, keysOf } from "./place.js";
import type { Place } from "../text/content.js";
import { Markdown, unrendered } from "../text/markdown.js";
import { made } from "../text/paint.js";
import { framed, wrapped, type View } from "../text/view.js";
import { t } from "../language/documents/texts.js";

/** The number of bytes that are shown at first on each side of the passage. */
const AROUND = 8_192;
/** The number of bytes that the buttons for the text before and after each add. */
const STEP = 65_536;
/** The number of bytes in which the page looks for the border of a block. */
const SLACK = 16_384;
/** The number of bytes from which the page learns whether code is open. */
const CONTEXT = 1_048_576;

const MARKDOWN = "text/markdown";
/** The formats whose text the server shows as it is in the file; it extracts those of all others but Markdown. */
const AS_IT_IS = /^text\/(?!html$)|^application\/(?:json|x-ndjson)$/;

/** The document that a text is of. */
type From = Pick<Document, "sourceKey" | "collection" | "mediaType">;

export class TextView {
  readonly root = element("div", { class: "document-text", tabindex: "0", role: "region", "aria-label": t("textOf"), ...WRITTEN });
  readonly #api: Pick<Api, "knowledge">;
  readonly #say: (text: string) => void;
  readonly #problem: (text: string) => void;

  /** `say` announces a text to screen readers. `problem` shows why more of the text cannot be read. */
  constructor(api: Pick<Api, "knowledge">, say: (text: string) => void, problem: (text: string) => void) {
    this.#api = api;
    this.#say = say;
    this.#problem = problem;
  }

  clear(): void {
    replace(this.root);
  }

  /** Show a quote in place of a text that cannot be read. */
  quote(text: string): void {
    replace(this.root, element("blockquote", {}, text));
  }

  /** Show a text that is not a document’s, with the range marked. Returns the mark. */
  fetched(text: string, { start, end }: Range): HTMLElement | undefined {
    const [from = 0, to = 0] = unitsAt(text, [start, end]);
    const mark = element("mark", { tabindex: "-1" }, text.slice(from, to));
    replace(this.root, element("span", {}, text.slice(0, from), mark, text.slice(to)));
    return this.toMark();
  }

  /** Begin to read the text around a range of `documents/{uuid}` or of one of its versions. */
  read(name: string, range: Range, signal: AbortSignal): { readonly text: CanonicalText; readonly done: Promise<void> } {
    const text = new CanonicalText((readOffset, inner) => this.#api.knowledge.getDocumentContent({ name, readOffset: BigInt(readOffset) }, { signal: inner }));
    return { text, done: text.need(range.start - AROUND - CONTEXT, range.end + AROUND + SLACK, signal) };
  }

  /** Show a text with the range marked. Returns the first marked element. `of`: the document, by whose format the text is rendered, and whose links lead to other documents; undefined to show the text as it is. */
  show(text: CanonicalText, range: Range, of: From | undefined, signal: AbortSignal): HTMLElement | undefined {
    const asItIs = of === undefined || (of.mediaType !== MARKDOWN && AS_IT_IS.test(of.mediaType));
    const parts = asItIs ? plain(text, range) : rendered(text, range, of, this.#say);
    const from = parts.startBefore(range.start - AROUND);
    const to = parts.endAfter(from, range.end + AROUND);
    replace(this.root, this.#before(parts, from, signal), parts.show(from, to), this.#behind(parts, to, signal));
    const first = this.toMark();
    // A range without any text to show, such as the address of a link, can only be marked in the source itself.
    if (range.end > range.start && !first && !asItIs) return this.show(text, range, undefined, signal);
    if (first) first.tabIndex = -1;
    return first;
  }

  /** Scroll to the marked text; returns its first element. */
  toMark(): HTMLElement | undefined {
    const marks = [...this.root.querySelectorAll("mark")];
    const [first] = marks;
    if (!first) return undefined;
    const height = marks.at(-1)!.getBoundingClientRect().bottom - first.getBoundingClientRect().top;
    first.scrollIntoView({ block: height > this.root.clientHeight / 2 ? "start" : "center" });
    return first;
  }

  /** A button that shows more text before `from`; an empty text if `from` is the beginning. */
  #before(parts: Parts, from: number, signal: AbortSignal): Node {
    if (from === 0) return document.createTextNode("");
    return this.#more(t("textBefore"), parts.text, from - STEP - parts.context, from, signal, (more) => {
      const start = parts.startBefore(from - STEP);
      const height = this.root.scrollHeight;
      const next = this.#before(parts, start, signal);
      more.replaceWith(next, parts.show(start, from));
      this.root.scrollTop += this.root.scrollHeight - height; // the text that the user reads stays in its place
      return next;
    });
  }

  #behind(parts: Parts, to: number, signal: AbortSignal): Node {
    if (parts.text.endsBy(to)) return document.createTextNode("");
    return this.#more(t("textAfter"), parts.text, to, to + STEP + SLACK, signal, (more) => {
      const end = parts.endAfter(to, to + STEP);
      const next = this.#behind(parts, end, signal);
      more.replaceWith(parts.show(to, end), next);
      return next;
    });
  }

  /** A button that reads the bytes from `start` to `end` and then shows them. `show` replaces the button, and returns the button for what follows. */
  #more(label: string, text: CanonicalText, start: number, end: number, signal: AbortSignal, show: (more: HTMLElement) => Node): HTMLElement {
    const more = button(label, () => void further());
    const further = async () => {
      more.disabled = true;
      try {
        await text.need(start, end, signal);
      } catch (error) {
        more.disabled = false;
        if (!signal.aborted) this.#problem(failureOf(error).message);
        return;
      }
      if (signal.aborted) return;
      const next = show(more);
      (next instanceof HTMLElement ? next : this.root).focus({ preventScroll: true });
    };
    return more;
  }
}

/** Cuts a document into parts and shows them. All places are in bytes. */
interface Parts {
  readonly text: CanonicalText;
  /** The number of bytes before a place from which `startBefore` finds a start. */
  readonly context: number;
  /** A place at or before this one at which a part can begin. */
  startBefore(place: number): number;
  /** A place at or after this one at which a part that begins at `from` can end. */
  endAfter(from: number, place: number): number;
  /** The text between two such places, with the cited range marked. */
  show(from: number, to: number): Node;
}

function plain(text: CanonicalText, range: Range): Parts {
  return {
    text,
    context: 0,
    startBefore: (place) => text.borderBefore(place),
    endAfter: (_, place) => text.borderBefore(place),
    show: (from, to) => {
      const source = text.slice(from, to);
      return element("span", {}, ...wrapped(unrendered(source), unitsOf(source, from, range), "mark").map(made));
    },
  };
}

function rendered(text: CanonicalText, range: Range, { sourceKey, collection: near, mediaType }: From, say: (text: string) => void): Parts {
  const extracted = mediaType !== MARKDOWN;
  const inside = (link: string) => {
    const keys = keysOf(link, sourceKey);
    return keys.length > 0 ? fragmentOfKeys({ keys, near }) : undefined;
  };
  return {
    text,
    context: CONTEXT,
    startBefore: (place) => {
      const first = text.borderBefore(place - CONTEXT);
      const before = text.slice(first, text.borderBefore(place));
      const block = byteLength(before.slice(0, lastStart(before)));
      const line = byteLength(before.slice(0, before.lastIndexOf("\n") + 1));
      return first + (line - block > SLACK ? line : block);
    },
    endAfter: (from, place) => {
      const after = text.slice(from, text.borderBefore(place + SLACK));
      const [least = 0] = unitsAt(after, [place - from]);
      const block = firstEnd(after, least);
      const rest = block === after.length && !text.endsBy(place + SLACK);
      const line = after.lastIndexOf("\n") + 1;
      return from + byteLength(after.slice(0, rest && line > least ? line : block));
    },
    show: (from, to) => {
      const source = text.slice(from, to);
      const marked = unitsOf(source, from, range);
      const blocks = new Markdown({ whole: true, front: from === 0 && !extracted, extracted, inside }).blocks(source);
      const views = blocks.flatMap((block): readonly View[] => framed(wrapped(block.content, marked, "mark"), () => codeButton(say)));
      return element("div", { class: extracted ? "prose extracted" : "prose" }, ...views.map(made));
    },
  };
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
