import { expect, test } from "vitest";
import { labelLines, labelsOf } from "../src/documents/labels.js";

test("labels are written as lines in the order of their names, and read again", () => {
  const labels = { team: "harbour", address: "https://example.com/a: b", public: "", grade: "7" };
  expect(labelLines(labels)).toBe("address: https://example.com/a: b\ngrade: 7\npublic: \nteam: harbour");
  expect(labelsOf(` ${labelLines(labels)}\n\n`)).toEqual(labels);
});

test("names and values that could be read as something else are written in quotes", () => {
  const labels = { "a:b": "1", "two\nlines": "x\r\ny", " spaced ": " x ", '"said"': '"x"', '"open': '"x', "back\\slash:": "" };
  expect(labelLines({ "a:b": "1" })).toBe('"a:b": 1');
  expect(labelsOf(labelLines(labels))).toEqual(labels);
  expect(labelLines(labels).split(/[\n\r]/)).toHaveLength(6);
  expect(labelsOf('"rye" bread: fresh')).toEqual({ '"rye" bread': "fresh" });
});

test("labels that the server would refuse are explained", () => {
  expect(labelsOf("team")).toBe("Line 1 must read “name: value”.");
  expect(labelsOf("team: a\nteam: b")).toBe("Line 2 repeats “team”.");
  expect(labelsOf(`${"ä".repeat(32)}: 1`)).toMatch(/is longer than 63 bytes/);
  expect(labelsOf(`a: ${"ä".repeat(128)}`)).toBe("The value of “a” is longer than 255 bytes.");
  expect(labelsOf(Array.from({ length: 33 }, (_, place) => `l${place}: 1`).join("\n"))).toBe("There are 33 labels; the limit is 32.");
});
