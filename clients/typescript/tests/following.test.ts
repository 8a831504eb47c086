/** Runs `cases` of clients/conformance/cases.yaml, as every client of this repository does. The server of these tests is a script. */

import { readFileSync } from "node:fs";
import { create, createRegistry, fromJson, type JsonObject, type JsonValue } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { ResumeTurnResponseSchema } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import { TurnEventSchema, TurnSchema, type Turn, type TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { describe, expect, it } from "vitest";
import { follow } from "../src/following.js";
import { BrokenAnswer, ResponsaError } from "../src/errors.js";
import { FrameReader, type Frame } from "../src/frames.js";
import { responsaError } from "./failures.js";
import { StillPatience } from "./stillpatience.js";

type End = "ok" | "cut" | "silent" | "left" | { code: string; reason?: string; retry_after?: number };

interface Call {
  expect: "ask" | "get" | { resume: number };
  pause?: { backoff: number; at_least?: number } | { exactly: number };
  frames?: [after: number, through: number, ...events: string[]][];
  end?: End;
  of_another_turn?: boolean;
  turn?: JsonObject;
}

interface Case {
  name: string;
  start: "ask" | { resume: number };
  deltas: boolean;
  calls: Call[];
  hands_out: number[];
  places?: number[];
  text?: string;
  citations?: number[];
  ends: string | { error: string };
}

const lines = readFileSync(new URL("../../conformance/cases.yaml", import.meta.url), "utf8").split("\n");
const table = JSON.parse(lines.filter((line) => !line.startsWith("#")).join("\n")) as { turn: string; events: Record<string, JsonValue>; cases: Case[] };
const OTHER = "turns/0192f3c8-0000-7000-8000-0000000000ff";
const registry = createRegistry(TurnEventSchema);

function event(name: string): TurnEvent {
  const found = table.events[name];
  if (found === undefined) throw new Error(`no event is named ${name}`);
  return fromJson(TurnEventSchema, found, { registry });
}

function frame([after, through, ...events]: [number, number, ...string[]], turn: string): Frame {
  return create(ResumeTurnResponseSchema, { turn, afterSeq: BigInt(after), throughSeq: BigInt(through), events: events.map(event) });
}

class Script {
  readonly patience = new StillPatience();
  readonly #calls: Call[];
  #done = 0;

  constructor(calls: Call[]) {
    this.#calls = calls;
  }

  get left(): number {
    return this.#calls.length - this.#done;
  }

  /** The next call of the case. Checks that the client has made this call, after the pause that the case names. */
  #next(made: Call["expect"]): Call {
    const call = this.#calls[this.#done];
    this.#done += 1;
    expect(made, `call ${this.#done}`).toEqual(call?.expect);
    const waits = this.patience.waits.splice(0);
    const pause = call!.pause;
    if (!pause) expect(waits, `waits before call ${this.#done}`).toEqual([]);
    else if ("exactly" in pause) expect(waits, `waits before call ${this.#done}`).toEqual([pause.exactly * 1000]);
    // In this test, the n-th wait of the backoff is n milliseconds.
    else expect(waits, `waits before call ${this.#done}`).toEqual([Math.max(pause.backoff, (pause.at_least ?? 0) * 1000)]);
    return call!;
  }

  async *stream(made: Call["expect"], signal: AbortSignal): AsyncGenerator<Frame> {
    const { frames = [], end, of_another_turn } = this.#next(made);
    for (const one of frames) yield frame(one, of_another_turn ? OTHER : table.turn);
    if (end === "ok") return;
    if (end === "cut") throw new ConnectError("RST_STREAM error code 2", Code.Internal);
    if (end === "silent" || end === "left") {
      if (end === "silent") this.patience.elapse();
      if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      throw new ConnectError("aborted", Code.Canceled);
    }
    const code = Code[camel(end!.code) as keyof typeof Code];
    if (end!.reason) throw responsaError(code, end!.reason, "why", end!.retry_after === undefined ? undefined : end!.retry_after * 1000);
    throw new ConnectError("something on the way", code);
  }

  get(): Promise<Turn> {
    const turn = this.#next("get").turn!;
    return Promise.resolve(fromJson(TurnSchema, turn, { registry }));
  }
}

/** The name of a code such as INVALID_ARGUMENT as `Code` spells it. `Code` spells CANCELLED with one L. */
function camel(name: string): string {
  const words = name.split("_").map((word) => word[0] + word.slice(1).toLowerCase());
  return words.join("").replace("Cancelled", "Canceled");
}

async function play({ start, deltas, calls }: Case) {
  const script = new Script(calls);
  const begin = start === "ask" ? {} : { turn: table.turn, afterSeq: BigInt(start.resume) };
  const reader = new FrameReader({ includeDeltas: deltas, ...begin });
  const seqs: number[] = [];
  const places: number[] = [];
  const server = {
    ...(start === "ask" && { ask: (signal: AbortSignal) => script.stream("ask", signal) }),
    resume: (turn: string, after: bigint, signal: AbortSignal) => {
      expect(turn).toBe(table.turn);
      return script.stream({ resume: Number(after) }, signal);
    },
    get: () => script.get(),
  };
  let ends: Case["ends"] = "";
  try {
    for await (const one of follow(reader, server, new AbortController().signal, { place: (place) => places.push(place) }, script.patience)) {
      seqs.push(Number(one.seq));
    }
    ends = reader.terminal?.event.case ?? "";
  } catch (error) {
    if (error instanceof BrokenAnswer) ends = { error: "broken" };
    else if (error instanceof ResponsaError) ends = { error: error.reason };
    else throw error;
  }
  expect(script.left, "calls that were not made").toBe(0);
  return { reader, seqs, places, ends };
}

describe("following", () => {
  it.each(table.cases.map((one) => [one.name, one] as const))("%s", async (_, one) => {
    const { reader, seqs, places, ends } = await play(one);
    expect(ends).toEqual(one.ends);
    expect(seqs).toEqual(one.hands_out);
    if (one.places) expect(places).toEqual(one.places);
    if (one.text !== undefined) expect(reader.text).toBe(one.text);
    if (one.citations) expect(reader.citations.map(({ seq }) => Number(seq))).toEqual(one.citations);
  });
});
