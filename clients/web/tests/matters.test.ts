import { create } from "@bufbuild/protobuf";
import { QuestionPatternSchema } from "@responsa/contract/responsa/admin/v1/insight_pb.js";
import { expect, it } from "vitest";
import { countsOf } from "../src/operators/matters.js";

it("the numbers of a group of questions add up, whichever of them a list is about", () => {
  const pattern = create(QuestionPatternSchema, { questions: 6n, answeredTurns: 2n, refusedTurns: 7n, noSupportTurns: 6n, cancelledTurns: 1n, downRatings: 1n });
  expect(countsOf(pattern)).toEqual(["10 questions", "2 answered or shown passages", "6 without an answer", "1 not helpful"]);
  expect(countsOf(create(QuestionPatternSchema, { questions: 1n, failedTurns: 1n }))).toEqual(["1 question", "1 failed"]);
});
