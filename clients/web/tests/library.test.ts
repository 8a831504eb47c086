import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";
import { describe, expect, it } from "vitest";
import { DEFAULT, firstOf, idFrom, labelOf, takesFiles } from "../src/documents/library.js";

describe("idFrom", () => {
  it("makes ids that the contract accepts", () => {
    const ids = { "Été & Briefe": "ete-briefe", "  HR / 2026  ": "hr-2026", "---": "", "日本語": "", ["a".padEnd(80, "b")]: "a".padEnd(63, "b") };
    for (const [name, id] of Object.entries(ids)) expect(idFrom(name)).toBe(id);
    expect(idFrom(`${"a".repeat(62)} tail`)).toBe("a".repeat(62));
  });
});

describe("firstOf", () => {
  const collection = (name: string, owner: string, documentCount: bigint, kind = CollectionKind.OWN) => ({ name, owner, documentCount, kind });
  const docs = collection("collections/responsa-docs", "users/a", 19n, CollectionKind.DOCS);

  it("opens an own collection that has documents", () => {
    const full = collection("collections/hr", "users/a", 2n);
    expect(firstOf("users/a", [full, collection(DEFAULT.name, "users/a", 0n)])).toBe("collections/hr");
    expect(firstOf("users/a", [full, collection(DEFAULT.name, "users/a", 1n)])).toBe(DEFAULT.name);
    expect(firstOf("users/b", [full])).toBe(DEFAULT.name);
  });

  it("does not open Responsa’s documentation, where files would be everybody’s", () => {
    expect(firstOf("users/a", [docs])).toBe(DEFAULT.name);
    expect([takesFiles(docs), takesFiles(DEFAULT)]).toEqual([false, true]);
  });
});

describe("labelOf", () => {
  it("names the owner of a collection without a display name whose id has a random end", () => {
    const shared = { name: "collections/hr-546c9a19", displayName: "", chosenId: "hr", ownerDisplayName: "Ada", kind: CollectionKind.OWN, conversation: "" };
    expect(labelOf(shared)).toBe("hr (of Ada)");
    expect(labelOf({ ...shared, ownerDisplayName: "" })).toBe("hr-546c9a19");
    expect(labelOf({ ...shared, name: "collections/hr" })).toBe("hr");
    expect(labelOf({ ...shared, displayName: "Handbook" })).toBe("Handbook");
  });

  it("has words for ids that nobody chose", () => {
    const own = { name: "collections/default", displayName: "", chosenId: "default", ownerDisplayName: "Ada", kind: CollectionKind.OWN, conversation: "" };
    expect([own, DEFAULT].map(labelOf)).toEqual(["My documents", "My documents"]);
    expect(labelOf({ ...own, name: "collections/default-546c9a19" })).toBe("From Ada");
    expect(labelOf({ ...own, name: "collections/responsa-docs", chosenId: "responsa-docs", kind: CollectionKind.DOCS })).toBe("Responsa’s documentation");
  });
});
