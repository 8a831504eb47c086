import { expect, test } from "vitest";
import { filterOf, type Wanted } from "../src/filters.js";

const NOTHING: Wanted = { text: " ", within: "title", state: "", mediaType: "" };

test("without a wish, there is no filter", () => {
  expect(filterOf(NOTHING)).toBe("");
});

test("all wishes must be met, and quotes are escaped", () => {
  const wanted: Wanted = { text: ' a "b" \\ c', within: "source_key", state: "FAILED", mediaType: "text/markdown" };
  expect(filterOf(wanted)).toBe('source_key:"a \\"b\\" \\\\ c" AND state = "FAILED" AND media_type = "text/markdown"');
});
