import { create } from "@bufbuild/protobuf";
import { timestampFromDate } from "@bufbuild/protobuf/wkt";
import { UsageRowSchema } from "@responsa/contract/responsa/auth/v1/usage_report_pb.js";
import { describe, expect, it } from "vitest";
import { contentText } from "../src/operators/content.js";
import { periodsOf, RANGES, rowsOf, share, type RangeName } from "../src/operators/periods.js";
import { lapse } from "../src/text/facts.js";

const NOW = new Date("2026-03-01T14:20:00Z");

describe("periodsOf", () => {
  it("ends with the present period and leaves no gap", () => {
    for (const range of Object.keys(RANGES) as RangeName[]) {
      const periods = periodsOf(range, NOW);
      expect(periods).toHaveLength(RANGES[range].periods);
      expect(periods.slice(1).every((one, index) => one.start.getTime() === periods[index]!.end.getTime())).toBe(true);
      expect(periods.at(-1)!.start <= NOW && NOW < periods.at(-1)!.end).toBe(true);
    }
    expect(periodsOf("week", NOW).map((one) => one.tick).slice(-2)).toEqual(["28 Feb", "1 Mar"]);
    expect(periodsOf("year", NOW)[0]!.name).toBe("April 2025");
  });

  it("finds the row of each period", () => {
    const [first, second] = periodsOf("hour", NOW);
    const row = create(UsageRowSchema, { startTime: timestampFromDate(second!.start), answeredTurns: 3n });
    expect(rowsOf([first!, second!], [row])).toEqual([undefined, row]);
  });
});

it("writes times and shares", () => {
  expect([139.6, 2400, 9960, 65_000].map(lapse)).toEqual(["140 ms", "2.4 s", "10 s", "1 min 5 s"]);
  expect([share(7, 8), share(0, 0)]).toEqual(["88 %", "–"]);
});

it("writes the content of a version as lines", () => {
  expect(contentText({ config: { nodes: [{ kind: "retrieve" }], name: "Mine", tags: ["a", "b"] }, prompts: { answer: "Be brief.\nBe kind.\n" } })).toBe('config.name: Mine\nconfig.nodes[0].kind: retrieve\nconfig.tags: ["a","b"]\nprompts.answer:\n    Be brief.\n    Be kind.');
  expect(contentText(undefined)).toBe("");
});
