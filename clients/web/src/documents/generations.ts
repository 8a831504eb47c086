/** The generations of a collection: lists them, builds another one, and makes another one active. */

import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import { GenerationState, ReindexMetadataSchema, type Generation } from "@responsa/contract/responsa/knowledge/v1/generation_pb.js";
import type { Api } from "../server/api.js";
import { confirmed } from "../widgets/dialog.js";
import { arrange, button, element, field, focused } from "../widgets/dom.js";
import { failureOf, failureOfStatus } from "../server/errors.js";
import { moment } from "../text/facts.js";
import type { Named } from "./library.js";
import { ended, PATIENCE, persist } from "@responsa/client/parts.js";
import { t } from "../language/documents/texts.js";

const LOOK_AGAIN = 2_000; // milliseconds between checks while the server builds a generation

const STATES: Partial<Record<GenerationState, string>> = {
  [GenerationState.BUILDING]: t("building"),
  [GenerationState.READY]: t("ready"),
  [GenerationState.ACTIVE]: t("active"),
  [GenerationState.RETIRED]: t("retired"),
  [GenerationState.FAILED]: t("buildFailed"),
};

export class GenerationsView {
  readonly #summary = element("summary", {}, t("embeddingModels"));
  readonly root = element("details", { class: "explanation" }, this.#summary);
  readonly #api: Pick<Api, "knowledge" | "operations">;
  readonly #say: (text: string) => void;
  readonly #model = element("input", { type: "text", id: "embedding", maxlength: "256", autocomplete: "off", spellcheck: "false", "aria-describedby": "embedding-note" });
  readonly #keep = element("input", { type: "checkbox", id: "keep-active" });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #list = element("ul", { class: "versions", "aria-label": t("generationsOf") });
  readonly #rows = new Map<string, Row>();
  #collection = "";
  /** Aborts when another collection is shown. */
  #showing = new AbortController();
  #reading = new AbortController();
  /** The operation that this page has begun, with the name of its generation; undefined before the page begins one. The server runs one for each collection. */
  #running: { readonly operation: string; readonly generation: string } | undefined;

  /** `say` announces a text to screen readers. */
  constructor(api: Pick<Api, "knowledge" | "operations">, say: (text: string) => void) {
    this.#api = api;
    this.#say = say;
    const form = element(
      "form",
      { "aria-label": t("rebuildWith") },
      field(t("embeddingModel"), this.#model, t("embeddingNote")),
      element("label", { class: "row" }, this.#keep, t("keepActive")),
      element("button", { type: "submit" }, t("rebuild")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#follow(() => this.#api.knowledge.reindexCollection({ name: this.#collection, embedding: this.#model.value.trim(), keepActive: this.#keep.checked }));
    });
    this.root.append(element("p", { class: "note" }, t("generationsNote")), this.#list, this.#problem, form);
    this.root.addEventListener("toggle", () => {
      if (this.root.open) void this.#read();
      else this.#reading.abort();
    });
  }

  /** Show a collection's generations. */
  show({ name }: Named): void {
    if (name !== this.#collection) {
      this.#showing.abort();
      this.#showing = new AbortController();
      this.#collection = name;
      this.#running = undefined;
      this.#model.value = this.#problem.textContent = "";
      this.#keep.checked = false;
      this.#rows.clear();
      arrange(this.#list, []);
      if (this.root.open) void this.#read();
    }
  }

  /** Read the list. While a generation is built and the list is open, it is read again and again, after the first list is shown. */
  async #read(): Promise<void> {
    this.#reading.abort();
    this.#reading = new AbortController();
    const signal = AbortSignal.any([this.#showing.signal, this.#reading.signal]);
    try {
      while (!signal.aborted) {
        const { generations } = await persist((inner) => this.#api.knowledge.listGenerations({ parent: this.#collection }, { signal: inner }), signal);
        if (signal.aborted) return;
        this.#paint(generations);
        if (!this.root.isConnected || !generations.some((one) => one.state === GenerationState.BUILDING)) return;
        await PATIENCE.sleep(LOOK_AGAIN, signal);
      }
    } catch (error) {
      if (!signal.aborted) this.#problem.textContent = failureOf(error).message;
    }
  }

  #paint(generations: readonly Generation[]): void {
    const before = focused();
    const rows = generations.map((one) => {
      const row = this.#rows.get(one.name) ?? new Row(one.name, (action) => void this.#act(one.name, action));
      this.#rows.set(one.name, row);
      row.paint(one, one.name === this.#running?.generation);
      return row.root;
    });
    const held = before && this.#list.contains(before);
    arrange(this.#list, rows);
    if (held && (before.hidden || !before.isConnected)) this.#summary.focus();
  }

  async #act(name: string, action: Action): Promise<void> {
    if (action === "use") return this.#follow(() => this.#api.knowledge.activateGeneration({ name }));
    this.#problem.textContent = "";
    const { signal } = this.#showing;
    try {
      if (action === "cancel") await this.#api.operations.cancelOperation({ name: this.#running?.operation ?? "" });
      else if (await confirmed({ title: t("deleteGeneration"), text: t("generationLost"), action: t("delete") })) {
        await this.#api.knowledge.deleteGeneration({ name });
        this.#say(t("generationDeleted"));
      }
      if (!signal.aborted) await this.#read();
    } catch (error) {
      if (!signal.aborted) this.#problem.textContent = failureOf(error).message;
    }
  }

  /** Begin an operation and follow it to its end. If the user leaves the page, the operation goes on. */
  async #follow(begin: () => Promise<Operation>): Promise<void> {
    const { signal } = this.#showing;
    this.#problem.textContent = "";
    try {
      const begun = await begin();
      if (signal.aborted) return;
      const generation = (begun.metadata && anyUnpack(begun.metadata, ReindexMetadataSchema)?.generation) ?? "";
      this.#running = { operation: begun.name, generation };
      void this.#read();
      const { result } = await ended(this.#api, begun, () => undefined, signal);
      this.#running = undefined;
      if (result.case === "error") this.#problem.textContent = failureOfStatus(result.value).message;
      else this.#say(t("generationReady", { generation: labelOf(generation) }));
      await this.#read();
    } catch (error) {
      if (!signal.aborted) this.#problem.textContent = failureOf(error).message;
    }
  }
}

const ACTIONS = ["use", "delete", "cancel"] as const;
type Action = (typeof ACTIONS)[number];

/** The row of one generation. */
class Row {
  readonly root: HTMLElement;
  readonly #about = element("span", { class: "note" });
  readonly #buttons: ReadonlyMap<Action, HTMLButtonElement>;

  constructor(name: string, act: (action: Action) => void) {
    const label = labelOf(name);
    this.#buttons = new Map(ACTIONS.map((action) => [action, button(t(action), () => act(action), { "aria-label": t("actOn", { action: t(action), what: label }) })]));
    this.root = element("li", {}, element("div", { class: "about" }, element("strong", {}, label), this.#about), element("div", { class: "row wrap" }, ...this.#buttons.values()));
  }

  /** `isOurs`: this page has begun the operation that builds the generation. */
  paint({ embedding, state, passagesDone, passagesTotal, createTime }: Generation, isOurs: boolean): void {
    const passages = t("passagesDone", { done: Number(passagesDone), total: Number(passagesTotal) });
    const text = [embedding, STATES[state] ?? "", passages, moment(createTime)].filter(Boolean).join(" · ");
    if (this.#about.textContent !== text) this.#about.textContent = text;
    const isBuilt = state === GenerationState.READY || state === GenerationState.RETIRED;
    this.#show("use", isBuilt);
    this.#show("delete", isBuilt || state === GenerationState.FAILED);
    this.#show("cancel", isOurs && state === GenerationState.BUILDING);
  }

  #show(action: Action, isShown: boolean): void {
    this.#buttons.get(action)!.hidden = !isShown;
  }
}

/** For example "Generation 2". */
function labelOf(name: string): string {
  return t("generation", { number: name.replace(/.*\//, "") });
}
