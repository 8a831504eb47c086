/** The list of a collection's documents: finds, sorts, selects and deletes them. */

import { Trash2 } from "lucide";
import { DocumentState, type Document } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Format } from "@responsa/contract/responsa/knowledge/v1/format_pb.js";
import { recently } from "../account/recent.js";
import type { Api } from "../server/api.js";
import { confirmed } from "../widgets/dialog.js";
import type { DocumentPanel } from "./document.js";
import { arrange, button, element, field, focused, replace, WRITTEN } from "../widgets/dom.js";
import { iconButton } from "../widgets/icons.js";
import { failureOf } from "../server/errors.js";
import { dateOf, sizeOf } from "../text/facts.js";
import { FILTER_EXAMPLE, filterOf, filterProblem, type Wanted } from "../server/filters.js";
import type { Listed } from "./library.js";
import { mayPass, PATIENCE } from "@responsa/client/parts.js";
import { cleanName, nameWithin } from "../text/names.js";
import { t } from "../language/documents/texts.js";

const PAGE = 50;
const LOOK_AGAIN = 2_000; // milliseconds between checks while the server reads a document
const TYPING = 300; // milliseconds without a key before the list is read again
/** The number of titles that the question before a deletion names. */
const NAMED = 5;

const ORDERS: readonly (readonly [order: string, label: string])[] = [
  ["source_key", t("pathAsc")],
  ["source_key desc", t("pathDesc")],
  ["title", t("titleAsc")],
  ["title desc", t("titleDesc")],
  ["create_time desc", t("newest")],
  ["create_time", t("oldest")],
  ["update_time desc", t("changedFirst")],
  ["update_time", t("changedLast")],
  ["size_bytes desc", t("largest")],
  ["size_bytes", t("smallest")],
];

const STATES: readonly (readonly [state: string, label: string])[] = [
  ["", t("any")],
  ["READY", t("isSearchable")],
  ["INDEXING", t("isRead")],
  ["FAILED", t("hasFailed")],
];

export interface DocumentsHooks {
  readonly say: (text: string) => void;
  readonly me: User;
  /** Documents were deleted. */
  readonly deleted: () => Promise<void>;
}

export class DocumentsView {
  readonly root = element("div", { class: "listing" });
  readonly #api: Api;
  readonly #panel: DocumentPanel;
  readonly #hooks: DocumentsHooks;
  readonly #text = element("input", { type: "search", id: "find", autocomplete: "off", dir: "auto", maxlength: "200", input: () => void this.#typed() });
  readonly #expression = element("input", { type: "text", id: "find-expression", autocomplete: "off", spellcheck: "false", placeholder: FILTER_EXAMPLE, "aria-describedby": "find-expression-note", change: () => this.#wantedAgain() });
  readonly #state = choice("find-state", STATES, () => this.#wantedAgain());
  readonly #type = choice("find-type", [["", t("any")]], () => this.#wantedAgain());
  readonly #order = choice("order", ORDERS, () => this.#wantedAgain());
  readonly #controls = element(
    "form",
    { class: "finding", role: "search", "aria-label": t("ofCollection") },
    field(t("findTitle"), this.#text),
    field(t("state"), this.#state),
    field(t("type"), this.#type),
    field(t("sortBy"), this.#order),
    element(
      "details",
      { class: "explanation" },
      element("summary", {}, t("moreFilters")),
      field(t("filter"), this.#expression, `${t("filterHelp")} ${t("filterAlso")}`),
    ),
  );
  readonly #all = element("input", { type: "checkbox", id: "select-all", change: () => this.#selectAll(this.#all.checked) });
  readonly #selection = element("span", { class: "note", role: "status" });
  readonly #remove = button(t("deleteSelected"), () => void this.#deleteSelected(), { class: "plain danger", hidden: true });
  readonly #bulk = element("div", { class: "row wrap bulk" }, element("label", { class: "row" }, this.#all, t("selectShown")), this.#selection, this.#remove);
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #results = element("section", { class: "results", "aria-labelledby": "results-title", hidden: true });
  readonly #list = element("ul", { class: "documents", "aria-label": t("ofCollection") });
  readonly #back = button(t("previousPage"), () => void this.#turn(-1), { class: "quiet" });
  readonly #next = button(t("nextPage"), () => void this.#turn(1), { class: "quiet" });
  readonly #place = element("span", { class: "note" });
  readonly #pages = element("nav", { class: "row", "aria-label": t("pagesOfList"), hidden: true }, this.#back, this.#place, this.#next);
  #collection = "";
  /** Whether the user may delete all documents; otherwise, only their own. */
  #managed = true;
  /** Whether the collection has no documents, so that the server may not know it yet. */
  #isEmpty = true;
  /** The text for an empty list. */
  #none = "";
  /** The tokens of the pages up to the shown one; the first page has the token "". */
  #tokens: readonly string[] = [""];
  #following = "";
  #shown: readonly Document[] = [];
  readonly #selected = new Map<string, string>();
  #reading = new AbortController();
  #typing = new AbortController();

  constructor(api: Api, panel: DocumentPanel, hooks: DocumentsHooks) {
    this.#api = api;
    this.#panel = panel;
    this.#hooks = hooks;
    this.#controls.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#wantedAgain();
    });
    this.root.append(this.#controls, this.#bulk, this.#problem, this.#results, this.#list, this.#pages);
  }

  /** The formats that the control "Type" offers. */
  set formats(formats: readonly Format[]) {
    const chosen = this.#type.value;
    const types = formats.map((one) => [one.mediaTypes[0] ?? "", one.displayName] as const);
    replace(this.#type, ...[["", t("any")] as const, ...types].map(([value, label]) => element("option", { value, selected: value === chosen }, label)));
  }

  /** Read a collection's documents. In another collection, nothing is selected and the list begins with its first page. */
  async show({ name, documentCount, owner, readable, manageable }: Listed): Promise<void> {
    this.#isEmpty = documentCount === 0n;
    this.#none = t(!readable ? "unseen" : manageable ? "addSome" : "noDocuments");
    if (manageable !== this.#managed) replace(this.#list); // its rows offer other acts
    this.#managed = manageable;
    if (name !== this.#collection) {
      this.#collection = name;
      this.#tokens = [""];
      this.#selected.clear();
      this.#results.hidden = true;
      this.#text.value = this.#state.value = this.#type.value = this.#expression.value = "";
    }
    // The name of a collection that does not exist yet may mean a shared one of another owner.
    if (owner) return this.#read();
    this.#reading.abort();
    this.#problem.textContent = this.#following = "";
    this.#paint([], false);
  }

  get #wanted(): Wanted {
    return { text: this.#text.value, state: this.#state.value, mediaType: this.#type.value, expression: this.#expression.value };
  }

  async #typed(): Promise<void> {
    this.#typing.abort();
    this.#typing = new AbortController();
    const { signal } = this.#typing;
    await PATIENCE.sleep(TYPING, signal);
    if (!signal.aborted) this.#wantedAgain();
  }

  #wantedAgain(): void {
    this.#typing.abort();
    this.#tokens = [""];
    void this.#read();
  }

  async #turn(step: -1 | 1): Promise<void> {
    this.#tokens = step > 0 ? [...this.#tokens, this.#following] : this.#tokens.slice(0, -1);
    await this.#read();
    this.#list.scrollIntoView({ block: "nearest" });
    const [used, other] = step > 0 ? [this.#next, this.#back] : [this.#back, this.#next];
    if (used.disabled) other.focus(); // a disabled button loses the focus
    this.#hooks.say(this.#place.textContent ?? "");
  }

  /** Read the shown page. While the server reads one of its documents, the page is read again and again, after this has resolved. */
  async #read(): Promise<void> {
    this.#reading.abort();
    this.#reading = new AbortController();
    const { signal } = this.#reading;
    const filter = filterOf(this.#wanted);
    if (await this.#readOnce(filter, signal)) void this.#readAgain(filter, signal);
  }

  async #readAgain(filter: string, signal: AbortSignal): Promise<void> {
    do await PATIENCE.sleep(LOOK_AGAIN, signal);
    // If the user has left this view, the next visit reads the list again.
    while (this.root.isConnected && !signal.aborted && (await this.#readOnce(filter, signal, true)));
  }

  /** Read and show the shown page. Resolves to whether to read it again: the server reads one of its documents. `isShown`: the page is shown already, so it stays after an error that may pass. */
  async #readOnce(filter: string, signal: AbortSignal, isShown = false): Promise<boolean> {
    try {
      const request = { parent: this.#collection, pageSize: PAGE, pageToken: this.#tokens.at(-1) ?? "", filter, orderBy: this.#order.value };
      const page = await this.#api.knowledge.listDocuments(request, { signal });
      if (signal.aborted) return false;
      // The last document of a page may have been deleted.
      if (page.documents.length === 0 && this.#tokens.length > 1) {
        this.#tokens = this.#tokens.slice(0, -1);
        return await this.#readOnce(filter, signal);
      }
      this.#following = page.nextPageToken;
      this.#problem.textContent = "";
      this.#expression.removeAttribute("aria-invalid");
      this.#paint(page.documents, filter !== "");
      return page.documents.some((one) => one.state === DocumentState.INDEXING);
    } catch (error) {
      if (signal.aborted) return false;
      const failure = failureOf(error);
      if (isShown && mayPass(failure)) return true;
      const mistake = filterProblem(failure);
      if (mistake) this.#expression.setAttribute("aria-invalid", "true");
      this.#following = "";
      this.#paint([], filter !== "");
      // The collection `default` does not exist before its first document.
      if (failure.reason !== "RESOURCE_NOT_FOUND" || !this.#isEmpty) {
        replace(this.#list);
        this.#problem.textContent = mistake ?? failure.message;
      }
      return false;
    }
  }

  /** Show the documents. Unchanged rows keep their nodes, so they keep the focus. */
  #paint(documents: readonly Document[], isFiltered: boolean): void {
    const before = new Map([...this.#list.children].map((row) => [row instanceof HTMLElement ? (row.dataset["etag"] ?? "") : "", row]));
    const rows = documents.map((one) => before.get(stamp(one)) ?? this.#row(one));
    arrange(this.#list, rows.length > 0 ? rows : [element("li", { class: "note" }, isFiltered ? t("noneFits") : this.#none)]);
    this.#shown = documents;
    const number = this.#tokens.length;
    const pages = number > 1 || this.#following !== "";
    this.#pages.hidden = !pages;
    this.#place.textContent = pages ? t("pageNumber", { number }) : "";
    this.#back.disabled = number === 1;
    this.#next.disabled = !this.#following;
    // One document needs neither an order nor a selection.
    this.#controls.hidden = documents.length < 2 && !isFiltered && !pages;
    this.#paintSelection();
  }

  #paintSelection(): void {
    const own = this.#shown.filter((one) => this.#mayDelete(one));
    this.#bulk.hidden = own.length < 2 && this.#selected.size === 0;
    this.#all.checked = own.length > 0 && own.every((one) => this.#selected.has(one.name));
    this.#all.indeterminate = !this.#all.checked && own.some((one) => this.#selected.has(one.name));
    this.#selection.textContent = this.#selected.size > 0 ? t("selected", { count: this.#selected.size }) : "";
    if (this.#selected.size === 0 && focused() === this.#remove) this.#all.focus();
    this.#remove.hidden = this.#selected.size === 0;
    for (const box of this.#list.querySelectorAll<HTMLInputElement>("input[type=checkbox]")) box.checked = this.#selected.has(box.value);
  }

  #selectAll(chosen: boolean): void {
    for (const one of this.#shown) if (this.#mayDelete(one)) this.#select(one, chosen);
    this.#paintSelection();
  }

  #mayDelete({ owner }: Document): boolean {
    return this.#managed || owner === this.#hooks.me.name;
  }

  #select(one: Document, chosen: boolean): void {
    if (chosen) this.#selected.set(one.name, titleOf(one));
    else this.#selected.delete(one.name);
  }

  #row(one: Document): HTMLElement {
    const title = cleanName(titleOf(one));
    const box = element("input", { type: "checkbox", value: one.name, "aria-label": t("select", { title }) });
    box.addEventListener("change", () => {
      this.#select(one, box.checked);
      this.#paintSelection();
    });
    const open = button(title, () => void this.#panel.openDocument(one.name, title, open), { class: "plain name", ...WRITTEN, disabled: one.version === 0 });
    const about = element("div", { class: "about" }, open);
    if (one.sourceKey !== titleOf(one)) about.append(element("span", { class: "note path", ...WRITTEN }, cleanName(one.sourceKey)));
    if (one.state === DocumentState.INDEXING) about.append(element("span", { class: "note" }, t("beingRead")));
    if (one.state === DocumentState.FAILED) about.append(element("span", { class: "problem" }, t("failed", { reason: one.error?.message ?? t("unknownError") })));
    const facts = element("span", { class: "note facts" }, [sizeOf(one.sizeBytes), one.createTime ? dateOf(timestampDate(one.createTime)) : ""].filter(Boolean).join(" · "));
    if (!this.#mayDelete(one)) return element("li", { "data-etag": stamp(one) }, about, facts);
    const remove = iconButton(Trash2, t("deleteOne", { title }), () => void this.#delete([[one.name, title]]), { class: "plain icon danger" });
    return element("li", { "data-etag": stamp(one) }, box, about, facts, remove);
  }

  async #deleteSelected(): Promise<void> {
    await this.#delete([...this.#selected]);
  }

  /** Delete documents, given as pairs of name and title, after a confirmation. If there are several, show what became of each. */
  async #delete(documents: readonly (readonly [name: string, title: string])[]): Promise<void> {
    const count = documents.length;
    const single = count === 1;
    const named = documents.slice(0, NAMED).map(([, title]) => t("quoted", { text: nameWithin(title) }));
    const titles = [...named, ...(count > NAMED ? [t("more", { count: count - NAMED })] : [])].join(", ");
    if (!(await confirmed({ title: t("deleteTitle", { count }), text: t("deleteText", { count, titles }), action: t("deleteAction", { count }) }))) return;
    const states = documents.map(() => element("span", { class: "note state" }, t("waiting")));
    const lines = documents.map(([, title], index) => element("li", {}, element("span", { class: "name", ...WRITTEN }, title), states[index]!));
    if (!single) {
      this.#showResults(lines);
      if (focused() === this.#remove) this.#all.focus();
      this.#remove.disabled = true; // a second deletion would replace the results of this one
    }
    let deleted = 0;
    let problem = "";
    let mayAsk = true; // a user who cancels the sign-in is not asked again for each document
    for (const [index, [name]] of documents.entries()) {
      const act = () => this.#api.knowledge.deleteDocument({ name });
      let state = t("deleted");
      let gone = true;
      try {
        await (mayAsk ? recently(this.#api, this.#hooks.me, act) : act());
        deleted += 1;
      } catch (error) {
        const failure = failureOf(error);
        gone = failure.reason === "RESOURCE_NOT_FOUND";
        if (failure.reason === "SIGN_IN_REQUIRED") mayAsk = false;
        problem = gone ? t("alreadyDeleted") : failure.message;
        state = gone ? problem : t("notDeleted", { reason: problem });
      }
      if (gone) this.#selected.delete(name);
      states[index]!.textContent = state;
      lines[index]!.className = gone ? "added" : "refused";
    }
    const sum = single ? t("documentDeleted") : t("deletedOf", { count, deleted });
    if (!single) {
      this.#results.querySelector("p")!.textContent = sum;
      this.#remove.disabled = false;
    }
    if (!single || deleted > 0) this.#hooks.say(sum);
    await this.#hooks.deleted();
    if (single && deleted === 0) this.#problem.textContent = problem; // reading the list again has removed it
  }

  #showResults(lines: readonly HTMLElement[]): void {
    const close = button(t("close"), () => {
      this.#results.hidden = true;
      (this.#bulk.hidden ? document.getElementById("collections-title") : this.#all)?.focus();
    });
    const heading = element("h3", { id: "results-title" }, t("deletion"));
    replace(this.#results, element("div", { class: "row" }, heading, close), element("p", { class: "note" }, t("deleting", { count: lines.length })), element("ul", {}, ...lines));
    this.#results.hidden = false;
  }
}

function titleOf(one: Document): string {
  return one.title || one.sourceKey;
}

/** A value that changes with the document. */
function stamp({ name, etag }: Document): string {
  return `${name} ${etag}`;
}

function choice(id: string, options: readonly (readonly [value: string, label: string])[], change: () => void): HTMLSelectElement {
  return element("select", { id, change }, ...options.map(([value, label]) => element("option", { value }, label)));
}
