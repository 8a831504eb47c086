/** Finds passages within one document. */

import type { Document, Passage } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import type { SearchHit } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import type { Excerpt } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import type { Api } from "../server/api.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";
import { quoted } from "../server/filters.js";
import { placeOf } from "../chat/parts.js";
import { shownExcerpt } from "../chat/passages.js";
import { t } from "../language/documents/texts.js";

const MOST = 10;

export class PassagesView {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "knowledge">;
  readonly #show: (passage: Passage | Excerpt) => void;
  readonly #say: (text: string) => void;
  readonly #term = element("input", { type: "search", id: "passage-term", autocomplete: "off", dir: "auto", required: true, maxlength: "1000" });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #sum = element("p", { class: "note", role: "status" });
  readonly #found = element("ol", { class: "excerpts", "aria-label": t("passagesOf") });
  #document: Document | undefined;
  #signal = AbortSignal.abort();
  #finding = new AbortController();

  /** `show` opens a passage in the text or on its page, and marks its best piece. */
  constructor(api: Pick<Api, "knowledge">, show: (passage: Passage | Excerpt) => void, say: (text: string) => void) {
    this.#api = api;
    this.#say = say;
    this.#show = show;
    const form = element(
      "form",
      { class: "search-form", role: "search", "aria-label": t("passagesOf") },
      element("div", { class: "field grow" }, element("label", { for: "passage-term" }, t("findIn")), this.#term),
      element("button", { type: "submit" }, t("find")),
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
      this.#sum.textContent = document.passageCount > 0 ? t("passagesUsed", { count: document.passageCount }) : "";
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
      this.#sum.textContent = hits.length === 0 ? t("noPassage") : t("bestFirst", { count: hits.length });
      replace(this.#found, ...hits.map((one) => this.#row(one)));
    } catch (error) {
      if (signal.aborted) return;
      replace(this.#found);
      this.#sum.textContent = "";
      this.#problem.textContent = failureOf(error).message;
    }
  }

  #row({ passage, excerpt }: SearchHit): HTMLElement {
    if (!passage) return element("li", { class: "excerpt" });
    const source = excerpt ?? passage;
    const place = [source.headings.join(" › "), placeOf(source)].filter(Boolean).join(" · ");
    const prose = excerpt ? shownExcerpt(this.#term.value, excerpt, this.#say) : element("p", WRITTEN, passage.text);
    const open = button(t("show"), () => this.#show(source), { "aria-label": t("showPassage", { text: (prose.textContent ?? "").slice(0, 60) }) });
    return element("li", { class: "excerpt" }, element("div", { class: "hit-head" }, element("span", { class: "note", ...WRITTEN }, place), open), prose);
  }
}
