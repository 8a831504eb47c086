import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { CitationSchema, DifferenceKind, JudgeVerdict, QuoteOrigin } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { expect, it } from "vitest";
import { flawsOf } from "../src/chat/flaws.js";

const ANSWER = "Die Pauschale für Genf ist 30 Euro.";
const flaws = (given: MessageInitShape<typeof CitationSchema>) => flawsOf(ANSWER, create(CitationSchema, { quote: "über acht Stunden 28 Euro für 24 Stunden", sourceRange: { start: 100n, end: 142n }, ...(given as object) }));

it("a valid mark has no flaw, whoever chose its words", () => {
  for (const quoteOrigin of [QuoteOrigin.COPIED, QuoteOrigin.CHOSEN])
    for (const verdict of [JudgeVerdict.NONE, JudgeVerdict.SUPPORTED, JudgeVerdict.UNDECIDED]) expect(flaws({ quoteOrigin, verdict })).toEqual([]);
});

it("what differs is said in the passage's words, or by what it lacks", () => {
  const at = (answer: string) => {
    const start = new TextEncoder().encode(ANSWER.slice(0, ANSWER.indexOf(answer))).length;
    return { start: BigInt(start), end: BigInt(start + new TextEncoder().encode(answer).length) };
  };
  const inQuote = { kind: DifferenceKind.QUANTITY, answerRange: at("30 Euro"), sourceRange: { start: 119n, end: 126n } };
  const outside = { ...inQuote, sourceRange: { start: 10n, end: 12n } };
  const lacking = { kind: DifferenceKind.NAME, answerRange: at("Genf") };
  expect(flaws({ differences: [inQuote, outside, lacking, lacking] })).toEqual(["The source says 28 Euro.", "The source says something other than “30 Euro”.", "“Genf” is not in the source."]);
  expect(flaws({ quoteOrigin: QuoteOrigin.NOT_FOUND, verdict: JudgeVerdict.DENIED, differences: [{ kind: DifferenceKind.DENIAL }] })).toEqual([
    "The quoted words are not in the source.",
    "A model checked this and says that the source does not support it.",
    "The source and this answer disagree about a “not”.",
  ]);
});
