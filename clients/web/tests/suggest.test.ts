import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { AgentSchema } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { ExcerptGrade, ExcerptSchema } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import { RefusalReason, TurnEventSchema, TurnSchema, type Turn } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { DocumentSchema, DocumentState, type Document } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import { CollectionSchema, type Collection } from "@responsa/contract/responsa/knowledge/v1/collection_pb.js";
import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";
import { describe, expect, it } from "vitest";
import type { Api } from "../src/server/api.js";
import { answerable, askedBy, helpFor, isWeak, questionsFor, questionsOf, suggested } from "../src/chat/suggest.js";

describe("the questions to ask next", () => {
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

it("what to ask next are the headings of the document that was found first", async () => {
  const passages = ["How long does the battery last?", "How do I charge it?", "Install"].map((heading) => ({ passage: { document: "documents/1", headings: ["Sensor", heading], text: "" } }));
  const asked: unknown[] = [];
  const api = { knowledge: { search: (request: { readonly terms: readonly string[] }) => (asked.push(request.terms), Promise.resolve({ hits: passages })) } } as unknown as Pick<Api, "knowledge">;
  const excerpts = [
    create(ExcerptSchema, { documentVersion: "documents/1/versions/2", title: "Sensor" }),
    create(ExcerptSchema, { documentVersion: "documents/2/versions/1", title: "Lamp" }),
  ];
  const { signal } = new AbortController();
  expect(await askedBy(api, excerpts, signal)).toEqual(["How long does the battery last?", "How do I charge it?"]);
  expect(await askedBy(api, [], signal)).toEqual([]);
  expect(asked).toEqual([["Sensor"]]);
});

/** What the first screen asks the server for. */
interface Server {
  readonly collections?: readonly Collection[];
  readonly documents?: Readonly<Record<string, readonly Document[]>>;
  readonly turns?: readonly Turn[];
}

function api({ collections = [], documents = {}, turns = [] }: Server): Pick<Api, "chat" | "knowledge"> {
  const listDocuments = ({ parent, filter }: { readonly parent: string; readonly filter: string }) => {
    expect(filter).toBe("state = READY");
    return Promise.resolve({ documents: (documents[parent] ?? []).filter((one) => one.state === DocumentState.READY) });
  };
  return {
    chat: { listConversations: () => Promise.resolve({ conversations: [...new Set(turns.map((one) => one.conversation))].map((name) => ({ name })) }), listTurns: () => Promise.resolve({ turns }) },
    knowledge: { listCollections: () => Promise.resolve({ collections }), listDocuments, search: () => Promise.resolve({ hits: [] }) },
  } as unknown as Pick<Api, "chat" | "knowledge">;
}

const shown = (server: Server, ...chosen: readonly string[]) => suggested(api(server), chosen, new AbortController().signal);
const collection = (id: string, documents: number, values: MessageInitShape<typeof CollectionSchema> = {}) =>
  create(CollectionSchema, { name: `collections/${id}`, readable: true, documentCount: BigInt(documents), chosenId: id, kind: CollectionKind.OWN, ...values });
const DOCS = collection("responsa-docs", 51, { kind: CollectionKind.DOCS, suggestedQuestions: ["What is Responsa?"] });

it("whether there is nothing to ask about is known only of collections that the user reads", async () => {
  const collections = [collection("own", 0), collection("of-ben", 0, { readable: false })];
  const empty = async (...chosen: readonly string[]) => (await shown({ collections }, ...chosen)).empty;
  expect(await empty()).toBe(true);
  expect(await empty("collections/own")).toBe(true);
  expect(await empty("collections/own", "collections/of-ben")).toBe(false);
  expect(await empty("collections/gone")).toBe(false);
});

describe("the questions of the first screen", () => {
  const turn = (text: string, agent = "default", collectionKind = CollectionKind.OWN) =>
    create(TurnSchema, { conversation: "conversations/1", text, agentVersion: `agents/${agent}/versions/1`, terminalEvent: { event: { case: "answer", value: { excerpts: [{ collectionKind, collection: "collections/b" }] } } } });
  const agent = create(AgentSchema, { name: "agents/default", examples: ["Example?"] });
  const questions = async (server: Server, ...chosen: readonly string[]) => questionsFor(agent, await shown(server, ...chosen));
  const owners = [collection("a", 1, { suggestedQuestions: ["A1?", "A2?", "A3?"] }), collection("b", 1, { suggestedQuestions: ["B1?", "A1?"] }), collection("c", 1, { suggestedQuestions: ["C?"], readable: false })];

  it("are the user’s own to this agent, then the agent’s, then those that owners suggest, of each collection in turn", async () => {
    expect(await questions({ collections: owners })).toEqual(["Example?", "A1?", "B1?", "A2?", "A3?"]);
    expect(await questions({ collections: owners }, "collections/b")).toEqual(["Example?", "B1?", "A1?"]);
    const turns = [turn("Mine?"), turn("B1?"), turn("Mine?"), turn("Of another?", "tutor"), turn("x".repeat(201)), turn("two\nlines")];
    expect(await questions({ collections: owners, turns }, "collections/b")).toEqual(["Mine?", "B1?", "Example?", "A1?"]);
    expect(await questions({ collections: owners, turns }, "collections/a")).toEqual(["Example?", "A1?", "A2?", "A3?"]);
    expect(await questions({ collections: owners, turns })).toEqual(["Mine?", "B1?", "Example?", "A1?", "A2?", "A3?"]);
  });

  it("are about Responsa only if its documentation is chosen", async () => {
    const turns = [turn("Which port?", "default", CollectionKind.DOCS)];
    expect(await questions({ collections: [DOCS], turns })).toEqual(["Example?"]);
    expect(await questions({ collections: [DOCS] }, DOCS.name)).toEqual(["Example?", "What is Responsa?"]);
    expect(await questions({ collections: [collection("a", 1), DOCS], turns })).toEqual(["Example?"]);
  });

  it("are there without the user’s own if these cannot be read", async () => {
    const lost = { ...api({ collections: owners }), chat: { listConversations: () => Promise.reject(new Error("lost")) } } as unknown as Pick<Api, "chat" | "knowledge">;
    expect(questionsFor(agent, await suggested(lost, ["collections/b"], new AbortController().signal))).toEqual(["Example?", "B1?", "A1?"]);
  });
});

it("the documents of the first screen changed last, can be asked about, and are Responsa’s only if these are chosen", async () => {
  const document = (id: string, second: number, state = DocumentState.READY) => create(DocumentSchema, { name: `documents/${id}`, title: id, sourceKey: `${id}.md`, state, updateTime: { seconds: BigInt(second) } });
  const documents = {
    "collections/a": [document("new", 9), document("unread", 8, DocumentState.INDEXING), document("old", 1)],
    "collections/b": [document("middle", 5), { ...document("untitled", 4), title: "" }, document("older", 3)],
    "collections/responsa-docs": [document("about", 10)],
  };
  const titles = async (...collections: readonly Collection[]) => (await shown({ collections, documents })).documents.map((one) => one.title);
  expect(await titles(collection("a", 3), collection("b", 3), DOCS)).toEqual(["new", "middle", "untitled.md", "older"]);
  expect(await titles(DOCS)).toEqual([]);
  expect((await shown({ collections: [DOCS], documents }, DOCS.name)).documents.map(({ title }) => title)).toEqual(["about"]);
  const manual = async (collections: readonly Collection[], ...chosen: readonly string[]) => (await shown({ collections, documents }, ...chosen)).manual?.name;
  expect([await manual([DOCS]), await manual([DOCS], DOCS.name), await manual([DOCS, collection("a", 3)]), await manual([])]).toEqual([DOCS.name, undefined, DOCS.name, undefined]);
});

it("headings that ask nothing become questions, after those of the same document that ask", () => {
  const passages = [{ document: "d", headings: ["Annual leave", "Who approves it?"] }];
  expect(questionsOf(["d"], passages, 4, (heading) => `About ${heading}?`)).toEqual(["Who approves it?", "About Annual leave?"]);
});

const finding = (grades: Readonly<Record<string, ExcerptGrade>>) => {
  const hits = (question: string) => ({ hits: [{ passage: { document: "documents/help" }, excerpt: { grade: grades[question] ?? ExcerptGrade.CLOSEST } }] });
  return {
    knowledge: {
      batchSearch: ({ requests }: { readonly requests: readonly { readonly terms: readonly string[] }[] }) => Promise.resolve({ responses: requests.map(({ terms }) => hits(terms[0]!)) }),
      search: ({ terms }: { readonly terms: readonly string[] }) => Promise.resolve(hits(terms[0]!)),
    },
  } as unknown as Pick<Api, "knowledge">;
};

it("a question is suggested only if a search finds an answer, unless the agent is an example", async () => {
  const { signal } = new AbortController();
  const api = finding({ "Yes?": ExcerptGrade.ANSWERS, "Perhaps?": ExcerptGrade.PERHAPS });
  const tried = (isExample: boolean) => answerable(api, create(AgentSchema, { isExample }), ["No?", "Yes?", "Perhaps?"], [], signal);
  expect(await tried(false)).toEqual(["Yes?"]);
  expect(await tried(true)).toEqual(["No?", "Yes?", "Perhaps?"]);
  expect([await helpFor(api, "Yes?", signal), await helpFor(api, "Perhaps?", signal)]).toEqual(["documents/help", undefined]);
});

it("help is offered below what says little, without Responsa’s own documents", () => {
  const refused = (reason: RefusalReason, collectionKind = CollectionKind.OWN) => create(TurnEventSchema, { event: { case: "refused", value: { reason, excerpts: [{ collectionKind }] } } });
  expect(isWeak(refused(RefusalReason.NO_SUPPORT))).toBe(true);
  expect(isWeak(refused(RefusalReason.NO_SUPPORT, CollectionKind.DOCS))).toBe(false);
  expect(isWeak(refused(RefusalReason.QUOTA))).toBe(false);
  const answered = (grade: ExcerptGrade) => create(TurnEventSchema, { event: { case: "answer", value: { excerpts: [{ grade }] } } });
  expect([answered(ExcerptGrade.PERHAPS), answered(ExcerptGrade.ANSWERS)].map(isWeak)).toEqual([true, false]);
  expect(isWeak(create(TurnEventSchema, { event: { case: "answer", value: { text: "Written." } } }))).toBe(false);
});
