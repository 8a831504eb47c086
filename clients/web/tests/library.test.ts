import { describe, expect, it } from "vitest";
import { idFrom, labelOf } from "../src/documents/library.js";

describe("idFrom", () => {
  it("makes ids that the contract accepts", () => {
    const ids = { "Été & Briefe": "ete-briefe", "  HR / 2026  ": "hr-2026", "---": "", "日本語": "", ["a".padEnd(80, "b")]: "a".padEnd(63, "b") };
    for (const [name, id] of Object.entries(ids)) expect(idFrom(name)).toBe(id);
    expect(idFrom(`${"a".repeat(62)} tail`)).toBe("a".repeat(62));
  });
});

describe("labelOf", () => {
  it("names the owner of a collection without a display name whose id has a random end", () => {
    const shared = { name: "collections/default-546c9a19", displayName: "", chosenId: "default", ownerDisplayName: "Ada" };
    expect(labelOf(shared)).toBe("default (of Ada)");
    expect(labelOf({ ...shared, ownerDisplayName: "" })).toBe("default-546c9a19");
    expect(labelOf({ ...shared, name: "collections/default" })).toBe("default");
    expect(labelOf({ ...shared, displayName: "Handbook" })).toBe("Handbook");
  });
});
