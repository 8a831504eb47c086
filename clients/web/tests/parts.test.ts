import { create } from "@bufbuild/protobuf";
import { CitationSchema, type Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { describe, expect, it } from "vitest";
import { byteLength } from "../src/bytes.js";
import { flows, parts, sources } from "../src/parts.js";

function citation(start: number, end: number, version = "documents/1/versions/1", title = "One"): Citation {
  return create(CitationSchema, { answerRange: { start: BigInt(start), end: BigInt(end) }, documentVersion: version, title });
}

/** Citations of these pieces of a text, with ranges in bytes. */
function citing(text: string, ...pieces: string[]): Citation[] {
  return pieces.map((piece) => {
    const start = byteLength(text.slice(0, text.indexOf(piece)));
    return citation(start, start + byteLength(piece));
  });
}

describe("parts", () => {
  it("cuts at the citations, keeps the text between them, and loses nothing", () => {
    const text = "One. Two.\nThree.";
    const found = parts(text, citing(text, "One.", "Three."));
    expect(found).toEqual([
      { text: "One.", citation: 0 },
      { text: " Two.\n", citation: undefined },
      { text: "Three.", citation: 1 },
    ]);
  });

  it("counts bytes, not characters", () => {
    const text = "Der Zug fährt um 7 € ab. 🚆 Überall. 日本語です。 Ende";
    const found = parts(text, citing(text, "Der Zug fährt um 7 € ab.", "🚆 Überall.", "日本語です。"));
    expect(found.filter((one) => one.citation !== undefined).map((one) => one.text)).toEqual([
      "Der Zug fährt um 7 € ab.",
      "🚆 Überall.",
      "日本語です。",
    ]);
    expect(found.map((one) => one.text).join("")).toBe(text);
  });

  it("has the order of the text, not of the list of citations", () => {
    const text = "One. Two.";
    expect(parts(text, citing(text, "Two.", "One.")).map((one) => one.citation)).toEqual([1, undefined, 0]);
  });

  it("keeps the whole text if ranges overlap, nest, are empty, or lie beyond the text", () => {
    const text = "abcdefghij";
    for (const ranges of [[[0, 5], [3, 8]], [[0, 8], [2, 4]], [[3, 3]], [[8, 50], [40, 60]], [[0, 10], [0, 10]]]) {
      const found = parts(text, ranges.map(([start, end]) => citation(start!, end!)));
      expect(found.map((one) => one.text).join("")).toBe(text);
    }
  });

  it("never cuts within a character", () => {
    const text = "aé日b";
    for (let start = 0; start <= byteLength(text); start += 1) {
      for (let end = start; end <= byteLength(text); end += 1) {
        const found = parts(text, [citation(start, end)]);
        expect(found.map((one) => one.text).join("")).toBe(text);
      }
    }
  });

  it("accepts text without citations, and an empty text", () => {
    expect(parts("Hello", [])).toEqual([{ text: "Hello", citation: undefined }]);
    expect(parts("", [])).toEqual([]);
    expect(parts("Hello", [create(CitationSchema, {})])).toEqual([{ text: "Hello", citation: undefined }]);
  });
});

describe("flows", () => {
  it("is true only for wrapped prose", () => {
    expect(flows("A sentence that was\nwrapped in its source.")).toBe(true);
    for (const text of ["- one\n- two", "a:\n  indented", "| a |\n| b |", "1. one\n2. two", "```sh\nmake up\n```", "One.\n\nTwo."]) {
      expect(flows(text), text).toBe(false);
    }
  });
});

describe("sources", () => {
  it("lists each document version once, in the order of the answer", () => {
    const found = sources([citation(0, 1, "b", "B"), citation(1, 2, "a", "A"), citation(2, 3, "b", "B")]);
    expect(found.map((one) => [one.title, one.citations])).toEqual([
      ["B", [0, 2]],
      ["A", [1]],
    ]);
  });
});
