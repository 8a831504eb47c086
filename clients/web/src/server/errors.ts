/** Reads errors: a reason for the program, and a message for the user. */

import { anyUnpack } from "@bufbuild/protobuf/wkt";
import { ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "@responsa/contract/google/rpc/error_details_pb.js";
import type { Status } from "@responsa/contract/google/rpc/status_pb.js";
import { cleanText } from "../text/names.js";
import { momentOf } from "../text/facts.js";

export interface Violation {
  /** The path of the request's field, e.g. `options.parameters.level`. */
  readonly field: string;
  /** The mistake and its remedy. */
  readonly description: string;
}

export interface Failure {
  /** A reason of `responsa.errors.v1`. It is "" if the error does not come from Responsa, which means that the connection was lost. */
  readonly reason: string;
  readonly message: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** Milliseconds after which to try again, if the server names a time. */
  readonly retryAfter: number | undefined;
  /** The mistakes in the request's fields; empty for an error of another kind. */
  readonly violations: readonly Violation[];
}

export const CUT: Failure = { reason: "", message: "The connection was lost.", metadata: {}, retryAfter: undefined, violations: [] };

export function failureOf(error: unknown): Failure {
  const connect = ConnectError.from(error);
  const info = connect.findDetails(ErrorInfoSchema).find((one) => one.domain === "responsa");
  if (!info) return CUT;
  const retry = connect.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return plain({
    reason: info.reason,
    message: connect.rawMessage,
    metadata: info.metadata,
    retryAfter: retry ? Number(retry.seconds) * 1000 + retry.nanos / 1e6 : undefined,
    violations: connect.findDetails(BadRequestSchema).flatMap((one) => one.fieldViolations.map(({ field, description }) => ({ field, description }))),
  });
}

/** Reads an error from a JSON body: `{code, message, details: [{"@type": …ErrorInfo, …}]}`. */
export function failureOfJson(text: string): Failure {
  let body: unknown;
  try {
    body = JSON.parse(text);
  } catch {
    return CUT;
  }
  if (!isRecord(body)) return CUT;
  const details: unknown[] = Array.isArray(body["details"]) ? body["details"] : [];
  const info = details.filter(isRecord).find((one) => one["domain"] === "responsa");
  if (!info || typeof info["reason"] !== "string" || typeof body["message"] !== "string") return CUT;
  const metadata = isRecord(info["metadata"]) ? info["metadata"] : {};
  const fields = details.filter(isRecord).flatMap((one) => (Array.isArray(one["fieldViolations"]) ? (one["fieldViolations"] as unknown[]) : []));
  const seconds = details.filter(isRecord).map((one) => /^(\d+(?:\.\d+)?)s$/.exec(String(one["retryDelay"]))?.[1]).find((one) => one !== undefined);
  return plain({
    reason: info["reason"],
    message: body["message"],
    metadata: Object.fromEntries(Object.entries(metadata).map(([key, value]) => [key, String(value)])),
    retryAfter: seconds === undefined ? undefined : Number(seconds) * 1000,
    violations: fields.filter(isRecord).map(({ field, description }) => ({ field: String(field ?? ""), description: String(description ?? "") })),
  });
}

/** Says the time at which a quota resets as the user's clock shows it; the server can only say it in UTC. */
function plain(failure: Failure): Failure {
  const { reason, metadata } = failure;
  const message = cleanText(failure.message);
  const reset = new Date(metadata["reset_time"] ?? "");
  if (reason !== "QUOTA_EXHAUSTED" || Number.isNaN(reset.getTime())) return { ...failure, message };
  return { ...failure, message: message.replace(/\d{4}-\d{2}-\d{2} \d{2}:\d{2} UTC/, momentOf(reset)) };
}

/** The reasons whose messages name the time after which to try again. */
const TIMED = new Set(["RATE_LIMIT", "QUOTA_EXHAUSTED"]);

/** Reads the error of an operation or a document. */
export function failureOfStatus({ message, details }: Status): Failure {
  const info = details.map((one) => anyUnpack(one, ErrorInfoSchema)).find((one) => one?.domain === "responsa");
  return info ? { reason: info.reason, message, metadata: info.metadata, retryAfter: undefined, violations: [] } : { ...CUT, reason: "UNKNOWN", message };
}

/** Whether the user is kept out, whatever the session: the user was disabled, or the user's tenant was suspended. The message says so. */
export function keptOut({ reason }: Failure): boolean {
  return reason === "USER_DISABLED" || reason === "TENANT_SUSPENDED";
}

/** Whether the browser's session is another user's than the one for whom the page is drawn. The call had no effect. */
export function ofOtherUser({ reason }: Failure): boolean {
  return reason === "CREDENTIAL_OF_OTHER_USER";
}

/** Whether the session has ended (or never began) or is another user's, or its user is kept out. */
export function signedOut(failure: Failure): boolean {
  return failure.reason.startsWith("CREDENTIAL_") || failure.reason === "SESSION_ENDED" || keptOut(failure);
}

/** A failure's message, with the time after which another try can succeed if that is longer than a moment. */
export function withWait({ reason, message, retryAfter = 0 }: Failure): string {
  if (retryAfter < 5_000 || TIMED.has(reason)) return message;
  return `${message} Try again in ${spoken(Math.ceil(retryAfter / 1000))}.`;
}

function spoken(seconds: number): string {
  if (seconds < 90) return `${seconds} seconds`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 120 ? `${minutes} minutes` : `${Math.ceil(minutes / 60)} hours`;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
