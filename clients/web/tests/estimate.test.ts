import { describe, expect, it } from "vitest";
import { Estimate, timeLeft } from "../src/documents/estimate.js";

describe("Estimate", () => {
  it("knows nothing at first", () => {
    const estimate = new Estimate();
    expect(estimate.left(10)).toBeUndefined();
    estimate.add(0, 0);
    estimate.add(1_000, 50);
    expect(estimate.left(10)).toBeUndefined();
  });

  it("takes the speed of the last minute", () => {
    const estimate = new Estimate();
    // 10 units a second for two minutes, then 1 unit a second.
    for (let second = 0; second <= 120; second += 1) estimate.add(second * 1_000, second * 10);
    expect(estimate.left(100)).toBeCloseTo(10_000);
    for (let second = 121; second <= 180; second += 1) estimate.add(second * 1_000, 1_200 + (second - 120));
    expect(estimate.left(100)).toBeCloseTo(100_000, -3);
  });

  it("knows nothing after an interruption, or while nothing is done", () => {
    const estimate = new Estimate();
    estimate.add(0, 0);
    estimate.add(10_000, 0);
    expect(estimate.left(10)).toBeUndefined();
    estimate.add(20_000, 10);
    estimate.reset();
    expect(estimate.left(10)).toBeUndefined();
  });
});

describe("timeLeft", () => {
  it("rounds to minutes and hours", () => {
    expect([20_000, 70_000, 200_000, 5_000_000, 9_000_000].map(timeLeft)).toEqual([
      "less than a minute left",
      "about a minute left",
      "about 3 minutes left",
      "about 83 minutes left",
      "about 3 hours left",
    ]);
  });
});
