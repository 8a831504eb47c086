import { create } from "@bufbuild/protobuf";
import { CitationSchema, type Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { describe, expect, it } from "vitest";
import { byteLength } from "@responsa/client/parts.js";
import { parts, placeOf, sources } from "../src/chat/parts.js";
import { rememberTool } from "../src/chat/fetched.js";

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

/** The texts of the parts, with the numbers of their citations. */
function texts(text: string, citations: readonly Citation[]): [string, number][] {
  return parts(text, citations).map(({ from, to, index }) => [text.slice(from, to), index]);
}

describe("parts", () => {
  it("finds the cited parts in the order of their ends, not of the list of citations", () => {
    const text = "One. Two.\nThree.";
    expect(texts(text, citing(text, "Three.", "One."))).toEqual([
      ["One.", 1],
      ["Three.", 0],
    ]);
  });

  it("counts bytes, not characters", () => {
    const text = "Der Zug fährt um 7 € ab. 🚆 Überall. 日本語です。 Ende";
    const pieces = ["Der Zug fährt um 7 € ab.", "🚆 Überall.", "日本語です。"];
    expect(texts(text, citing(text, ...pieces)).map(([one]) => one)).toEqual(pieces);
  });

  it("leaves out parts that are empty or have not arrived, and ends a part where the text ends", () => {
    const text = "abcdefghij";
    expect(texts(text, [citation(3, 3), citation(8, 50), citation(40, 60), create(CitationSchema, {})])).toEqual([["ij", 1]]);
    expect(parts("", [citation(0, 4)])).toEqual([]);
  });

  it("keeps parts that overlap or lie in each other", () => {
    expect(texts("abcdefghij", [citation(0, 8), citation(2, 4), citation(3, 9)])).toEqual([
      ["cd", 1],
      ["abcdefgh", 0],
      ["defghi", 2],
    ]);
  });

  it("does not count white space at the end of a part", () => {
    expect(texts("One. \n Two.", [citation(0, 7)])).toEqual([["One.", 0]]);
  });

  it("takes the punctuation behind a part, so that it does not stand alone behind the number", () => {
    const text = "It lasts 18 months, or a year! In a (cold) winter less.";
    const cited = citing(text, "It lasts 18 months", "or a year", "In a (cold) winter less");
    expect(texts(text, cited).map(([one]) => one)).toEqual(["It lasts 18 months,", "or a year!", "In a (cold) winter less."]);
  });

  it("never cuts within a character", () => {
    const text = "aé日🚆b";
    const borders = new Set([0, 1, 2, 3, 5, 6]);
    for (let start = 0; start <= byteLength(text); start += 1) {
      for (let end = start; end <= byteLength(text); end += 1) {
        for (const { from, to } of parts(text, [citation(start, end)])) expect([borders.has(from), borders.has(to)]).toEqual([true, true]);
      }
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

  it("names the pages or cells of each document once", () => {
    const at = (page: number, path = "") => create(CitationSchema, { documentVersion: "a", page, path });
    expect(sources([at(3), at(3), at(7), at(0)])[0]!.places).toEqual(["page 3", "page 7"]);
    expect(placeOf(at(2, "Sheet2!A4:C4"))).toBe("Sheet2!A4:C4");
  });

  it("lists each source of a tool's call once, with the tool and the time, apart from documents", () => {
    const fetched = (callId: string, sourceIndex: number, title: string) =>
      create(CitationSchema, { title, uri: "https://example.org/", origin: { case: "toolResult", value: { callId, sourceIndex, tool: "tools/web_search", fetchTime: { seconds: 1_790_000_000n } } } });
    const found = sources([citation(0, 1), fetched("tool-1", 0, "B"), fetched("tool-1", 1, "C"), fetched("tool-2", 0, "D"), fetched("tool-1", 0, "B")]);
    expect(found.map((one) => [one.title, one.citations])).toEqual([
      ["One", [0]],
      ["B", [1, 4]],
      ["C", [2]],
      ["D", [3]],
    ]);
    expect(found[0]!.fetched).toBe("");
    expect(found[1]!.fetched).toMatch(/^fetched by web_search, \d+ Sept? 2026, \d\d:\d\d$/);
    rememberTool({ name: "tools/web_search", title: "the web search" });
    expect(sources([fetched("tool-1", 0, "B")])[0]!.fetched).toMatch(/^fetched by the web search, /);
  });
});
