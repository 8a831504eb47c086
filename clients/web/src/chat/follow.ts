/**
 * Follows a turn to its end, across any number of lost connections. Until the page knows the turn's name, it sends the same question again with the same request_id.
 * Afterwards, it resumes the turn after the last frame. The cases of clients/conformance/cases.yaml define all other rules.
 */

import type { Turn, TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { CUT, failureOf, type Failure } from "../server/errors.js";
import { BrokenAnswer, ChainBroken, type Frame, type FrameReader } from "./frames.js";
import { mayPass, OFFLINE_PAUSE, PATIENCE, rest, type Patience } from "../server/patience.js";

export interface Calls {
  /** Ask the question; each call sends the same request. Unused if the turn's name is known. */
  readonly ask?: (signal: AbortSignal) => AsyncIterable<Frame>;
  readonly resume: (turn: string, afterSeq: bigint, signal: AbortSignal) => AsyncIterable<Frame>;
  readonly get: (turn: string, signal: AbortSignal) => Promise<Turn>;
}

export interface Notices {
  /** The turn's place in the queue has changed; 0 means that the turn no longer waits. */
  readonly place?: (place: number) => void;
  /** No frames arrive at the moment; `failure` is the reason. Called before each wait for the next try. `tries` counts the tries without a new event, from 1. */
  readonly paused?: (failure: Failure, tries: number) => void;
  /** Frames arrive again. */
  readonly resumed?: () => void;
}

/** The server refused the call: it did not accept the question, or the turn cannot be followed. */
export class Refused extends Error {
  constructor(readonly failure: Failure) {
    super(failure.message);
  }
}

/** After this number of consecutive unexpected errors without a new event between them, the page stops following an accepted turn. */
const UNEXPECTED = 3;

/** The result of one stream. `reconnect` is the time in milliseconds that the server asked the page to wait; undefined if the server did not ask. */
interface End {
  readonly failure: Failure;
  readonly reconnect: number | undefined;
  /** Whether the stream ended without an error and without a frame. */
  readonly empty: boolean;
}

/**
 * Yields each event once, in order, up to and including the terminal event. If `signal` aborts, the generator ends without the terminal event. It also does so if another
 * call has returned the terminal event, which is then in `reader.terminal`. Throws Refused, BrokenAnswer.
 */
export async function* follow(
  reader: FrameReader,
  calls: Calls,
  signal: AbortSignal,
  notices: Notices = {},
  patience: Patience = PATIENCE,
): AsyncGenerator<TurnEvent> {
  let tries = 0; // the number of waits since the last new event
  let unexpected = 0;
  let left = false; // whether the page has reconnected at the server's request since the last new event
  while (!signal.aborted && !reader.terminal) {
    const before = reader.lastSeq;
    const end = yield* stream(reader, calls, signal, notices, patience);
    if (signal.aborted || reader.terminal) return;
    if (reader.lastSeq > before) {
      tries = unexpected = 0;
      left = false;
    }
    const { failure } = end;
    if (failure.reason === "INTERNAL" && reader.turn && (unexpected += 1) < UNEXPECTED) {
      // An accepted turn outlives an unexpected error of the call that follows it.
    } else if (!mayPass(failure)) {
      throw new Refused(failure);
    }
    if (end.empty && reader.turn && (await hasEnded(reader, calls, signal))) return;
    if (signal.aborted) return;
    if (end.reconnect !== undefined && !left) {
      left = true;
      await patience.sleep(end.reconnect, signal);
      continue;
    }
    const offline = patience.offline();
    notices.paused?.(failure, tries + 1);
    if (!offline) tries += 1; // time offline does not count
    const wait = offline ? OFFLINE_PAUSE : patience.pause(tries);
    await rest(Math.max(wait, failure.retryAfter ?? 0, end.reconnect ?? 0), signal, patience);
  }
}

/** Reads one stream and yields its new events. */
async function* stream(reader: FrameReader, calls: Calls, signal: AbortSignal, notices: Notices, patience: Patience): AsyncGenerator<TurnEvent, End> {
  const controller = new AbortController();
  const stop = () => controller.abort();
  signal.addEventListener("abort", stop, { once: true });
  let heard = patience.now();
  let watchdog = setTimeout(stop, patience.silence);
  const unwatch = patience.changes((change) => {
    // The watchdog is not enough: a connection that was lost with the network reports no error, and timers stop while a computer sleeps.
    if (change === "offline" || patience.now() - heard > patience.silence) stop();
  });
  let frames = 0;
  let failure = CUT;
  let whole = false;
  const asks = !reader.turn && calls.ask;
  try {
    reader.begin();
    for await (const frame of asks ? asks(controller.signal) : calls.resume(reader.turn, reader.lastSeq, controller.signal)) {
      clearTimeout(watchdog);
      heard = patience.now();
      if (reader.terminal) {
        watchdog = setTimeout(stop, patience.farewell);
        continue;
      }
      const place = reader.place;
      const events = reader.take(frame);
      frames += 1;
      notices.resumed?.();
      if (reader.place !== place) notices.place?.(reader.place);
      yield* events;
      if (reader.reconnect !== undefined && !reader.terminal) break;
      watchdog = setTimeout(stop, reader.terminal ? patience.farewell : patience.silence);
    }
    whole = !controller.signal.aborted;
  } catch (error) {
    if (error instanceof BrokenAnswer) throw error;
    if (!(error instanceof ChainBroken)) failure = failureOf(error);
  } finally {
    clearTimeout(watchdog);
    unwatch();
    signal.removeEventListener("abort", stop);
    stop();
  }
  return { failure, reconnect: reader.reconnect, empty: whole && frames === 0 && !asks };
}

/** Whether the turn ended at the reader's position, which would explain an empty stream. */
async function hasEnded(reader: FrameReader, calls: Calls, signal: AbortSignal): Promise<boolean> {
  try {
    const turn = await calls.get(reader.turn, signal);
    if (turn.terminalEvent && turn.lastSeq === reader.lastSeq) reader.end(turn.terminalEvent);
  } catch (error) {
    if (error instanceof BrokenAnswer) throw error;
    const failure = failureOf(error);
    if (!signal.aborted && !mayPass(failure)) throw new Refused(failure);
  }
  return reader.terminal !== undefined;
}
