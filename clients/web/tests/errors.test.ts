import { Code, ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema } from "@responsa/contract/google/rpc/error_details_pb.js";
import { describe, expect, it } from "vitest";
import { CUT, failureOf, failureOfJson, signedOut } from "../src/errors.js";
import { refusedFields, responsaError } from "./failures.js";

describe("failureOf", () => {
  it("reads the reason, the message, the metadata and the time until a retry", () => {
    const error = responsaError(Code.ResourceExhausted, "OVERLOADED", "Too much.", 1250, { limit: "64" });
    expect(failureOf(error)).toEqual({ reason: "OVERLOADED", message: "Too much.", metadata: { limit: "64" }, retryAfter: 1250, violations: [] });
  });

  it("reads the mistake in each field", () => {
    const failure = failureOf(refusedFields("PARAMETERS_INVALID", "No.", { "options.parameters.level": "Choose one of these.", text: "Too long." }));
    expect(failure.violations).toEqual([
      { field: "options.parameters.level", description: "Choose one of these." },
      { field: "text", description: "Too long." },
    ]);
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
  it("is true only for errors of the credential", () => {
    for (const reason of ["CREDENTIAL_MISSING", "CREDENTIAL_EXPIRED", "CREDENTIAL_UNKNOWN"]) expect(signedOut({ ...CUT, reason })).toBe(true);
    for (const reason of ["", "ROLE_REQUIRED", "SESSION_CODE_INVALID"]) expect(signedOut({ ...CUT, reason })).toBe(false);
  });
});
