/** Shows the uploads of files into a collection, each with its progress or the reason why it failed. */

import { anyUnpack } from "@bufbuild/protobuf/wkt";
import type { Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import { IngestMetadataSchema, IngestResultSchema, IngestStage } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import type { Api } from "./api.js";
import { uuid } from "./bytes.js";
import { button, element, focused, WRITTEN } from "./dom.js";
import { failureOf, signedOut } from "./errors.js";
import { PATIENCE } from "./patience.js";
import type { Named } from "./library.js";
import { MOST_BYTES, send, UploadRefused, type Upload } from "./send.js";

/** The number of concurrent uploads. It is low because a browser opens only six connections to a server, for all its tabs together. */
const AT_ONCE = 2;
const TRIES = 4;
const SENT = 1 / 3; // the share of the progress bar for sending; the rest is for reading and indexing
const CANCEL_TIMEOUT = 10_000; // milliseconds
const AGAIN = new Set(["", "PART_UNAVAILABLE", "DRAINING", "OVERLOADED", "DEADLINE_EXCEEDED"]);

export interface UploadHooks {
  readonly say: (text: string) => void;
  /** A document of that collection is now searchable. */
  readonly taken: (collection: string) => void;
  readonly sessionOver: () => void;
}

export class UploadsView {
  readonly root = element("section", { class: "uploads", "aria-labelledby": "uploads-title", hidden: true });
  readonly #api: Api;
  readonly #hooks: UploadHooks;
  readonly #list = element("ul", {});
  readonly #waiting = new Set<Row>();
  readonly #sending = new Set<Row>();
  readonly #clear = button("Clear the list", () => this.#cleared());

  constructor(api: Api, hooks: UploadHooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.root.append(element("div", { class: "row" }, element("h3", { id: "uploads-title" }, "Uploads"), this.#clear), this.#list);
    window.addEventListener("beforeunload", (event) => {
      if (this.#sending.size + this.#waiting.size > 0) event.preventDefault(); // files that were not sent yet would be lost
    });
  }

  add(files: Iterable<File>, collection: Named): void {
    for (const file of files) {
      const row = new Row({ file, collection: collection.name, requestId: uuid() }, collection.label, () => this.#start(row));
      this.#list.append(row.root);
      if (file.size > MOST_BYTES) row.fail(`The file has ${Math.ceil(file.size / 1_048_576)} MiB; the limit is 64 MiB.`);
      else this.#start(row);
    }
    this.root.hidden = this.#list.childElementCount === 0;
  }

  #start(row: Row): void {
    row.wait();
    this.#waiting.add(row);
    this.#next();
  }

  #next(): void {
    while (this.#sending.size < AT_ONCE) {
      // A new try waits for the end of the cancelled one. Otherwise, the server could give it the same operation, and the cancellation would end both.
      const row = [...this.#waiting].find((one) => !this.#sending.has(one));
      if (!row) return;
      this.#waiting.delete(row);
      if (row.signal.aborted) continue;
      this.#sending.add(row);
      void this.#run(row).finally(() => {
        this.#sending.delete(row);
        this.#next();
      });
    }
  }

  async #run(row: Row): Promise<void> {
    const { upload, signal } = row;
    let name = "";
    try {
      const sent = await this.#sent(row, signal);
      name = sent.name;
      const operation = await this.#finished(row, sent, signal);
      if (row.signal !== signal) return; // cancelled too late, and a new try waits
      if (operation.result.case === "error") return this.#failed(row, operation.result.value.message);
      const result = operation.result.case === "response" ? anyUnpack(operation.result.value, IngestResultSchema) : undefined;
      row.finish(result?.unchanged ? "unchanged: this version is already stored" : "searchable");
      this.#hooks.say(`${upload.file.name} is searchable.`);
      this.#hooks.taken(upload.collection);
    } catch (error) {
      if (signal.aborted) {
        if (name) await this.#api.operations.cancelOperation({ name }, { timeoutMs: CANCEL_TIMEOUT }).catch(() => undefined); // if this fails, the upload ended meanwhile
        return;
      }
      const failure = error instanceof UploadRefused ? error.failure : failureOf(error);
      if (signedOut(failure)) this.#hooks.sessionOver();
      this.#failed(row, failure.reason === "" ? "The connection was lost." : failure.message, AGAIN.has(failure.reason));
    }
  }

  #failed(row: Row, why: string, again = false): void {
    row.fail(why, again);
    this.#hooks.say(`${row.upload.file.name} could not be added: ${why}`);
  }

  async #sent(row: Row, signal: AbortSignal): Promise<Operation> {
    for (let tries = 1; ; tries += 1) {
      try {
        return await send(row.upload, (share) => row.progress(share * SENT, share < 1 ? "sending" : "sent"), signal);
      } catch (error) {
        if (signal.aborted || tries === TRIES || !(error instanceof UploadRefused) || !AGAIN.has(error.failure.reason)) throw error;
        row.progress(0, "the connection was lost; sending again…");
        await PATIENCE.sleep(PATIENCE.pause(tries), signal);
      }
    }
  }

  /** Wait for the end of the ingestion. An error while waiting does not stop the ingestion. */
  async #finished(row: Row, sent: Operation, signal: AbortSignal): Promise<Operation> {
    let operation = sent;
    for (let tries = 0; !operation.done; ) {
      show(operation, row);
      try {
        operation = await this.#api.operations.waitOperation({ name: sent.name, timeout: { seconds: 1n } }, { signal });
        tries = 0;
      } catch (error) {
        if (signal.aborted || !AGAIN.has(failureOf(error).reason)) throw error;
        await PATIENCE.sleep(PATIENCE.pause((tries += 1)), signal);
        if (signal.aborted) throw error;
      }
    }
    return operation;
  }

  #cleared(): void {
    for (const row of this.#list.querySelectorAll("li.ended")) row.remove();
    this.root.hidden = this.#list.childElementCount === 0;
    if (this.root.hidden && !focused()) document.getElementById("files")?.focus();
  }
}

function show(operation: Operation, row: Row): void {
  const progress = operation.metadata ? anyUnpack(operation.metadata, IngestMetadataSchema) : undefined;
  if (progress?.stage === IngestStage.EMBEDDING && progress.passagesTotal > 0) {
    const share = progress.passagesDone / progress.passagesTotal;
    row.progress(SENT + (1 - SENT) * share, `${progress.passagesDone} of ${progress.passagesTotal} passages`);
  } else {
    row.progress(SENT, progress?.stage === IngestStage.PARSING ? "being read" : "waiting for its turn");
  }
}

/** The row of one file. */
class Row {
  readonly root = element("li", {});
  upload: Upload;
  readonly #bar: HTMLProgressElement;
  readonly #state = element("span", { class: "note state" });
  readonly #action: HTMLButtonElement;
  readonly #again: () => void;
  #stop = new AbortController();

  constructor(upload: Upload, label: string, again: () => void) {
    this.upload = upload;
    this.#again = again;
    const { name } = upload.file;
    this.#bar = element("progress", { max: "1", value: "0", "aria-label": `Progress of ${name}` });
    this.#action = button("Cancel", () => this.#acted(), { "aria-label": `Cancel ${name}` });
    const title = element("span", { class: "name", ...WRITTEN, title: `to ${label}` }, name);
    this.root.append(title, this.#bar, this.#state, this.#action);
  }

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  wait(): void {
    this.#stop = new AbortController();
    this.root.className = "";
    this.#bar.hidden = false;
    this.#label("Cancel");
    this.progress(0, "waiting");
  }

  progress(share: number, state: string): void {
    this.#bar.value = share;
    this.#state.textContent = state;
  }

  finish(state: string): void {
    this.progress(1, state);
    this.root.className = "ended done";
    this.#action.hidden = true;
  }

  fail(why: string, again = false): void {
    this.#bar.hidden = true;
    this.#state.textContent = why;
    this.root.className = "ended failed";
    this.#label("Try again");
    this.#action.hidden = !again && !this.signal.aborted;
  }

  #label(action: string): void {
    this.#action.hidden = false;
    this.#action.textContent = action;
    this.#action.setAttribute("aria-label", `${action}: ${this.upload.file.name}`);
  }

  #acted(): void {
    if (this.root.classList.contains("ended")) {
      // A cancelled upload stays cancelled, so a new try needs a new request_id. An interrupted upload may have arrived; with its old request_id, it is not stored twice.
      if (this.signal.aborted) this.upload = { ...this.upload, requestId: uuid() };
      this.#again();
      return;
    }
    this.#stop.abort();
    if (!this.root.classList.contains("ended")) this.fail("Cancelled.");
  }
}
