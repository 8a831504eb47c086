import { create } from "@bufbuild/protobuf";
import { GetDocumentContentResponseSchema, type GetDocumentContentResponse } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { describe, expect, it } from "vitest";
import { byteLength } from "../src/bytes.js";
import { CanonicalText } from "../src/canonical.js";

/** A server that streams `pieces`, and counts the pieces that it had to send. */
class Server {
  sent = 0;
  streams = 0;
  open = 0;

  constructor(readonly pieces: readonly string[]) {}

  async *read(): AsyncGenerator<GetDocumentContentResponse> {
    this.streams += 1;
    this.open += 1;
    try {
      let place = 0;
      for (const text of this.pieces) {
        this.sent += 1;
        yield create(GetDocumentContentResponseSchema, { byteOffset: BigInt(place), text });
        place += byteLength(text);
      }
    } finally {
      this.open -= 1;
    }
  }
}

const signal = new AbortController().signal;

describe("CanonicalText", () => {
  it("reads only the requested part, and leaves no stream open", async () => {
    const server = new Server(["aaaa", "bbbb", "cccc", "dddd"]);
    const text = new CanonicalText(() => server.read());
    await text.need(5, signal);
    expect(server.sent).toBe(2);
    expect(server.open).toBe(0);
    expect([text.read, text.whole]).toEqual([8, false]);
    await text.need(7, signal);
    expect(server.streams).toBe(1);
  });

  it("continues reading where it stopped", async () => {
    const server = new Server(["aaaa", "bbbb", "cccc"]);
    const text = new CanonicalText(() => server.read());
    await text.need(2, signal);
    await text.need(1_000, signal);
    expect(text.slice(0, 100)).toBe("aaaabbbbcccc");
    expect([text.read, text.whole]).toEqual([12, true]);
    await text.need(2_000, signal);
    expect(server.streams).toBe(2);
  });

  it("cuts by bytes across the boundaries of pieces", async () => {
    const text = new CanonicalText(() => new Server(["aé", "日🚆", "b"]).read());
    await text.need(1_000, signal);
    expect(text.slice(1, 6)).toBe("é日");
    expect(text.slice(3, 10)).toBe("日🚆");
    expect([0, 2, 4, 5, 6, 9, 10, 11, 99].map((place) => text.borderBefore(place))).toEqual([0, 1, 3, 3, 6, 6, 10, 11, 11]);
  });

  it("reads an empty text", async () => {
    const text = new CanonicalText(() => new Server([]).read());
    await text.need(10, signal);
    expect([text.read, text.whole, text.slice(0, 5)]).toEqual([0, true, ""]);
  });
});
