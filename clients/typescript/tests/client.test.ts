/** The client over a server in memory: credentials, typed errors, repetitions, sessions. What a stream survives is in clients/conformance. */

import { createServer as createHttp2Server } from "node:http2";
import { createServer, type AddressInfo } from "node:net";
import { networkInterfaces } from "node:os";
import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, createRouterTransport, type ConnectRouter, type ServiceImpl } from "@connectrpc/connect";
import { OperationSchema } from "@responsa/contract/google/longrunning/operations_pb.js";
import { AuthService, RefreshTokenResponseSchema } from "@responsa/contract/responsa/auth/v1/auth_service_pb.js";
import { SessionTokensSchema } from "@responsa/contract/responsa/auth/v1/session_pb.js";
import { UserSchema } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { AskResponseSchema, ChatService } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import { ConversationSchema } from "@responsa/contract/responsa/chat/v1/conversation_pb.js";
import { TurnSchema } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { KnowledgeService } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { describe, expect, it, vi } from "vitest";
import { CannotConnect, Responsa, ResponsaError, Session, turnError, type ClientOptions } from "../src/index.js";
import { responsaError } from "./failures.js";
import { answer, frame, started } from "./turns.js";

function client(routes: (router: ConnectRouter) => void, options: ClientOptions = {}): Responsa {
  return new Responsa({ patience: { pause: () => 0, farewell: 0 }, ...options, transport: (interceptors) => createRouterTransport(routes, { transport: { interceptors } }) });
}

const hasIpv6 = Object.values(networkInterfaces()).some((all) => all?.some(({ address }) => address === "::1"));
const auth = (calls: Partial<ServiceImpl<typeof AuthService>>) => (router: ConnectRouter) => void router.service(AuthService, calls);
const chat = (calls: Partial<ServiceImpl<typeof ChatService>>) => (router: ConnectRouter) => void router.service(ChatService, calls);
const lost = () => responsaError(Code.Unavailable, "DRAINING", "The server is shutting down.", 0);
const failed = (call: Promise<unknown>): Promise<ResponsaError> => call.then(() => expect.unreachable(), (error: ResponsaError) => error);

describe("calls", () => {
  it("have the newest token and the further headers", async () => {
    const seen: unknown[] = [];
    const getMe: ServiceImpl<typeof AuthService>["getMe"] = (_, { requestHeader: header }) => (seen.push([header.get("authorization"), header.get("responsa-user")]), create(UserSchema));
    let issued = 0;
    const me = client(auth({ getMe }), { credential: () => Promise.resolve(`t${(issued += 1)}`), headers: { "responsa-user": "users/a" } });
    await me.auth.getMe({});
    await me.auth.getMe({});
    await client(auth({ getMe })).auth.getMe({});
    expect(seen).toEqual([["Bearer t1", "users/a"], ["Bearer t2", "users/a"], [null, null]]);
  });

  it("raise typed errors with reason, remedy and call id", async () => {
    const refused = responsaError(Code.ResourceExhausted, "RATE_LIMIT", "Too many questions.", 300_000, { call_id: "c1" });
    const getMe = () => { throw refused; }; // prettier-ignore
    const error = await failed(client(auth({ getMe })).auth.getMe({}));
    expect(error).toBeInstanceOf(ResponsaError);
    expect(error).toMatchObject({ reason: "RATE_LIMIT", code: Code.ResourceExhausted, message: "Too many questions.", retryAfter: 300_000, callId: "c1", remedy: "Try again in 300 s." });
  });

  it("are repeated with one request_id, if a second call has no second effect", async () => {
    const asked: string[] = [];
    let conversations = 0;
    const createConversation: ServiceImpl<typeof ChatService>["createConversation"] = ({ requestId }) => {
      asked.push(requestId);
      if (asked.length < 3) throw lost();
      return create(ConversationSchema, { name: "conversations/1" });
    };
    const deleteConversation = () => { conversations += 1; throw lost(); }; // prettier-ignore
    const one = client(chat({ createConversation, deleteConversation }));
    expect((await one.chat.createConversation({})).name).toBe("conversations/1");
    expect(asked).toHaveLength(3);
    expect(new Set(asked).size).toBe(1);
    expect(asked[0]).toMatch(/^[0-9a-f-]{36}$/);
    expect((await failed(one.chat.deleteConversation({ name: "conversations/1" }))).reason).toBe("DRAINING");
    expect(conversations).toBe(1);
  });

  it("fail at once where no server answers, or one that does not speak HTTP/2", async () => {
    const http1 = createServer((socket) => socket.on("error", () => undefined).once("data", () => socket.end("HTTP/1.1 400 Bad Request\r\n\r\n")));
    const closing = createServer((socket) => socket.end());
    for (const server of [http1, closing]) await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const ports = [http1, closing].map((server) => (server.address() as AddressInfo).port);
    for (const url of [9, ...ports].map((port) => `127.0.0.1:${port}`)) {
      const nobody = new Responsa({ url, patience: { pause: () => expect.unreachable() } });
      const calls = [() => nobody.auth.getMe({}), () => nobody.search("?"), async () => { for await (const _ of nobody.ask("?")) expect.unreachable(); }]; // prettier-ignore
      for (const call of calls) { // one after another: a further call replaces the connection of the one before
        const error = await failed(call());
        expect(error).toBeInstanceOf(CannotConnect);
        expect(error.message.split(url)).toHaveLength(error.message.includes("ECONNREFUSED") ? 3 : 2);
        expect(error.remedy).toContain("address");
      }
      nobody.close();
    }
    for (const server of [http1, closing]) server.close();
  });

  it("say that a server does not use TLS", async () => {
    const plain = createHttp2Server();
    await new Promise<void>((resolve) => plain.listen(0, "127.0.0.1", resolve));
    const host = `127.0.0.1:${(plain.address() as AddressInfo).port}`;
    const client = new Responsa({ url: `https://${host}` });
    const error = await failed(client.auth.getMe({}));
    expect([error.name, error.message]).toEqual(["CannotConnect", `The server at https://${host} does not use TLS; write http://${host}.`]);
    client.close();
    plain.close();
  });

  it("say what is wrong with a URL that has a path", () => {
    expect(() => new Responsa({ url: "http://127.0.0.1:8080/v1" })).toThrow("http://127.0.0.1:8080/v1 has more parts than a scheme, a host and a port; write http://host:port");
  });

  it.skipIf(!hasIpv6)("name an IPv6 address as a URL does", async () => {
    const server = createHttp2Server();
    const seen = new Promise((resolve) => server.on("request", ({ authority }, response) => (resolve(authority), response.end())));
    await new Promise<void>((resolve) => server.listen(0, "::1", resolve));
    const host = `[::1]:${(server.address() as AddressInfo).port}`;
    const one = new Responsa({ url: `http://${host}`, patience: { pause: () => 0, farewell: 0 } });
    void one.auth.getMe({}).catch(() => undefined);
    expect(await seen).toBe(host);
    one.close();
    server.close();
  });

  it("fail at once with the error of a function that returns no token", async () => {
    const vault = new Error("my vault is down");
    const locked = client(chat({}), { credential: () => Promise.reject(vault), patience: { pause: () => expect.unreachable() } });
    for (const call of [() => locked.auth.getMe({}), async () => { for await (const _ of locked.ask("?")) expect.unreachable(); }]) { // prettier-ignore
      expect(await failed(call())).toMatchObject({ code: Code.FailedPrecondition, cause: vault, message: expect.stringContaining(vault.message) as string });
    }
  });

  it("have their request_id in an error, and their time in that of a deadline", async () => {
    const slow = client(chat({ answer: (_, { signal }) => new Promise((_resolve, reject) => signal.addEventListener("abort", () => reject(new Error("late")))) }));
    const error = await failed(slow.chat.answer({ text: "Who?" }, { timeoutMs: 20 }));
    expect(error).toMatchObject({ code: Code.DeadlineExceeded, requestId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string, message: expect.stringContaining("within 20 ms") as string });
  });
});

describe("ask", () => {
  const turn = () => [frame(0, 1, started(1)), frame(1, 2, answer(2))].map((one) => create(AskResponseSchema, { ...one, events: [...one.events] }));

  it("hands out the events, and has text, turn and terminal event", async () => {
    const stream = client(chat({ async *ask() { yield* turn(); } })).ask("Who?"); // prettier-ignore
    const kinds: unknown[] = [];
    for await (const { event } of stream) kinds.push(event.case);
    expect(kinds).toEqual(["started", "answer"]);
    expect(stream.turn).toBe(frame(0, 1).turn);
    expect(turnError(stream.terminal)).toBeUndefined();
    expect(stream.lastSeq).toBe(2n);
  });

  it("ends with the place to resume when its time is up, and with the signal's reason when it aborts", async () => {
    const hang = chat({ async *ask(_, { signal }) { yield turn()[0]!; await new Promise((resolve) => signal.addEventListener("abort", resolve)); } }); // prettier-ignore
    const read = async (options: { signal?: AbortSignal; timeoutMs?: number }) => {
      for await (const _ of client(hang).ask("Who?", options)); // prettier-ignore
    };
    expect(await failed(read({ timeoutMs: 20 }))).toMatchObject({ code: Code.DeadlineExceeded, turn: frame(0, 1).turn, afterSeq: 1n });
    const gone = new AbortController();
    gone.abort(new Error("left"));
    await expect(read({ signal: gone.signal })).rejects.toThrow("left");
  });

  it("gives up when nothing arrives for too long", async () => {
    const dead = chat({ async *ask() { throw lost(); } }); // prettier-ignore
    const impatient = new Responsa({ patience: { pause: () => 0, giveUp: -1 }, transport: (interceptors) => createRouterTransport(dead, { transport: { interceptors } }) });
    const read = async () => { for await (const _ of impatient.ask("Who?")) expect.unreachable(); }; // prettier-ignore
    expect((await failed(read())).reason).toBe("DRAINING");
  });

  it("can be stopped before the turn is known", async () => {
    const called: unknown[] = [];
    const stopped = client(chat({
      startTurn: ({ requestId }) => (called.push(requestId), create(TurnSchema, { name: "turns/1" })),
      cancelTurn: ({ name }) => (called.push(name), create(TurnSchema, { name })),
    })); // prettier-ignore
    const stream = stopped.ask({ text: "Who?", requestId: "0192f3c8-0000-7000-8000-000000000001", includeDeltas: true });
    expect((await stream.stop()).name).toBe("turns/1");
    expect(called).toEqual([stream.requestId, "turns/1"]);
  });
});

describe("upload", () => {
  it("sends the document in pieces, again after a cut with the same request_id, and reports its progress", async () => {
    const ids: string[] = [];
    const sizes: number[] = [];
    const uploadDocument: ServiceImpl<typeof KnowledgeService>["uploadDocument"] = async (messages) => {
      for await (const { part } of messages) {
        if (part.case === "start") ids.push(part.value.requestId);
        if (part.case === "chunk") sizes.push(part.value.length);
      }
      if (ids.length === 1) throw lost();
      return create(OperationSchema, { name: "operations/1", done: true, result: { case: "error", value: { code: 3, message: "Nothing in it." } } });
    };
    const one = client((router) => void router.service(KnowledgeService, { uploadDocument }));
    const shares: [number, number][] = [];
    const operation = await one.upload(new Blob(["x".repeat(300_000)]), { collection: "collections/default", sourceKey: "a.md" }, { onProgress: (...told) => shares.push(told) });
    expect(sizes).toEqual([262_144, 37_856, 262_144, 37_856]);
    expect(new Set(ids).size).toBe(1);
    expect(shares.at(-1)).toEqual([1, 2]);
    expect(await failed(one.finished(operation))).toMatchObject({ code: Code.InvalidArgument, message: "Nothing in it." });
  });
});

describe("an upload in a browser", () => {
  const fields = { collection: "collections/default", sourceKey: "a.md", labels: { team: "legal" } };

  it("is one PUT with the headers of all calls", async () => {
    const sent: unknown[] = [];
    class Request extends EventTarget {
      readonly upload = new EventTarget();
      readonly status = 200;
      readonly responseText = '{"name": "operations/1"}';
      readonly open = (...given: unknown[]) => void sent.push(given);
      readonly setRequestHeader = (...given: unknown[]) => void sent.push(given);
      readonly send = () => this.dispatchEvent(new Event("load"));
    }
    vi.stubGlobal("XMLHttpRequest", Request);
    try {
      const one = client(() => undefined, { url: "https://r.example/", credential: "key", headers: { "responsa-user": "users/a" } });
      expect((await one.upload(new Blob(["Rye"], { type: "text/markdown" }), fields, { requestId: "id" })).name).toBe("operations/1");
    } finally {
      vi.unstubAllGlobals();
    }
    const query = new URLSearchParams({ collection: "collections/default", labels: '{"team":"legal"}', source_key: "a.md", media_type: "text/markdown", request_id: "id" });
    expect(sent).toEqual([["PUT", `https://r.example/v1/uploads?${query}`], ["responsa-user", "users/a"], ["authorization", "Bearer key"]]);
  });

  it("that was cancelled before it begins is not sent", async () => {
    const cancelled = client(() => undefined).upload(new Blob(["Rye"]), fields, { signal: AbortSignal.abort() });
    await expect(cancelled).rejects.toMatchObject({ name: "AbortError" });
  });
});

describe("Session", () => {
  const tokens = (accessToken: string, seconds: number) => create(SessionTokensSchema, { accessToken, refreshToken: `r-${accessToken}`, accessExpireTime: timestampFromMs(Date.now() + seconds * 1000) });

  it("refreshes once for all calls, and a failed refresh again with the same id", async () => {
    const asked: unknown[] = [];
    const refreshToken: ServiceImpl<typeof AuthService>["refreshToken"] = ({ refreshToken: spent, requestId }) => {
      asked.push([spent, requestId]);
      if (asked.length === 1) throw responsaError(Code.Internal, "INTERNAL", "Something went wrong.");
      return create(RefreshTokenResponseSchema, { tokens: tokens("new", 900) });
    };
    const session = new Session(client(auth({ refreshToken })).auth, tokens("old", 30));
    expect((await failed(session.token())).reason).toBe("INTERNAL");
    expect(await Promise.all([session.token(), session.token()])).toEqual(["new", "new"]);
    expect(await session.token()).toBe("new");
    expect(asked).toEqual([asked[0], asked[0]]);
  });
});
