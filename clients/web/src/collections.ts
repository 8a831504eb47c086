/** Shows collections: lists, adds and deletes their documents. */

import { DocumentState, type Document } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import type { Api } from "./api.js";
import { uuid } from "./bytes.js";
import { confirmed, prompted } from "./dialog.js";
import type { DocumentPanel } from "./document.js";
import { button, element, replace, WRITTEN } from "./dom.js";
import { failureOf } from "./errors.js";
import { PATIENCE } from "./patience.js";
import { allCollections, allFormats, collectionId, DEFAULT, type Listed, type Named } from "./library.js";
import { UploadsView, type UploadHooks } from "./uploads.js";

const PAGE = 50;
const LOOK_AGAIN = 2_000; // milliseconds between checks while the server reads a document

export interface CollectionsHooks extends Omit<UploadHooks, "taken"> {
  /** Documents or collections changed. */
  readonly changed: () => void;
  /** The user wants to ask this collection. */
  readonly ask: (collection: Named) => void;
}

export class CollectionsView {
  readonly root = element("section", { class: "collections", "aria-labelledby": "collections-title" });
  readonly #api: Api;
  readonly #panel: DocumentPanel;
  readonly #hooks: CollectionsHooks;
  readonly #heading = element("h2", { id: "collections-title", tabindex: "-1" }, "Documents");
  readonly #picker = element("select", { id: "collection", change: () => this.#choose() });
  readonly #list = element("ul", { class: "documents", "aria-label": "Documents of the collection" });
  readonly #more = button("Show more", () => void this.#further(), { hidden: true });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #remove = button("Delete collection", () => void this.#deleteCollection(), { class: "plain danger" });
  readonly #uploads: UploadsView;
  readonly #files = element("input", { type: "file", id: "files", multiple: true });
  readonly #accepted = element("span", { class: "note" });
  #collections: readonly Listed[] = [DEFAULT];
  #wanted = DEFAULT.name;
  #refreshes = 0;
  #next = "";
  #reading = new AbortController();

  constructor(api: Api, panel: DocumentPanel, hooks: CollectionsHooks) {
    this.#api = api;
    this.#panel = panel;
    this.#hooks = hooks;
    this.#uploads = new UploadsView(api, {
      ...hooks,
      taken: (collection) => {
        this.#hooks.changed();
        if (collection === this.#chosen.name) void this.refresh();
      },
    });
    const files = this.#files;
    files.addEventListener("change", () => {
      this.#uploads.add(files.files ?? [], this.#chosen);
      files.value = "";
    });
    const drop = element(
      "div",
      { class: "drop" },
      files,
      element("label", { for: "files", class: "button" }, "Add documents"),
      this.#accepted,
    );
    const over = (event: Event) => {
      event.preventDefault();
      drop.classList.add("over");
    };
    drop.addEventListener("dragenter", over);
    drop.addEventListener("dragover", over);
    drop.addEventListener("dragleave", () => drop.classList.remove("over"));
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      drop.classList.remove("over");
      this.#uploads.add(event.dataTransfer?.files ?? [], this.#chosen);
    });
    this.root.append(
      this.#heading,
      element(
        "div",
        { class: "row wrap" },
        element("label", { for: "collection" }, "Collection"),
        this.#picker,
        button("New collection", () => void this.#create(), { class: "quiet" }),
        button("Ask this collection", () => this.#hooks.ask(this.#chosen), { class: "quiet" }),
        this.#remove,
      ),
      drop,
      this.#uploads.root,
      this.#problem,
      this.#list,
      this.#more,
    );
  }

  focus(): void {
    this.#heading.focus();
  }

  /** Read collections and documents again, and select `wanted` (by default the selected collection). */
  async refresh(wanted = this.#wanted): Promise<void> {
    this.#wanted = wanted;
    const refresh = (this.#refreshes += 1);
    try {
      const [found, formats] = await Promise.all([allCollections(this.#api), allFormats(this.#api)]);
      if (refresh !== this.#refreshes) return; // a later call will show the newer result
      this.#collections = found.some((one) => one.name === DEFAULT.name) ? found : [DEFAULT, ...found];
      this.#problem.textContent = "";
      this.#files.accept = formats.flatMap((one) => one.suffixes).join(",");
      const names = new Intl.ListFormat("en-GB", { type: "disjunction" }).format(formats.map((one) => one.displayName));
      this.#accepted.textContent = `${names}, at most 64 MiB each. You can drop files here.`;
      const options = this.#collections.map((one) =>
        element("option", { value: one.name, selected: one.name === this.#chosen.name }, `${one.label} (${one.documents})`),
      );
      replace(this.#picker, ...options);
    } catch (error) {
      this.#problem.textContent = failureOf(error).message;
      return;
    }
    await this.#documents();
  }

  get #chosen(): Listed {
    return this.#collections.find((one) => one.name === this.#wanted) ?? DEFAULT;
  }

  #choose(): void {
    this.#wanted = this.#picker.value;
    void this.#documents();
  }

  async #documents(): Promise<void> {
    this.#reading.abort();
    this.#reading = new AbortController();
    const { signal } = this.#reading;
    const { name, documents } = this.#chosen;
    this.#remove.hidden = name === DEFAULT.name;
    while (!signal.aborted) {
      try {
        const page = await this.#api.knowledge.listDocuments({ parent: name, pageSize: PAGE }, { signal });
        if (signal.aborted) return;
        this.#next = page.nextPageToken;
        this.#more.hidden = !this.#next;
        const rows = page.documents.map((one) => this.#row(one));
        this.#shown(rows.length > 0 ? rows : [element("li", { class: "note" }, "No documents yet.")]);
        if (!page.documents.some((one) => one.state === DocumentState.INDEXING)) return;
      } catch (error) {
        if (signal.aborted) return;
        const failure = failureOf(error);
        this.#more.hidden = true;
        // The collection `default` does not exist before its first document.
        const empty = failure.reason === "RESOURCE_NOT_FOUND" && documents === 0n;
        replace(this.#list, element("li", { class: empty ? "note" : "problem" }, empty ? "No documents yet." : failure.message));
        return;
      }
      await PATIENCE.sleep(LOOK_AGAIN, signal);
      if (!this.root.isConnected) return; // the user has left this view, which reads the list again at the next visit
    }
  }

  /** Show the rows. Unchanged rows keep their nodes, so they keep the focus. */
  #shown(rows: readonly HTMLElement[]): void {
    const before = new Map([...this.#list.children].map((row) => [row instanceof HTMLElement ? (row.dataset["etag"] ?? "") : "", row]));
    replace(this.#list, ...rows.map((row) => (row.dataset["etag"] && before.get(row.dataset["etag"])) || row));
  }

  async #further(): Promise<void> {
    const { signal } = this.#reading;
    try {
      const page = await this.#api.knowledge.listDocuments({ parent: this.#chosen.name, pageSize: PAGE, pageToken: this.#next }, { signal });
      if (signal.aborted) return;
      this.#next = page.nextPageToken;
      const rows = page.documents.map((one) => this.#row(one));
      this.#list.append(...rows);
      rows[0]?.querySelector("button")?.focus();
      this.#more.hidden = !this.#next;
    } catch (error) {
      if (!signal.aborted) this.#problem.textContent = failureOf(error).message;
    }
  }

  #row(one: Document): HTMLElement {
    const title = one.title || one.sourceKey;
    const open = button(title, () => void this.#panel.openDocument(one.name, title, open), { class: "plain name", ...WRITTEN, disabled: one.version === 0 });
    const key = one.sourceKey === title ? "" : one.sourceKey;
    const about = element("div", { class: "about" }, open, element("span", { class: "note", ...WRITTEN }, key));
    if (one.state === DocumentState.INDEXING) about.append(element("span", { class: "note" }, "being read…"));
    if (one.state === DocumentState.FAILED) about.append(element("span", { class: "problem" }, `Failed: ${one.error?.message ?? "unknown error"}`));
    const row = element("li", { "data-etag": `${one.name} ${one.etag}` }, about);
    row.append(button("Delete", () => void this.#delete(one, title), { class: "plain danger", "aria-label": `Delete ${title}` }));
    return row;
  }

  async #create(): Promise<void> {
    const requestId = uuid();
    const idOf = (name: string) => collectionId(name) || `collection-${requestId.slice(0, 8)}`;
    let made = "";
    const create = async (displayName: string) => {
      made = (await this.#api.knowledge.createCollection({ collectionId: idOf(displayName), collection: { displayName } })).name;
    };
    const done = await prompted({
      title: "New collection",
      label: "Name",
      value: "",
      maxLength: 100,
      action: "Create",
      note: (name) => (name.trim() ? `The collection’s id will be ${idOf(name)}` : "A question can search a single collection."),
      act: create,
    });
    if (!done) return;
    this.#hooks.say("Collection created.");
    this.#hooks.changed();
    await this.refresh(made);
  }

  async #deleteCollection(): Promise<void> {
    const { name, label } = this.#chosen;
    const text = `“${label}” and all its documents will be deleted. New answers cannot use them; earlier answers keep their quotes.`;
    if (!(await confirmed({ title: "Delete the collection?", text, action: "Delete" }))) return;
    await this.#changed(() => this.#api.knowledge.deleteCollection({ name, force: true }), "Collection deleted.");
  }

  async #delete({ name }: Document, title: string): Promise<void> {
    const text = `“${title}” will be deleted. New answers cannot use it; earlier answers keep their quotes.`;
    if (!(await confirmed({ title: "Delete the document?", text, action: "Delete" }))) return;
    await this.#changed(() => this.#api.knowledge.deleteDocument({ name }), "Document deleted.");
  }

  async #changed(act: () => Promise<unknown>, done: string): Promise<void> {
    try {
      await act();
    } catch (error) {
      this.#problem.textContent = failureOf(error).message;
      return;
    }
    this.#hooks.say(done);
    this.#hooks.changed();
    await this.refresh();
    this.focus();
  }
}
