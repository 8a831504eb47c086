/**
 * Shares streams between the tabs of one browser, because a browser opens only six connections to a server over HTTP/1.1, for all its tabs. The tab that holds the turn's
 * lock follows the turn over the network and sends the frames to the other tabs. When that tab closes, another tab continues from the last frame that it has. Streams of
 * different turns share a few slots, so that calls always find a connection. Browsers offer locks only on pages that come over TLS or from this machine; without locks,
 * each tab follows its turns by itself.
 */

import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { ResumeTurnResponseSchema } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import type { Frame } from "@responsa/client/parts.js";

type Resume = (turn: string, afterSeq: bigint, signal: AbortSignal) => AsyncIterable<Frame>;
type Ask = (signal: AbortSignal) => AsyncIterable<Frame>;

/** The part of BroadcastChannel that this module uses. */
export type Channel = Pick<BroadcastChannel, "postMessage" | "addEventListener" | "close">;
/** The part of `navigator.locks` that this module uses. */
export type Locks = Pick<LockManager, "request" | "query">;

export interface Sharing {
  /** The maximum number of concurrent streams. It leaves two of the browser's six connections for calls. */
  readonly slots: number;
  /** The minimum time in milliseconds that a stream keeps its slot while another stream waits for a slot. */
  readonly slice: number;
  /** The time in milliseconds to wait for frames from the tab that follows the turn. */
  readonly answer: number;
  /** The time in milliseconds to wait for the last frames of a tab that has closed. These frames usually contain the terminal event. */
  readonly handover: number;
}

export const SHARING: Sharing = { slots: 4, slice: 2_000, answer: 1_000, handover: 50 };

type Release = () => void;

type Said =
  /** A tab shows this turn and has its frames up to this seq. */
  | { readonly kind: "want"; readonly turn: string; readonly after: bigint }
  /** Frames of this turn, as ResumeTurnResponses. */
  | { readonly kind: "frames"; readonly turn: string; readonly frames: readonly Uint8Array[] };

export class SharedStreams {
  readonly #network: Resume;
  readonly #channel: Channel;
  readonly #locks: Locks | undefined;
  readonly #sharing: Sharing;
  /** The frames of each turn that this tab follows, from the turn's first event on and without a gap. */
  readonly #kept = new Map<string, Frame[]>();
  readonly #listeners = new Map<string, (frames: readonly Frame[]) => void>();
  /** The turns that this tab follows for all tabs, with the last seq of each turn. */
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

  /** Drop the frames of a turn that has ended or is no longer shown. */
  forget(turn: string): void {
    this.#kept.delete(turn);
  }

  /** Ask a question, yield the frames of its turn, and send them to the other tabs. */
  ask(ask: Ask, signal: AbortSignal): AsyncIterable<Frame> {
    return this.#lead("", 0n, signal, ask);
  }

  /** The frames of a turn after a seq, from any tab that has them. */
  async *resume(turn: string, afterSeq: bigint, signal: AbortSignal): AsyncGenerator<Frame> {
    let through = afterSeq;
    let release: Release | undefined;
    if (this.#locks && !(release = await this.#lock(lockOf(turn), { ifAvailable: true }))) {
      ({ through, release } = yield* this.#listen(turn, through, signal));
      if (signal.aborted) return release?.();
    }
    yield* this.#lead(turn, through, signal, undefined, release);
  }

  /** Follow the turn over the network and send the frames to the other tabs. If another tab holds the lock but does not respond, follow the turn for this tab alone. */
  async *#lead(turn: string, afterSeq: bigint, signal: AbortSignal, ask?: Ask, lock?: Release): AsyncGenerator<Frame> {
    let known = turn;
    let release = lock;
    let through = afterSeq;
    let led = false;
    if (release) this.#leads.set(turn, afterSeq);
    try {
      for await (const frame of this.#slotted(turn, afterSeq, signal, ask)) {
        if (!known) {
          known = frame.turn;
          if (this.#locks) {
            release = await this.#lock(lockOf(known), { ifAvailable: true });
            led = !release;
          }
        }
        through = frame.throughSeq;
        this.#keep(frame);
        if (release) {
          this.#leads.set(known, frame.throughSeq);
          this.#tell(known, [frame]);
        }
        yield frame;
        // Another tab found the turn first, so that tab sends all further frames.
        if (led) break;
      }
    } finally {
      if (release) {
        this.#leads.delete(known);
        release();
      }
    }
    if (led && !signal.aborted) yield* this.resume(known, through, signal);
  }

  /** Yields the frames of a turn that another tab sends. Returns the last seq, and the turn's lock if the other tab has closed. If the other tab does not respond, no lock is returned. */
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
          // A frame is missing.
          if (over) break;
          unanswered ??= setTimeout(end, this.#sharing.answer);
          this.#say({ kind: "want", turn, after: through });
          heard.length = 0;
          continue;
        }
        if (frame.throughSeq < through || (frame.throughSeq === through && frame.afterSeq < through)) continue; // this frame was meant for a tab that has fewer frames
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

  /** The frames from the network, in several streams if other turns wait for a slot. */
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

  /** Acquire a lock. Returns a function that releases the lock, or undefined if the lock is taken or the call was aborted. */
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
      // An empty list is an answer, too. A tab that does not have all missing frames sends no answer.
      if (through !== undefined && (frames || data.after >= through)) this.#tell(data.turn, frames?.filter((one) => one.throughSeq > data.after) ?? []);
      return;
    }
    this.#listeners.get(data.turn)?.(data.frames.map((bytes) => fromBinary(ResumeTurnResponseSchema, bytes)));
  }

  #tell(turn: string, frames: readonly Frame[]): void {
    // The shutdown of a server concerns only the tab that is connected to this server.
    const sent = frames.filter((frame) => !frame.events.some(({ event }) => event.case === "reconnect"));
    this.#say({ kind: "frames", turn, frames: sent.map((frame) => toBinary(ResumeTurnResponseSchema, response(frame))) });
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

/** A tab with a different release of the page may send messages that this tab does not know. */
function isSaid(data: unknown): data is Said {
  if (typeof data !== "object" || data === null) return false;
  const said = data as Record<string, unknown>;
  if (typeof said["turn"] !== "string") return false;
  if (said["kind"] === "want") return typeof said["after"] === "bigint";
  return said["kind"] === "frames" && Array.isArray(said["frames"]) && said["frames"].every((one) => one instanceof Uint8Array);
}
