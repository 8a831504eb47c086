/** What the conformance kit does not cover: time, the network, and leaving. */

import { Code, ConnectError } from "@connectrpc/connect";
import { describe, expect, it } from "vitest";
import type { ResponsaError } from "../src/errors.js";
import { follow } from "../src/following.js";
import { FrameReader, type Frame } from "../src/frames.js";
import { OFFLINE_PAUSE, PATIENCE, persist, type Patience } from "../src/patience.js";
import { responsaError } from "./failures.js";
import { StillPatience } from "./stillpatience.js";
import { answer, frame, hang, started, status } from "./turns.js";

/** One stream: its frames, then its error. With "hang", nothing follows the frames until the stream is aborted. */
interface Stream {
  readonly frames: readonly Frame[];
  readonly then?: Error | "hang";
}

class Server {
  calls = 0;
  aborted = 0;
  readonly #script: readonly Stream[];

  constructor(...script: Stream[]) {
    this.#script = script;
  }

  async *#play(signal: AbortSignal): AsyncGenerator<Frame> {
    const stream = this.#script[this.calls];
    this.calls += 1;
    if (!stream) throw new Error("one call more than the script has");
    yield* stream.frames;
    if (stream.then === "hang") {
      await hang(signal);
      this.aborted += 1;
      throw new ConnectError("aborted", Code.Canceled);
    }
    if (stream.then) throw stream.then;
  }

  readonly ask = (signal: AbortSignal) => this.#play(signal);
  readonly resume = (_turn: string, _after: bigint, signal: AbortSignal) => this.#play(signal);
  readonly get = () => Promise.reject(new Error("not asked for"));
}

async function read(server: Server, patience: Patience = new StillPatience(), signal = new AbortController().signal) {
  const seqs: number[] = [];
  const pauses: [ResponsaError, number][] = [];
  let resumed = 0;
  const notices = { paused: (failure: ResponsaError, tries: number) => pauses.push([failure, tries]), resumed: () => (resumed += 1) };
  const reader = new FrameReader({ includeDeltas: true });
  for await (const event of follow(reader, server, signal, notices, patience)) seqs.push(Number(event.seq));
  return { seqs, pauses, resumed };
}

function patient(changes: Partial<Patience>): Patience {
  return Object.assign(new StillPatience(), changes);
}

describe("follow", () => {
  it("lets a stream end by itself after its turn has ended, but does not wait long for the end", async () => {
    const server = new Server({ frames: [frame(0, 1, answer(1)), frame(1, 1)], then: "hang" });
    expect((await read(server)).seqs).toEqual([1]);
    expect([server.calls, server.aborted]).toEqual([1, 1]);
    const broken = new Server({ frames: [frame(0, 1, answer(1))], then: new TypeError("network error") });
    expect(await read(broken)).toMatchObject({ seqs: [1], pauses: [] });
  });

  it("aborts a stream that has fallen silent, and continues", async () => {
    const server = new Server({ frames: [frame(0, 1, started(1))], then: "hang" }, { frames: [frame(1, 2, answer(2))] });
    expect((await read(server, patient({ silence: 1 }))).seqs).toEqual([1, 2]);
    expect(server.aborted).toBe(1);
  });

  it("reports that nothing arrives, the number of tries so far, and that frames arrive again", async () => {
    const cut = { frames: [], then: new TypeError("network error") };
    const server = new Server({ frames: [frame(0, 1, started(1))] }, cut, cut, { frames: [frame(1, 2, status(2)), frame(2, 3, answer(3))] });
    const { pauses, resumed } = await read(server);
    expect(pauses.map(([failure, tries]) => [failure.reason, tries])).toEqual([
      ["", 1],
      ["", 2],
      ["", 3],
    ]);
    expect(resumed).toBe(1);
  });

  it("leaves a stream when the network is lost; without a network, it asks rarely and counts no tries", async () => {
    const patience = new StillPatience();
    const cut = { frames: [], then: new TypeError("network error") };
    const server = new Server({ frames: [frame(0, 1, started(1))], then: "hang" }, cut, cut, cut, { frames: [frame(1, 2, answer(2))] });
    const reading = read(server, patience);
    patience.isOffline = true;
    await expect.poll(() => server.calls).toBe(1);
    patience.tell("offline");
    await expect.poll(() => server.calls).toBe(5);
    expect((await reading).seqs).toEqual([1, 2]);
    expect(patience.waits).toEqual([OFFLINE_PAUSE, OFFLINE_PAUSE, OFFLINE_PAUSE, OFFLINE_PAUSE]);
    expect(server.aborted).toBe(1);
  });

  it("leaves a stream that fell silent while the computer slept", async () => {
    let time = 0;
    const patience = Object.assign(new StillPatience(), { now: () => time });
    const server = new Server({ frames: [frame(0, 1, started(1))], then: "hang" }, { frames: [frame(1, 2, answer(2))] });
    const reading = read(server, patience);
    await expect.poll(() => server.calls).toBe(1);
    patience.tell("back");
    expect(server.aborted).toBe(0);
    time = patience.silence + 1;
    patience.tell("back");
    expect((await reading).seqs).toEqual([1, 2]);
    expect(server.aborted).toBe(1);
  });

  it("ends a wait when the network returns", async () => {
    const patience = new StillPatience();
    const told: ResponsaError[] = [];
    const waiting = patient({ changes: patience.changes, sleep: (_, signal) => hang(signal) });
    const server = new Server({ frames: [] }, { frames: [frame(0, 1, answer(1))] });
    const notices = {
      paused: (failure: ResponsaError) => {
        told.push(failure);
        setTimeout(() => patience.tell("back"));
      },
    };
    const seqs: bigint[] = [];
    for await (const { seq } of follow(new FrameReader({ includeDeltas: true }), server, new AbortController().signal, notices, waiting)) seqs.push(seq);
    expect(seqs).toEqual([1n]);
    expect(told).toHaveLength(1);
  });

  it("ends without an error when it is aborted before it begins, while it reads, or while it waits", async () => {
    const gone = new AbortController();
    gone.abort();
    const unasked = new Server();
    expect((await read(unasked, new StillPatience(), gone.signal)).seqs).toEqual([]);
    expect(unasked.calls).toBe(0);

    const reading = new AbortController();
    const hanging = new Server({ frames: [frame(0, 2, started(1), status(2))], then: "hang" });
    const seen: number[] = [];
    for await (const { seq } of follow(new FrameReader({ includeDeltas: true }), hanging, reading.signal)) {
      seen.push(Number(seq));
      queueMicrotask(() => reading.abort());
    }
    expect(seen).toEqual([1, 2]);
    expect(hanging.aborted).toBe(1);

    const waiting = new AbortController();
    const cut = new Server({ frames: [] });
    const notices = { paused: () => queueMicrotask(() => waiting.abort()) };
    const long = { ...PATIENCE, pause: () => 60_000 };
    for await (const _ of follow(new FrameReader({ includeDeltas: true }), cut, waiting.signal, notices, long)) expect.unreachable();
    expect(cut.calls).toBe(1);
  });
});

describe("patience", () => {
  it("waits for a random time up to a bound, which doubles up to ten seconds", () => {
    for (const [attempt, most] of [
      [1, 500],
      [2, 1_000],
      [5, 8_000],
      [9, 10_000],
      [4_000, 10_000],
    ] as const) {
      const waits = Array.from({ length: 200 }, () => PATIENCE.pause(attempt));
      expect(Math.min(...waits)).toBeGreaterThanOrEqual(0);
      expect(Math.max(...waits)).toBeLessThanOrEqual(most);
      expect(Math.max(...waits) - Math.min(...waits)).toBeGreaterThan(most / 2);
    }
  });

  it("repeats a call until it succeeds, or until it fails with an error that repeating cannot fix", async () => {
    const { signal } = new AbortController();
    const answers = [new TypeError("network error"), responsaError(Code.Unavailable, "DRAINING", "wait", 1_500), "done"];
    const patience = new StillPatience();
    const call = () => {
      const one = answers.shift();
      return one instanceof Error ? Promise.reject(one) : Promise.resolve(one);
    };
    expect(await persist(call, signal, patience)).toBe("done");
    expect(patience.waits).toEqual([1, 1_500]);
    answers.push(responsaError(Code.NotFound, "RESOURCE_NOT_FOUND", "not yours"), "never");
    await expect(persist(call, signal, patience)).rejects.toThrow("not yours");
    expect(answers).toEqual(["never"]);
  });

  it("makes no call after the signal has aborted", async () => {
    const gone = new AbortController();
    const calls: number[] = [];
    const call = () => {
      calls.push(1);
      gone.abort();
      return Promise.reject(new TypeError("network error"));
    };
    await expect(persist(call, gone.signal, new StillPatience())).rejects.toHaveProperty("name", "AbortError");
    expect(calls).toHaveLength(1);
  });
});
