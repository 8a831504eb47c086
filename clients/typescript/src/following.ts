/**
 * Follows a turn to its end, across any number of lost connections. Until the client knows the turn's name, it sends the same question again with the same request_id.
 * Afterwards, it resumes the turn after the last frame. The cases of clients/conformance/cases.yaml define all other rules.
 */

import type { Turn, TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { BrokenAnswer, cut, errorOf, type ResponsaError } from "./errors.js";
import { ChainBroken, type Frame, type FrameReader } from "./frames.js";
import { mayPass, OFFLINE_PAUSE, PATIENCE, rest, type Patience } from "./patience.js";

export interface Calls {
  /** Ask the question; each call sends the same request. Unused if the turn's name is known. */
  readonly ask?: (signal: AbortSignal) => AsyncIterable<Frame>;
  readonly resume: (turn: string, afterSeq: bigint, signal: AbortSignal) => AsyncIterable<Frame>;
  readonly get: (turn: string, signal: AbortSignal) => Promise<Turn>;
  /** Make the next calls over another connection, because the server that follows this one is shutting down or silent. */
  readonly renew?: () => void;
  /** Whether the next call may have another access token than the one that was refused. */
  readonly renewsToken?: boolean;
}

export interface Notices {
  /** The turn's place in the queue has changed; 0 means that the turn no longer waits. */
  readonly place?: (place: number) => void;
  /** No frames arrive at the moment; `failure` is the reason. Called before each wait for the next try. `tries` counts the tries without a new event, from 1. */
  readonly paused?: (failure: ResponsaError, tries: number) => void;
  /** Frames arrive again after `paused`. */
  readonly resumed?: () => void;
}

/** After this number of consecutive unexpected errors without a new event between them, the client stops following an accepted turn. */
const UNEXPECTED = 3;

/** The result of one stream. `reconnect` is the time in milliseconds that the server asked the client to wait; undefined if the server did not ask. */
interface End {
  readonly failure: ResponsaError;
  readonly reconnect: number | undefined;
  readonly frames: number;
  /** Whether no frame arrived for so long that the client ended the stream. */
  readonly silent: boolean;
  /** Whether the stream ended without an error and without a frame. */
  readonly empty: boolean;
}

/**
 * Yields each event once, in order, up to and including the terminal event. If `signal` aborts, the generator ends without the terminal event. It also does so if another
 * call has returned the terminal event, which is then in `reader.terminal`. Throws ResponsaError: the server refused the call, or nothing arrived for longer than `patience.giveUp`.
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
  let left = false; // whether the client has reconnected at the server's request since the last new event
  let renewed = false; // whether an access token was refused since the last new event
  let since: number | undefined; // when frames stopped
  let isPaused = false;
  const resumed = () => {
    if (isPaused) notices.resumed?.();
    isPaused = false;
  };
  while (!signal.aborted && !reader.terminal) {
    const before = reader.lastSeq;
    const end = yield* stream(reader, calls, signal, { ...notices, resumed }, patience);
    if (signal.aborted || reader.terminal) return;
    if (reader.lastSeq > before) {
      tries = unexpected = 0;
      left = renewed = false;
    }
    const { failure, reconnect } = end;
    if (end.frames > 0 && reconnect === undefined) since = undefined;
    if (failure.reason === "INTERNAL" && reader.turn && (unexpected += 1) < UNEXPECTED) {
      // An accepted turn outlives an unexpected error of the call that follows it.
    } else if (failure.reason === "TOKEN_INVALID" && calls.renewsToken && !renewed) {
      renewed = true;
    } else if (!mayPass(failure, patience)) {
      throw failure;
    }
    if (end.empty && reader.turn && (await hasEnded(reader, calls, signal, patience))) return;
    if (signal.aborted) return;
    if (reconnect !== undefined || end.silent || failure.reason === "DRAINING") calls.renew?.();
    if (reconnect !== undefined && !left) {
      left = true;
      await patience.sleep(reconnect, signal);
      continue;
    }
    const offline = patience.offline();
    isPaused = true;
    notices.paused?.(failure, tries + 1);
    if (!offline) tries += 1; // time offline does not count
    const wait = Math.max(offline ? OFFLINE_PAUSE : patience.pause(tries), failure.retryAfter ?? 0, reconnect ?? 0);
    since ??= patience.now();
    if (patience.now() + wait - since > patience.giveUp) throw failure;
    await rest(wait, signal, patience);
  }
}

/** Reads one stream and yields its new events. */
async function* stream(reader: FrameReader, calls: Calls, signal: AbortSignal, notices: Notices, patience: Patience): AsyncGenerator<TurnEvent, End> {
  const controller = new AbortController();
  const stop = () => controller.abort();
  let silent = false;
  const silence = () => {
    silent = true;
    stop();
  };
  signal.addEventListener("abort", stop, { once: true });
  let heard = patience.now();
  let watchdog = setTimeout(silence, patience.silence);
  const unwatch = patience.changes((change) => {
    // The watchdog is not enough: a connection that was lost with the network reports no error, and timers stop while a computer sleeps.
    if (change === "offline" || patience.now() - heard > patience.silence) silence();
  });
  let frames = 0;
  let failure = cut("it ended before the turn did");
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
      watchdog = reader.terminal ? setTimeout(stop, patience.farewell) : setTimeout(silence, patience.silence);
    }
    whole = !controller.signal.aborted;
  } catch (error) {
    if (error instanceof BrokenAnswer) throw error;
    failure = silent ? cut("not even a heartbeat arrived") : error instanceof ChainBroken ? cut(error.message) : errorOf(error);
  } finally {
    clearTimeout(watchdog);
    unwatch();
    signal.removeEventListener("abort", stop);
    stop();
  }
  return { failure, reconnect: reader.reconnect, frames, silent, empty: whole && frames === 0 && !asks };
}

/** Whether the turn ended at the reader's position, which would explain an empty stream. */
async function hasEnded(reader: FrameReader, calls: Calls, signal: AbortSignal, patience: Patience): Promise<boolean> {
  try {
    const turn = await calls.get(reader.turn, signal);
    if (turn.terminalEvent && turn.lastSeq === reader.lastSeq) reader.end(turn.terminalEvent);
  } catch (error) {
    if (error instanceof BrokenAnswer) throw error;
    const failure = errorOf(error);
    if (!signal.aborted && !mayPass(failure, patience)) throw failure;
  }
  return reader.terminal !== undefined;
}
