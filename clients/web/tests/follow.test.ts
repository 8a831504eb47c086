import { create } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { AskResponseSchema, type AskResponse } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import { TurnEventSchema, type TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { describe, expect, it } from "vitest";
import type { Failure } from "../src/errors.js";
import { follow, Refused, terminal, WAITS, type Open, type Waits } from "../src/follow.js";
import { responsaError } from "./failures.js";

const started = (seq: number) => event(seq, { case: "started", value: {} });
const status = (seq: number) => event(seq, { case: "status", value: { message: `step ${seq}` } });
const delta = (seq: number) => event(seq, { case: "delta", value: { text: `text ${seq}` } });
const answer = (seq: number) => event(seq, { case: "answer", value: { text: "done" } });

function event(seq: number, kind: NonNullable<Parameters<typeof create<typeof TurnEventSchema>>[1]>["event"]): TurnEvent {
  return create(TurnEventSchema, { seq: BigInt(seq), event: kind! });
}

function frame(after: number, through: number, ...events: TurnEvent[]): AskResponse {
  return create(AskResponseSchema, { turn: "turns/1", afterSeq: BigInt(after), throughSeq: BigInt(through), events });
}

/** One call: its frames, then its error, or for "hang" nothing until it is aborted. */
interface Call {
  readonly frames: readonly AskResponse[];
  readonly then?: Error | "hang";
}

class Server {
  calls = 0;
  aborted = 0;
  readonly #script: readonly Call[];

  constructor(...script: Call[]) {
    this.#script = script;
  }

  readonly open: Open = (signal) => {
    const call = this.#script[this.calls];
    this.calls += 1;
    if (!call) throw new Error("one call more than the script has");
    return this.#play(call, signal);
  };

  async *#play({ frames, then }: Call, signal: AbortSignal): AsyncGenerator<AskResponse> {
    yield* frames;
    if (then === "hang") {
      if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      this.aborted += 1;
      throw new ConnectError("aborted", Code.Canceled);
    }
    if (then) throw then;
  }
}

/** Waits for nothing, and keeps how long it should have waited. */
class Clock {
  readonly slept: number[] = [];
  readonly waits: Waits = {
    pause: (attempt) => attempt,
    silence: 60_000,
    farewell: 1,
    sleep: (milliseconds) => {
      this.slept.push(milliseconds);
      return Promise.resolve();
    },
  };
}

async function read(server: Server, waits: Waits = new Clock().waits, signal = new AbortController().signal) {
  const seqs: number[] = [];
  const cuts: Failure[] = [];
  for await (const told of follow(server.open, signal, (failure) => cuts.push(failure), waits)) seqs.push(Number(told.event.seq));
  return { seqs, cuts };
}

describe("follow", () => {
  it("yields every event once, in order, and ends with the terminal one", async () => {
    const server = new Server({ frames: [frame(0, 1, started(1)), frame(1, 1), frame(1, 3, status(2), delta(3)), frame(3, 4, answer(4))] });
    expect(await read(server)).toEqual({ seqs: [1, 2, 3, 4], cuts: [] });
    expect(server.calls).toBe(1);
  });

  it("tells the turn with each event", async () => {
    const server = new Server({ frames: [frame(0, 1, answer(1))] });
    for await (const told of follow(server.open, new AbortController().signal)) expect(told.turn).toBe("turns/1");
  });

  it("lets a stream end by itself once the turn has, but does not wait long for it", async () => {
    const server = new Server({ frames: [frame(0, 1, answer(1)), frame(1, 1)], then: "hang" });
    expect(await read(server)).toEqual({ seqs: [1], cuts: [] });
    expect([server.calls, server.aborted]).toEqual([1, 1]);
    const broken = new Server({ frames: [frame(0, 1, answer(1))], then: new TypeError("network error") });
    expect(await read(broken)).toEqual({ seqs: [1], cuts: [] });
  });

  it("asks again after a cut and passes over what it has seen", async () => {
    const server = new Server(
      { frames: [frame(0, 2, started(1), status(2))], then: new TypeError("network error") },
      { frames: [frame(0, 1, started(1))] },
      { frames: [frame(0, 3, started(1), status(2), delta(3)), frame(3, 4, answer(4))] },
    );
    const { seqs, cuts } = await read(server);
    expect(seqs).toEqual([1, 2, 3, 4]);
    expect(cuts.map((one) => one.reason)).toEqual(["", ""]);
  });

  it("counts an error without a reason of Responsa's own as a cut, whatever its code", async () => {
    for (const code of [Code.Internal, Code.Unknown, Code.Unavailable, Code.Aborted, Code.Unauthenticated]) {
      const server = new Server({ frames: [], then: new ConnectError("RST_STREAM", code) }, { frames: [frame(0, 1, answer(1))] });
      expect((await read(server)).seqs).toEqual([1]);
    }
  });

  it("never goes on over a hole in the chain", async () => {
    const server = new Server(
      { frames: [frame(0, 1, started(1)), frame(2, 3, delta(3)), frame(3, 4, answer(4))] },
      { frames: [frame(0, 4, started(1), status(2), delta(3), answer(4))] },
    );
    expect((await read(server)).seqs).toEqual([1, 2, 3, 4]);
    expect(server.calls).toBe(2);
  });

  it("takes a first frame that does not begin at the beginning for a hole", async () => {
    const server = new Server({ frames: [frame(1, 2, answer(2))] }, { frames: [frame(0, 2, started(1), answer(2))] });
    expect((await read(server)).seqs).toEqual([1, 2]);
  });

  it("counts events that were filtered out as seen", async () => {
    const server = new Server(
      { frames: [frame(0, 1, started(1)), frame(1, 5)] },
      { frames: [frame(0, 6, started(1), delta(5), answer(6))] },
    );
    expect((await read(server)).seqs).toEqual([1, 6]);
  });

  it("passes over a kind of event that it does not know", async () => {
    const unknown = create(TurnEventSchema, { seq: 2n });
    expect(terminal(unknown)).toBe(false);
    const server = new Server({ frames: [frame(0, 3, started(1), unknown, answer(3))] });
    expect((await read(server)).seqs).toEqual([1, 2, 3]);
  });

  it("aborts a stream that has fallen silent and goes on", async () => {
    const server = new Server({ frames: [frame(0, 1, started(1))], then: "hang" }, { frames: [frame(0, 2, started(1), answer(2))] });
    const { seqs } = await read(server, { ...new Clock().waits, silence: 1 });
    expect(seqs).toEqual([1, 2]);
    expect(server.aborted).toBe(1);
  });

  it("throws a typed refusal, and does not ask again", async () => {
    for (const reason of ["CONVERSATION_BUSY", "RESOURCE_NOT_FOUND", "INVALID_FIELD", "REQUEST_ID_REUSED", "CREDENTIAL_EXPIRED", "INTERNAL"]) {
      const server = new Server({ frames: [], then: responsaError(Code.Aborted, reason, "why") });
      const refused = await read(server).catch((error: unknown) => error);
      expect(refused).toBeInstanceOf(Refused);
      expect((refused as Refused).failure).toMatchObject({ reason, message: "why" });
      expect(server.calls).toBe(1);
    }
  });

  it("asks again where waiting helps, no sooner than the server says", async () => {
    for (const reason of ["DRAINING", "PART_UNAVAILABLE", "OVERLOADED", "DEADLINE_EXCEEDED"]) {
      const clock = new Clock();
      const server = new Server(
        { frames: [], then: responsaError(Code.Unavailable, reason, "wait", 1500) },
        { frames: [frame(0, 1, answer(1))] },
      );
      const { seqs, cuts } = await read(server, clock.waits);
      expect(seqs).toEqual([1]);
      expect(cuts.map((one) => one.reason)).toEqual([reason]);
      expect(clock.slept).toEqual([1500]);
    }
  });

  it("survives an unexpected error of the following call, but not for ever", async () => {
    const internal = responsaError(Code.Internal, "INTERNAL", "Something went wrong. Please try again.");
    const broken = { frames: [frame(0, 1, started(1))], then: internal };
    const healed = new Server(broken, broken, { frames: [frame(0, 2, started(1), answer(2))] });
    expect((await read(healed)).seqs).toEqual([1, 2]);
    const sick = new Server(broken, broken, broken, broken, broken);
    await expect(read(sick)).rejects.toBeInstanceOf(Refused);
    expect(sick.calls).toBeLessThan(5);
  });

  it("pauses longer and longer, and begins anew once something came", async () => {
    const clock = new Clock();
    const nothing = { frames: [frame(0, 1, started(1))], then: new TypeError("network error") };
    const server = new Server(nothing, nothing, nothing, { frames: [frame(0, 2, started(1), status(2))] }, { frames: [frame(0, 3, answer(3))] });
    await read(server, clock.waits);
    expect(clock.slept).toEqual([1, 2, 3, 1]);
  });

  it("ends quietly when it is aborted: before, while reading, and while pausing", async () => {
    const gone = new AbortController();
    gone.abort();
    const unasked = new Server();
    expect((await read(unasked, new Clock().waits, gone.signal)).seqs).toEqual([]);
    expect(unasked.calls).toBe(0);

    const reading = new AbortController();
    const hanging = new Server({ frames: [frame(0, 1, started(1))], then: "hang" });
    const seen: number[] = [];
    for await (const told of follow(hanging.open, reading.signal)) {
      seen.push(Number(told.event.seq));
      queueMicrotask(() => reading.abort());
    }
    expect(seen).toEqual([1]);
    expect(hanging.aborted).toBe(1);

    const pausing = new AbortController();
    const cut = new Server({ frames: [] });
    const waits = { ...WAITS, pause: () => 60_000 };
    for await (const _ of follow(cut.open, pausing.signal, () => queueMicrotask(() => pausing.abort()), waits)) expect.unreachable();
    expect(cut.calls).toBe(1);
  });

  it("keeps pauses between an eighth of a second and ten seconds", () => {
    for (const attempt of [1, 2, 5, 9, 40]) {
      expect(WAITS.pause(attempt)).toBeGreaterThanOrEqual(125);
      expect(WAITS.pause(attempt)).toBeLessThanOrEqual(10_000);
    }
  });
});
