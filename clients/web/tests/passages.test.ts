import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { ExcerptSchema } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import { FallbackKind, TurnAnswerSchema } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";
import { describe, expect, it } from "vitest";
import { kindOf, pathOf, whyPassages, wordsIn } from "../src/chat/excerpts.js";

const excerpt = (given: MessageInitShape<typeof ExcerptSchema>) => create(ExcerptSchema, given);
const why = (...causes: readonly string[]) => whyPassages(create(TurnAnswerSchema, { excerpts: [{}], fallbacks: causes.map((cause) => ({ kind: FallbackKind.PASSAGES, cause })) }));

describe("the line above the passages", () => {
  it.each([
    [[], ""],
    [["no_model"], "No language model is configured."],
    [["model_unavailable:timeout"], "The language model is not available at the moment."],
    [["uncited"], "The language model wrote nothing that the documents support."],
    [["budget:tokens"], "An answer by the language model would exceed a limit."],
    [["model_unavailable:timeout", "no_model"], "No language model is configured."],
  ])("%s", (causes, line) => expect(why(...causes)).toBe(line));

  it("is not there without passages", () => expect(whyPassages(create(TurnAnswerSchema, { fallbacks: [{ kind: FallbackKind.PASSAGES }] }))).toBeUndefined());
});

describe("a card", () => {
  it("is headed by the title and the headings, each once", () => {
    expect(pathOf(excerpt({ title: "Trips", headings: ["Trips", "Expenses", "Expenses"] }))).toEqual(["Trips", "Expenses"]);
    expect(pathOf(excerpt({ uri: "trips.md" }))).toEqual(["trips.md"]);
  });

  it("names what is not people’s own", () => {
    expect(kindOf(excerpt({ collectionKind: CollectionKind.OWN }))).toBe("");
    expect(kindOf(excerpt({ collectionKind: CollectionKind.DOCS }))).toBe(""); // the name of the collection says it
    expect(kindOf(excerpt({ collectionKind: CollectionKind.SAMPLE }))).toBe("sample documents");
  });

  it("sets off the words of the question", () => {
    const said = (question: string, text: string) => wordsIn(question, text).map(({ from, to }) => text.slice(from, to));
    const rows = "| Isle 7 | every 9 hours |\n| Isle 27 | every 29 hours |";
    expect(said("How often does the ferry go to Isle 27?", rows)).toEqual(["Isle", "Isle", "27"]);
    expect(said("Wer darf Überstunden (C++) machen?", "Überstunde, überall. C++")).toEqual(["Überstunde"]);
    expect(said("What does it cost with a card of 2024?", "What it does with the card: costs of 2024")).toEqual(["2024"]);
    expect(said("card cost", "The card costs nothing.")).toEqual(["card", "costs"]);
    expect(said("??", "??")).toEqual([]);
  });
});
