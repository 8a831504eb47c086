import { describe, expect, it } from "vitest";
import { idFrom } from "../src/documents/library.js";

describe("idFrom", () => {
  it("makes ids that the contract accepts", () => {
    const ids = { "Été & Briefe": "ete-briefe", "  HR / 2026  ": "hr-2026", "---": "", "日本語": "", ["a".padEnd(80, "b")]: "a".padEnd(63, "b") };
    for (const [name, id] of Object.entries(ids)) expect(idFrom(name)).toBe(id);
    expect(idFrom(`${"a".repeat(62)} tail`)).toBe("a".repeat(62));
  });
});
