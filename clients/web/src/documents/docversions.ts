/** The versions of a document: lists, compares and restores them, and reads the file again. */

import { X } from "lucide";
import { anyUnpack, timestampDate } from "@bufbuild/protobuf/wkt";
import type { Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import { DocumentState, IngestResultSchema, type Document } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import { HunkKind, type DocumentVersion, type VersionHunk } from "@responsa/contract/responsa/knowledge/v1/document_version_pb.js";
import type { Api } from "../server/api.js";
import { diffWordsWithSpace } from "diff";
import { byteLength, ended, uuid } from "@responsa/client/parts.js";
import { clean } from "../text/clean.js";
import { confirmed } from "../widgets/dialog.js";
import { button, element, focused, replace } from "../widgets/dom.js";
import { iconButton } from "../widgets/icons.js";
import { READ_ONLY } from "./docdetails.js";
import { failureOf, failureOfStatus } from "../server/errors.js";
import { count, momentOf, originalOf, sizeOf } from "../text/facts.js";
import { unrendered } from "../text/markdown.js";
import { made } from "../text/paint.js";

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
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #list = element("ul", { class: "versions", "aria-label": "Versions of the document" });
  readonly #reread = button("Read the file again", () => void this.#readAgain(), { class: "quiet" });
  readonly #more = button("Show older versions", () => void this.#further(), { hidden: true });
  readonly #comparison = element("section", { class: "comparison", "aria-labelledby": "comparison-title", hidden: true });
  #document: Document | undefined;
  #mayChange = true;
  #versions: readonly DocumentVersion[] = [];
  #next = "";
  #signal = AbortSignal.abort();

  constructor(api: Pick<Api, "knowledge">, hooks: VersionsHooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.root = element("div", { class: "scrolling" }, element("div", { class: "row wrap" }, this.#reread), this.#state, this.#problem, this.#comparison, this.#list, this.#more);
  }

  /** Show the versions of a document. `mayChange`: whether to offer changes. The signal aborts when the panel shows something else. */
  async open(document: Document, mayChange: boolean, signal: AbortSignal): Promise<void> {
    this.#document = document;
    this.#mayChange = mayChange;
    this.#signal = signal;
    this.#comparison.hidden = this.#more.hidden = true;
    this.#problem.textContent = "";
    this.#state.textContent = mayChange ? "" : READ_ONLY;
    this.#reread.hidden = document.version === 0 || !mayChange;
    replace(this.#list);
    this.#versions = [];
    this.#next = "";
    await this.#further();
  }

  async #further(): Promise<void> {
    const [signal, document, pageToken] = [this.#signal, this.#document, this.#next];
    if (!document) return;
    try {
      const page = await this.#api.knowledge.listDocumentVersions({ parent: document.name, pageToken }, { signal });
      if (signal.aborted || pageToken !== this.#next) return; // the second of two clicks
      const rows = page.versions.map((one) => this.#row(one));
      this.#versions = pageToken ? [...this.#versions, ...page.versions] : page.versions;
      if (!pageToken) replace(this.#list);
      this.#list.append(...rows);
      if (pageToken) rows[0]?.querySelector("button")?.focus();
      this.#next = page.nextPageToken;
      this.#more.hidden = !this.#next;
    } catch (error) {
      this.#failed(error, signal);
    }
  }

  #row(one: DocumentVersion): HTMLElement {
    const name = `Version ${one.version}`;
    const ready = one.state === DocumentState.READY;
    const labelled = (action: string) => ({ "aria-label": `${action} ${name.toLowerCase()}` });
    const compare = button("Compare", () => void this.#compare(one), { ...labelled("Compare"), "data-compare": String(one.version) });
    const facts = [one.createTime ? momentOf(timestampDate(one.createTime)) : "", sizeOf(one.sizeBytes), ready ? count(one.passageCount, "passage") : "", one.parser && `parser ${one.parser}`];
    const actions = ready ? [button("Show", () => this.#hooks.show(one), labelled("Show"))] : [];
    if (ready && !one.searchable) {
      actions.push(compare);
      if (this.#mayChange) actions.push(button("Restore", () => void this.#restore(one), labelled("Restore")));
    }
    const download = element("a", { href: originalOf(one.name), download: true, ...labelled("Download") }, "Download");
    const state = one.searchable ? "searches use this version" : ready ? "" : "being read…";
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
    this.#problem.textContent = "";
    try {
      const { hunks, base, other, cut } = await this.#api.knowledge.compareDocumentVersions({ name: one.name, ...(otherVersion && { otherVersion }) }, { signal });
      if (!signal.aborted && base && other) this.#showComparison(base, other, hunks, cut);
    } catch (error) {
      this.#failed(error, signal);
    }
  }

  #showComparison(base: DocumentVersion, other: DocumentVersion, hunks: readonly VersionHunk[], cut: boolean): void {
    const changed = !this.#comparison.hidden && this.#comparison.contains(document.activeElement);
    const heading = element("h3", { id: "comparison-title", tabindex: "-1" }, `Version ${base.version} compared with`);
    const others = this.#versions.filter((one) => one.state === DocumentState.READY && one.version !== base.version);
    const picker = element(
      "select",
      { id: "compared-with", "aria-label": "Compare with", change: () => void this.#compare(base, Number(picker.value)) },
      ...others.map(({ version, searchable }) => element("option", { value: String(version), selected: version === other.version }, `version ${version}${searchable ? " (in use)" : ""}`)),
    );
    const same = hunks.every((one) => one.kind === HunkKind.EQUAL);
    const about = same ? "Both versions have the same text." : `Only version ${base.version} has the lines marked −, and only version ${other.version} has the lines marked +.`;
    const shut = () => {
      this.#comparison.hidden = true;
      this.#list.querySelector<HTMLElement>(`[data-compare="${base.version}"]`)?.focus();
    };
    const close = iconButton(X, "Close the comparison", shut);
    replace(
      this.#comparison,
      element("div", { class: "row" }, heading, picker, close),
      element("p", { class: "note" }, `${about}${cut ? " The texts differ in more places than are shown." : ""}`),
      element("div", { class: "hunks", tabindex: "0", role: "region", "aria-label": "Differences" }, ...(same ? [] : hunks.flatMap(hunkRows))),
    );
    this.#comparison.hidden = false;
    if (changed) picker.focus();
    else heading.focus();
    heading.scrollIntoView({ block: "nearest" });
    this.#hooks.say(same ? about : "Comparison shown.");
  }

  async #restore(one: DocumentVersion): Promise<void> {
    const text = `A new version with the file of version ${one.version} will replace the current version in searches. The current version stays in this list, and earlier answers keep their quotes.`;
    const signal = this.#signal;
    if (!(await confirmed({ title: `Restore version ${one.version}?`, text, action: "Restore" })) || signal.aborted) return;
    await this.#done(() => this.#api.knowledge.restoreDocumentVersion({ name: one.name, requestId: uuid() }, { signal }), `Version ${one.version} is restored.`, `Version ${one.version} is already in use.`);
  }

  /** Read the file of the searchable version again, because the server may have a newer parser. */
  async #readAgain(): Promise<void> {
    const [signal, name] = [this.#signal, this.#document?.name];
    if (!name) return;
    await this.#done(() => this.#api.knowledge.reindexDocument({ name, requestId: uuid() }, { signal }), "The file was read again. Its text has changed and is a new version.", "The file was read again. Its text is the same.");
  }

  /** Begin an operation and wait for its end. `done` and `unchanged` say how it ended. */
  async #done(begin: () => Promise<Operation>, done: string, unchanged: string): Promise<void> {
    const signal = this.#signal;
    this.#problem.textContent = "";
    this.#state.textContent = "The file is being read…";
    try {
      const { result } = await ended(this.#api, await begin(), () => undefined, signal);
      if (signal.aborted) return;
      this.#state.textContent = "";
      if (result.case === "error") {
        this.#problem.textContent = failureOfStatus(result.value).message;
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
    this.#problem.textContent = failureOf(error).message;
  }
}

function hunkRows({ kind, baseText, otherText, baseRange, otherRange }: VersionHunk): HTMLElement[] {
  if (kind === HunkKind.EQUAL) return [element("p", { class: "note", "aria-label": "Lines that both versions have" }, "⋯")];
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
  const words = clean(unrendered(text)).map(made);
  return isMarked && text.trim() ? [element("b", {}, ...words)] : words;
}

/** The lines of one side. `rest`: the number of bytes that the server left out. */
function lines(tag: "del" | "ins", parts: readonly Node[][], rest: number): HTMLElement {
  const note = rest > 0 ? [element("span", { class: "note" }, ` … and ${sizeOf(BigInt(rest))} more`)] : [];
  const sign = tag === "del" ? "−" : "+";
  return element("div", { class: tag }, element("span", { class: "sign" }, sign), element(tag, { dir: "auto" }, ...parts.flat(), ...note));
}

function lengthOf(range: { readonly start: bigint; readonly end: bigint } | undefined): number {
  return range ? Number(range.end - range.start) : 0;
}
