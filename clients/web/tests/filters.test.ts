import { expect, test } from "vitest";
import { failureOf } from "../src/server/errors.js";
import { filterOf, filterProblem, type Wanted } from "../src/server/filters.js";
import { refusedFields } from "../../typescript/tests/failures.js";

const NOTHING: Wanted = { text: " ", state: "", mediaType: "", expression: " " };

test("without a wish, there is no filter", () => {
  expect(filterOf(NOTHING)).toBe("");
});

test("all wishes must be met, and quotes are escaped", () => {
  const wanted: Wanted = { text: ' a "b" \\ *', state: "FAILED", mediaType: "text/markdown", expression: " a = 1 OR b = 2 " };
  const part = '"a \\"b\\" \\\\ \\*"';
  expect(filterOf(wanted)).toBe(`a = 1 OR b = 2 AND (title:${part} OR source_key:${part}) AND state = "FAILED" AND media_type = "text/markdown"`);
});

test("the message about a mistake in a filter comes without the list of fields", () => {
  const refused = refusedFields("FILTER_INVALID", "filter: there is no field `x` (character 1); fields: title,date", { filter: "there is no field `x` (character 1); fields: title,date" });
  expect(filterProblem(failureOf(refused))).toBe("Filter: there is no field `x` (character 1).");
  expect(filterProblem(failureOf(refusedFields("INVALID_FIELD", "No.", {})))).toBeUndefined();
});
