import { create } from "@bufbuild/protobuf";
import { UserRole } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { CollectionSchema } from "@responsa/contract/responsa/knowledge/v1/collection_pb.js";
import { describe, expect, it } from "vitest";
import type { Api } from "../src/server/api.js";
import { questionsOf, suggested } from "../src/chat/suggest.js";

describe("the questions that the first screen suggests", () => {
  it("are those of the documents' headings first, and otherwise name a document and a heading", () => {
    const passages = [
      { document: "documents/1", title: "Sensor", headings: ["Install", "How long does the battery last?"] },
      { document: "documents/2", title: "The lighthouse", headings: ["Keepers"] },
    ];
    expect(questionsOf(["documents/1", "documents/2"], passages, 4)).toEqual([
      "How long does the battery last?",
      "What does “The lighthouse” say about “Keepers”?",
      "What does “Sensor” say about “Install”?",
    ]);
    expect(questionsOf(["documents/2", "documents/1"], passages, 1)).toEqual(["What does “The lighthouse” say about “Keepers”?"]);
  });

  it("leave out headings that say nothing, that repeat the title, or that cannot stand in a question", () => {
    const headings = ["Overview", "sensor", "1. Table of contents", "§ 4", "x".repeat(101), "<script>alert(1)</script>?", "`config` **keys**", "2.1 Wie lädt man?"];
    expect(questionsOf(["d"], [{ document: "d", title: "Sensor", headings }], 9)).toEqual(["Wie lädt man?", "What does “Sensor” say about “config keys”?"]);
    expect(questionsOf(["d"], [{ document: "d", title: "<b>Sensor</b>", headings: ["Install"] }], 9)).toEqual([]);
  });

  it("are in any script", () => {
    expect(questionsOf(["d"], [{ document: "d", title: "منارة", headings: ["من صممها؟", "電池は何年もちますか？"] }], 9)).toEqual(["من صممها؟", "電池は何年もちますか？"]);
  });
});

describe("whether there are documents to ask about", () => {
  const root = { name: "users/root", role: UserRole.ADMIN };
  const collections = [
    create(CollectionSchema, { name: "collections/own", owner: "users/root" }),
    create(CollectionSchema, { name: "collections/of-ben", owner: "users/ben" }),
  ];
  const api = { knowledge: { listCollections: () => Promise.resolve({ collections }) } } as unknown as Pick<Api, "knowledge">;
  const empty = async (...chosen: string[]) => (await suggested(api, root, chosen, 4, new AbortController().signal)).empty;

  it("is known only of collections that the user reads", async () => {
    expect(await empty()).toBe(true);
    expect(await empty("collections/own")).toBe(true);
    expect(await empty("collections/own", "collections/of-ben")).toBe(false);
    expect(await empty("collections/gone")).toBe(false);
  });
});
