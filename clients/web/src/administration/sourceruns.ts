/** Runs a source, follows its newest run, and lists the rows that made no document. */

import { anyUnpack, timestampDate } from "@bufbuild/protobuf/wkt";
import type { Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import { SyncMetadataSchema, SyncResultSchema, type FailedRow, type Source } from "@responsa/contract/responsa/admin/v1/source_pb.js";
import { confirmed } from "../widgets/dialog.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import { failureOf, failureOfStatus } from "../server/errors.js";
import { momentOf } from "../text/facts.js";
import { textEntry } from "../widgets/fields.js";
import { Listing } from "../widgets/listing.js";
import { ended } from "@responsa/client/parts.js";
import { progressText, resultText } from "./mapping.js";
import type { SourcesApi } from "./sources.js";
import { nameWithin } from "../text/names.js";

const PAGE = 50;

export class SourceRuns {
  readonly root: HTMLElement;
  readonly #api: SourcesApi;
  readonly #say: (text: string) => void;
  readonly #subject = textEntry("Only this subject", { maxlength: "200" }, "If this field is empty, the run reads all rows.");
  readonly #begin = element("button", { type: "submit" }, "Run now");
  readonly #cancel = button("Cancel the run", () => void this.#stop(), { class: "quiet", hidden: true });
  readonly #allow = button("Delete them", () => void this.#confirm(), { class: "plain danger", hidden: true });
  readonly #retry = button("Try them again now", () => void this.#run((name) => this.#api.admin.retryFailedRows({ name })), { class: "quiet" });
  readonly #state = element("p", { class: "lines" });
  readonly #bar = element("progress", { "aria-label": "Progress of the run", hidden: true });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #failed: Listing<FailedRow>;
  #source: Source | undefined;
  #showing = new AbortController();
  #running = "";
  /** The subject and the number of deletions of the run that must be confirmed. */
  #unconfirmed = { subject: "", text: "" };

  constructor(api: SourcesApi, say: (text: string) => void) {
    this.#api = api;
    this.#say = say;
    this.#failed = new Listing<FailedRow>({
      label: "Failed rows",
      read: async (pageToken) => {
        const { failedRows, nextPageToken } = await api.admin.listFailedRows({ parent: this.#source?.name ?? "", pageSize: PAGE, pageToken });
        return { items: failedRows, next: nextPageToken };
      },
      row: failedRow,
      empty: () => "No row has failed.",
    });
    const form = element("form", { class: "search-form", "aria-label": "Run" }, this.#subject.root, this.#begin);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const subject = this.#subject.control.value.trim();
      void this.#run((name) => this.#api.admin.syncSource({ name, subject }));
    });
    const about = element("p", { class: "note" }, "Every run tries these rows again. As long as a subject has failed rows, the documents of this subject stay as they are.");
    this.root = element(
      "section",
      { class: "stack", "aria-label": "Runs", hidden: true },
      element("h4", {}, "Runs"),
      form,
      this.#state,
      element("div", { class: "row wrap" }, this.#bar, this.#cancel, this.#allow),
      this.#problem,
      element("h4", {}, "Failed rows"),
      about,
      this.#failed.root,
      element("div", { class: "row" }, this.#retry),
    );
  }

  /** Show the runs of a source. */
  async show(source: Source): Promise<void> {
    this.leave();
    this.#showing = new AbortController();
    this.#source = source;
    this.root.hidden = false;
    this.#paint(undefined);
    this.#state.textContent = source.newestRun ? "" : "The source has not run in the last 30 days.";
    const run = source.newestRun && this.#follow(() => this.#api.operations.getOperation({ name: source.newestRun }));
    await Promise.all([run, this.#failed.refresh()]);
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
    await this.#failed.refresh();
  }

  /** Follow an operation to its end. Returns whether it has ended. */
  async #follow(begin: () => Promise<Operation>): Promise<boolean> {
    const { signal } = this.#showing;
    this.#problem.textContent = "";
    try {
      const begun = await begin();
      if (signal.aborted) return false;
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
    const when = metadata.updateTime ? momentOf(timestampDate(metadata.updateTime)) : "";
    const of = metadata.subject ? ` for ${nameWithin(metadata.subject)}` : "";
    if (this.#running) this.#state.textContent = `Running${of}. ${progressText(metadata)}`;
    else if (result.case === "response") {
      const counts = anyUnpack(result.value, SyncResultSchema);
      this.#state.textContent = `Last run${of}, ${when}: ${counts ? resultText(counts) : ""}`;
    } else if (result.case === "error") {
      const failure = failureOfStatus(result.value);
      this.#state.textContent = `Last run${of}, ${when}:`;
      this.#problem.textContent = failure.message;
      this.#allow.hidden = failure.reason !== "SOURCE_DELETIONS";
      const { deletions = "", documents = "" } = failure.metadata;
      this.#unconfirmed = { subject: metadata.subject, text: `${deletions} of the ${documents} documents of this source have no row any more. The run will delete these documents, and answers that quote them can no longer be checked.` };
    }
    if (held && !this.#running) this.#begin.focus();
  }

  async #confirm(): Promise<void> {
    const { subject, text } = this.#unconfirmed;
    if (await confirmed({ title: "Delete these documents?", text, action: "Run and delete" })) await this.#run((name) => this.#api.admin.syncSource({ name, subject, allowDeletions: true }));
  }

  async #stop(): Promise<void> {
    try {
      await this.#api.operations.cancelOperation({ name: this.#running });
    } catch (error) {
      this.#problem.textContent = failureOf(error).message;
    }
  }
}

function failedRow(one: FailedRow): HTMLElement {
  const when = one.createTime ? momentOf(timestampDate(one.createTime)) : "";
  return element("li", { class: "wrapping" }, element("div", { class: "about" }, element("span", { class: "name", ...WRITTEN }, [one.kind, one.key].filter(Boolean).join(" ")), element("p", { class: "problem whole", ...WRITTEN }, one.problem), element("p", { class: "note whole" }, when)));
}
