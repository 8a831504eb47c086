/** Searches the documents, and explains the scores of the passages. */

import { SearchMode, type SearchHit } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import type { Api } from "../server/api.js";
import type { Me } from "./access.js";
import { datedOf } from "../chat/parts.js";
import { count } from "../text/facts.js";
import { byteLength } from "@responsa/client/parts.js";
import type { DocumentPanel } from "./document.js";
import { button, element, field, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";
import { FILTER_EXAMPLE, FILTER_HELP, filterProblem } from "../server/filters.js";
import { readableCollections, unavailable } from "./library.js";
import { withoutFrontMatter } from "../text/markdown.js";
import { plainText } from "../text/prose.js";

const MOST = 10;
const MOST_BYTES = 16_384;
const SHOWN = 420; // characters of a passage

const MODES: readonly (readonly [SearchMode, string])[] = [
  [SearchMode.HYBRID, "Words and meaning"],
  [SearchMode.TEXT, "Words only"],
  [SearchMode.VECTOR, "Meaning only"],
];

export class SearchView {
  readonly root = element("section", { class: "collections search", "aria-labelledby": "search-title" });
  readonly #api: Pick<Api, "knowledge">;
  readonly #me: Me;
  readonly #panel: DocumentPanel;
  readonly #say: (text: string) => void;
  readonly #heading = element("h2", { id: "search-title", tabindex: "-1" }, "Search");
  readonly #term = element("input", { type: "search", id: "term", autocomplete: "off", dir: "auto", required: true });
  readonly #scope = element("select", { id: "search-scope" });
  readonly #mode = element("select", { id: "search-mode" }, ...MODES.map(([mode, label]) => element("option", { value: String(mode) }, label)));
  readonly #filter = element("input", { type: "text", id: "search-filter", autocomplete: "off", spellcheck: "false", placeholder: FILTER_EXAMPLE, maxlength: "2048", "aria-describedby": "search-filter-note" });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #found = element("div", { class: "found" });
  #searching = new AbortController();

  constructor(api: Pick<Api, "knowledge">, me: Me, panel: DocumentPanel, say: (text: string) => void) {
    this.#api = api;
    this.#me = me;
    this.#panel = panel;
    this.#say = say;
    const form = element(
      "form",
      { class: "search-form", role: "search" },
      element("div", { class: "field grow" }, element("label", { for: "term" }, "Search for"), this.#term),
      field("In", this.#scope),
      field("By", this.#mode),
      element("button", { type: "submit" }, "Search"),
      element(
        "details",
        { class: "explanation whole" },
        element("summary", {}, "Search only some documents"),
        field("Filter", this.#filter, FILTER_HELP),
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#search();
    });
    this.root.append(this.#heading, form, this.#problem, explanation(), this.#found);
  }

  focus(): void {
    this.#heading.focus();
  }

  /** Read the collections again; the chosen one stays, unless the user can no longer search it. */
  async refresh(): Promise<void> {
    const { value: chosen, selectedOptions } = this.#scope;
    const label = selectedOptions[0]?.textContent ?? "";
    try {
      const found = await readableCollections(this.#api, this.#me);
      const options = found.map((one) => element("option", { value: one.name, selected: one.name === chosen, ...WRITTEN }, one.label));
      replace(this.#scope, element("option", { value: "" }, "All collections"), ...options);
      const lost = chosen !== "" && this.#scope.value !== chosen;
      this.#problem.textContent = lost ? `${unavailable(label)} Now “All collections” is chosen.` : "";
    } catch (error) {
      this.#problem.textContent = failureOf(error).message;
    }
  }

  async #search(): Promise<void> {
    const term = this.#term.value.trim();
    if (!term) return;
    if (byteLength(term) > MOST_BYTES) {
      this.#problem.textContent = `The search is too long; the limit is ${MOST_BYTES} bytes.`;
      return;
    }
    this.#searching.abort();
    this.#searching = new AbortController();
    const { signal } = this.#searching;
    const mode = Number(this.#mode.value) as SearchMode;
    const collections = this.#scope.value ? [this.#scope.value] : [];
    this.#problem.textContent = "";
    this.#filter.removeAttribute("aria-invalid");
    try {
      const { hits } = await this.#api.knowledge.search({ terms: [term], topK: MOST, mode, filter: this.#filter.value.trim(), scope: { collections } }, { signal });
      if (!signal.aborted) this.#show(hits, mode);
    } catch (error) {
      if (signal.aborted) return;
      replace(this.#found);
      const failure = failureOf(error);
      if (failure.reason === "RESOURCE_NOT_FOUND" && failure.metadata["resource_type"] === "collection") await this.refresh(); // says so
      const mistake = filterProblem(failure);
      this.#problem.textContent ||= mistake ?? failure.message;
      if (mistake) this.#filter.setAttribute("aria-invalid", "true");
    }
  }

  #show(hits: readonly SearchHit[], mode: SearchMode): void {
    const said = hits.length === 0 ? "No passage fits this search." : `${count(hits.length, "passage")}, the best first.`;
    const strongest = Math.max(...hits.map((one) => one.parts?.text ?? 0));
    const rows = hits.map((one, index) => this.#row(one, index, mode, strongest));
    replace(this.#found, element("p", { class: "note" }, said), element("ol", { class: "hits", "aria-label": "Passages" }, ...rows));
    this.#say(said);
  }

  #row({ passage, score, parts }: SearchHit, index: number, mode: SearchMode, strongest: number): HTMLElement {
    const title = passage?.title || "Document";
    const open = button(title, () => void (passage && this.#panel.openPassage(passage, open)), { class: "plain name", ...WRITTEN });
    const headings = (passage?.headings ?? []).filter((one) => one !== title);
    const text = plainText(withoutFrontMatter(passage?.text ?? ""));
    const about = element("div", { class: "hit-head" }, open);
    const notes = [headings.join(" › "), passage ? datedOf(passage) : ""].filter(Boolean);
    if (notes.length > 0) about.append(element("span", { class: "note", ...WRITTEN }, notes.join(" · ")));
    return element(
      "li",
      {},
      about,
      element("p", { class: "hit-text", ...WRITTEN }, text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text),
      element(
        "dl",
        { class: "scores" },
        ...measure("Score", score.toFixed(2), score, `Score of passage ${index + 1}`),
        ...(mode === SearchMode.VECTOR ? [] : measure("Words", (parts?.text ?? 0).toFixed(1), strongest > 0 ? (parts?.text ?? 0) / strongest : 0, `Words of passage ${index + 1}`)),
        ...(mode === SearchMode.TEXT ? [] : measure("Meaning", (parts?.vector ?? 0).toFixed(2), Math.max(parts?.vector ?? 0, 0), `Meaning of passage ${index + 1}`)),
      ),
    );
  }
}

/** A part of a score: its name, its value, and a bar for a share from 0 to 1. */
function measure(name: string, value: string, share: number, label: string): HTMLElement[] {
  const bar = element("meter", { min: "0", max: "1", value: String(Math.min(Math.max(share, 0), 1)), "aria-label": label });
  return [element("div", {}, element("dt", {}, name), element("dd", {}, bar, value))];
}

function explanation(): HTMLElement {
  const rows = [
    ["Score", "says how well the passage fits the search, from 0 to 1. The server computes it from the words and the meaning, and ranks the passages by it. Compare scores only within one search."],
    ["Words", "is the BM25 score: how often the words of the search occur in the passage and its headings. Rare words count more, and long passages less. It has no upper limit; the longest bar is the highest score of this search. 0 means that no word occurs."],
    ["Meaning", "is the cosine between the search and the nearest text of the passage: about 1 if both say the same, even in other words, and near 0 if they have nothing to do with each other."],
  ] as const;
  return element(
    "details",
    { class: "explanation" },
    element("summary", {}, "What the scores mean"),
    element("dl", {}, ...rows.flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)])),
  );
}
