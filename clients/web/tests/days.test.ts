import { expect, it } from "vitest";
import { dayOf } from "../src/text/days.js";

it("names the group of a time", () => {
  const now = new Date(2026, 2, 1, 0, 30);
  const at = (month: number, day: number, hour = 12) => dayOf(new Date(2026, month, day, hour), now);
  expect([at(2, 1, 0), at(1, 28, 23), at(1, 27), at(1, 22), at(1, 21), dayOf(new Date(2025, 11, 31), now)]).toEqual(["Today", "Yesterday", "Last 7 days", "Last 7 days", "February 2026", "December 2025"]);
});
