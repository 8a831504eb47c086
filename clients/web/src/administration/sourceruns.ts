/** Runs a source, follows its newest run, and lists the rows or files that made no document. */

import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import { SyncMetadataSchema, SyncResultSchema, type FailedRow, type Source } from "@responsa/contract/responsa/admin/v1/source_pb.js";
import { confirmed } from "../widgets/dialog.js";
import { button, element, replace } from "../widgets/dom.js";
import { failureOf, failureOfStatus } from "../server/errors.js";
import { textEntry } from "../widgets/fields.js";
import { t } from "../language/administration/texts.js";
import { moment } from "../text/facts.js";
import { ResourceList, type Stage } from "../widgets/resourcelist.js";
import type { Api } from "../server/api.js";
import { ended } from "@responsa/client/parts.js";
import { progressText, resultText } from "./mapping.js";
import { nameWithin } from "../text/names.js";

export type SourcesApi = Pick<Api, "admin" | "knowledge" | "operations">;

export class SourceRuns {
  readonly root: HTMLElement;
  readonly #api: SourcesApi;
  readonly #say: (text: string) => void;
  readonly #ended: () => Promise<void>;
  readonly #subject = textEntry(t("onlySubject"), { maxlength: "200" }, t("onlySubjectNote"));
  readonly #begin = element("button", { type: "submit" }, t("runNow"));
  readonly #cancel = button(t("cancelRun"), () => void this.#stop(), { class: "quiet", hidden: true });
  readonly #allow = button(t("deleteThose"), () => void this.#confirm(), { class: "plain danger", hidden: true });
  readonly #retry = button(t("tryRows"), () => void this.#run((name) => this.#api.admin.retryFailedRows({ name })), { class: "quiet" });
  readonly #state = element("p", { class: "lines" });
  readonly #bar = element("progress", { "aria-label": t("runProgress"), hidden: true });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #list = element("div");
  #failed: Stage | undefined;
  #source: Source | undefined;
  #showing = new AbortController();
  #running = "";
  /** The run that is shown. */
  #newest = "";
  /** The subject and the number of deletions of the run that must be confirmed. */
  #unconfirmed = { subject: "", text: "" };

  /** `ended`: a run has ended. */
  constructor(api: SourcesApi, say: (text: string) => void, ended: () => Promise<void>) {
    this.#api = api;
    this.#say = say;
    this.#ended = ended;
    const form = element("form", { class: "search-form", "aria-label": t("run") }, this.#subject.root, this.#begin);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const subject = this.#subject.control.value.trim();
      void this.#run((name) => this.#api.admin.syncSource({ name, subject }));
    });
    this.root = element(
      "section",
      { class: "stack", "aria-label": t("runs"), hidden: true },
      element("h4", {}, t("runs")),
      form,
      this.#state,
      element("div", { class: "row wrap" }, this.#bar, this.#cancel, this.#allow),
      this.#problem,
      this.#list,
      element("div", { class: "row" }, this.#retry),
    );
  }

  /** Show the runs of a source. */
  async show(source: Source): Promise<void> {
    this.leave();
    this.#showing = new AbortController();
    this.#source = source;
    this.root.hidden = false;
    this.#subject.control.value = "";
    this.#subject.root.hidden = source.folder !== undefined; // no file is about a subject
    const failed = (this.#failed = this.#failures(source));
    replace(this.#list, failed.root);
    this.#paint(undefined);
    this.#state.textContent = source.newestRun ? "" : t("notRun");
    this.#newest = "";
    const run = this.follow(source);
    await failed.again();
    await run;
  }

  /** Follow the newest run of the source, unless it is shown already. */
  async follow({ name, newestRun }: Source): Promise<void> {
    if (!newestRun || newestRun === this.#newest || this.#running) return;
    const done = await this.#follow(() => this.#api.operations.getOperation({ name: newestRun }));
    if (done && this.#source?.name === name) await Promise.all([this.#failed?.again(), this.#ended()]);
  }

  #failures({ name, folder }: Source): Stage {
    return new ResourceList({
      label: t(folder ? "failedFiles" : "failedRows"),
      heading: "h4",
      about: [t(folder ? "failedFilesAbout" : "failedRowsAbout")],
      list: (asked) => this.#api.admin.listFailedRows({ ...asked, parent: name }),
      items: ({ failedRows }) => failedRows,
      row: ({ kind, key, problem, createTime }: FailedRow) => ({ name: [kind, key].filter(Boolean).join(" "), problem, facts: [moment(createTime)] }),
      empty: t(folder ? "noFailedFiles" : "noFailedRows"),
      say: this.#say,
    });
  }

  /** Show no source any more. A run goes on. */
  leave(): void {
    this.#showing.abort();
    this.#source = undefined;
    this.root.hidden = true;
  }

  async #run(begin: (source: string) => Promise<Operation>): Promise<void> {
    const name = this.#source?.name;
    if (!name || this.#running) return;
    const done = await this.#follow(() => begin(name));
    if (!done || this.#source?.name !== name) return;
    this.#say(this.#problem.textContent || this.#state.textContent || "");
    await Promise.all([this.#failed?.again(), this.#ended()]);
  }

  /** Follow an operation to its end. Returns whether it has ended. */
  async #follow(begin: () => Promise<Operation>): Promise<boolean> {
    const { signal } = this.#showing;
    this.#problem.textContent = "";
    try {
      const begun = await begin();
      if (signal.aborted) return false;
      this.#newest = begun.name;
      const last = await ended(this.#api, begun, (operation) => this.#paint(operation), signal);
      this.#paint(last);
      return true;
    } catch (error) {
      if (signal.aborted) return false;
      this.#paint(undefined);
      this.#problem.textContent = failureOf(error).message;
      return false;
    }
  }

  /** Show the state of a run; undefined hides what belongs to a run. */
  #paint(operation: Operation | undefined): void {
    const metadata = operation?.metadata && anyUnpack(operation.metadata, SyncMetadataSchema);
    this.#running = operation && !operation.done ? operation.name : "";
    for (const one of [this.#begin, this.#retry]) one.setAttribute("aria-disabled", String(this.#running !== ""));
    const held = document.activeElement === this.#cancel || document.activeElement === this.#allow;
    this.#cancel.hidden = this.#running === "";
    this.#allow.hidden = true;
    this.#bar.hidden = this.#running === "";
    if (metadata && metadata.documentsTotal > 0) {
      this.#bar.max = metadata.documentsTotal;
      this.#bar.value = metadata.documentsDone;
    } else this.#bar.removeAttribute("value");
    if (!operation || !metadata) return;
    const { result } = operation;
    const subject = nameWithin(metadata.subject);
    const when = subject ? t("subjectAt", { subject, time: moment(metadata.updateTime) }) : moment(metadata.updateTime);
    if (this.#running) this.#state.textContent = `${subject ? t("runningFor", { subject }) : t("running")} ${progressText(metadata)}`;
    else if (result.case === "response") {
      const counts = anyUnpack(result.value, SyncResultSchema);
      this.#state.textContent = `${t("lastRun", { when })} ${counts ? resultText(counts, this.#source?.folder !== undefined) : ""}`;
    } else if (result.case === "error") {
      const failure = failureOfStatus(result.value);
      this.#state.textContent = t("lastRun", { when });
      this.#problem.textContent = failure.message;
      this.#allow.hidden = failure.reason !== "SOURCE_DELETIONS";
      const { deletions = "", documents = "" } = failure.metadata;
      this.#unconfirmed = { subject: metadata.subject, text: t("deletionsText", { deletions, documents }) };
    }
    if (held && !this.#running) this.#begin.focus();
  }

  async #confirm(): Promise<void> {
    const { subject, text } = this.#unconfirmed;
    if (await confirmed({ title: t("deletionsTitle"), text, action: t("runAndDelete") })) await this.#run((name) => this.#api.admin.syncSource({ name, subject, allowDeletions: true }));
  }

  async #stop(): Promise<void> {
    try {
      await this.#api.operations.cancelOperation({ name: this.#running });
    } catch (error) {
      this.#problem.textContent = failureOf(error).message;
    }
  }
}
