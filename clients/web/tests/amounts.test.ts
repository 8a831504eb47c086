import { describe, expect, it } from "vitest";
import { BYTES, MONEY, NUMBER, ROLE, sameRule } from "../src/administration/amounts.js";

describe("amounts", () => {
  it.each([
    [NUMBER, "1,000", 1_000n],
    [NUMBER, " 250000 ", 250_000n],
    [NUMBER, "0", 0n],
    [MONEY, "2.50", 2_500_000n],
    [MONEY, "$1,234.5", 1_234_500_000n],
    [MONEY, "2.5 USD", 2_500_000n],
    [MONEY, "0.000001", 1n],
    [BYTES, "500 MiB", 524_288_000n],
    [BYTES, "1.5gb", 1_500_000_000n],
    [BYTES, "2048", 2_048n],
  ])("reads what people write", (unit, text, amount) => {
    expect(unit.parse(text)).toBe(amount);
  });

  it.each([
    [NUMBER, ["", "-1", "1.5", "1,0", "1e3", "ten", "1 000", "٣", "9".repeat(30)]],
    [MONEY, ["", "€2", "2.5 EUR", "0.0000001", "-0.5"]],
    [BYTES, ["", "MiB", "5 XB", "0.1 bytes", "-1 GiB", "9999 GiB"]],
  ])("refuses what is not an amount", (unit, texts) => {
    for (const text of texts) expect([text, unit.parse(text)]).toEqual([text, undefined]);
  });

  it("writes amounts that it reads as the same amounts", () => {
    for (const unit of [NUMBER, MONEY, BYTES]) for (const amount of [0n, 1n, 999n, 1_536n, 1_234_567n, 524_288_000n, 1_000_000_000_000n]) expect(unit.parse(unit.text(amount))).toBe(amount);
    expect([NUMBER.text(1_000n), MONEY.text(2_500_000n), MONEY.text(1n), BYTES.text(524_288_000n), BYTES.text(1n << 31n)]).toEqual(["1,000", "2.50 USD", "0.000001 USD", "500 MiB", "2 GiB"]);
  });
});

describe("sameRule", () => {
  it("compares the kinds and the amounts", () => {
    expect(sameRule(ROLE, { kind: "role" })).toBe(true);
    expect(sameRule(ROLE, { kind: "unlimited" })).toBe(false);
    expect(sameRule({ kind: "most", amount: 1n }, { kind: "most", amount: 1n })).toBe(true);
    expect(sameRule({ kind: "most", amount: 1n }, { kind: "most", amount: 2n })).toBe(false);
  });
});
