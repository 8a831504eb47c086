/** Decides when to try again. */

import { Code } from "@connectrpc/connect";
import { CannotConnect, errorOf, type ResponsaError } from "./errors.js";

/** The browser's reports about its network and this page. "back": the network has returned, or the page is visible again. */
export type Change = "offline" | "back";

export interface Patience {
  /** The wait in milliseconds before the n-th retry without a new event; n counts from 1. It has full jitter, so that clients that lost their connections at the same time do not all reconnect at the same time. */
  readonly pause: (attempt: number) => number;
  /** Milliseconds without any frame after which a stream counts as cut; heartbeats come every 15 s. */
  readonly silence: number;
  /** The time in milliseconds that a stream has to end by itself after the terminal event, so that the browser can reuse the connection. */
  readonly farewell: number;
  /** Milliseconds without any frame, counted from the first failure, after which a client stops following a turn. */
  readonly giveUp: number;
  /** The longest wait in milliseconds for a limit of calls. The user gets the error of a limit that needs longer. */
  readonly longestLimit: number;
  /** Sleeps. When the signal aborts, the sleep ends early and without an error. */
  readonly sleep: (milliseconds: number, signal: AbortSignal) => Promise<void>;
  /** Whether the browser believes that it has no network. The browser may be wrong about servers on the same machine, so the page still tries to reach the server, but rarely. */
  readonly offline: () => boolean;
  /** Subscribe to changes. The returned function ends the subscription. */
  readonly changes: (tell: (change: Change) => void) => () => void;
  readonly now: () => number;
}

const FIRST_PAUSE = 500;
const LONGEST_PAUSE = 10_000;
/** Milliseconds between tries without a network. When the network returns, the wait ends immediately. */
export const OFFLINE_PAUSE = 10_000;

export const PATIENCE: Patience = {
  pause: (attempt) => Math.random() * Math.min(FIRST_PAUSE * 2 ** (attempt - 1), LONGEST_PAUSE),
  silence: 45_000,
  farewell: 1_000,
  giveUp: Infinity,
  longestLimit: 0,
  sleep: (milliseconds, signal) =>
    new Promise((resolve) => {
      if (signal.aborted) return resolve();
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, milliseconds);
      signal.addEventListener("abort", done);
    }),
  offline: () => typeof navigator !== "undefined" && navigator.onLine === false,
  changes: (tell) => {
    if (typeof window === "undefined") return () => undefined;
    const ends = new AbortController();
    const { signal } = ends;
    window.addEventListener("offline", () => tell("offline"), { signal });
    window.addEventListener("online", () => tell("back"), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || tell("back"), { signal });
    return () => ends.abort();
  },
  now: () => Date.now(),
};

// When a user signs in again, the streams of the session before end. The page leaves if the user is no longer signed in, so a try with the new session can succeed.
const TRANSIENT = new Set(["DRAINING", "PART_UNAVAILABLE", "OVERLOADED", "DEADLINE_EXCEEDED", "CANCELLED", "SESSION_ENDED", "ROLE_CHANGED"]);
const LIMITS = new Set(["RATE_LIMIT", "LIMIT_REACHED"]);
/** If a server behind a proxy is killed, clients see one of these codes, but rarely UNAVAILABLE. */
const CUT: readonly unknown[] = [undefined, Code.Unavailable, Code.Internal, Code.Unknown, Code.Aborted, Code.Canceled, Code.DeadlineExceeded];

/** Whether the same call can succeed later: its connection was lost, or the server's reason is temporary. */
export function mayPass(error: Pick<ResponsaError, "reason" | "retryAfter"> & { readonly code?: Code }, patience = PATIENCE): boolean {
  const { reason, retryAfter = Infinity, code } = error;
  if (LIMITS.has(reason)) return retryAfter <= patience.longestLimit;
  return reason === "" ? CUT.includes(code) && !(error instanceof CannotConnect) : TRANSIENT.has(reason);
}

/** Sleep. The sleep ends early when the network returns or the page becomes visible again. */
export async function rest(milliseconds: number, signal: AbortSignal, patience: Patience): Promise<void> {
  const wake = new AbortController();
  const end = patience.changes((change) => change === "back" && wake.abort());
  try {
    await patience.sleep(milliseconds, AbortSignal.any([signal, wake.signal]));
  } finally {
    end();
  }
}

/** Repeat an idempotent call until it succeeds, at most `most` times. Raises an error that repeating cannot fix, and AbortError when the signal aborts. */
export async function persist<T>(call: (signal: AbortSignal) => Promise<T>, signal: AbortSignal, patience: Patience = PATIENCE, most = Infinity): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    signal.throwIfAborted();
    try {
      return await call(signal);
    } catch (error) {
      signal.throwIfAborted();
      const failure = errorOf(error);
      if (tries > most || !mayPass(failure, patience)) throw error;
      const wait = patience.offline() ? OFFLINE_PAUSE : patience.pause(tries);
      await rest(Math.max(wait, failure.retryAfter ?? 0), signal, patience);
    }
  }
}
