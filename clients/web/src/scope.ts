/** Which collections a question is asked of. */

import type { Api } from "./api.js";
import { element, replace, WRITTEN } from "./dom.js";
import { failureOf } from "./errors.js";
import { allCollections, type Named } from "./library.js";

const KEY = "responsa.scope";
/** At most this many may be named in one question. */
const MOST = 64;

export class ScopeView {
  readonly root = element("details", { class: "scope" });
  readonly #api: Api;
  readonly #storage: Storage;
  readonly #summary = element("summary", {});
  readonly #list = element("fieldset", {}, element("legend", {}, "Ask which collections?"));
  readonly #rows = element("div", {});
  readonly #none = element("p", { class: "note" });
  #chosen: readonly Named[];
  /** What is searched where none is chosen, `collections/{id}`; none means all. */
  #usual: readonly string[] = [];

  constructor(api: Api, storage: Storage) {
    this.#api = api;
    this.#storage = storage;
    this.#chosen = read(storage);
    this.#list.append(this.#rows, this.#none);
    this.root.append(this.#summary, this.#list);
    this.root.addEventListener("toggle", () => {
      if (this.root.open) void this.#load();
    });
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.root.open) return;
      event.stopPropagation();
      this.root.open = false;
      this.#summary.focus();
    });
    document.addEventListener("click", ({ target }) => {
      if (target instanceof Node && !this.root.contains(target)) this.root.open = false;
    });
    this.#sum();
  }

  /** `collections/{id}`; none means all. */
  get collections(): readonly string[] {
    return this.#chosen.map((one) => one.name);
  }

  choose(chosen: readonly Named[]): void {
    this.#chosen = chosen.slice(0, MOST).map(({ name, label }) => ({ name, label })); // what is known besides is not kept
    try {
      this.#storage.setItem(KEY, JSON.stringify(this.#chosen));
    } catch (error) {
      if (!(error instanceof DOMException)) throw error; // kept by this page alone then
    }
    this.#sum();
  }

  /** The agent that is asked searches these, `collections/{id}`, where none is chosen; none means all. */
  usually(collections: readonly string[]): void {
    this.#usual = collections;
    this.#sum();
  }

  /** Forget a collection that is gone. */
  forget(name: string): void {
    this.choose(this.#chosen.filter((one) => one.name !== name));
  }

  async #load(): Promise<void> {
    try {
      const found = await allCollections(this.#api);
      const known = new Set(found.map((one) => one.name));
      this.choose(this.#chosen.filter((one) => known.has(one.name)));
      const rows = found.map((one) => {
        const box = element("input", { type: "checkbox", value: one.name, checked: this.collections.includes(one.name) });
        box.addEventListener("change", () => {
          const others = this.#chosen.filter((other) => other.name !== one.name);
          this.choose(box.checked ? [...others, one] : others);
        });
        const size = element("span", { class: "note" }, one.documents === 1n ? "1 document" : `${one.documents} documents`);
        return element("label", { class: "row" }, box, element("span", WRITTEN, one.label), size);
      });
      replace(this.#rows, ...(rows.length > 0 ? rows : [element("p", {}, "There is no collection yet.")]));
    } catch (error) {
      replace(this.#rows, element("p", { class: "problem", role: "alert" }, failureOf(error).message));
    }
  }

  #sum(): void {
    const usual = this.#usual.map((one) => one.replace("collections/", ""));
    const labels = this.#chosen.length > 0 ? this.#chosen.map((one) => one.label) : usual;
    const told = labels.length === 0 ? "all collections" : labels.length <= 2 ? labels.join(" and ") : `${labels.length} collections`;
    this.#none.textContent = usual.length === 0 ? "None chosen means all of them." : `None chosen means the agent’s own: ${usual.join(", ")}.`;
    replace(this.#summary, "Asking ", element("strong", WRITTEN, told));
  }
}

function read(storage: Storage): Named[] {
  try {
    const value: unknown = JSON.parse(storage.getItem(KEY) ?? "[]");
    return Array.isArray(value) ? value.filter(isNamed) : [];
  } catch {
    return [];
  }
}

function isNamed(value: unknown): value is Named {
  if (typeof value !== "object" || value === null) return false;
  const one = value as Record<string, unknown>;
  return typeof one["name"] === "string" && typeof one["label"] === "string";
}
