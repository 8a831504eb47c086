import { create, type MessageInitShape } from "@bufbuild/protobuf";
import {
  AnswerOutcome,
  FallbackKind,
  FallbackSchema,
  RefusalReason,
  Step,
  TurnAnswerSchema,
  TurnEventSchema,
  TurnProviderSwitchedSchema,
  TurnSchema,
  TurnUsageSchema,
  UsageSchema,
} from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";
import { describe, expect, it } from "vitest";
import { answeredBy, because, called, cost, fellBack, originOf, outcomeOf, outcomeOfTurn, refusalWords, stepWords, switched } from "../src/chat/outcome.js";
import { money } from "../src/text/facts.js";

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
  it("is empty if no model was called", () => {
    expect(cost(undefined)).toBe("");
    expect(cost(usage({ embeddingTokens: 12n }))).toBe("");
  });

  it("says that a price is not known, and nothing of a model that costs nothing", () => {
    expect(cost(usage({ inputTokens: 10n }))).toBe("");
    expect(cost(usage({ costUsdMicros: 2100n, inputTokens: 10n }))).toBe("0.0021 USD");
    expect(cost(usage({ costUsdMicros: 2100n, unpricedTokens: 1532n }))).toBe("0.0021 USD, and 1,532 tokens of unknown price");
    expect(cost(usage({ unpricedTokens: 1n, inputTokens: 1n }))).toBe("price unknown");
  });
});

describe("answeredBy", () => {
  it.each([
    ["Tutor", "gemini:flash", { costUsdMicros: 2100n }, "Answered by Tutor with flash; 0.0021 USD."],
    ["Chat", "template", {}, "Answered by Chat with a template."],
    ["Default", "", {}, "Answered by Default."],
    ["", "openai:x", {}, "Answered with x."],
    ["", "", {}, ""],
  ])("%s %s", (agent, model, spent, text) => expect(answeredBy(agent, model, usage(spent))).toBe(text));
});

describe("fallbacks", () => {
  it.each([
    [fallback(FallbackKind.WITHOUT_RETRIEVAL, "retrieve", "write", "part_unavailable:postgresql"), /^The documents could not be searched, .* does not use them\.$/],
    [fallback(FallbackKind.TEXT_ONLY, "retrieve", "text_only", "part_unavailable:vectors"), /^The documents were searched by words only, not by meaning\.$/],
    [fallback(FallbackKind.TEXT_ONLY), /by words only, not by meaning\.$/],
    [fallback(FallbackKind.PROVIDER, "openai:a", "gemini:b", "rate_limited"), /^a was not available; b was used instead \(it has reached its rate limit\)\.$/],
    [fallback(FallbackKind.PROVIDER), /^The first model was not available; another model was used/],
    [fallback(FallbackKind.TEMPLATE), /template\.$/],
    [fallback(FallbackKind.CLASSIFIER), /^A trained classifier/],
    [fallback(FallbackKind.RULE), /^A rule decided/],
    [fallback(FallbackKind.WITHOUT_SUMMARY), /older messages of this conversation/],
    [fallback(FallbackKind.PASSAGES, "model", "passages", "no_model"), /^No language model was available \(the agent has no model\)\.$/],
    [fallback(FallbackKind.UNCITED), /^No sentence of this answer names a source\.$/],
    [fallback(FallbackKind.WITHOUT_TOOL, "counter", "passages", "no_model"), /^The tool counter was not used, because only a language model can choose it/],
    [fallback(FallbackKind.OTHER_LANGUAGE, "de", "en,fr", "no_model"), /^Your question is in German, these documents are in English, French: only words/],
    [fallback(FallbackKind.WITHOUT_RERANKER), /order of the search\.$/],
    [fallback(FallbackKind.SEARCHED_AGAIN, "milestone", "retrieve", "part_unavailable:passages"), /^A passage .* searched again\.$/],
    [fallback(99 as FallbackKind, "", "", "news_of:later"), /^The agent used another fallback\.$/],
  ])("are described in a sentence (%#)", (one, words) => expect(fellBack(one)).toMatch(words));

  it("has a sentence for every kind that can be sent", () => {
    const sent = Object.values(FallbackKind).filter((one): one is FallbackKind => typeof one === "number" && one !== FallbackKind.UNSPECIFIED);
    const said = sent.map((kind) => fellBack(fallback(kind)));
    expect(new Set(said).size).toBe(sent.length);
    for (const text of said) expect(text).not.toMatch(/another fallback/);
  });

  it("is empty without a cause, and for one that says nothing to people", () => expect([because(""), because("no_marks")]).toEqual(["", ""]));

  it("says in words which limit was too low", () => expect(because("budget:tokens")).toBe("too few tokens are left"));
});

describe("outcomeOf", () => {
  it("reports the agent, the model, the cost and each fallback of an answer once", () => {
    const text = fallback(FallbackKind.TEXT_ONLY);
    const value = { model: "openai:x", usage: usage({ costUsdMicros: 100n }), fallbacks: [text, text], outcome: AnswerOutcome.OUTPUT_LIMIT };
    const found = outcomeOf(ended({ case: "answer", value }), "Tutor")!;
    expect(found.who).toBe("Answered by Tutor with x; 0.0001 USD.");
    expect(found.fallbacks).toEqual([fellBack(text), expect.stringMatching(/^The answer was cut off/)]);
  });

  it("of an answer of passages says once why there are passages, and lists only other fallbacks", () => {
    const value = { model: "passages", excerpts: [{ title: "Tides" }], fallbacks: [fallback(FallbackKind.PASSAGES, "model", "passages", "no_model"), fallback(FallbackKind.TEXT_ONLY)] };
    const found = outcomeOf(ended({ case: "answer", value } as Event), "Tutor")!;
    expect(found.passages?.why).toBe("No language model is configured.");
    expect(found.passages?.answer.excerpts.map((one) => one.title)).toEqual(["Tides"]);
    expect([found.who, found.fallbacks]).toEqual(["", [fellBack(value.fallbacks[1]!)]]);
  });

  it("of an answer that names no source says so, and shows the closest passages", () => {
    const value = { model: "openai:x", moreExcerpts: [{ title: "Tides" }], fallbacks: [fallback(FallbackKind.UNCITED), fallback(FallbackKind.TEXT_ONLY)] };
    const found = outcomeOf(ended({ case: "answer", value } as Event), "Tutor")!;
    expect([found.closest?.named, found.closest?.excerpts[0]?.title]).toEqual([false, "Tides"]);
    expect(found.fallbacks).toEqual(["No sentence of this answer names a source.", fellBack(value.fallbacks[1]!)]);
  });

  it("names the writer once", () => {
    const value = { model: "template", fallbacks: [fallback(FallbackKind.TEMPLATE)] };
    expect(outcomeOf(ended({ case: "answer", value }), "Chat")).toMatchObject({ who: "", fallbacks: ["No model wrote this: it is a filled-in template."] });
  });

  it("reports the cost of a turn without an answer", () => {
    const value = { usage: usage({ costUsdMicros: 100n }), fallbacks: [fallback(FallbackKind.RULE)] };
    for (const kind of ["refused", "failed"] as const) {
      expect(outcomeOf(ended({ case: kind, value }), "Tutor")).toEqual({ who: "The question cost 0.0001 USD.", fallbacks: [fellBack(value.fallbacks[0]!)] });
    }
    expect(outcomeOf(ended({ case: "refused", value: {} }), "Tutor")).toEqual({ who: "", fallbacks: [] });
  });

  it("is undefined for events that do not end a turn", () => {
    for (const one of ["started", "status", "delta", "usage", "cancelled"] as const) expect(outcomeOf(ended({ case: one, value: {} }), "Tutor")).toBeUndefined();
  });

  it("reads a turn that ended earlier, with or without its terminal event", () => {
    const terminalEvent = ended({ case: "answer", value: { model: "template" } });
    expect(outcomeOfTurn(create(TurnSchema, { terminalEvent }), "Chat").who).toBe("Answered by Chat with a template.");
    const fallbacks = [fallback(FallbackKind.RULE)];
    expect(outcomeOfTurn(create(TurnSchema, { usage: usage({ costUsdMicros: 100n }), fallbacks }), "Chat")).toEqual({ who: "The question cost 0.0001 USD.", fallbacks: [fellBack(fallbacks[0]!)] });
  });
});

describe("words", () => {
  it("distinguishes refusals", () => {
    const reasons = [RefusalReason.NO_SUPPORT, RefusalReason.OUT_OF_SCOPE, RefusalReason.UNSAFE, RefusalReason.BUDGET, RefusalReason.QUOTA, RefusalReason.NEEDS_MODEL];
    expect(new Set(reasons.map((one) => refusalWords(one, "").heading)).size).toBe(reasons.length);
    expect(refusalWords(RefusalReason.UNSAFE, "Not this.\n\nOr that.").text).toBe("Not this.\n\nOr that.");
  });

  it("shows the heading with which a search without an answer begins", () => {
    const { heading, text, end } = refusalWords(RefusalReason.NO_SUPPORT, "Nothing close was found\n\nI searched all of it.");
    expect([heading, text, end]).toEqual(["Nothing close was found", "I searched all of it.", ""]);
    expect(refusalWords(99 as RefusalReason, "Ask the desk.")).toMatchObject({ heading: "", text: "Ask the desk." });
  });

  it("has a name for every step whose status has no message", () => {
    const steps = Object.values(Step).filter((one): one is Step => typeof one === "number" && one !== Step.UNSPECIFIED);
    expect(new Set(steps.map((one) => stepWords(one, ""))).size).toBe(steps.length);
    expect(stepWords(Step.ROUTING, "Classifying your query...")).toBe("Classifying your query...");
    expect(stepWords(99 as Step, "")).toBe("Working…");
  });

  it("describes model switches and usage", () => {
    const event = create(TurnProviderSwitchedSchema, { source: "openai:a", target: "gemini:b", cause: "timeout" });
    expect(switched(event)).toBe("a was not available (it did not answer in time); calling b");
    const spent = create(TurnUsageSchema, { model: "gemini:b", usage: usage({ inputTokens: 1200n, outputTokens: 30n, costUsdMicros: 2100n }) });
    expect(called(spent)).toBe("b read 1,200 tokens and wrote 30: 0.0021 USD");
  });
});

describe("the origin of an answer", () => {
  it("is not told for people's own documents", () => {
    expect(originOf(create(TurnAnswerSchema, { collection: "collections/mine", collectionKind: CollectionKind.OWN }))).toBeUndefined();
    expect(originOf(create(TurnAnswerSchema, {}))).toBeUndefined();
  });

  it("names samples and documentation", () => {
    const sample = create(TurnAnswerSchema, { collection: "collections/tutor", collectionKind: CollectionKind.SAMPLE });
    expect(originOf(sample)).toEqual({ text: "This answer comes from sample documents, not from your own", collection: "collections/tutor" });
    const docs = create(TurnAnswerSchema, { collection: "collections/docs", collectionKind: CollectionKind.DOCS });
    expect(originOf(docs)).toEqual({ text: "This answer comes from Responsa’s documentation, not from your own documents", collection: "" });
  });

  it("of a refusal is replaced by the closest passages", () => {
    const closest = ended({ case: "refused", value: { reason: RefusalReason.NO_SUPPORT, excerpts: [{ title: "Search" }] } } as Event);
    expect(outcomeOf(closest, "")?.closest).toMatchObject({ named: true, excerpts: [{ title: "Search" }] });
  });
});
