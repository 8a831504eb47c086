/** Patience that waits for nothing, and keeps how long it should have waited. */

import type { Change, Patience } from "../src/patience.js";

export class StillPatience implements Patience {
  /** Milliseconds of each sleep so far. */
  readonly waits: number[] = [];
  readonly silence = 60_000;
  readonly farewell = 1;
  isOffline = false;
  #time = 0;
  readonly #told = new Set<(change: Change) => void>();

  readonly pause = (attempt: number): number => attempt;

  readonly sleep = (milliseconds: number): Promise<void> => {
    this.waits.push(milliseconds);
    return Promise.resolve();
  };

  readonly offline = (): boolean => this.isOffline;

  readonly now = (): number => this.#time;

  readonly changes = (tell: (change: Change) => void): (() => void) => {
    this.#told.add(tell);
    return () => void this.#told.delete(tell);
  };

  tell(change: Change): void {
    for (const one of [...this.#told]) one(change);
  }

  /** So much time passes without a frame that a stream counts as cut. */
  elapse(): void {
    this.#time += this.silence + 1;
    queueMicrotask(() => this.tell("back"));
  }
}
