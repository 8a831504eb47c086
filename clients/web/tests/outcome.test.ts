import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  AnswerOutcome,
  FallbackKind,
  FallbackSchema,
  RefusalReason,
  Step,
  TurnEventSchema,
  TurnProviderSwitchedSchema,
  TurnSchema,
  TurnUsageSchema,
  UsageSchema,
} from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { describe, expect, it } from "vitest";
import { answeredBy, because, called, cost, fellBack, money, outcomeOf, outcomeOfTurn, refusalWords, stepWords, switched } from "../src/outcome.js";

type Usage = MessageInitShape<typeof UsageSchema>;
type Event = NonNullable<MessageInitShape<typeof TurnEventSchema>["event"]>;

const usage = (given: Usage = {}) => create(UsageSchema, given);
const ended = (event: Event) => create(TurnEventSchema, { seq: 9n, event });
const fallback = (kind: FallbackKind, source = "", target = "", cause = "") => create(FallbackSchema, { kind, source, target, cause });

describe("money", () => {
  it.each([
    [0n, "0.00 USD"],
    [2_100n, "0.0021 USD"],
    [2_149n, "0.0021 USD"],
    [50_000n, "0.05 USD"],
    [500_000n, "0.50 USD"],
    [1_234_567n, "1.2346 USD"],
    [7n, "0.000007 USD"],
    [100n, "0.0001 USD"],
  ])("%s", (micros, text) => expect(money(micros)).toBe(text));
});

describe("cost", () => {
  it("says nothing where no model was asked", () => {
    expect(cost(undefined)).toBe("");
    expect(cost(usage({ embeddingTokens: 12n }))).toBe("");
  });

  it("tells what is not known", () => {
    expect(cost(usage({ inputTokens: 10n }))).toBe("0.00 USD");
    expect(cost(usage({ costMicros: 2100n, inputTokens: 10n }))).toBe("0.0021 USD");
    expect(cost(usage({ costMicros: 2100n, unpricedTokens: 1532n }))).toBe("0.0021 USD, and 1,532 tokens whose price is not known");
    expect(cost(usage({ unpricedTokens: 1n, inputTokens: 1n }))).toBe("1 token whose price is not known");
  });
});

describe("answeredBy", () => {
  it.each([
    ["Tutor", "gemini:flash", { costMicros: 2100n }, "Answered by Tutor with gemini:flash; 0.0021 USD."],
    ["Tutor", "extractive", {}, "Answered by Tutor, in sentences of the documents."],
    ["Chat", "template", {}, "Answered by Chat, from a template."],
    ["Default", "", {}, "Answered by Default."],
    ["", "openai:x", {}, "Answered with openai:x."],
    ["", "", {}, ""],
  ])("%s %s", (agent, model, spent, text) => expect(answeredBy(agent, model, usage(spent))).toBe(text));
});

describe("fallbacks", () => {
  it.each([
    [fallback(FallbackKind.WITHOUT_RETRIEVAL, "retrieve", "write", "part_unavailable:postgresql"), /^The documents could not be searched, .* rests on none of them\.$/],
    [fallback(FallbackKind.TEXT_ONLY, "retrieve", "text_only", "part_unavailable:vectors"), /^The documents were searched by their words alone, not by meaning\.$/],
    [fallback(FallbackKind.TEXT_ONLY), /by their words alone, not by meaning\.$/],
    [fallback(FallbackKind.PROVIDER, "openai:a", "gemini:b", "rate_limited"), /^openai:a could not be had; gemini:b was asked in its place \(it takes no more for the moment\)\.$/],
    [fallback(FallbackKind.PROVIDER), /^The first model could not be had; another model was asked/],
    [fallback(FallbackKind.EXTRACTIVE, "write", "quote", "unreachable"), /^No model could be had, so sentences of the documents are quoted \(it could not be reached\)\.$/],
    [fallback(FallbackKind.TEMPLATE), /template\.$/],
    [fallback(FallbackKind.CLASSIFIER), /^A trained classifier/],
    [fallback(FallbackKind.RULE), /^A rule decided/],
    [fallback(FallbackKind.WITHOUT_SUMMARY), /^The older messages/],
    [fallback(99 as FallbackKind, "", "", "news_of:later"), /^Something else was done than was meant \(news of later\)\.$/],
  ])("are told in words (%#)", (one, words) => expect(fellBack(one)).toMatch(words));

  it("has words for every kind that can be sent", () => {
    const sent = Object.values(FallbackKind).filter((one): one is FallbackKind => typeof one === "number" && one !== FallbackKind.UNSPECIFIED);
    const said = sent.map((kind) => fellBack(fallback(kind)));
    expect(new Set(said).size).toBe(sent.length);
    for (const text of said) expect(text).not.toMatch(/^Something else/);
  });

  it("has no cause where none is told", () => expect(because("")).toBe(""));
});

describe("outcomeOf", () => {
  it("tells of an answer who gave it, what stood in and what it cost, each thing once", () => {
    const text = fallback(FallbackKind.TEXT_ONLY);
    const value = { model: "openai:x", usage: usage({ costMicros: 100n }), fallbacks: [text, text], outcome: AnswerOutcome.OUTPUT_LIMIT };
    const found = outcomeOf(ended({ case: "answer", value }), "Tutor")!;
    expect(found.who).toBe("Answered by Tutor with openai:x; 0.0001 USD.");
    expect(found.fallbacks).toEqual([fellBack(text), expect.stringMatching(/^The answer was cut off/)]);
  });

  it("tells of what is no answer what it cost nevertheless", () => {
    const value = { usage: usage({ costMicros: 100n }), fallbacks: [fallback(FallbackKind.RULE)] };
    for (const kind of ["refused", "failed"] as const) {
      expect(outcomeOf(ended({ case: kind, value }), "Tutor")).toEqual({ who: "It cost 0.0001 USD.", fallbacks: [fellBack(value.fallbacks[0]!)] });
    }
    expect(outcomeOf(ended({ case: "refused", value: {} }), "Tutor")).toEqual({ who: "", fallbacks: [] });
  });

  it("has nothing to tell of what is no end", () => {
    for (const one of ["started", "status", "delta", "usage", "cancelled"] as const) expect(outcomeOf(ended({ case: one, value: {} }), "Tutor")).toBeUndefined();
  });

  it("reads a turn that ended earlier, whatever is left of it", () => {
    const terminalEvent = ended({ case: "answer", value: { model: "template" } });
    expect(outcomeOfTurn(create(TurnSchema, { terminalEvent }), "Chat").who).toBe("Answered by Chat, from a template.");
    const fallbacks = [fallback(FallbackKind.RULE)];
    expect(outcomeOfTurn(create(TurnSchema, { usage: usage({ costMicros: 100n }), fallbacks }), "Chat")).toEqual({ who: "It cost 0.0001 USD.", fallbacks: [fellBack(fallbacks[0]!)] });
  });
});

describe("words", () => {
  it("tells refusals apart", () => {
    const reasons = [RefusalReason.NO_SUPPORT, RefusalReason.OUT_OF_SCOPE, RefusalReason.UNSAFE, RefusalReason.BUDGET];
    expect(new Set(reasons.map((one) => refusalWords(one).heading)).size).toBe(4);
    expect(refusalWords(99 as RefusalReason)).toEqual(refusalWords(RefusalReason.NO_SUPPORT));
    expect(refusalWords(RefusalReason.NO_SUPPORT).heading).toBe("No answer");
  });

  it("has a name for every step whose status brings none", () => {
    const steps = Object.values(Step).filter((one): one is Step => typeof one === "number" && one !== Step.UNSPECIFIED);
    expect(new Set(steps.map((one) => stepWords(one, ""))).size).toBe(steps.length);
    expect(stepWords(Step.ROUTING, "Classifying your query...")).toBe("Classifying your query...");
    expect(stepWords(99 as Step, "")).toBe("Working…");
  });

  it("tells what models did meanwhile", () => {
    const event = create(TurnProviderSwitchedSchema, { source: "openai:a", target: "gemini:b", cause: "timeout" });
    expect(switched(event)).toBe("openai:a could not be had (it did not answer in time); asking gemini:b");
    const spent = create(TurnUsageSchema, { model: "gemini:b", usage: usage({ inputTokens: 1200n, outputTokens: 30n, costMicros: 2100n }) });
    expect(called(spent)).toBe("gemini:b read 1,200 tokens and wrote 30: 0.0021 USD");
  });
});
