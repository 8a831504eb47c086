/**
 * Streams shared by the tabs of one browser, which has six connections to a server over HTTP/1.1, for all its tabs. One tab, the one that holds the turn's
 * lock, follows it over the network and tells the others its frames; when it goes, the next goes on from where it stands. Streams of different turns
 * take turns on a few slots, so that calls always find a connection. Where a browser has no locks (pages that came neither by TLS nor from this machine), each tab
 * follows for itself.
 */

import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { ResumeTurnResponseSchema } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import type { Frame } from "./frames.js";

type Resume = (turn: string, afterSeq: bigint, signal: AbortSignal) => AsyncIterable<Frame>;
type Ask = (signal: AbortSignal) => AsyncIterable<Frame>;

/** What is needed of a BroadcastChannel. */
export type Channel = Pick<BroadcastChannel, "postMessage" | "addEventListener" | "close">;
/** What is needed of `navigator.locks`. */
export type Locks = Pick<LockManager, "request" | "query">;

export interface Sharing {
  /** Streams at a time; two of a browser's connections are left for calls. */
  readonly slots: number;
  /** Milliseconds that a stream keeps its slot at least when another one waits for it. */
  readonly slice: number;
  /** Milliseconds that the tab which follows is given to tell what it has. */
  readonly answer: number;
  /** Milliseconds for the last that a tab told before it went to arrive: an end, mostly. */
  readonly handover: number;
}

export const SHARING: Sharing = { slots: 4, slice: 2_000, answer: 1_000, handover: 50 };

type Release = () => void;

type Said =
  /** A tab shows this turn and has its frames through this seq. */
  | { readonly kind: "want"; readonly turn: string; readonly after: bigint }
  /** Frames of this turn, as ResumeTurnResponses. */
  | { readonly kind: "frames"; readonly turn: string; readonly frames: readonly Uint8Array[] };

export class SharedStreams {
  readonly #network: Resume;
  readonly #channel: Channel;
  readonly #locks: Locks | undefined;
  readonly #sharing: Sharing;
  /** What this tab has of the turns that it follows, each from its first event on, without a hole. */
  readonly #kept = new Map<string, Frame[]>();
  readonly #listeners = new Map<string, (frames: readonly Frame[]) => void>();
  /** The turns that this tab follows for all tabs, and how far. */
  readonly #leads = new Map<string, bigint>();
  #open = true;

  constructor(network: Resume, channel: Channel, locks: Locks | undefined, sharing: Sharing = SHARING) {
    this.#network = network;
    this.#channel = channel;
    this.#locks = locks;
    this.#sharing = sharing;
    channel.addEventListener("message", ({ data }: MessageEvent<unknown>) => this.#heard(data));
  }

  close(): void {
    this.#open = false;
    this.#channel.close();
  }

  /** The turn has ended, or is not shown any more: what is kept of it is not needed. */
  forget(turn: string): void {
    this.#kept.delete(turn);
  }

  /** Ask, and tell other tabs what comes. */
  ask(ask: Ask, signal: AbortSignal): AsyncIterable<Frame> {
    return this.#lead("", 0n, signal, ask);
  }

  /** The frames of a turn behind a seq, from whichever tab has them. */
  async *resume(turn: string, afterSeq: bigint, signal: AbortSignal): AsyncGenerator<Frame> {
    let through = afterSeq;
    let release: Release | undefined;
    if (this.#locks && !(release = await this.#lock(lockOf(turn), { ifAvailable: true }))) {
      ({ through, release } = yield* this.#listen(turn, through, signal));
      if (signal.aborted) return release?.();
    }
    yield* this.#lead(turn, through, signal, undefined, release);
  }

  /** Follow over the network and tell the others; alone where another tab leads already and does not answer. */
  async *#lead(turn: string, afterSeq: bigint, signal: AbortSignal, ask?: Ask, lock?: Release): AsyncGenerator<Frame> {
    let known = turn;
    let release = lock;
    if (release) this.#leads.set(turn, afterSeq);
    try {
      for await (const frame of this.#slotted(turn, afterSeq, signal, ask)) {
        if (!known) {
          known = frame.turn;
          if (this.#locks) release = await this.#lock(lockOf(known), { ifAvailable: true });
        }
        this.#keep(frame);
        if (release) {
          this.#leads.set(known, frame.throughSeq);
          this.#tell(known, [frame]);
        }
        yield frame;
      }
    } finally {
      if (release) {
        this.#leads.delete(known);
        release();
      }
    }
  }

  /** What another tab tells of a turn. Returns how far that went once the other has gone, with the lock, or does not answer, without it. */
  async *#listen(turn: string, afterSeq: bigint, signal: AbortSignal): AsyncGenerator<Frame, { through: bigint; release: Release | undefined }> {
    let through = afterSeq;
    const heard: Frame[] = [];
    let wake = (): void => undefined;
    let over = signal.aborted;
    const end = () => {
      over = true;
      wake();
    };
    const leaving = new AbortController();
    let unanswered: ReturnType<typeof setTimeout> | undefined = setTimeout(end, this.#sharing.answer);
    signal.addEventListener("abort", end, { once: true });
    this.#listeners.set(turn, (frames) => {
      clearTimeout(unanswered);
      unanswered = undefined;
      heard.push(...frames);
      wake();
    });
    let granted: Release | undefined;
    const waiting = this.#lock(lockOf(turn), { signal: leaving.signal }).then((release) => {
      granted = release;
      setTimeout(end, this.#sharing.handover);
    });
    let kept: Release | undefined;
    try {
      this.#say({ kind: "want", turn, after: through });
      while (!signal.aborted) {
        const frame = heard.shift();
        if (!frame) {
          if (over) break;
          await new Promise<void>((resolve) => (wake = resolve));
          continue;
        }
        if (frame.afterSeq > through) {
          // Something was missed.
          if (over) break;
          unanswered ??= setTimeout(end, this.#sharing.answer);
          this.#say({ kind: "want", turn, after: through });
          heard.length = 0;
          continue;
        }
        if (frame.throughSeq < through || (frame.throughSeq === through && frame.afterSeq < through)) continue; // what another tab wanted
        this.#keep(frame);
        const fresh: Frame = { ...frame, afterSeq: through, events: frame.events.filter(({ seq }) => seq === 0n || seq > through) };
        through = frame.throughSeq;
        yield fresh;
      }
      kept = granted;
      return { through, release: kept };
    } finally {
      clearTimeout(unanswered);
      signal.removeEventListener("abort", end);
      this.#listeners.delete(turn);
      leaving.abort();
      if (!kept) void waiting.then(() => granted?.());
    }
  }

  /** The network's frames, given in several streams when others wait for a slot. */
  async *#slotted(turn: string, afterSeq: bigint, signal: AbortSignal, ask?: Ask): AsyncGenerator<Frame> {
    let known = turn;
    let through = afterSeq;
    for (;;) {
      const slot = await this.#slot(signal);
      if (signal.aborted) return slot?.release();
      const stream = new AbortController();
      const both = AbortSignal.any([signal, stream.signal]);
      const watch = slot && setInterval(() => void slot.wanted().then((wanted) => wanted && known && stream.abort()), this.#sharing.slice);
      try {
        for await (const frame of ask && !known ? ask(both) : this.#network(known, through, both)) {
          known = frame.turn;
          through = frame.throughSeq;
          yield frame;
        }
        if (!stream.signal.aborted) return;
      } catch (error) {
        if (!stream.signal.aborted || signal.aborted) throw error;
      } finally {
        clearInterval(watch);
        stream.abort();
        slot?.release();
      }
    }
  }

  async #slot(signal: AbortSignal): Promise<{ readonly release: Release; readonly wanted: () => Promise<boolean> } | undefined> {
    const locks = this.#locks;
    if (!locks) return undefined;
    const names = Array.from({ length: this.#sharing.slots }, (_, number) => `responsa.stream.${number}`);
    const wanted = (name: string) => async () => (await locks.query()).pending?.some((one) => one.name === name) ?? false;
    for (const name of names) {
      const release = await this.#lock(name, { ifAvailable: true });
      if (release) return { release, wanted: wanted(name) };
    }
    const name = names[Math.floor(Math.random() * names.length)]!;
    const release = await this.#lock(name, { signal });
    return release && { release, wanted: wanted(name) };
  }

  /** Hold a lock until the function that is returned is called; undefined when it is not to be had, or no longer wanted. */
  #lock(name: string, options: LockOptions): Promise<Release | undefined> {
    return new Promise((resolve) => {
      const held = (lock: Lock | null) => (lock ? new Promise<void>((release) => resolve(release)) : resolve(undefined));
      this.#locks!.request(name, options, held as LockGrantedCallback<void>).catch(() => resolve(undefined));
    });
  }

  #keep(frame: Frame): void {
    const frames = this.#kept.get(frame.turn) ?? [];
    if (frame.throughSeq === frame.afterSeq || frame.afterSeq !== (frames.at(-1)?.throughSeq ?? 0n)) return;
    frames.push(frame);
    this.#kept.set(frame.turn, frames);
  }

  #heard(data: unknown): void {
    if (!isSaid(data)) return;
    if (data.kind === "want") {
      const through = this.#leads.get(data.turn);
      const frames = this.#kept.get(data.turn);
      // That there is nothing new is an answer as well; who cannot tell all that is missing says nothing.
      if (through !== undefined && (frames || data.after >= through)) this.#tell(data.turn, frames?.filter((one) => one.throughSeq > data.after) ?? []);
      return;
    }
    this.#listeners.get(data.turn)?.(data.frames.map((bytes) => fromBinary(ResumeTurnResponseSchema, bytes)));
  }

  #tell(turn: string, frames: readonly Frame[]): void {
    // That a server goes away concerns the tab alone that is connected to it.
    const told = frames.filter((frame) => !frame.events.some(({ event }) => event.case === "reconnect"));
    this.#say({ kind: "frames", turn, frames: told.map((frame) => toBinary(ResumeTurnResponseSchema, response(frame))) });
  }

  #say(said: Said): void {
    if (this.#open) this.#channel.postMessage(said);
  }
}

function response({ turn, afterSeq, throughSeq, events }: Frame) {
  return { $typeName: ResumeTurnResponseSchema.typeName, turn, afterSeq, throughSeq, events: [...events] };
}

function lockOf(turn: string): string {
  return `responsa.turn.${turn}`;
}

/** A tab with another release of the page may say what this one does not know. */
function isSaid(data: unknown): data is Said {
  if (typeof data !== "object" || data === null) return false;
  const said = data as Record<string, unknown>;
  if (typeof said["turn"] !== "string") return false;
  if (said["kind"] === "want") return typeof said["after"] === "bigint";
  return said["kind"] === "frames" && Array.isArray(said["frames"]) && said["frames"].every((one) => one instanceof Uint8Array);
}
