import { describe, expect, it } from "vitest";
import { byteLength, ByteText, sha256Hex, unitsAt, uuid, wellFormed } from "../src/bytes.js";

describe("ByteText", () => {
  it("cuts by bytes and keeps a byte order mark", () => {
    const text = new ByteText("\ufeffé日🚆");
    expect(text.length).toBe(12);
    expect(text.slice(0, 3)).toBe("\ufeff");
    expect(text.slice(3, 8)).toBe("é日");
    expect(text.slice(-5, 99)).toBe("\ufeffé日🚆");
  });

  it("finds the boundary of the character that contains a byte", () => {
    const text = new ByteText("é日🚆");
    expect([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, -1].map((place) => text.borderBefore(place))).toEqual([0, 0, 2, 2, 2, 5, 5, 5, 5, 9, 9, 0]);
  });
});

describe("texts", () => {
  it("have the length of their UTF-8 bytes", () => {
    expect(byteLength("aé日🚆")).toBe(10);
  });

  it("are made well-formed before they are sent", () => {
    expect(wellFormed("a\ud83db🚆\udd25")).toBe("a\ufffdb🚆\ufffd");
  });

  it("have the same hash as on the server", () => {
    expect(sha256Hex("é")).toBe("4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c");
  });
});

describe("unitsAt", () => {
  it("finds the units at bytes, in any order, and never within a character", () => {
    const text = "aé日🚆b";
    expect(unitsAt(text, [0, 1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 99, -1])).toEqual([0, 1, 1, 2, 2, 2, 3, 3, 3, 5, 6, 6, 0]);
    expect(unitsAt(text, [10, 3, 10, 0])).toEqual([5, 2, 5, 0]);
    expect(unitsAt("", [0, 3])).toEqual([0, 0]);
  });
});

describe("uuid", () => {
  it("has version 4 and is different each time", () => {
    const made = Array.from({ length: 200 }, () => uuid());
    for (const one of made) expect(one).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set(made).size).toBe(made.length);
  });
});
