/** The versions of a document: lists and restores them, and reads the file again. */

import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import { DocumentState, IngestResultSchema, type Document } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import type { DocumentVersion } from "@responsa/contract/responsa/knowledge/v1/document_version_pb.js";
import type { Api } from "../server/api.js";
import { ended, uuid } from "@responsa/client/parts.js";
import { confirmed } from "../widgets/dialog.js";
import { button, element, focused } from "../widgets/dom.js";
import { Listing, type Batch } from "../widgets/listing.js";
import { failureOf, failureOfStatus } from "../server/errors.js";
import { moment, originalOf, sizeOf } from "../text/facts.js";
import { t } from "../language/documents/texts.js";

export interface VersionsHooks {
  /** Show the text of a version. */
  readonly show: (version: DocumentVersion) => void;
  /** The document has a new version, so the list is out of date. */
  readonly changed: () => Promise<void>;
}

export class VersionsView {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "knowledge">;
  readonly #hooks: VersionsHooks;
  readonly #state = element("p", { class: "note", role: "status" });
  readonly #list = new Listing<DocumentVersion>({ label: t("versionsOf"), style: "versions", read: (token) => this.#read(token), row: (one) => this.#row(one), empty: () => "" });
  readonly #reread = button(t("readAgain"), () => void this.#readAgain(), { class: "quiet" });
  #document: Document | undefined;
  #mayChange = true;
  #signal = AbortSignal.abort();

  constructor(api: Pick<Api, "knowledge">, hooks: VersionsHooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.root = element("div", { class: "scrolling" }, element("div", { class: "row wrap" }, this.#reread), this.#state, this.#list.root);
  }

  /** Show the versions of a document. `mayChange`: whether to offer changes. The signal aborts when the panel shows something else. */
  async open(document: Document, mayChange: boolean, signal: AbortSignal): Promise<void> {
    this.#document = document;
    this.#mayChange = mayChange;
    this.#signal = signal;
    this.#list.clear();
    this.#state.textContent = mayChange ? "" : t("readOnly");
    this.#reread.hidden = document.version === 0 || !mayChange;
    await this.#list.refresh();
  }

  async #read(pageToken: string): Promise<Batch<DocumentVersion>> {
    const { versions, nextPageToken } = await this.#api.knowledge.listDocumentVersions({ parent: this.#document!.name, pageToken }, { signal: this.#signal });
    return { items: versions, next: nextPageToken };
  }

  #row(one: DocumentVersion): HTMLElement {
    const name = t("versionNumber", { version: one.version });
    const ready = one.state === DocumentState.READY;
    const labelled = (action: string) => ({ "aria-label": t("actOn", { action, what: name }) });
    const facts = [moment(one.createTime), sizeOf(one.sizeBytes), ready ? t("passageCount", { count: one.passageCount }) : "", one.parser && t("byParser", { parser: one.parser })];
    const actions = ready ? [button(t("show"), () => this.#hooks.show(one), labelled(t("show")))] : [];
    if (ready && !one.searchable && this.#mayChange) actions.push(button(t("restore"), () => void this.#restore(one), labelled(t("restore"))));
    const download = element("a", { href: originalOf(one.name), download: true, ...labelled(t("download")) }, t("download"));
    const state = one.searchable ? t("inUse") : ready ? "" : t("beingRead");
    return element(
      "li",
      {},
      element("div", { class: "about" }, element("strong", {}, name), element("span", { class: "note" }, [state, ...facts].filter(Boolean).join(" · "))),
      element("div", { class: "row wrap" }, ...actions, download),
    );
  }

  async #restore(one: DocumentVersion): Promise<void> {
    const { version } = one;
    const signal = this.#signal;
    if (!(await confirmed({ title: t("restoreTitle", { version }), text: t("restoreText", { version }), action: t("restore") })) || signal.aborted) return;
    await this.#done(() => this.#api.knowledge.restoreDocumentVersion({ name: one.name, requestId: uuid() }, { signal }), t("restored", { version }), t("alreadyUsed", { version }));
  }

  /** Read the file of the searchable version again, because the server may have a newer parser. */
  async #readAgain(): Promise<void> {
    const [signal, name] = [this.#signal, this.#document?.name];
    if (!name) return;
    await this.#done(() => this.#api.knowledge.reindexDocument({ name, requestId: uuid() }, { signal }), t("rereadNew"), t("rereadSame"));
  }

  /** Begin an operation and wait for its end. `done` and `unchanged` say how it ended. */
  async #done(begin: () => Promise<Operation>, done: string, unchanged: string): Promise<void> {
    const signal = this.#signal;
    this.#list.refuse("");
    this.#state.textContent = t("fileRead");
    try {
      const { result } = await ended(this.#api, await begin(), () => undefined, signal);
      if (signal.aborted) return;
      this.#state.textContent = "";
      if (result.case === "error") {
        this.#list.refuse(failureOfStatus(result.value).message);
        return;
      }
      const same = result.case === "response" && anyUnpack(result.value, IngestResultSchema)?.unchanged;
      if (!same) await this.#hooks.changed();
      if (signal.aborted) return;
      this.#state.textContent = same ? unchanged : done;
      if (!focused()) this.#reread.focus(); // the button that was pressed has gone with the old list
    } catch (error) {
      this.#failed(error, signal);
    }
  }

  #failed(error: unknown, signal: AbortSignal): void {
    if (signal.aborted) return;
    this.#state.textContent = "";
    this.#list.refuse(failureOf(error).message);
  }
}
