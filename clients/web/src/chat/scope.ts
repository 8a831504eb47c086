/** The choice of the collections that a question searches. It belongs to the shown conversation. */

import { Library, X } from "lucide";
import type { Api } from "../server/api.js";
import { element, replace, WRITTEN } from "../widgets/dom.js";
import { icon, iconButton } from "../widgets/icons.js";
import { failureOf } from "../server/errors.js";
import { keep } from "../server/kept.js";
import { collectionId, readableCollections, unavailable, type Labels, type Named } from "../documents/library.js";
import { locale, t } from "../language/language.js";

const KEY = "responsa.scope";
/** The maximum number of collections in one question. */
const MOST = 64;

export class ScopeView {
  readonly root: HTMLElement;
  readonly #details = element("details", { class: "scope pill" });
  readonly #api: Api;
  readonly #storage: Storage;
  readonly #labels: Labels;
  readonly #changed: () => void;
  readonly #summary = element("summary", {});
  readonly #all = iconButton(X, t("searchAll"), () => {
    this.choose([]);
    this.#summary.focus(); // the button goes
  });
  readonly #list = element("fieldset", {}, element("legend", {}, t("toSearch")));
  readonly #rows = element("div", {});
  readonly #none = element("p", { class: "note" });
  /** Names the chosen collections that the user can no longer ask. */
  readonly #lost = element("p", { class: "problem", role: "status", ...WRITTEN });
  #chosen: readonly Named[];
  /** The conversation for which they are chosen; "" for a new one. */
  #conversation: string;
  /** The files of the conversation, if it has any. */
  #files: Named | undefined;
  /** Whether the user has released the questions of this conversation from its files. */
  #released: boolean;
  /** The collections that the agent searches if the user chooses no collections; an empty list means all collections. */
  #usual: readonly Named[] = [];

  /** `changed`: other collections would be searched now. */
  constructor(api: Api, storage: Storage, labels: Labels, changed: () => void) {
    this.#api = api;
    this.#storage = storage;
    this.#labels = labels;
    this.#changed = changed;
    ({ chosen: this.#chosen, conversation: this.#conversation, released: this.#released } = read(storage));
    this.#list.append(this.#lost, this.#rows, this.#none);
    this.#details.append(this.#summary, this.#list);
    this.root = element("div", { class: "scoped" }, this.#details, this.#all);
    const close = ({ target }: Event) => {
      if (target instanceof Node && !this.root.contains(target)) this.close();
    };
    this.#details.addEventListener("toggle", () => {
      // Only an open list listens to the whole page, so nothing of the view stays after its session.
      if (!this.#details.open) return document.removeEventListener("click", close);
      document.addEventListener("click", close);
      void this.reread();
    });
    this.#details.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && event.target instanceof HTMLInputElement) event.preventDefault(); // it would send the question
      if (event.key !== "Escape" || !this.#details.open) return;
      event.stopPropagation();
      this.close();
      this.#summary.focus();
    });
    this.#sum();
  }

  /** The chosen collections, `collections/{id}`; an empty list if the user chose no collections. */
  get collections(): readonly string[] {
    return this.#chosen.map((one) => one.name);
  }

  /** The collections, `collections/{id}`, that a question would search now; an empty list means all collections. */
  get searched(): readonly string[] {
    return this.#chosen.length > 0 ? this.collections : this.#usual.map((one) => one.name);
  }

  /** What a question without chosen collections searches, as the words of a button. */
  get unchosen(): string {
    return this.#usual.length === 0 ? t("searchAll") : t("searchUsual");
  }

  /** Close the list. */
  close(): void {
    this.#details.open = false;
  }

  /** Another conversation is shown, "" for a new one: the choice for the earlier one does not apply to it. */
  enter(conversation: string): void {
    if (conversation === this.#conversation) return;
    this.#conversation = conversation;
    this.#files = undefined;
    this.#released = false;
    if (this.#chosen.length > 0) this.choose([]);
    else this.#keep();
  }

  /** The new conversation has this name now. */
  begun(conversation: string): void {
    this.#conversation = conversation;
    this.#keep();
  }

  /** Choose collections for a new conversation. */
  chooseForNew(chosen: readonly Named[]): void {
    this.#conversation = "";
    this.choose(chosen);
  }

  /** The conversation has files, in this collection. Its questions are asked of them alone until the user chooses something else. `added`: whether a file is new. */
  pin(files: string, added = false): void {
    this.#files = { name: files, label: t("filesOfConversation") };
    if (added || !(this.#released || this.#chosen.length > 0)) this.choose([this.#files]);
  }

  /** None of the files can be asked: questions search everything again, unless the user has chosen other collections. */
  unpin(): void {
    if (this.#files && this.collections.join() === this.#files.name) this.choose([]);
  }

  choose(chosen: readonly Named[]): void {
    this.#chosen = chosen.slice(0, MOST).map(({ name, label }) => ({ name, label })); // store only these fields
    this.#released = this.#files !== undefined && this.#chosen.length === 0;
    this.#keep();
    for (const box of this.#rows.querySelectorAll("input")) box.checked = this.collections.includes(box.value);
    this.#sum();
    this.#changed();
  }

  #keep(): void {
    keep(this.#storage, KEY, JSON.stringify({ chosen: this.#chosen, conversation: this.#conversation, released: this.#released }));
  }

  /** Set the collections, `collections/{id}`, that the agent searches if the user chooses no collections; an empty list means all collections. */
  usually(collections: readonly string[]): void {
    if (collections.join() === this.#usual.map((one) => one.name).join()) return;
    const named = (this.#usual = collections.map((name) => ({ name, label: t("agentsCollections") })));
    this.#sum();
    void Promise.all(named.map(async ({ name }) => ({ name, label: await this.#labels.of(name, t("agentsCollections")) }))).then((known) => {
      if (this.#usual !== named) return;
      this.#usual = known;
      this.#sum();
    });
  }

  /** Forget collections, `collections/{id}`, that the user can no longer ask. Returns what to say about them. */
  forget(names: readonly string[]): string {
    const forgotten = this.#chosen.filter((one) => names.includes(one.name));
    const why = names.map((name) => unavailable(forgotten.find((one) => one.name === name)?.label ?? collectionId(name))).join(" ");
    if (forgotten.length === 0) return why;
    this.choose(this.#chosen.filter((one) => !forgotten.includes(one)));
    return `${why} ${t("noLonger", { count: forgotten.length, searched: this.#searchedText })}`;
  }

  /** Read the collections again, which may have other names, documents and readers. */
  async reread(): Promise<void> {
    try {
      const found: readonly (Named & { readonly documentCount?: bigint })[] = [...(this.#files ? [this.#files] : []), ...(await readableCollections(this.#api))];
      const known = new Set(found.map((one) => one.name));
      const lost = this.collections.filter((one) => !known.has(one));
      this.#lost.textContent = lost.length > 0 ? this.forget(lost) : "";
      const rows = found.map((one) => {
        const box = element("input", { type: "checkbox", value: one.name, checked: this.collections.includes(one.name) });
        box.addEventListener("change", () => {
          const others = this.#chosen.filter((other) => other.name !== one.name);
          this.choose(box.checked ? [...others, one] : others);
        });
        const size = one.documentCount === undefined ? [] : [element("span", { class: "note" }, t("documentCount", { count: Number(one.documentCount) }))];
        return element("label", { class: "row" }, box, element("span", WRITTEN, one.label), ...size);
      });
      replace(this.#rows, ...(rows.length > 0 ? rows : [element("p", {}, t("noCollections"))]));
    } catch (error) {
      replace(this.#rows, element("p", { class: "problem", role: "alert" }, failureOf(error).message));
    }
  }

  #sum(): void {
    const usual = this.#usual.map((one) => one.label);
    this.#all.hidden = this.#chosen.length === 0;
    this.#all.title = this.unchosen;
    this.#all.setAttribute("aria-label", this.unchosen);
    this.root.classList.toggle("chosen", this.#chosen.length > 0);
    this.#none.textContent = usual.length === 0 ? t("searchesAll") : t("searchesOwn", { names: usual.join(", ") });
    replace(this.#summary, icon(Library), element("span", { class: "unseen" }, `${t("asking")} `), element("span", WRITTEN, this.#searchedText));
  }

  /** What a question would search now, in words. */
  get #searchedText(): string {
    const labels = [...new Set((this.#chosen.length > 0 ? this.#chosen : this.#usual).map((one) => one.label))];
    return labels.length === 0 ? t("allCollections") : labels.length <= 2 ? new Intl.ListFormat(locale()).format(labels) : t("collectionCount", { count: labels.length });
  }
}

function read(storage: Storage): { readonly chosen: readonly Named[]; readonly conversation: string; readonly released: boolean } {
  try {
    const value: unknown = JSON.parse(storage.getItem(KEY) ?? "{}");
    if (typeof value === "object" && value !== null) {
      const { chosen, conversation, released } = value as Record<string, unknown>;
      if (Array.isArray(chosen) && typeof conversation === "string") return { chosen: chosen.filter(isNamed), conversation, released: released === true };
    }
  } catch {
    // the stored text cannot be read
  }
  return { chosen: [], conversation: "", released: false };
}

function isNamed(value: unknown): value is Named {
  if (typeof value !== "object" || value === null) return false;
  const one = value as Record<string, unknown>;
  return typeof one["name"] === "string" && typeof one["label"] === "string";
}
