import { describe, expect, it } from "vitest";
import { blockStarts, firstEnd, lastStart } from "../src/text/excerpt.js";

const TEXT = "# One\n\ntwo\nstill two\n\n- three\n\n  still three\n\n```sh\nmake up\n\nnot a block\n```\n\n> ~~~\n> code\n>\n> ~~~\n\nfour";

describe("the places where a document can be cut", () => {
  it("are the blocks of the top level that follow a blank line, outside of code", () => {
    expect([...blockStarts(TEXT)].map((at) => TEXT.slice(at).split("\n")[0])).toEqual(["# One", "two", "- three", "```sh", "> ~~~", "four"]);
  });

  it("leave code closed only by a fence like the one that opened it", () => {
    const text = "~~~~\na\n\n~~~\n\n```\n\nb\n\n~~~~\n\nc\n\n``` not `code\n\nd";
    expect([...blockStarts(text)].map((at) => text[at])).toEqual(["~", "c", "`", "d"]);
  });

  it("are lines if there is no block", () => {
    expect(lastStart("a\nb\nc")).toBe(0);
    expect(lastStart("  a\n  b\n  c")).toBe(8);
    expect(lastStart("")).toBe(0);
    expect(TEXT.slice(lastStart(TEXT.slice(0, TEXT.indexOf("not a block"))))).toMatch(/^```sh/);
    expect(firstEnd(TEXT, TEXT.indexOf("make up"))).toBe(TEXT.indexOf("> ~~~"));
    expect(firstEnd(TEXT, TEXT.length - 2)).toBe(TEXT.length);
  });
});
