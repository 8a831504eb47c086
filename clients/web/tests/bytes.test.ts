import { describe, expect, it } from "vitest";
import { byteLength, ByteText, sha256Hex, uuid, wellFormed } from "../src/bytes.js";

describe("ByteText", () => {
  it("cuts by bytes and keeps a byte order mark", () => {
    const text = new ByteText("\ufeffé日🚆");
    expect(text.length).toBe(12);
    expect(text.slice(0, 3)).toBe("\ufeff");
    expect(text.slice(3, 8)).toBe("é日");
    expect(text.slice(-5, 99)).toBe("\ufeffé日🚆");
  });

  it("finds the border of the character that a byte lies in", () => {
    const text = new ByteText("é日🚆");
    expect([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 20, -1].map((place) => text.borderBefore(place))).toEqual([0, 0, 2, 2, 2, 5, 5, 5, 5, 9, 9, 0]);
  });
});

describe("texts", () => {
  it("has the length that UTF-8 gives it", () => {
    expect(byteLength("aé日🚆")).toBe(10);
  });

  it("is made well-formed before it travels", () => {
    expect(wellFormed("a\ud83db🚆\udd25")).toBe("a\ufffdb🚆\ufffd");
  });

  it("has the hash that the server counts", () => {
    expect(sha256Hex("é")).toBe("4a99557e4033c3539de2eb65472017cad5f9557f7a0625a09f1c3f6e2ba69c4c");
  });
});

describe("uuid", () => {
  it("is of version 4 and never the same", () => {
    const made = Array.from({ length: 200 }, () => uuid());
    for (const one of made) expect(one).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(new Set(made).size).toBe(made.length);
  });
});
