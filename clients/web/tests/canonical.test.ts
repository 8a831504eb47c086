import { create } from "@bufbuild/protobuf";
import { GetDocumentContentResponseSchema, type GetDocumentContentResponse } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { describe, expect, it } from "vitest";
import { ByteText, byteLength } from "@responsa/client/parts.js";
import { CanonicalText } from "../src/documents/canonical.js";

/** A server that streams a text in pieces of at most `size` bytes, and counts the pieces that it had to send. */
class Server {
  readonly #text: ByteText;
  sent = 0;
  offsets: number[] = [];
  open = 0;

  constructor(text: string, readonly size = 4) {
    this.#text = new ByteText(text);
  }

  async *read(readOffset: number): AsyncGenerator<GetDocumentContentResponse> {
    if (readOffset > this.#text.length) throw new RangeError("beyond the end");
    this.offsets.push(readOffset);
    this.open += 1;
    try {
      for (let place = this.#text.borderBefore(readOffset); place < this.#text.length; ) {
        const text = this.#text.slice(place, this.#text.borderBefore(place + this.size));
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
const over = (server: Server) => new CanonicalText((readOffset) => server.read(readOffset));

describe("CanonicalText", () => {
  it("reads only the requested part, and leaves no stream open", async () => {
    const server = new Server("aaaabbbbccccdddd");
    const text = over(server);
    await text.need(0, 5, signal);
    expect(server.sent).toBe(2);
    expect(server.open).toBe(0);
    expect(text.endsBy(1_000)).toBe(false);
    await text.need(0, 7, signal);
    expect(server.offsets).toEqual([0]);
  });

  it("reads nothing before the requested part, however far behind it is", async () => {
    const server = new Server(`${"é".repeat(500_000)}lighthouse${"é".repeat(500_000)}`, 64);
    const text = over(server);
    await text.need(999_999, 1_000_009, signal);
    expect([server.sent, server.offsets]).toEqual([1, [999_999]]);
    expect(text.borderBefore(999_999)).toBe(999_998);
    expect(text.slice(999_998, 1_000_010)).toBe("élighthouse");
    expect(text.slice(0, 999_998)).toBe("");
  });

  it("continues on both sides of what it has, and reads no byte twice", async () => {
    const source = "日🚆é".repeat(40);
    const server = new Server(source, 10);
    const text = over(server);
    await text.need(181, 189, signal);
    await text.need(60, 70, signal);
    await text.need(-50, 240, signal);
    expect(text.slice(0, 360)).toBe(source.slice(0, text.slice(0, 360).length));
    await text.need(200, 1_000, signal);
    expect(text.slice(0, 360)).toBe(source);
    expect([text.endsBy(359), text.endsBy(360)]).toEqual([false, true]);
    const { sent } = server;
    await text.need(0, 2_000, signal);
    expect(server.sent).toBe(sent);
  });

  it("learns that the text ends with the requested part", async () => {
    const text = over(new Server("aaaabbbb"));
    await text.need(0, 7, signal);
    expect(text.endsBy(8)).toBe(false);
    await text.need(0, 8, signal);
    expect(text.endsBy(8)).toBe(true);
  });

  it("cuts by bytes across the boundaries of pieces", async () => {
    const text = over(new Server("aé日🚆b", 7));
    await text.need(0, 1_000, signal);
    expect(text.slice(1, 6)).toBe("é日");
    expect(text.slice(3, 10)).toBe("日🚆");
    expect([0, 2, 4, 5, 6, 9, 10, 11, 99].map((place) => text.borderBefore(place))).toEqual([0, 1, 3, 3, 6, 6, 10, 11, 11]);
  });

  it("reads an empty text", async () => {
    const text = over(new Server(""));
    await text.need(0, 10, signal);
    expect([text.endsBy(0), text.slice(0, 5)]).toEqual([true, ""]);
  });

  it("raises the server's error for a place beyond the text", async () => {
    await expect(over(new Server("aaaa")).need(9, 12, signal)).rejects.toThrow("beyond");
  });
});
