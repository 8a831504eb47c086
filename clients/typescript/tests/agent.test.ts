/** The face of the code assistant's former back end. */

import { create } from "@bufbuild/protobuf";
import { Code, createRouterTransport, type Interceptor, type ServiceImpl } from "@connectrpc/connect";
import { sha256 } from "@noble/hashes/sha2.js";
import { AgentSchema } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { AskResponseSchema, ChatService, type AskRequest } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import type { TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { expect, it } from "vitest";
import { createAgent, createAgentById, Responsa, type AgentEmitter } from "../src/index.js";
import { responsaError } from "./failures.js";
import { event, started, status, TURN } from "./turns.js";

const citation = { quote: "fn main()", title: "The Cairo Book", uri: "https://book.example", passage: "passages/1" };
const CONVERSATION = "conversations/0192f3c8-0000-7000-8000-000000000002";
const delta = (seq: number, text: string, offset: number, attempt = 1) => event(seq, { case: "delta", value: { text, byteOffset: BigInt(offset) } }, attempt);
const answered = (seq: number, text: string, attempt = 1) => event(seq, { case: "answer", value: { text, sha256: sha256(new TextEncoder().encode(text)) } }, attempt);

function asking(events: TurnEvent[], asked: AskRequest[] = []): Responsa {
  const ask: ServiceImpl<typeof ChatService>["ask"] = async function* (request) {
    asked.push(request);
    for (const one of events) yield create(AskResponseSchema, { turn: TURN, afterSeq: one.seq - 1n, throughSeq: one.seq, events: [one] });
  };
  const getAgent: ServiceImpl<typeof ChatService>["getAgent"] = ({ name }) => {
    if (name !== "agents/cairo") throw responsaError(Code.NotFound, "RESOURCE_NOT_FOUND", "There is no such agent.");
    return create(AgentSchema, { name });
  };
  const transport = (interceptors: Interceptor[]) => createRouterTransport((router) => void router.service(ChatService, { ask, getAgent }), { transport: { interceptors } });
  return new Responsa({ patience: { pause: () => 0, farewell: 0 }, transport });
}

/** What an emitter emits, up to its end or error. */
function all(emitter: AgentEmitter): Promise<unknown[]> {
  const emitted: unknown[] = [];
  return new Promise((resolve) => {
    emitter.on("data", (json) => emitted.push(JSON.parse(json)));
    emitter.on("end", () => resolve([...emitted, "end"]));
    emitter.on("error", (json) => resolve([...emitted, JSON.parse(json)]));
  });
}

it("emits sources and the pieces of the response, then the end, and names the conversation", async () => {
  const asked: AskRequest[] = [];
  const client = asking([started(1), delta(2, "Use ", 0), event(3, { case: "citation", value: citation }), delta(4, "main.", 4), answered(5, "Use main.")], asked);
  const emitter = await createAgentById("How do I begin?", [], "cairo", client, { mcpMode: true, parameters: { source: "cairo_book" } });
  expect(await all(emitter)).toEqual([
    { type: "response", data: "Use " },
    { type: "sources", data: [{ pageContent: "fn main()", metadata: { title: "The Cairo Book", sourceLink: "https://book.example", uniqueId: "passages/1" } }] },
    { type: "response", data: "main." },
    { type: "sources", data: [] },
    "end",
  ]);
  expect(asked[0]).toMatchObject({ agent: "agents/cairo", options: { parameters: { raw: true, source: "cairo_book" } } });
  createAgent("And then?", CONVERSATION, client);
  await expect.poll(() => asked[1]?.conversation).toBe(CONVERSATION);
});

it("says that the response begins again when another text takes its place", async () => {
  const events = [started(1), delta(2, "Abc", 0), event(3, { case: "attemptRestarted", value: { discardFromSeq: 2n, keepBytes: 0n } }, 2), delta(4, "Abc", 0, 2), delta(5, "d", 3, 2), answered(6, "Abcd", 2)];
  expect(await all(createAgent("?", [], asking(events)))).toEqual([{ type: "response", data: "Abc" }, { type: "response", data: "d" }, "end"]);
  const refusal = [started(1), delta(2, "Abc", 0), event(3, { case: "refused", value: { message: "Nothing supports it." } })];
  const restarts: unknown[] = [];
  const emitter = createAgent("?", [], asking(refusal)).on("restart", () => restarts.push("restart"));
  expect(await all(emitter)).toEqual([{ type: "response", data: "Abc" }, { type: "response", data: "Nothing supports it." }, "end"]);
  expect(restarts).toEqual(["restart"]);
  expect((await all(createAgent("?", [], asking(refusal)))).at(-1)).toMatchObject({ data: expect.stringContaining("restart") as string });
});

it("emits an error with its reason, and refuses what the server keeps", async () => {
  const failure = { status: { code: 14, message: "The worker was lost.", details: [] }, retriable: true };
  const failed = asking([started(1), status(2), event(3, { case: "failed", value: failure })]);
  expect(await all(createAgent("?", [], failed))).toEqual([{ data: "The worker was lost.", reason: "", remedy: "Repeat the call." }]);
  await expect(createAgentById("?", [], "nobody", failed)).rejects.toMatchObject({ reason: "RESOURCE_NOT_FOUND" });
  expect(() => createAgent("?", [{ role: "user", content: "earlier" }] as never, failed)).toThrow(/conversation/);
});
