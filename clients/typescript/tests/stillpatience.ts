/** A patience that never waits, but records the times that it was asked to wait. */

import type { Change, Patience } from "../src/patience.js";

export class StillPatience implements Patience {
  /** Milliseconds of each sleep so far. */
  readonly waits: number[] = [];
  readonly silence = 60_000;
  readonly farewell = 1;
  readonly giveUp = Infinity;
  readonly longestLimit = 0;
  isOffline = false;
  readonly #told = new Set<(change: Change) => void>();

  readonly pause = (attempt: number): number => attempt;

  readonly sleep = (milliseconds: number): Promise<void> => {
    this.waits.push(milliseconds);
    return Promise.resolve();
  };

  readonly offline = (): boolean => this.isOffline;

  readonly now = (): number => 0;

  readonly changes = (tell: (change: Change) => void): (() => void) => {
    this.#told.add(tell);
    return () => void this.#told.delete(tell);
  };

  tell(change: Change): void {
    for (const one of [...this.#told]) one(change);
  }
}
