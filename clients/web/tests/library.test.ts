import { describe, expect, it } from "vitest";
import { collectionId } from "../src/library.js";

describe("collectionId", () => {
  it("makes ids that the contract accepts", () => {
    const ids = { "Été & Briefe": "ete-briefe", "  HR / 2026  ": "hr-2026", "---": "", "日本語": "", ["a".padEnd(80, "b")]: "a".padEnd(63, "b") };
    for (const [name, id] of Object.entries(ids)) expect(collectionId(name)).toBe(id);
    expect(collectionId(`${"a".repeat(62)} tail`)).toBe("a".repeat(62));
  });
});
