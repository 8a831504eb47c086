/** Limits the share of its time that the page spends on a text that grows. */

/** The shortest time between two runs, in milliseconds: about one frame of a screen. */
const FRAME = 16;
/** The pause after a run, as a multiple of its duration. */
const REST = 4;

export interface Clock {
  readonly now: () => number;
  /** Calls `act` after this number of milliseconds. The returned function prevents the call. */
  readonly later: (act: () => void, after: number) => () => void;
}

const CLOCK: Clock = {
  now: () => performance.now(),
  later: (act, after) => {
    const timer = setTimeout(act, after);
    return () => clearTimeout(timer);
  },
};

export class Pace {
  readonly #clock: Clock;
  #act: () => void = () => undefined;
  #cancel: (() => void) | undefined;
  #next = -Infinity;

  constructor(clock: Clock = CLOCK) {
    this.#clock = clock;
  }

  /** Run `act`, at once or after a pause. Of the calls during a pause, only the last one counts. */
  soon(act: () => void): void {
    this.#act = act;
    if (this.#cancel) return;
    const wait = this.#next - this.#clock.now();
    if (wait <= 0) this.#run();
    else this.#cancel = this.#clock.later(() => this.#run(), wait);
  }

  /** Make the call that waits now. */
  flush(): void {
    if (!this.#cancel) return;
    this.#cancel();
    this.#run();
  }

  /** Forget the call that waits. */
  drop(): void {
    this.#cancel?.();
    this.#cancel = undefined;
  }

  #run(): void {
    this.#cancel = undefined;
    const begin = this.#clock.now();
    this.#act();
    const end = this.#clock.now();
    this.#next = end + Math.max(FRAME, REST * (end - begin));
  }
}
