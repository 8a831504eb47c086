import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "@responsa/contract/google/rpc/error_details_pb.js";
import { describe, expect, it } from "vitest";
import { CUT, failureOf, failureOfJson, signedOut, withWait } from "../src/server/errors.js";
import { momentOf } from "../src/text/facts.js";
import { refusedFields, responsaError } from "../../typescript/tests/failures.js";

describe("failureOf", () => {
  it("reads the reason, the message, the metadata and the time until a retry", () => {
    const error = responsaError(Code.ResourceExhausted, "OVERLOADED", "Too much.", 1250, { limit: "64" });
    expect(failureOf(error)).toEqual({ reason: "OVERLOADED", message: "Too much.", metadata: { limit: "64" }, retryAfter: 1250, violations: [] });
  });

  it("reads the mistake in each field", () => {
    const failure = failureOf(refusedFields("PARAMETERS_INVALID", "No.", { "options.parameters.level": "Choose one of these.", text: "Too long." }));
    expect(failure.violations).toEqual([
      { field: "options.parameters.level", rule: "", description: "Choose one of these." },
      { field: "text", rule: "", description: "Too long." },
    ]);
  });

  it("says when a quota resets by the user's clock, and the time to wait only once", () => {
    const text = "Your quota of 10 tokens a day is used up: you have used 10 tokens. Ask again from 2026-11-23 00:00 UTC on, or ask an administrator for a larger quota.";
    const failure = failureOf(responsaError(Code.ResourceExhausted, "QUOTA_EXHAUSTED", text, 14_400_000, { reset_time: "2026-11-23T00:00:00Z" }));
    expect(failure.message).toBe(text.replace("2026-11-23 00:00 UTC", momentOf(new Date("2026-11-23T00:00:00Z"))));
    expect(withWait(failure)).toBe(failure.message);
    const fast = "You have used up the limit of 10 messages a minute; try again in 42 seconds.";
    expect(withWait(failureOf(responsaError(Code.ResourceExhausted, "RATE_LIMIT", fast, 42_000)))).toBe(fast);
    expect(withWait({ ...CUT, message: "Busy.", retryAfter: 7_200_000 })).toBe("Busy. Try again in 2 hours.");
  });

  it("shows no text of an error that does not come from Responsa", () => {
    const foreign = new ConnectError("upstream connect error", Code.Unavailable, undefined, [
      { desc: ErrorInfoSchema, value: { reason: "X", domain: "elsewhere" } },
    ]);
    for (const error of [foreign, new TypeError("Failed to fetch"), "text", undefined]) expect(failureOf(error)).toBe(CUT);
  });
});

describe("failureOfJson", () => {
  const info = { "@type": "type.googleapis.com/google.rpc.ErrorInfo", reason: "DOCUMENT_EMPTY", domain: "responsa", metadata: { source_key: "a.md" } };

  it("reads the same error from an HTTP response", () => {
    const body = JSON.stringify({ code: 3, message: "Nothing in it.", details: [{ "@type": "x" }, info] });
    expect(failureOfJson(body)).toEqual({ reason: "DOCUMENT_EMPTY", message: "Nothing in it.", metadata: { source_key: "a.md" }, retryAfter: undefined, violations: [] });
  });

  it("treats everything else as a lost connection", () => {
    for (const body of ["", "<html>", "null", "[]", '"x"', "{}", '{"message":"x","details":"y"}', '{"message":5,"details":[{"domain":"responsa","reason":"X"}]}']) {
      expect(failureOfJson(body), body).toBe(CUT);
    }
  });
});

describe("signedOut", () => {
  it("is true only for errors of the credential, and for users who are kept out", () => {
    for (const reason of ["CREDENTIAL_MISSING", "CREDENTIAL_EXPIRED", "CREDENTIAL_UNKNOWN", "CREDENTIAL_OF_OTHER_USER", "USER_DISABLED", "TENANT_SUSPENDED"]) expect(signedOut({ ...CUT, reason })).toBe(true);
    for (const reason of ["", "ROLE_REQUIRED", "SESSION_CODE_INVALID"]) expect(signedOut({ ...CUT, reason })).toBe(false);
  });
});
