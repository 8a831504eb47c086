/** Collections: what is in them, taking in more with progress, taking out. */

import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { OperationSchema, type Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import {
  DocumentState,
  IngestMetadataSchema,
  IngestResultSchema,
  IngestStage,
  type Document,
} from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import { createRegistry, fromJson, type JsonValue } from "@bufbuild/protobuf";
import { ErrorInfoSchema, BadRequestSchema } from "@responsa/contract/google/rpc/error_details_pb.js";
import type { Api } from "./api.js";
import type { DocumentPanel } from "./document.js";
import { element, replace } from "./dom.js";
import { failureOf } from "./errors.js";

const registry = createRegistry(IngestMetadataSchema, IngestResultSchema, ErrorInfoSchema, BadRequestSchema);

export class CollectionsView {
  readonly root = element("section", { class: "collections", "aria-labelledby": "collections-title" });
  readonly #api: Api;
  readonly #panel: DocumentPanel;
  readonly #announce: (text: string) => void;
  readonly #picker = element("select", { id: "collection", change: () => void this.#documents() });
  readonly #list = element("ul", { class: "documents" });
  readonly #uploads = element("ul", { class: "uploads", "aria-label": "Uploads" });
  readonly #more = element("button", { type: "button", class: "plain", hidden: true, click: () => void this.#documents(true) }, "Show more");
  #next = "";

  constructor(api: Api, panel: DocumentPanel, announce: (text: string) => void) {
    this.#api = api;
    this.#panel = panel;
    this.#announce = announce;
    const files = element("input", { type: "file", id: "files", multiple: true, accept: ".md,.markdown,.txt,.html,.htm" });
    files.addEventListener("change", () => {
      for (const file of files.files ?? []) void this.#upload(file);
      files.value = "";
    });
    const drop = element(
      "div",
      { class: "drop" },
      element("label", { for: "files", class: "button" }, "Add documents"),
      files,
      element("span", { class: "note" }, "Markdown, text or HTML, up to 64 MiB each. Files can be dropped here."),
    );
    drop.addEventListener("dragover", (event) => event.preventDefault());
    drop.addEventListener("drop", (event) => {
      event.preventDefault();
      for (const file of event.dataTransfer?.files ?? []) void this.#upload(file);
    });
    this.root.append(
      element("h2", { id: "collections-title" }, "Documents"),
      element("div", { class: "row" }, element("label", { for: "collection" }, "Collection"), this.#picker),
      drop,
      this.#uploads,
      this.#list,
      this.#more,
    );
  }

  async show(): Promise<void> {
    try {
      const wanted = this.#picker.value || "collections/default";
      const names: { name: string; label: string }[] = [];
      let pageToken = "";
      do {
        const page = await this.#api.knowledge.listCollections({ pageSize: 200, pageToken });
        for (const one of page.collections) {
          const id = one.name.replace("collections/", "");
          names.push({ name: one.name, label: `${one.displayName || id} (${one.documentCount})` });
        }
        pageToken = page.nextPageToken;
      } while (pageToken);
      if (!names.some((one) => one.name === "collections/default")) names.unshift({ name: "collections/default", label: "default (0)" });
      replace(this.#picker, ...names.map((one) => element("option", { value: one.name, selected: one.name === wanted }, one.label)));
      await this.#documents();
    } catch (error) {
      replace(this.#list, element("li", { class: "problem" }, failureOf(error).message));
    }
  }

  async #documents(further = false): Promise<void> {
    try {
      const page = await this.#api.knowledge.listDocuments({
        parent: this.#picker.value,
        pageSize: 50,
        pageToken: further ? this.#next : "",
      });
      this.#next = page.nextPageToken;
      this.#more.hidden = !this.#next;
      const rows = page.documents.map((one) => this.#row(one));
      if (further) this.#list.append(...rows);
      else if (rows.length > 0) replace(this.#list, ...rows);
      else replace(this.#list, element("li", { class: "note" }, "No documents yet."));
    } catch (error) {
      this.#more.hidden = true;
      const failure = failureOf(error);
      // The collection `default` is made by its first document.
      const text = failure.reason === "RESOURCE_NOT_FOUND" ? "No documents yet." : failure.message;
      replace(this.#list, element("li", { class: "note" }, text));
    }
  }

  #row(one: Document): HTMLElement {
    const state =
      one.state === DocumentState.INDEXING ? "being read" : one.state === DocumentState.FAILED ? `failed: ${one.error?.message ?? ""}` : "";
    const row = element(
      "li",
      {},
      element("button", { type: "button", class: "plain name", click: () => void this.#panel.openDocument(one.name, one.title) }, one.title || one.sourceKey),
      element("span", { class: "note" }, [one.sourceKey, state].filter(Boolean).join(" · ")),
      element(
        "button",
        { type: "button", class: "plain danger", "aria-label": `Delete ${one.title || one.sourceKey}`, click: () => void this.#delete(one) },
        "Delete",
      ),
    );
    return row;
  }

  async #delete(one: Document): Promise<void> {
    if (!window.confirm(`Delete “${one.title || one.sourceKey}”? Nothing will be answered from it any more.`)) return;
    try {
      await this.#api.knowledge.deleteDocument({ name: one.name });
      this.#announce("Document deleted.");
    } catch (error) {
      this.#announce(failureOf(error).message);
    }
    await this.show();
  }

  async #upload(file: File): Promise<void> {
    const bar = element("progress", { max: "1", value: "0", "aria-label": `Progress of ${file.name}` });
    const state = element("span", { class: "note" }, "sending");
    const row = element("li", {}, element("span", {}, file.name), bar, state);
    this.#uploads.append(row);
    try {
      let operation = await send(file, this.#picker.value || "collections/default", (share) => bar.setAttribute("value", String(share / 3)));
      while (!operation.done) {
        showProgress(operation, bar, state);
        operation = await this.#api.operations.waitOperation({ name: operation.name, timeout: { seconds: 1n, nanos: 0 } });
      }
      if (operation.result.case === "error") throw new Error(operation.result.value.message);
      const result = operation.result.case === "response" ? anyUnpack(operation.result.value, IngestResultSchema) : undefined;
      bar.setAttribute("value", "1");
      state.textContent = result?.unchanged ? "unchanged" : "searchable";
      this.#announce(`${file.name} is searchable.`);
      row.classList.add("done");
      await this.show();
    } catch (error) {
      bar.remove();
      row.classList.add("problem");
      state.textContent = error instanceof Error ? error.message : String(error);
      this.#announce(`${file.name}: ${state.textContent}`);
    }
  }
}

function showProgress(operation: Operation, bar: HTMLElement, state: HTMLElement): void {
  const progress = operation.metadata ? anyUnpack(operation.metadata, IngestMetadataSchema) : undefined;
  if (!progress) return;
  if (progress.stage === IngestStage.EMBEDDING && progress.passagesTotal > 0) {
    bar.setAttribute("value", String(1 / 3 + (2 / 3) * (progress.passagesDone / progress.passagesTotal)));
    state.textContent = `${progress.passagesDone} of ${progress.passagesTotal} passages`;
  } else {
    state.textContent = progress.stage === IngestStage.QUEUED ? "waiting" : "being read";
  }
}

/** Browsers cannot stream a request, and only XMLHttpRequest tells how much of a body is gone. */
function send(file: File, collection: string, onShare: (share: number) => void): Promise<Operation> {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const query = new URLSearchParams({ collection, source_key: file.name });
    if (file.type) query.set("media_type", file.type);
    request.open("PUT", `/v1/uploads?${query}`);
    request.upload.addEventListener("progress", (event) => {
      if (event.lengthComputable) onShare(event.loaded / event.total);
    });
    request.addEventListener("error", () => reject(new Error("The connection was lost; send the file again.")));
    request.addEventListener("load", () => {
      try {
        const body = JSON.parse(request.responseText) as JsonValue;
        if (request.status === 200) resolve(fromJson(OperationSchema, body, { registry }));
        else reject(new Error((body as { message?: string }).message ?? "The file was not taken."));
      } catch {
        reject(new Error("The file was not taken; the server's answer could not be read."));
      }
    });
    request.send(file);
  });
}
