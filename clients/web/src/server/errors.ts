/** Reads errors: a reason for the program, and a message for the user. */

import { errorOf, errorOfJson, errorOfStatus, RefusedByProxy, type ResponsaError } from "@responsa/client/parts.js";
import type { Status } from "@responsa/contract/google/rpc/status_pb.js";
import { cleanText } from "../text/names.js";
import { reasoned, t } from "../language/language.js";
import { momentOf } from "../text/facts.js";

/** What the page needs of an error. The reason is "" if the error does not come from Responsa, which means that the connection was lost. */
export type Failure = Pick<ResponsaError, "reason" | "message" | "metadata" | "retryAfter" | "violations">;

export const CUT: Failure = { reason: "", get message() { return t("connectionLost"); }, metadata: {}, retryAfter: undefined, violations: [] };

export function failureOf(error: unknown): Failure {
  return plain(errorOf(error));
}

/** Reads an error from a JSON body: `{code, message, details: [{"@type": …ErrorInfo, …}]}`. `status`: that of HTTP. */
export function failureOfJson(text: string, status = 0): Failure {
  return plain(errorOfJson(text, status));
}

/** Says the time at which a quota resets as the user's clock shows it; the server can only say it in UTC. */
function plain(error: ResponsaError): Failure {
  const { reason, message: said, metadata, retryAfter, violations } = error;
  if (error instanceof RefusedByProxy) return { ...CUT, reason: "REFUSED_BY_PROXY", message: t(error.status === 413 ? "tooLargeForProxy" : "refusedByProxy", { status: String(error.status) }) };
  if (!reason) return CUT;
  const failure = { reason, metadata, retryAfter, violations };
  const message = reasoned(reason, cleanText(said));
  const reset = new Date(metadata["reset_time"] ?? "");
  if (reason !== "QUOTA_EXHAUSTED" || Number.isNaN(reset.getTime())) return { ...failure, message: message.replace(/ [^.]*\{time\}\./, "") };
  return { ...failure, message: message.replace(/\{time\}|\d{4}-\d{2}-\d{2} \d{2}:\d{2} UTC/, momentOf(reset)) };
}

/** The reasons whose messages name the time after which to try again. */
const TIMED = new Set(["RATE_LIMIT", "QUOTA_EXHAUSTED"]);

/** Reads the error of an operation or a document. */
export function failureOfStatus(status: Status): Failure {
  const { reason, message, metadata } = errorOfStatus(status);
  return { ...CUT, reason: reason || "UNKNOWN", message: reasoned(reason, message), metadata };
}

/** Whether the user has called too often, or too much at once. */
export function isLimit({ reason }: Failure): boolean {
  return reason === "RATE_LIMIT" || reason === "LIMIT_REACHED";
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
  const seconds = Math.ceil(retryAfter / 1000);
  const minutes = Math.ceil(seconds / 60);
  const wait = seconds < 90 ? t("waitSeconds", { count: seconds }) : minutes < 120 ? t("waitMinutes", { count: minutes }) : t("waitHours", { count: Math.ceil(minutes / 60) });
  return `${message} ${wait}`;
}
