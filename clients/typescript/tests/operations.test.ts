import { create } from "@bufbuild/protobuf";
import { Code } from "@connectrpc/connect";
import { OperationSchema, type Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import { WatchOperationResponseSchema, type WatchOperationRequest, type WatchOperationResponse } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { expect, test } from "vitest";
import { ended } from "../src/operations.js";
import { responsaError } from "./failures.js";
import { StillPatience } from "./stillpatience.js";

const NAME = "operations/1";

/** A frame with a state; without `done`, the operation goes on. A frame without a seq is a heartbeat. */
function frame(seq?: bigint, done = false): WatchOperationResponse {
  return create(WatchOperationResponseSchema, seq === undefined ? {} : { seq, operation: { name: NAME, done } });
}

/** A server whose streams send these frames. An error ends its stream, and a stream without the last state is cut. */
function serverWith(...streams: readonly (readonly (WatchOperationResponse | Error)[])[]) {
  const asked: (bigint | undefined)[] = [];
  async function* watchOperation({ afterSeq }: Partial<WatchOperationRequest>) {
    const frames = streams[asked.length] ?? [];
    asked.push(afterSeq);
    for (const one of frames) {
      if (one instanceof Error) throw one;
      yield await Promise.resolve(one);
    }
  }
  return { api: { knowledge: { watchOperation } } as unknown as Parameters<typeof ended>[0], asked };
}

const BEGUN = create(OperationSchema, { name: NAME });

test("a stream that is cut continues after the last state", async () => {
  const lost = responsaError(Code.Unavailable, "DRAINING", "The server is shutting down.");
  const { api, asked } = serverWith([frame(1n), frame(), frame(3n)], [lost], [new Error("cut")], [frame(5n), frame(7n, true)]);
  const told: Operation[] = [];
  const patience = new StillPatience();
  const operation = await ended(api, BEGUN, (one) => told.push(one), new AbortController().signal, patience);
  expect(operation.done).toBe(true);
  expect(asked).toEqual([0n, 3n, 3n, 3n]);
  expect(told).toHaveLength(4);
  expect(patience.waits).toEqual([1, 2, 3]);
});

test("an operation that has ended is not watched", async () => {
  const { api, asked } = serverWith();
  const done = create(OperationSchema, { name: NAME, done: true });
  expect(await ended(api, done, () => undefined, new AbortController().signal, new StillPatience())).toBe(done);
  expect(asked).toEqual([]);
});

test("an error that waiting cannot fix is raised", async () => {
  const gone = responsaError(Code.NotFound, "RESOURCE_NOT_FOUND", "There is no such operation.");
  const { api } = serverWith([frame(1n), gone]);
  await expect(ended(api, BEGUN, () => undefined, new AbortController().signal, new StillPatience())).rejects.toBe(gone);
});

test("watching ends when the signal aborts", async () => {
  const stop = new AbortController();
  const { api, asked } = serverWith([frame(1n)], [frame(2n, true)]);
  await expect(ended(api, BEGUN, (one) => one !== BEGUN && stop.abort(), stop.signal, new StillPatience())).rejects.toThrow();
  expect(asked).toEqual([0n]);
});
