import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";
import { isRecent } from "../src/account/recent.js";

test("a sign-in is recent for ten minutes", () => {
  const time = timestampFromMs(0);
  expect([599_999, 600_000].map((now) => isRecent(time, now))).toEqual([true, false]);
  expect(isRecent(undefined, 0)).toBe(false);
});
