/** The files of the shown conversation, in the question box: what is being sent and read, what can be asked, and why a file cannot be read. */

import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { FileText, X } from "lucide";
import { DocumentState, IngestMetadataSchema, type Document } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import { uuid } from "@responsa/client/parts.js";
import type { Api } from "../server/api.js";
import { failureOf, failureOfStatus, type Failure } from "../server/errors.js";
import { DEFAULT } from "../documents/library.js";
import { originalOf } from "../text/facts.js";
import { cleanName } from "../text/names.js";
import { button, coded, element, replace, WRITTEN } from "../widgets/dom.js";
import { icon, iconButton } from "../widgets/icons.js";
import { t } from "../language/chat/texts.js";

const MOST = 200;
const LOOK = 500; // milliseconds between two looks at files that are being read

export interface ClipHooks {
  readonly say: (text: string) => void;
  /** The conversation that takes the files, `conversations/{uuid}`; a new one if none is shown. Raises ConnectError. */
  readonly conversation: () => Promise<string>;
  /** The next question is asked of the files in this collection. */
  readonly added: (collection: string) => void;
  /** No file is left of which the next question could be asked. */
  readonly emptied: () => void;
  /** What is being read, and how far, in words. */
  readonly reading: (text: string) => void;
}

/** A file that is being sent, or that the server did not take. `failure`: why. */
interface Sending {
  readonly path: string;
  readonly stop: AbortController;
  failure: Failure | undefined;
}

export class ClipsView {
  readonly root = element("ul", { class: "clips", "aria-label": t("clips"), hidden: true });
  readonly #api: Api;
  readonly #hooks: ClipHooks;
  #collection = "";
  #sending: readonly Sending[] = [];
  #documents: readonly Document[] = [];
  /** The names of the documents of which the user has not been told how their reading ended. */
  #reading: ReadonlySet<string> = new Set();
  readonly #stored = new Set<string>();
  /** The operations that read documents, and how far they are, by the documents' names. */
  readonly #operations = new Map<string, string>();
  readonly #progress = new Map<string, string>();
  #making: Promise<string> | undefined;
  #entered = new AbortController();

  constructor(api: Api, hooks: ClipHooks) {
    this.#api = api;
    this.#hooks = hooks;
  }

  /** Show the files in a collection, `collections/{id}`; none with "". */
  async enter(collection: string): Promise<void> {
    this.#entered.abort();
    this.#entered = new AbortController();
    this.#making = undefined;
    this.#collection = collection;
    this.#sending = [];
    this.#documents = [];
    this.#draw();
    if (collection) await this.#follow(this.#entered.signal);
  }

  /** Send files to the conversation. Resolves when the server has taken or refused each; false if it took none. */
  async add(files: readonly File[]): Promise<boolean> {
    const { signal } = this.#entered;
    const sending = files.map((file) => ({ path: file.name, stop: new AbortController(), failure: undefined }));
    this.#sending = [...this.#sending.filter((one) => !one.failure), ...sending];
    this.#draw();
    const taken = await Promise.all(files.map((file, place) => this.#send(file, sending[place]!, signal)));
    if (signal.aborted) return false;
    void this.#follow(signal);
    return taken.includes(true);
  }

  async #send(file: File, sending: Sending, signal: AbortSignal): Promise<boolean> {
    try {
      const collection = await (this.#making ??= this.#made(signal));
      signal.throwIfAborted();
      const operation = await this.#api.upload(file, { collection, sourceKey: file.name }, { requestId: uuid(), signal: AbortSignal.any([signal, sending.stop.signal]) });
      const begun = operation.metadata && anyUnpack(operation.metadata, IngestMetadataSchema);
      this.#reading = new Set([...this.#reading, begun?.document ?? ""]);
      this.#operations.set(begun?.document ?? "", operation.name);
      this.#sending = this.#sending.filter((one) => one !== sending);
      if (!signal.aborted) this.#hooks.added(collection);
      return true;
    } catch (error) {
      if (signal.aborted || sending.stop.signal.aborted) return false;
      this.#making = undefined;
      sending.failure = failureOf(error);
      this.#hooks.say(t("clipRefused", { file: cleanName(file.name), why: sending.failure.message }));
      this.#draw();
      return false;
    }
  }

  /** The collection of the conversation's files, which another tab may have made. */
  async #made(signal: AbortSignal): Promise<string> {
    if (this.#collection) return this.#collection;
    const conversation = await this.#hooks.conversation();
    try {
      const { name } = await this.#api.knowledge.createCollection({ collectionId: `files-${uuid()}`, collection: { conversation } });
      if (!signal.aborted) this.#collection = name;
      return name;
    } catch (error) {
      if (failureOf(error).reason !== "RESOURCE_ALREADY_EXISTS") throw error;
      return (await this.#api.chat.getConversation({ name: conversation })).files;
    }
  }

  /** Read the files until none is being read. If none of those that were read can be asked, the next question is not asked of files. */
  async #follow(signal: AbortSignal): Promise<void> {
    let isReady = false;
    let isRefused = false;
    while (!signal.aborted && this.#collection) {
      const page = await this.#api.knowledge.listDocuments({ parent: this.#collection, pageSize: MOST, orderBy: "create_time" }, { signal }).catch(() => undefined); // a later look may succeed
      if (signal.aborted) return;
      if (page) this.#documents = page.documents;
      const [first] = await Promise.all(this.#documents.filter(isRead).map((one) => this.#look(one, signal)));
      if (signal.aborted) return;
      if (first) this.#hooks.reading(first);
      for (const one of this.#told()) {
        if (whyNot(one)) isRefused = true;
        else isReady = true;
      }
      this.#draw();
      if (page && !page.documents.some(isRead)) {
        if (page.documents.every(whyNot) || (isRefused && !isReady)) this.#hooks.emptied();
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK));
    }
  }

  /** Find out how far the reading of a document is, and say it. */
  async #look({ name, sourceKey }: Document, signal: AbortSignal): Promise<string> {
    const operation = this.#operations.get(name);
    const found = operation ? await this.#api.operations.getOperation({ name: operation }, { signal }).catch(() => undefined) : undefined; // a later look may succeed
    const { passagesDone = 0, passagesTotal = 0 } = (found?.metadata && anyUnpack(found.metadata, IngestMetadataSchema)) ?? {};
    const progress = passagesTotal > 0 ? ` ${t("clipDone", { done: passagesDone, total: passagesTotal })}` : "";
    this.#progress.set(name, progress);
    return t("clipReading", { file: cleanName(sourceKey), progress });
  }

  /** The files that have been read since the last look. Says how each ended. */
  #told(): readonly Document[] {
    const ended = this.#documents.filter((one) => this.#reading.has(one.name) && !isRead(one));
    for (const one of ended) {
      const file = cleanName(one.sourceKey);
      const why = whyNot(one);
      this.#hooks.say(why ? t("clipRefused", { file, why }) : t("clipReady", { file }));
    }
    this.#reading = new Set(this.#documents.filter(isRead).map((one) => one.name));
    return ended;
  }

  #draw(): void {
    const rows = [...this.#documents.map((one) => this.#document(one)), ...this.#sending.map((one) => this.#upload(one))];
    replace(this.root, ...rows);
    this.root.hidden = rows.length === 0;
  }

  #document(one: Document): HTMLElement {
    const why = whyNot(one);
    const isStored = this.#stored.has(one.name);
    const keep = button(t(isStored ? "clipStored" : "clipKeep"), () => void this.#keep(one, keep), { class: "quiet", disabled: isStored });
    const remove = async () => {
      await this.#api.knowledge.deleteDocument({ name: one.name }).catch((error: unknown) => this.#hooks.say(failureOf(error).message));
      await this.#follow(this.#entered.signal);
    };
    return row(one.sourceKey, why || (isRead(one) ? `${t("clipRead")}${this.#progress.get(one.name) ?? ""}` : t("clipIsReady")), why !== "", remove, one.state === DocumentState.READY ? [keep] : []);
  }

  #upload(one: Sending): HTMLElement {
    const remove = () => {
      one.stop.abort();
      this.#sending = this.#sending.filter((other) => other !== one);
      this.#draw();
    };
    return row(one.path, one.failure?.message ?? t("clipSent"), one.failure !== undefined, remove, []);
  }

  /** Store the file among the user's documents too, where it stays when the conversation is deleted. */
  async #keep(one: Document, keep: HTMLButtonElement): Promise<void> {
    keep.disabled = true;
    try {
      const response = await fetch(originalOf(one.name));
      if (!response.ok) throw new Error(t("clipLost"));
      await this.#api.upload(await response.blob(), { collection: DEFAULT.name, sourceKey: one.sourceKey }, { requestId: uuid() });
      this.#stored.add(one.name);
      this.#hooks.say(t("clipStored"));
    } catch (error) {
      this.#hooks.say(failureOf(error).message);
    }
    this.#draw();
  }
}

function isRead(one: Document): boolean {
  return one.state === DocumentState.INDEXING;
}

/** Why a file cannot be asked; "" if it can or is being read. */
function whyNot({ state, error }: Document): string {
  return state === DocumentState.FAILED && error ? failureOfStatus(error).message : "";
}

function row(path: string, state: string, isRefused: boolean, remove: () => unknown, further: readonly HTMLElement[]): HTMLElement {
  const name = element("span", { class: "clip-name", ...WRITTEN }, cleanName(path));
  return element("li", {}, icon(FileText), name, element("span", { class: isRefused ? "problem" : "note", ...WRITTEN }, ...coded(state)), ...further, iconButton(X, t("clipRemove", { file: cleanName(path) }), () => void remove()));
}
