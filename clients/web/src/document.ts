/** A document's canonical text with the cited passage marked. */

import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import type { Api } from "./api.js";
import { ByteText } from "./bytes.js";
import { element, replace } from "./dom.js";
import { failureOf } from "./errors.js";

/** Bytes shown before and behind the passage; the rest opens by a button. */
const AROUND = 6_000;

export class DocumentPanel {
  readonly root: HTMLElement;
  readonly #api: Api;
  readonly #title = element("h2", { id: "document-title", tabindex: "-1" });
  readonly #note = element("p", { class: "note" });
  readonly #text = element("div", { class: "document-text" });
  #returnTo: HTMLElement | undefined;
  #reading: AbortController | undefined;

  constructor(api: Api) {
    this.#api = api;
    this.root = element(
      "aside",
      { class: "document", "aria-labelledby": "document-title", hidden: true },
      element(
        "header",
        {},
        this.#title,
        element("button", { type: "button", class: "plain", "aria-label": "Close the document", click: () => this.close() }, "✕"),
      ),
      this.#note,
      this.#text,
    );
    this.root.addEventListener("keydown", (event) => {
      if (event.key === "Escape") this.close();
    });
  }

  close(): void {
    this.#reading?.abort();
    this.root.hidden = true;
    this.#returnTo?.focus();
  }

  async openCitation(citation: Citation): Promise<void> {
    const start = Number(citation.sourceRange?.start ?? 0n);
    const end = Number(citation.sourceRange?.end ?? 0n);
    await this.#open(citation.documentVersion, citation.title, start, end, citation.quote);
  }

  async openDocument(name: string, title: string): Promise<void> {
    await this.#open(name, title, 0, 0, "");
  }

  async #open(name: string, title: string, start: number, end: number, quote: string): Promise<void> {
    this.#reading?.abort();
    const reading = new AbortController();
    this.#reading = reading;
    this.#returnTo = document.activeElement instanceof HTMLElement ? document.activeElement : undefined;
    this.#title.textContent = title;
    this.#note.textContent = "Opening…";
    replace(this.#text);
    this.root.hidden = false;
    this.#title.focus();
    try {
      let text = "";
      for await (const piece of this.#api.knowledge.getDocumentContent({ name }, { signal: reading.signal })) text += piece.text;
      if (reading.signal.aborted) return;
      this.#show(new ByteText(text), start, end, AROUND);
    } catch (error) {
      if (reading.signal.aborted) return;
      const failure = failureOf(error);
      this.#note.textContent =
        failure.reason === "RESOURCE_NOT_FOUND"
          ? "This document, or this version of it, is no longer kept. What was quoted:"
          : failure.message;
      if (quote) replace(this.#text, element("blockquote", {}, quote));
    }
  }

  #show(text: ByteText, start: number, end: number, around: number): void {
    const from = text.borderBefore(start - around);
    const to = text.borderBefore(end + around);
    this.#note.textContent = end > start ? "The cited passage is marked." : "";
    const more = (label: string) =>
      element("button", { type: "button", class: "plain", click: () => this.#show(text, start, end, text.length) }, label);
    replace(this.#text);
    if (from > 0) this.#text.append(more("Show what stands before"));
    this.#text.append(text.slice(from, start));
    if (end > start) {
      const mark = element("mark", { tabindex: "-1" }, text.slice(start, end));
      this.#text.append(mark);
      this.#text.append(text.slice(end, to));
      mark.scrollIntoView({ block: "center" });
      mark.focus({ preventScroll: true });
    } else {
      this.#text.append(text.slice(end, to));
    }
    if (to < text.length) this.#text.append(more("Show what stands behind"));
  }
}
