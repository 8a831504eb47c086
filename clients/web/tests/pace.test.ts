import { describe, expect, it } from "vitest";
import { Pace, type Clock } from "../src/text/pace.js";

/** A clock that the test moves. */
class Hand implements Clock {
  time = 0;
  #waiting: { readonly at: number; readonly act: () => void }[] = [];

  readonly now = () => this.time;

  readonly later = (act: () => void, after: number) => {
    const one = { at: this.time + after, act };
    this.#waiting.push(one);
    return () => {
      this.#waiting = this.#waiting.filter((other) => other !== one);
    };
  };

  /** Moves the clock, and calls what is due. */
  pass(milliseconds: number): void {
    this.time += milliseconds;
    for (const one of this.#waiting.filter(({ at }) => at <= this.time)) {
      this.#waiting = this.#waiting.filter((other) => other !== one);
      one.act();
    }
  }
}

function painting(cost: number) {
  const clock = new Hand();
  const pace = new Pace(clock);
  const painted: number[] = [];
  const soon = (number: number) =>
    pace.soon(() => {
      painted.push(number);
      clock.time += cost;
    });
  return { clock, pace, painted, soon };
}

describe("Pace", () => {
  it("runs the first call at once, and of those in a pause only the last", () => {
    const { clock, painted, soon } = painting(0);
    for (const number of [1, 2, 3]) soon(number);
    expect(painted).toEqual([1]);
    clock.pass(20);
    expect(painted).toEqual([1, 3]);
  });

  it("uses at most a fifth of the time, however dear a run is", () => {
    const { clock, painted, soon } = painting(50);
    let busy = 0;
    while (clock.time < 10_000) {
      soon(clock.time);
      const before = painted.length;
      clock.pass(1);
      busy += (painted.length - before) * 50;
    }
    expect(busy).toBeGreaterThan(1_000);
    expect(busy).toBeLessThanOrEqual(10_000 / 5);
  });

  it("makes the call that waits at once if asked", () => {
    const { clock, pace, painted, soon } = painting(0);
    pace.flush();
    soon(1);
    soon(2);
    pace.flush();
    pace.flush();
    clock.pass(100);
    expect(painted).toEqual([1, 2]);
  });

  it("forgets the call that waits", () => {
    const { clock, pace, painted, soon } = painting(0);
    soon(1);
    soon(2);
    pace.drop();
    clock.pass(100);
    expect(painted).toEqual([1]);
    soon(3);
    expect(painted).toEqual([1, 3]);
  });
});
