/**
 * Following a turn to its end. A stream that ends without a terminal event and without an error of Responsa's own was cut: the same question
 * with the same request_id attaches to the same turn, and what was seen already is passed over by its seq.
 */

import type { AskResponse } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import type { TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { CUT, failureOf, type Failure } from "./errors.js";

export type Open = (signal: AbortSignal) => AsyncIterable<AskResponse>;

export interface Told {
  /** `turns/{uuid}`. */
  readonly turn: string;
  readonly event: TurnEvent;
}

export interface Waits {
  /** Milliseconds before the n-th further try without progress, n from 1. */
  readonly pause: (attempt: number) => number;
  /** Milliseconds without any frame after which a stream counts as cut; heartbeats come every 15 s. */
  readonly silence: number;
  /** Milliseconds that a stream is given to end by itself after the terminal event, so that its connection can serve again. */
  readonly farewell: number;
  readonly sleep: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

export const WAITS: Waits = {
  pause: (attempt) => Math.min(250 * 2 ** (attempt - 1), 10_000) * (0.5 + Math.random() / 2),
  silence: 40_000,
  farewell: 1_000,
  sleep: (milliseconds, signal) =>
    new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      signal.addEventListener("abort", done);
    }),
};

/** A refusal of the call itself: no turn was accepted, or none can be followed. */
export class Refused extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

/** The event that ends a turn. One of a kind that is not known yet does not. */
export function terminal(event: TurnEvent): boolean {
  return event.event.case === "answer" || event.event.case === "refused" || event.event.case === "failed";
}

/**
 * Yields each event once, in order, up to and with the terminal one; ends without it only when `signal` aborts. `onCut` is told before each
 * further try why it is needed. Throws `Refused`.
 */
export async function* follow(
  open: Open,
  signal: AbortSignal,
  onCut: (failure: Failure) => void = () => undefined,
  waits: Waits = WAITS,
): AsyncGenerator<Told> {
  let seen = 0n;
  let ended = false;
  let tries = 0; // since something new came
  while (!signal.aborted && !ended) {
    tries += 1;
    let failure = CUT;
    const stream = new AbortController();
    const stop = () => stream.abort();
    signal.addEventListener("abort", stop, { once: true });
    let watchdog = setTimeout(stop, waits.silence);
    try {
      let through = 0n;
      for await (const frame of open(stream.signal)) {
        clearTimeout(watchdog);
        watchdog = setTimeout(stop, waits.silence);
        if (frame.afterSeq !== through) break; // a hole: never go on over it
        through = frame.throughSeq;
        for (const event of frame.events) {
          if (event.seq <= seen) continue;
          seen = event.seq;
          tries = 0;
          yield { turn: frame.turn, event };
          ended ||= terminal(event);
        }
        if (ended) {
          clearTimeout(watchdog);
          watchdog = setTimeout(stop, waits.farewell);
        }
        if (through > seen) seen = through; // events that were not asked for
      }
    } catch (error) {
      failure = failureOf(error);
      if (!ended && !again(failure, seen, tries)) throw new Refused(failure);
    } finally {
      clearTimeout(watchdog);
      signal.removeEventListener("abort", stop);
      stream.abort();
    }
    if (signal.aborted || ended) return;
    tries = Math.max(tries, 1);
    onCut(failure);
    await waits.sleep(Math.max(waits.pause(tries), failure.retryAfter ?? 0), signal);
  }
}

const TRANSIENT = new Set(["PART_UNAVAILABLE", "DRAINING", "DEADLINE_EXCEEDED", "CANCELLED", "OVERLOADED"]);
const INTERNAL_TRIES = 3;

/** Whether asking again can help. An accepted turn outlives an unexpected error of the call that follows it. */
function again(failure: Failure, seen: bigint, tries: number): boolean {
  if (failure.reason === "" || TRANSIENT.has(failure.reason)) return true;
  return failure.reason === "INTERNAL" && seen > 0n && tries < INTERNAL_TRIES;
}
