/** The versions of a document: lists, compares and restores them, and reads the file again. */

import { X } from "lucide";
import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import { DocumentState, IngestResultSchema, type Document } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import { HunkKind, type DocumentVersion, type VersionHunk } from "@responsa/contract/responsa/knowledge/v1/document_version_pb.js";
import type { Api } from "../server/api.js";
import { diffWordsWithSpace } from "diff";
import { byteLength, ended, uuid } from "@responsa/client/parts.js";
import { confirmed } from "../widgets/dialog.js";
import { button, element, focused, replace } from "../widgets/dom.js";
import { iconButton } from "../widgets/icons.js";
import { Listing, type Batch } from "../widgets/listing.js";
import { failureOf, failureOfStatus } from "../server/errors.js";
import { moment, originalOf, sizeOf } from "../text/facts.js";
import { unrendered } from "../text/markdown.js";
import { made } from "../text/paint.js";
import { t } from "../language/documents/texts.js";

/** The number of differing words in replaced lines up to which they are marked. Lines that differ in more words have little in common. */
const MOST_EDITS = 200;

export interface VersionsHooks {
  readonly say: (text: string) => void;
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
  readonly #comparison = element("section", { class: "comparison", "aria-labelledby": "comparison-title", hidden: true });
  #document: Document | undefined;
  #mayChange = true;
  #versions: readonly DocumentVersion[] = [];
  #signal = AbortSignal.abort();

  constructor(api: Pick<Api, "knowledge">, hooks: VersionsHooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.root = element("div", { class: "scrolling" }, element("div", { class: "row wrap" }, this.#reread), this.#state, this.#comparison, this.#list.root);
  }

  /** Show the versions of a document. `mayChange`: whether to offer changes. The signal aborts when the panel shows something else. */
  async open(document: Document, mayChange: boolean, signal: AbortSignal): Promise<void> {
    this.#document = document;
    this.#mayChange = mayChange;
    this.#signal = signal;
    this.#comparison.hidden = true;
    this.#list.clear();
    this.#versions = [];
    this.#state.textContent = mayChange ? "" : t("readOnly");
    this.#reread.hidden = document.version === 0 || !mayChange;
    await this.#list.refresh();
  }

  async #read(pageToken: string): Promise<Batch<DocumentVersion>> {
    const signal = this.#signal;
    const { versions, nextPageToken } = await this.#api.knowledge.listDocumentVersions({ parent: this.#document!.name, pageToken }, { signal });
    if (!signal.aborted) this.#versions = pageToken ? [...this.#versions, ...versions] : versions;
    return { items: versions, next: nextPageToken };
  }

  #row(one: DocumentVersion): HTMLElement {
    const name = t("versionNumber", { version: one.version });
    const ready = one.state === DocumentState.READY;
    const labelled = (action: string) => ({ "aria-label": t("actOn", { action, what: name }) });
    const compare = button(t("compare"), () => void this.#compare(one), { ...labelled(t("compare")), "data-compare": String(one.version) });
    const facts = [moment(one.createTime), sizeOf(one.sizeBytes), ready ? t("passageCount", { count: one.passageCount }) : "", one.parser && t("byParser", { parser: one.parser })];
    const actions = ready ? [button(t("show"), () => this.#hooks.show(one), labelled(t("show")))] : [];
    if (ready && !one.searchable) {
      actions.push(compare);
      if (this.#mayChange) actions.push(button(t("restore"), () => void this.#restore(one), labelled(t("restore"))));
    }
    const download = element("a", { href: originalOf(one.name), download: true, ...labelled(t("download")) }, t("download"));
    const state = one.searchable ? t("inUse") : ready ? "" : t("beingRead");
    return element(
      "li",
      {},
      element("div", { class: "about" }, element("strong", {}, name), element("span", { class: "note" }, [state, ...facts].filter(Boolean).join(" · "))),
      element("div", { class: "row wrap" }, ...actions, download),
    );
  }

  /** Compare a version with another one, by default with the version that searches use. */
  async #compare(one: DocumentVersion, otherVersion?: number): Promise<void> {
    const signal = this.#signal;
    this.#list.refuse("");
    try {
      const { hunks, base, other, cut } = await this.#api.knowledge.compareDocumentVersions({ name: one.name, ...(otherVersion && { otherVersion }) }, { signal });
      if (!signal.aborted && base && other) this.#showComparison(base, other, hunks, cut);
    } catch (error) {
      this.#failed(error, signal);
    }
  }

  #showComparison(base: DocumentVersion, other: DocumentVersion, hunks: readonly VersionHunk[], cut: boolean): void {
    const changed = !this.#comparison.hidden && this.#comparison.contains(document.activeElement);
    const heading = element("h3", { id: "comparison-title", tabindex: "-1" }, t("comparedWith", { version: base.version }));
    const others = this.#versions.filter((one) => one.state === DocumentState.READY && one.version !== base.version);
    const picker = element(
      "select",
      { id: "compared-with", "aria-label": t("compareWith"), change: () => void this.#compare(base, Number(picker.value)) },
      ...others.map(({ version, searchable }) => element("option", { value: String(version), selected: version === other.version }, t(searchable ? "otherInUse" : "otherVersion", { version }))),
    );
    const same = hunks.every((one) => one.kind === HunkKind.EQUAL);
    const about = same ? t("sameText") : t("signs", { base: base.version, other: other.version });
    const shut = () => {
      this.#comparison.hidden = true;
      this.#list.root.querySelector<HTMLElement>(`[data-compare="${base.version}"]`)?.focus();
    };
    const close = iconButton(X, t("closeComparison"), shut);
    replace(
      this.#comparison,
      element("div", { class: "row" }, heading, picker, close),
      element("p", { class: "note" }, `${about}${cut ? t("cutDifferences") : ""}`),
      element("div", { class: "hunks", tabindex: "0", role: "region", "aria-label": t("differences") }, ...(same ? [] : hunks.flatMap(hunkRows))),
    );
    this.#comparison.hidden = false;
    if (changed) picker.focus();
    else heading.focus();
    heading.scrollIntoView({ block: "nearest" });
    this.#hooks.say(same ? about : t("comparisonShown"));
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

function hunkRows({ kind, baseText, otherText, baseRange, otherRange }: VersionHunk): HTMLElement[] {
  if (kind === HunkKind.EQUAL) return [element("p", { class: "note", "aria-label": t("bothHave") }, "⋯")];
  // In lines that replace others, the words that differ are marked.
  const found = kind === HunkKind.REPLACED ? diffWordsWithSpace(baseText, otherText, { maxEditLength: MOST_EDITS }) : undefined;
  const words = found?.some((one) => !one.added && !one.removed && /\p{L}|\p{N}/u.test(one.value)) ? found : undefined;
  const base = words?.filter((one) => !one.added).map((one) => part(one.value, one.removed)) ?? [part(baseText, false)];
  const other = words?.filter((one) => !one.removed).map((one) => part(one.value, one.added)) ?? [part(otherText, false)];
  return [
    ...(kind === HunkKind.INSERTED ? [] : [lines("del", base, lengthOf(baseRange) - byteLength(baseText))]),
    ...(kind === HunkKind.DELETED ? [] : [lines("ins", other, lengthOf(otherRange) - byteLength(otherText))]),
  ];
}

function part(text: string, isMarked: boolean): Node[] {
  const words = unrendered(text).map(made);
  return isMarked && text.trim() ? [element("b", {}, ...words)] : words;
}

/** The lines of one side. `rest`: the number of bytes that the server left out. */
function lines(tag: "del" | "ins", parts: readonly Node[][], rest: number): HTMLElement {
  const note = rest > 0 ? [element("span", { class: "note" }, t("andMore", { size: sizeOf(BigInt(rest)) }))] : [];
  const sign = tag === "del" ? "−" : "+";
  return element("div", { class: tag }, element("span", { class: "sign" }, sign), element(tag, { dir: "auto" }, ...parts.flat(), ...note));
}

function lengthOf(range: { readonly start: bigint; readonly end: bigint } | undefined): number {
  return range ? Number(range.end - range.start) : 0;
}
