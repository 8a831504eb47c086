import { expect, test } from "vitest";
import { dateOf, momentOf, sizeOf } from "../src/text/facts.js";

test("sizes have the unit that suits them", () => {
  expect([0n, 1n, 1023n, 1024n, 1_500_000n, 67_108_864n, 5_000_000_000_000n].map(sizeOf)).toEqual(["0 bytes", "1 byte", "1,023 bytes", "1.0 KiB", "1.4 MiB", "64 MiB", "4,657 GiB"]);
});

test("dates name the month", () => {
  const date = new Date(2026, 1, 3, 14, 5);
  expect([dateOf(date), momentOf(date)]).toEqual(["3 Feb 2026", "3 Feb 2026, 14:05"]);
});
