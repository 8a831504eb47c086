/** Searches the documents. The search is a part of the page's address, so that it can be reloaded, sent and gone back to. */

import { MessageCircle } from "lucide";
import { SearchMode, type SearchHit } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import type { Api } from "../server/api.js";
import { datedOf, placeOf } from "../chat/parts.js";
import { byteLength } from "@responsa/client/parts.js";
import { shownExcerpt } from "../chat/passages.js";
import type { DocumentPanel } from "./document.js";
import { element, field, replace, WRITTEN } from "../widgets/dom.js";
import { iconButton } from "../widgets/icons.js";
import { failureOf } from "../server/errors.js";
import { FILTER_EXAMPLE, filterProblem } from "../server/filters.js";
import { collectionId, readableCollections, unavailable, type Named } from "./library.js";
import { searchAt } from "./place.js";
import { locale } from "../language/language.js";
import { t } from "../language/documents/texts.js";

const MOST = 10;
const MOST_BYTES = 16_384;

const MODES: readonly (readonly [mode: SearchMode, id: string, label: string])[] = [
  [SearchMode.HYBRID, "", t("byBoth")],
  [SearchMode.TEXT, "words", t("byWords")],
  [SearchMode.VECTOR, "meaning", t("byMeaning")],
];

export interface SearchHooks {
  readonly say: (text: string) => void;
  /** The user wants to ask a collection what was searched. */
  readonly ask: (question: string, collection: Named) => void;
}

export class SearchView {
  readonly root = element("section", { class: "collections search", "aria-labelledby": "search-title" });
  readonly #api: Pick<Api, "knowledge">;
  readonly #panel: DocumentPanel;
  readonly #hooks: SearchHooks;
  readonly #heading = element("h2", { id: "search-title", tabindex: "-1" }, t("search"));
  readonly #term = element("input", { type: "search", id: "term", autocomplete: "off", dir: "auto", required: true });
  readonly #scope = element("select", { id: "search-scope" });
  readonly #mode = element("select", { id: "search-mode" }, ...MODES.map(([, id, label]) => element("option", { value: id }, label)));
  readonly #filter = element("input", { type: "text", id: "search-filter", autocomplete: "off", spellcheck: "false", placeholder: FILTER_EXAMPLE, maxlength: "2048", "aria-describedby": "search-filter-note" });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #sum = element("p", { class: "note" }, t("searchIdle"));
  readonly #scores = explanation();
  readonly #hits = element("ol", { class: "excerpts", "aria-label": t("passages") });
  #collections: readonly Named[] = [];
  /** The address of the search whose passages are shown. */
  #shown = "";
  #searching = new AbortController();

  constructor(api: Pick<Api, "knowledge">, panel: DocumentPanel, hooks: SearchHooks) {
    this.#api = api;
    this.#panel = panel;
    this.#hooks = hooks;
    const form = element(
      "form",
      { class: "search-form", role: "search" },
      element("div", { class: "field grow" }, element("label", { for: "term" }, t("searchFor")), this.#term),
      field(t("searchIn"), this.#scope),
      field(t("searchBy"), this.#mode),
      element("button", { type: "submit" }, t("search")),
      element(
        "details",
        { class: "explanation whole" },
        element("summary", {}, t("searchSome")),
        field(t("filter"), this.#filter, t("filterHelp")),
      ),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      // `pushState` does not fire `hashchange`, so the focus stays.
      if (location.hash !== this.#address) history.pushState(null, "", this.#address);
      void this.#search();
    });
    this.root.append(this.#heading, form, this.#problem, element("div", { class: "found-head" }, this.#sum, this.#scores), this.#hits);
    this.#blank();
  }

  focus(): void {
    this.#heading.focus();
  }

  /** Read the collections again, and show the search that the address names. A chosen collection stays, unless the user can no longer search it. */
  async refresh(): Promise<void> {
    const label = this.#label(this.#scope.value);
    const query = new URLSearchParams(searchAt(location.hash) ?? "");
    const term = query.get("q") ?? "";
    const chosen = term ? (query.get("in") ?? "") : this.#scope.value;
    if (term) [this.#term.value, this.#mode.value, this.#filter.value] = [term, query.get("by") ?? "", query.get("filter") ?? ""];
    if (this.#mode.selectedIndex < 0) this.#mode.value = "";
    try {
      this.#collections = await readableCollections(this.#api);
      const options = this.#collections.map((one) => element("option", { value: one.name, selected: one.name === chosen, ...WRITTEN }, one.label));
      replace(this.#scope, element("option", { value: "" }, t("allCollections")), ...options);
      const lost = chosen !== "" && this.#scope.value !== chosen;
      this.#problem.textContent = lost ? `${unavailable(label || collectionId(chosen))} ${t("nowAll")}` : "";
    } catch (error) {
      this.#problem.textContent = failureOf(error).message;
      return;
    }
    if (term && this.#address !== this.#shown) await this.#search();
  }

  /** Search again: the user may no longer read what is shown. */
  async reread(): Promise<void> {
    this.#shown = "";
    await this.refresh();
  }

  /** The search that the form names, as it stands in the address. */
  get #query(): Readonly<Record<string, string>> {
    return { q: this.#term.value.trim(), in: this.#scope.value, by: this.#mode.value, filter: this.#filter.value.trim() };
  }

  get #address(): string {
    return `#/search?${new URLSearchParams(Object.entries(this.#query).filter(([, value]) => value)).toString()}`;
  }

  #label(name: string): string {
    return this.#collections.find((one) => one.name === name)?.label ?? collectionId(name);
  }

  #blank(said = t("searchIdle")): void {
    this.#sum.textContent = said;
    this.#scores.hidden = true;
    this.#shown = "";
    replace(this.#hits);
  }

  async #search(): Promise<void> {
    const { q: term = "", in: collection = "", filter = "", by } = this.#query;
    if (!term) return;
    if (byteLength(term) > MOST_BYTES) {
      this.#problem.textContent = t("searchLong", { count: MOST_BYTES });
      return;
    }
    this.#searching.abort();
    this.#searching = new AbortController();
    const { signal } = this.#searching;
    const mode = MODES.find(([, id]) => id === by)?.[0] ?? SearchMode.HYBRID;
    this.#problem.textContent = "";
    this.#filter.removeAttribute("aria-invalid");
    this.#sum.textContent = t("searching");
    try {
      const { hits } = await this.#api.knowledge.search({ terms: [term], topK: MOST, mode, filter, scope: { collections: collection ? [collection] : [] } }, { signal });
      if (!signal.aborted) this.#show(hits, mode, term);
    } catch (error) {
      if (signal.aborted) return;
      this.#blank("");
      const failure = failureOf(error);
      if (failure.reason === "RESOURCE_NOT_FOUND" && failure.metadata["resource_type"] === "collection") {
        history.replaceState(null, "", "#/search");
        await this.refresh(); // says so
      }
      const mistake = filterProblem(failure);
      this.#problem.textContent ||= mistake ?? failure.message;
      if (mistake) this.#filter.setAttribute("aria-invalid", "true");
    }
  }

  #show(hits: readonly SearchHit[], mode: SearchMode, term: string): void {
    const said = hits.length === 0 ? t("nothingFound") : t("bestFirst", { count: hits.length });
    const strongest = Math.max(...hits.map((one) => one.parts?.text ?? 0));
    this.#blank(said);
    this.#shown = this.#address;
    this.#scores.hidden = hits.length === 0;
    replace(this.#hits, ...hits.map((one, index) => this.#row(one, index, mode, strongest, term)));
    this.#hooks.say(said);
  }

  #row({ passage, score, parts, excerpt, copies }: SearchHit, index: number, mode: SearchMode, strongest: number, term: string): HTMLElement {
    if (!passage) return element("li", { class: "excerpt" });
    const title = passage.title || t("document");
    const headings = (excerpt ?? passage).headings.filter((one) => one !== title).map((one) => element("span", WRITTEN, ` › ${one}`));
    const open: HTMLElement = element("button", { type: "button", class: "plain open", click: () => void this.#panel.openPassage(excerpt ?? passage, open) }, element("strong", WRITTEN, title), ...headings);
    const collection = { name: passage.collection, label: this.#label(passage.collection) };
    const ask = iconButton(MessageCircle, t("askAbout"), () => this.#hooks.ask(term, collection));
    const words = parts?.text ?? 0;
    const notes = [placeOf(excerpt ?? passage), datedOf(passage), copies.length > 0 && t("andCopies", { count: copies.length })].filter(Boolean).map((one) => ` · ${one}`);
    return element(
      "li",
      { class: "excerpt" },
      element("div", { class: "hit-head" }, open, ask),
      element("p", { class: "note" }, element("span", WRITTEN, collection.label), ...notes),
      excerpt ? shownExcerpt(term, excerpt, this.#hooks.say) : element("p", WRITTEN, passage.text),
      element(
        "dl",
        { class: "scores" },
        ...measure("score", score, 2, score, index),
        ...(mode === SearchMode.VECTOR ? [] : measure("words", words, 1, strongest > 0 ? words / strongest : 0, index)),
        ...(mode === SearchMode.TEXT ? [] : measure("meaning", parts?.vector ?? 0, 2, parts?.vector ?? 0, index)),
      ),
    );
  }
}

/** A part of a score: its name, its value with so many decimals, and a bar for a share from 0 to 1. */
function measure(key: "score" | "words" | "meaning", value: number, decimals: number, share: number, index: number): HTMLElement[] {
  const label = t("scoreOf", { measure: t(key), place: index + 1 });
  const bar = element("meter", { min: "0", max: "1", value: String(Math.min(Math.max(share, 0), 1)), "aria-label": label });
  const text = value.toLocaleString(locale(), { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
  return [element("div", {}, element("dt", {}, t(key)), element("dd", {}, bar, text))];
}

function explanation(): HTMLElement {
  const rows = (["score", "aboutScore", "words", "aboutWords", "meaning", "aboutMeaning"] as const).map((key, index) => element(index % 2 === 0 ? "dt" : "dd", {}, t(key)));
  return element("details", { class: "explanation scoring" }, element("summary", {}, t("scores")), element("dl", {}, ...rows));
}
