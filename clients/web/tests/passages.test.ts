import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ExcerptGrade, ExcerptSchema } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import { FallbackKind, TurnAnswerSchema } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";
import { describe, expect, it } from "vitest";
import { about, pathOf, whyPassages } from "../src/chat/excerpts.js";

const excerpt = (given: MessageInitShape<typeof ExcerptSchema>) => create(ExcerptSchema, given);
const why = (...causes: readonly string[]) => whyPassages(create(TurnAnswerSchema, { excerpts: [{}], fallbacks: causes.map((cause) => ({ kind: FallbackKind.PASSAGES, cause })) }));

describe("the line above the passages", () => {
  it.each([
    [[], /^These passages/],
    [["no_model"], /^No language model is configured\. These/],
    [["model_unavailable:timeout"], /^The language model is not available at the moment\. These/],
    [["uncited"], /^The language model wrote nothing that the documents support\. These/],
    [["budget:tokens"], /^An answer by the language model would exceed a limit\. These/],
    [["model_unavailable:timeout", "no_model"], /^No language model is configured/],
  ])("%s", (causes, line) => expect(why(...causes)).toMatch(line));

  it("says that the answer may be missing unless a passage probably answers", () => {
    const said = (...grades: readonly ExcerptGrade[]) => whyPassages(create(TurnAnswerSchema, { excerpts: grades.map((grade) => ({ grade })) }));
    expect(said(ExcerptGrade.PERHAPS)).toMatch(/ The answer may not be among them\.$/);
    expect(said(ExcerptGrade.PERHAPS, ExcerptGrade.ANSWERS)).toMatch(/ fit best\.$/);
  });

  it("is not there without passages", () => expect(whyPassages(create(TurnAnswerSchema, { fallbacks: [{ kind: FallbackKind.PASSAGES }] }))).toBeUndefined());
});

describe("a card", () => {
  it("is headed by the title and the headings, each once", () => {
    expect(pathOf(excerpt({ title: "Trips", headings: ["Trips", "Expenses", "Expenses"] }))).toEqual(["Trips", "Expenses"]);
    expect(pathOf(excerpt({ uri: "trips.md" }))).toEqual(["trips.md"]);
  });

  it("names what is not people’s own, and what may not answer", () => {
    const { ANSWERS, PERHAPS, CLOSEST } = ExcerptGrade;
    expect(about(excerpt({ collectionKind: CollectionKind.OWN, grade: ANSWERS }), ANSWERS)).toEqual([]);
    expect(about(excerpt({ collectionKind: CollectionKind.DOCS, grade: PERHAPS }), ANSWERS)).toEqual(["documentation of Responsa", "perhaps"]);
    expect(about(excerpt({ collectionKind: CollectionKind.SAMPLE, grade: CLOSEST }), PERHAPS)).toEqual(["sample documents", "less likely"]);
    expect(about(excerpt({ collectionKind: CollectionKind.SAMPLE, grade: CLOSEST }), CLOSEST)).toEqual(["sample documents"]);
  });
});
