/** Errors as the server sends them. */

import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "@responsa/contract/google/rpc/error_details_pb.js";

export function responsaError(code: Code, reason: string, message: string, retryMilliseconds?: number, metadata: Record<string, string> = {}): ConnectError {
  const info = { desc: ErrorInfoSchema, value: { reason, domain: "responsa", metadata } };
  if (retryMilliseconds === undefined) return new ConnectError(message, code, undefined, [info]);
  const seconds = Math.floor(retryMilliseconds / 1000);
  const retryDelay = { seconds: BigInt(seconds), nanos: (retryMilliseconds - seconds * 1000) * 1_000_000 };
  return new ConnectError(message, code, undefined, [info, { desc: RetryInfoSchema, value: { retryDelay } }]);
}

/** A refusal that lists the mistakes in the request's fields. */
export function refusedFields(reason: string, message: string, fields: Record<string, string>): ConnectError {
  const fieldViolations = Object.entries(fields).map(([field, description]) => ({ field, description }));
  return new ConnectError(message, Code.InvalidArgument, undefined, [
    { desc: ErrorInfoSchema, value: { reason, domain: "responsa" } },
    { desc: BadRequestSchema, value: { fieldViolations } },
  ]);
}
