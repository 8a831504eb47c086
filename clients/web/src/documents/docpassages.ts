/** Finds passages within one document. */

import type { Document, Passage } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import type { Api } from "../server/api.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";
import { count } from "../text/facts.js";
import { quoted } from "../server/filters.js";
import { withoutFrontMatter } from "../text/markdown.js";
import { plainText } from "../text/prose.js";

const MOST = 20;
const SHOWN = 240; // characters of a passage

export class PassagesView {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "knowledge">;
  readonly #show: (passage: Passage) => void;
  readonly #term = element("input", { type: "search", id: "passage-term", autocomplete: "off", dir: "auto", required: true, maxlength: "1000" });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #sum = element("p", { class: "note", role: "status" });
  readonly #found = element("ol", { class: "hits", "aria-label": "Passages of the document" });
  #document: Document | undefined;
  #signal = AbortSignal.abort();
  #finding = new AbortController();

  /** `show` opens a passage in the text or on its page. */
  constructor(api: Pick<Api, "knowledge">, show: (passage: Passage) => void) {
    this.#api = api;
    this.#show = show;
    const form = element(
      "form",
      { class: "search-form", role: "search", "aria-label": "Passages of the document" },
      element("div", { class: "field grow" }, element("label", { for: "passage-term" }, "Find in this document"), this.#term),
      element("button", { type: "submit" }, "Find"),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#find();
    });
    this.root = element("div", { class: "scrolling" }, form, this.#problem, this.#sum, this.#found);
  }

  open(document: Document, signal: AbortSignal): void {
    if (document.name !== this.#document?.name) {
      this.#term.value = "";
      replace(this.#found);
      this.#problem.textContent = "";
      this.#sum.textContent = document.passageCount > 0 ? `Searches use ${count(document.passageCount, "passage")} of this document.` : "";
    }
    this.#document = document;
    this.#signal = signal;
  }

  async #find(): Promise<void> {
    const [document, term] = [this.#document, this.#term.value.trim()];
    if (!document || !term) return;
    this.#finding.abort();
    this.#finding = new AbortController();
    const signal = AbortSignal.any([this.#signal, this.#finding.signal]);
    this.#problem.textContent = "";
    try {
      const filter = `source_key = ${quoted(document.sourceKey)}`;
      const { hits } = await this.#api.knowledge.search({ terms: [term], topK: MOST, filter, scope: { collections: [document.collection] } }, { signal });
      if (signal.aborted) return;
      const passages = hits.flatMap(({ passage }) => (passage ? [passage] : []));
      this.#sum.textContent = passages.length === 0 ? "No passage fits." : `${count(passages.length, "passage")}, the best first.`;
      replace(this.#found, ...passages.map((one) => this.#row(one)));
    } catch (error) {
      if (signal.aborted) return;
      replace(this.#found);
      this.#sum.textContent = "";
      this.#problem.textContent = failureOf(error).message;
    }
  }

  #row(one: Passage): HTMLElement {
    const text = plainText(withoutFrontMatter(one.text));
    const short = text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
    const place = [one.headings.join(" › "), one.path || (one.page > 0 ? `page ${one.page}` : "")].filter(Boolean).join(" · ");
    const open = button("Show", () => this.#show(one), { "aria-label": `Show the passage: ${short.slice(0, 60)}` });
    return element("li", {}, element("div", { class: "hit-head" }, open, element("span", { class: "note", ...WRITTEN }, place)), element("p", { class: "hit-text", ...WRITTEN }, short));
  }
}
