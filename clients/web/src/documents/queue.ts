/** The queue of uploads: what waits, what runs, and how each file ended. Nothing here touches the page. */

import { mayPass, uuid } from "@responsa/client/parts.js";
import { failureOf } from "../server/errors.js";
import type { Found, Looking } from "./folders.js";
import type { Named } from "./library.js";
import { UploadRefused, type Upload } from "./upload.js";
import type { Tell, Uploaded } from "./uploading.js";
import { t } from "../language/documents/texts.js";

/** The number of concurrent uploads. It is low because a browser opens only six connections to a server, for all its tabs together. */
const AT_ONCE = 2;
/** What a file costs besides its bytes, as a number of bytes. */
const PER_FILE = 32_768;

export const STATES = ["waiting", "running", "added", "replaced", "unchanged", "refused", "cancelled", "skipped"] as const;
export type State = (typeof STATES)[number];

/** A file of the queue. The queue alone changes it. */
export interface Item {
  readonly path: string;
  readonly collection: Named;
  readonly state: State;
  /** The share that is done, from 0 to 1. */
  readonly share: number;
  /** The current step, or the reason of the end and what the reader should know of the text. */
  readonly note: string;
  /** Whether the file can be tried again. */
  readonly again: boolean;
}

export interface QueueHooks {
  /** Perform an upload. Raises UploadRefused. */
  readonly perform: (upload: Upload, tell: Tell, signal: AbortSignal) => Promise<Uploaded>;
  /** Items, counts or the state of the queue changed. */
  readonly changed: () => void;
  /** An upload has ended by itself. */
  readonly ended: (item: Item) => void;
  /** All uploads have ended, and no more files are looked for. */
  readonly idle: () => void;
}

/** `upload` is undefined if the file will not be sent, or not again: its content may be in memory. `work`: what the file costs, in bytes. */
type Mutable = { -readonly [Key in keyof Item]: Item[Key] } & { upload: Upload | undefined; readonly work: number; stop: AbortController };

export class UploadQueue {
  readonly #hooks: QueueHooks;
  readonly #items = new Set<Mutable>();
  readonly #waiting = new Set<Mutable>();
  readonly #sending = new Set<Mutable>();
  readonly #counts = new Map<State, number>(STATES.map((state) => [state, 0]));
  /** The work of the files that have ended, and of all files. */
  #ended = 0;
  #total = 0;
  #stopped = "";
  /** What ends each search for files. */
  readonly #looking = new Set<AbortController>();
  /** Resolves when the archive that was unpacked last is in the queue. */
  #unpacked: Promise<void> = Promise.resolve();
  #roomier = () => {};

  constructor(hooks: QueueHooks) {
    this.#hooks = hooks;
  }

  /** All files, in the order in which they were added. */
  get items(): Iterable<Item> {
    return this.#items;
  }

  get size(): number {
    return this.#items.size;
  }

  count(...states: readonly State[]): number {
    return states.reduce((sum, state) => sum + (this.#counts.get(state) ?? 0), 0);
  }

  /** Whether files wait, run, are looked for, or have not been cancelled on the server yet. */
  get isBusy(): boolean {
    return this.#sending.size > 0 || this.#expectsMore;
  }

  /** Whether files are looked for. */
  get isLooking(): boolean {
    return this.#looking.size > 0;
  }

  get #expectsMore(): boolean {
    return this.#waiting.size > 0 || this.isLooking;
  }

  /** The reason why no further file is sent; "" if the queue is not stopped. */
  get stopped(): string {
    return this.#stopped;
  }

  /** The work that is done and the work of all files, in bytes; each file counts for some bytes more than it has. */
  get work(): { readonly done: number; readonly total: number } {
    let done = this.#ended;
    for (const one of this.#sending) if (one.state === "running") done += one.share * one.work;
    return { done, total: this.#total };
  }

  /** `subject`: see `Upload`. */
  add(found: readonly Found[], collection: Named, subject = ""): void {
    for (const one of found) {
      const upload = "file" in one ? { file: one.file, path: one.path, collection: collection.name, subject, requestId: uuid() } : undefined;
      const state = "file" in one ? "waiting" : one.rule ? "skipped" : "refused";
      const note = "file" in one ? t("waiting") : one.why;
      const work = upload ? upload.file.size + PER_FILE : 0;
      const item: Mutable = { path: one.path, collection, state, share: 0, note, again: false, upload, work, stop: new AbortController() };
      this.#items.add(item);
      this.#counts.set(state, this.count(state) + 1);
      this.#total += work;
      if (upload) this.#waiting.add(item);
    }
    this.#next();
    this.#hooks.changed();
  }

  /** Add all files that a search finds, unless `cancelAll` ends it. The search unpacks one archive at a time, and only when few files wait: unpacked files need space. */
  async find(search: (looking: Looking) => AsyncIterable<readonly Found[]>, collection: Named, subject: string): Promise<void> {
    const stop = new AbortController();
    const { signal } = stop;
    this.#looking.add(stop);
    this.#hooks.changed();
    let isFound = false;
    let added = () => {};
    const room = async () => {
      added(); // the search asks again when the files of its last archive are in the queue
      const before = this.#unpacked;
      this.#unpacked = new Promise((resolve) => (added = resolve));
      await before;
      while (this.#waiting.size > AT_ONCE && !signal.aborted) await new Promise<void>((resolve) => (this.#roomier = resolve));
      signal.throwIfAborted();
    };
    try {
      for await (const found of search({ signal, room })) {
        if (signal.aborted) return;
        isFound ||= found.length > 0;
        if (found.length > 0) this.add(found, collection, subject);
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      added();
      this.#looking.delete(stop);
      this.#fewer();
      this.#hooks.changed();
      if (isFound && !this.isBusy) this.#hooks.idle();
    }
  }

  /** Send no further files. Files that are being sent or read go on. */
  stop(why: string): void {
    this.#stopped = why;
    this.#hooks.changed();
  }

  goOn(): void {
    this.#stopped = "";
    this.#next();
    this.#hooks.changed();
  }

  cancel(item: Item): void {
    const one = this.#own(item);
    if (!one || (one.state !== "waiting" && one.state !== "running")) return;
    one.stop.abort();
    this.#waiting.delete(one);
    this.#set(one, "cancelled", t("cancelled"), true);
    this.#fewer();
    this.#hooks.changed();
  }

  /** Cancel all files, and look for no more. */
  cancelAll(): void {
    for (const one of this.#looking) one.abort();
    for (const one of this.#items) this.cancel(one);
    this.#fewer();
  }

  /** Try a file again, after all others. This also ends a stop. */
  again(item: Item): void {
    const one = this.#own(item);
    if (one) this.#requeue([one]);
  }

  /** Try all files again that can be tried again. */
  allAgain(): void {
    this.#requeue([...this.#items].filter((one) => one.again));
  }

  /** Forget the files that have ended. */
  clear(): void {
    for (const one of this.#items) {
      if (this.#waiting.has(one) || this.#sending.has(one)) continue;
      this.#items.delete(one);
      this.#counts.set(one.state, this.count(one.state) - 1);
      this.#total -= one.work;
      this.#ended -= one.work;
    }
    this.#hooks.changed();
  }

  #own(item: Item): Mutable | undefined {
    const one = item as Mutable; // every Item comes from here
    return this.#items.has(one) ? one : undefined;
  }

  #requeue(items: readonly Mutable[]): void {
    for (const one of items) {
      if (!one.again || !one.upload) continue;
      // A cancelled upload stays cancelled, so a new try needs a new request_id. An interrupted upload may have arrived; with its old request_id, it is not stored twice.
      if (one.stop.signal.aborted) one.upload = { ...one.upload, requestId: uuid() };
      one.stop = new AbortController();
      one.share = 0;
      this.#set(one, "waiting", t("waiting"));
      this.#waiting.add(one);
    }
    this.goOn();
  }

  /** Fewer files wait. A stop ends when nothing is left that it could hold up: it is not meant for files that are added later. */
  #fewer(): void {
    if (!this.#expectsMore) this.#stopped = "";
    this.#roomier();
  }

  #next(): void {
    while (!this.#stopped && this.#sending.size < AT_ONCE) {
      // A new try waits for the end of the cancelled one. Otherwise, the server could give it the same operation, and the cancellation would end both.
      const item = first(this.#waiting, (one) => !this.#sending.has(one));
      if (!item?.upload) return;
      this.#waiting.delete(item);
      this.#roomier();
      this.#sending.add(item);
      this.#set(item, "running", t("sending"));
      void this.#run(item, item.upload).finally(() => {
        this.#sending.delete(item);
        this.#next();
        this.#hooks.changed();
        if (!this.isBusy) this.#hooks.idle();
      });
    }
  }

  async #run(item: Mutable, upload: Upload): Promise<void> {
    const { signal } = item.stop;
    const tell: Tell = (share, note) => {
      if (signal.aborted) return;
      item.share = share;
      item.note = note;
      this.#hooks.changed();
    };
    try {
      const { unchanged, replaced, remark } = await this.#hooks.perform(upload, tell, signal);
      if (signal.aborted) return; // cancelled too late
      const note = t(unchanged ? "unchanged" : "searchable");
      this.#set(item, unchanged ? "unchanged" : replaced ? "replaced" : "added", [note, remark].filter(Boolean).join("; "));
    } catch (error) {
      if (signal.aborted) return;
      const failure = error instanceof UploadRefused ? error.failure : failureOf(error);
      const passing = mayPass(failure);
      if (error instanceof UploadRefused && error.ended) item.upload = { ...upload, requestId: uuid() };
      this.#set(item, "refused", failure.message, passing);
      // All other files would meet the same error.
      if (passing && this.#expectsMore) this.stop(failure.message);
    }
    this.#hooks.ended(item);
  }

  #set(item: Mutable, state: State, note: string, again = false): void {
    this.#counts.set(item.state, this.count(item.state) - 1);
    this.#counts.set(state, this.count(state) + 1);
    this.#ended += (isOpen(state) ? 0 : item.work) - (isOpen(item.state) ? 0 : item.work);
    if (!isOpen(state) && !again) item.upload = undefined;
    item.state = state;
    item.note = note;
    item.again = again;
  }
}

/** Whether a file in this state has not ended. */
export function isOpen(state: State): boolean {
  return state === "waiting" || state === "running";
}

function first<T>(items: Iterable<T>, fits: (item: T) => boolean): T | undefined {
  for (const one of items) if (fits(one)) return one;
  return undefined;
}
