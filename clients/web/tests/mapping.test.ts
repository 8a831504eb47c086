import { describe, expect, it } from "vitest";
import { DeliveryState } from "@responsa/contract/responsa/admin/v1/delivery_pb.js";
import { SyncStage } from "@responsa/contract/responsa/admin/v1/source_pb.js";
import { stateOf } from "../src/administration/deliveries.js";
import { mistakesOf, placesOf, progressText, resultText } from "../src/administration/mapping.js";
import { CUT } from "../src/server/errors.js";

describe("mistakesOf", () => {
  it("finds the lines of mistakes in a mapping", () => {
    const violations = [
      { field: "source.mapping", rule: "", description: "line 12: documents.a.text: there is no column “x”." },
      { field: "mapping", rule: "", description: "“connection” is missing." },
      { field: "source_id", rule: "", description: "must be an id" },
    ];
    expect(mistakesOf({ ...CUT, reason: "INVALID_FIELD", violations })).toEqual([
      { line: 12, text: "documents.a.text: there is no column “x”." },
      { line: undefined, text: "“connection” is missing." },
    ]);
  });

  it("finds the line of a connection that does not exist, and leaves other errors alone", () => {
    const missing = { ...CUT, reason: "RESOURCE_NOT_FOUND", message: "line 1: connection: there is no connection “vault”." };
    expect(mistakesOf(missing)).toEqual([{ line: 1, text: "connection: there is no connection “vault”." }]);
    expect(mistakesOf({ ...missing, message: "Source not found or access denied" })).toEqual([]);
  });
});

describe("placesOf", () => {
  it("returns the ends of a line", () => {
    const text = "one\n\nthree";
    expect([1, 2, 3].map((line) => text.slice(...placesOf(text, line)))).toEqual(["one", "", "three"]);
    expect(placesOf(text, 9)).toEqual([5, 10]);
  });
});

describe("runs in words", () => {
  it("say what is done", () => {
    expect(progressText({ stage: SyncStage.READING, documentsDone: 0, documentsTotal: 0 })).toBe("The source is being read.");
    expect(progressText({ stage: SyncStage.INDEXING, documentsDone: 3, documentsTotal: 1200 })).toBe("3 of 1,200 documents done.");
    expect(resultText({ created: 0, updated: 0, deleted: 0, unchanged: 1, failed: 1, skipped: 2 }, true)).toBe("1 file failed, 2 files skipped, which Responsa can’t read, 1 unchanged.");
    expect(resultText({ created: 1, updated: 0, deleted: 2, unchanged: 0, failed: 3 }, false)).toBe("1 document created, 2 documents deleted, 3 rows failed, 0 unchanged.");
  });
});

describe("stateOf", () => {
  it("says what becomes of a notification", () => {
    expect(stateOf({ state: DeliveryState.WAITING, attempts: 0 })).toBe("waiting");
    expect(stateOf({ state: DeliveryState.WAITING, attempts: 1 })).toBe("1 attempt failed; the server will try again");
    expect(stateOf({ state: DeliveryState.FAILED, attempts: 8 })).toBe("failed after 8 attempts");
    expect(stateOf({ state: DeliveryState.DELIVERED, attempts: 2 })).toBe("delivered");
  });
});
