/** Estimates how long work will take from the speed of the last minute. */

import { t } from "../language/documents/texts.js";

const WINDOW = 60_000; // milliseconds
/** Milliseconds after which the speed is known well enough. */
const LEAST = 3_000;
const MINUTE = 60_000;
const HOUR = 3_600_000;

export class Estimate {
  #samples: { readonly at: number; readonly done: number }[] = [];

  /** Record that `done` units of work are done at the time `at`, in milliseconds. */
  add(at: number, done: number): void {
    this.#samples.push({ at, done });
    // One sample stays from before the window, so that the samples cover all of it.
    while (this.#samples[1] && this.#samples[1].at <= at - WINDOW) this.#samples.shift();
  }

  /** Forget the speed, because the work was interrupted. */
  reset(): void {
    this.#samples = [];
  }

  /** The time in milliseconds for `rest` units of work; undefined if the speed is not known yet. */
  left(rest: number): number | undefined {
    const first = this.#samples[0];
    const last = this.#samples.at(-1);
    if (!first || !last || last.at - first.at < LEAST || last.done <= first.done) return undefined;
    return (rest * (last.at - first.at)) / (last.done - first.done);
  }
}

/** The text for a time in milliseconds, e.g. "about 3 minutes left". */
export function timeLeft(milliseconds: number): string {
  if (milliseconds < MINUTE) return t("underMinute");
  return milliseconds < 1.5 * HOUR ? t("minutesLeft", { count: Math.round(milliseconds / MINUTE) }) : t("hoursLeft", { count: Math.round(milliseconds / HOUR) });
}
