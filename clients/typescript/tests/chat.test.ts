/** The transport of the AI SDK's `useChat`. */

import { create } from "@bufbuild/protobuf";
import { createRouterTransport, type Interceptor, type ServiceImpl } from "@connectrpc/connect";
import { sha256 } from "@noble/hashes/sha2.js";
import { AskResponseSchema, ChatService } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import { JudgeVerdict } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import type { TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { expect, it } from "vitest";
import { Responsa, ResponsaChatTransport } from "../src/index.js";
import { event, started, status, TURN } from "./turns.js";

const delta = (seq: number, text: string, offset: number, attempt = 1) => event(seq, { case: "delta", value: { text, byteOffset: BigInt(offset) } }, attempt);

const hash = (text: string) => sha256(new TextEncoder().encode(text));

/** The chunks of an answer with these events. */
async function chunks(events: TurnEvent[]): Promise<unknown[]> {
  const ask: ServiceImpl<typeof ChatService>["ask"] = async function* () {
    for (const one of events) yield create(AskResponseSchema, { turn: TURN, afterSeq: one.seq - 1n, throughSeq: one.seq, events: [one] });
  };
  const transport = (interceptors: Interceptor[]) => createRouterTransport((router) => void router.service(ChatService, { ask }), { transport: { interceptors } });
  const chat = new ResponsaChatTransport(new Responsa({ patience: { pause: () => 0, farewell: 0 }, transport }), { page: "https://r.example" });
  const messages = [{ role: "user", parts: [{ type: "text", text: "When?" }] }];
  const found: unknown[] = [];
  const reader = (await chat.sendMessages({ chatId: "1", messages })).getReader();
  for (let read = await reader.read(); !read.done; read = await reader.read()) found.push(read.value);
  expect(found.slice(0, 2)).toEqual([{ type: "start" }, { type: "start-step" }]);
  expect(found.slice(-2)).toEqual([{ type: "finish-step" }, { type: "finish", messageMetadata: { turn: TURN } }]);
  return found.slice(2, -2);
}

it("takes withdrawn text back, and has the sources that no model denies", async () => {
  const text = "At six.";
  const citations = [
    { quote: "six", passage: "passages/1", title: "Ferry", documentVersion: "documents/1/versions/2", page: 3 },
    { quote: "seven", title: "Bus", uri: "https://bus.example", verdict: JudgeVerdict.DENIED },
    { quote: "eight", title: "Train", uri: "https://train.example" },
  ].map((one) => ({ ...one, sha256: hash(one.quote), sourceRange: { start: 0n, end: BigInt(one.quote.length) }, answerRange: { start: 0n, end: 3n } }));
  const events = [
    started(1),
    status(2),
    delta(3, "At five", 0),
    event(4, { case: "attemptRestarted", value: { discardFromSeq: 3n, keepBytes: 3n } }, 2),
    delta(5, "six.", 3, 2),
    event(6, { case: "answer", value: { text, sha256: hash(text), citations } }, 2),
  ];
  expect(await chunks(events)).toEqual([
    { type: "data-status", id: "status", data: { step: "UNSPECIFIED", message: "step 2" } },
    { type: "text-start", id: "0" },
    { type: "text-delta", id: "0", delta: "At five" },
    { type: "reset-step" },
    { type: "text-start", id: "1" },
    { type: "text-delta", id: "1", delta: "At " },
    { type: "text-delta", id: "1", delta: "six." },
    { type: "text-end", id: "1" },
    { type: "source-url", url: "https://r.example/#/documents/1/versions/2?page=3", sourceId: "1", title: "Ferry", providerMetadata: { responsa: { quote: "six", passage: "passages/1" } } },
    { type: "source-url", url: "https://train.example", sourceId: "2", title: "Train", providerMetadata: { responsa: { quote: "eight", passage: "" } } },
  ]);
});

it("shows a refusal as the text, and says an error", async () => {
  const refused = await chunks([started(1), event(2, { case: "refused", value: { message: "Nothing fits." } })]);
  expect(refused).toContainEqual({ type: "text-delta", id: "0", delta: "Nothing fits." });
  const failed = await chunks([started(1), event(2, { case: "failed", value: { status: { code: 14, message: "The worker was lost.", details: [] } } })]);
  expect(failed).toEqual([{ type: "error", errorText: expect.stringContaining("The worker was lost.") as string }]);
});
