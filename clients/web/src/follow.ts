/**
 * Following a turn to its end. A stream that ends without a terminal event and without an error of Responsa's own was cut: the same question
 * with the same request_id attaches to the same turn, and what was seen already is passed over by its seq.
 */

import type { AskResponse } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import type { TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { failureOf, type Failure } from "./errors.js";

export type Open = (signal: AbortSignal) => AsyncIterable<AskResponse>;

export interface Waits {
  /** Milliseconds before the n-th further try, n from 1. */
  readonly pause: (attempt: number) => number;
  /** Milliseconds without any frame after which a stream counts as cut; heartbeats come every 15 s. */
  readonly silence: number;
  readonly sleep: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

export const WAITS: Waits = {
  pause: (attempt) => Math.min(250 * 2 ** (attempt - 1), 10_000) * (0.5 + Math.random() / 2),
  silence: 40_000,
  sleep: (milliseconds, signal) =>
    new Promise((resolve) => {
      const timer = setTimeout(resolve, milliseconds);
      signal.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
    }),
};

/** A refusal of the call itself: no turn was accepted, or none can be followed. */
export class Refused extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

export function terminal(event: TurnEvent): boolean {
  return event.event.case === "answer" || event.event.case === "refused" || event.event.case === "failed";
}

/** Yields each event once, in order, up to and with the terminal one. `onCut` is told before each further try. */
export async function* follow(
  open: Open,
  signal: AbortSignal,
  onCut: (attempt: number) => void = () => undefined,
  waits: Waits = WAITS,
): AsyncGenerator<TurnEvent> {
  let seen = 0n;
  for (let attempt = 1; !signal.aborted; attempt += 1) {
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
          attempt = 1;
          yield event;
          if (terminal(event)) return;
        }
        if (through > seen) seen = through; // deltas that were not asked for
      }
    } catch (error) {
      const failure = failureOf(error);
      if (failure.reason !== "" && !TRANSIENT.has(failure.reason)) throw new Refused(failure);
    } finally {
      clearTimeout(watchdog);
      signal.removeEventListener("abort", stop);
      stream.abort();
    }
    if (signal.aborted) return;
    onCut(attempt);
    await waits.sleep(waits.pause(attempt), signal);
  }
}

const TRANSIENT = new Set(["PART_UNAVAILABLE", "DRAINING", "DEADLINE_EXCEEDED", "CANCELLED"]);
