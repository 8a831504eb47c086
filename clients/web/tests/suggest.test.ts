import { create } from "@bufbuild/protobuf";
import { ExcerptGrade, ExcerptSchema } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import { DocumentSchema, DocumentState } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import { CollectionSchema } from "@responsa/contract/responsa/knowledge/v1/collection_pb.js";
import { describe, expect, it } from "vitest";
import type { Api } from "../src/server/api.js";
import { askedBy, questionsOf, suggested } from "../src/chat/suggest.js";

describe("the questions that the first screen suggests", () => {
  it("are headings that ask, of each document in turn", () => {
    const passages = [
      { document: "documents/1", headings: ["Install", "How long does the battery last?", "How do I charge it?"] },
      { document: "documents/2", headings: ["Keepers", "Who designed it?"] },
    ];
    expect(questionsOf(["documents/1", "documents/2"], passages, 4)).toEqual(["How long does the battery last?", "Who designed it?", "How do I charge it?"]);
    expect(questionsOf(["documents/2", "documents/1"], passages, 1)).toEqual(["Who designed it?"]);
  });

  it("leave out headings that cannot be asked as they are", () => {
    const headings = ["§ 4?", `${"x".repeat(101)}?`, "<script>alert(1)</script>?", "`config` **keys**?", "2.1 Wie lädt man?", "Wie lädt man?"];
    expect(questionsOf(["d"], [{ document: "d", headings }], 9)).toEqual(["config keys?", "Wie lädt man?"]);
  });

  it("are in any script", () => {
    expect(questionsOf(["d"], [{ document: "d", headings: ["من صممها؟", "電池は何年もちますか？"] }], 9)).toEqual(["من صممها؟", "電池は何年もちますか？"]);
  });
});

it("what to ask next are the headings of the documents that answer best", async () => {
  const passages = ["How long does the battery last?", "How do I charge it?", "Install"].map((heading) => ({ passage: { document: "documents/1", headings: ["Sensor", heading], text: "" } }));
  const asked: unknown[] = [];
  const api = { knowledge: { search: (request: { readonly terms: readonly string[] }) => (asked.push(request.terms), Promise.resolve({ hits: passages })) } } as unknown as Pick<Api, "knowledge">;
  const excerpts = [
    create(ExcerptSchema, { documentVersion: "documents/1/versions/2", title: "Sensor", grade: ExcerptGrade.ANSWERS }),
    create(ExcerptSchema, { documentVersion: "documents/2/versions/1", title: "Lamp", grade: ExcerptGrade.CLOSEST }),
  ];
  const { signal } = new AbortController();
  expect(await askedBy(api, excerpts, signal)).toEqual(["How long does the battery last?", "How do I charge it?"]);
  expect(await askedBy(api, [], signal)).toEqual([]);
  expect(asked).toEqual([["Sensor"]]);
});

describe("whether there are documents to ask about", () => {
  const collections = [
    create(CollectionSchema, { name: "collections/own", readable: true }),
    create(CollectionSchema, { name: "collections/of-ben" }),
  ];
  const api = { knowledge: { listCollections: () => Promise.resolve({ collections }) } } as unknown as Pick<Api, "knowledge">;
  const empty = async (...chosen: string[]) => (await suggested(api, chosen, [], new AbortController().signal)).empty;

  it("is known only of collections that the user reads", async () => {
    expect(await empty()).toBe(true);
    expect(await empty("collections/own")).toBe(true);
    expect(await empty("collections/own", "collections/of-ben")).toBe(false);
    expect(await empty("collections/gone")).toBe(false);
  });
});

describe("the questions that owners suggest", () => {
  const collection = (name: string, ...suggestedQuestions: string[]) => create(CollectionSchema, { name, readable: true, documentCount: 1n, suggestedQuestions });
  const collections = [collection("collections/a", "A1?", "A2?", "A3?"), collection("collections/b", "B1?", "A1?"), { ...collection("collections/c", "C?"), readable: false }];
  const api = { knowledge: { listCollections: () => Promise.resolve({ collections }), listDocuments: () => Promise.resolve({ documents: [] }) } } as unknown as Pick<Api, "knowledge">;

  it("are of each collection in turn that the user reads and asks", async () => {
    expect((await suggested(api, [], [], new AbortController().signal)).questions).toEqual(["A1?", "B1?", "A2?", "A3?"]);
    expect((await suggested(api, ["collections/b"], [], new AbortController().signal)).questions).toEqual(["B1?", "A1?"]);
  });

  it("are followed by the agent’s, and only then by headings, for which it searches", async () => {
    const documents = [create(DocumentSchema, { name: "documents/1", title: "Sensor", state: DocumentState.READY })];
    let searches = 0;
    const search = () => Promise.resolve((searches += 1, { hits: [{ passage: { document: "documents/1", headings: ["How long?"], text: "" } }] }));
    const all = { knowledge: { ...api.knowledge, listDocuments: () => Promise.resolve({ documents }), search } } as unknown as Pick<Api, "knowledge">;
    const asked = async (...own: string[]) => (await suggested(all, ["collections/b"], own, new AbortController().signal)).questions;
    expect([await asked("Own?", "A1?", "Other?"), searches]).toEqual([["B1?", "A1?", "Own?", "Other?"], 0]);
    expect([await asked("Own?"), searches]).toEqual([["B1?", "A1?", "Own?", "How long?"], 1]);
  });
});
