/** The typed error of calls, turns and operations, read from the google.rpc.Status that the server sends. */

import { createRegistry, fromJson, type JsonObject } from "@bufbuild/protobuf";
import { Code, ConnectError } from "@connectrpc/connect";
import { BadRequestSchema, ErrorInfoSchema, RetryInfoSchema } from "@responsa/contract/google/rpc/error_details_pb.js";
import { StatusSchema, type Status } from "@responsa/contract/google/rpc/status_pb.js";
import type { TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { CancelCause } from "@responsa/contract/responsa/chat/v1/turn_pb.js";

export interface Violation {
  /** The path of the request's field, e.g. `options.parameters.level`. */
  readonly field: string;
  /** The id of the rule that the field breaks. */
  readonly rule: string;
  /** The mistake and its remedy. */
  readonly description: string;
}

const REMEDIES: Partial<Record<Code, string>> = {
  [Code.InvalidArgument]: "Correct the request; repeating it does not help.",
  [Code.OutOfRange]: "Correct the request; repeating it does not help.",
  [Code.Unauthenticated]: "Use a valid API key, or sign in with the right e-mail address and password.",
  [Code.PermissionDenied]: "Call with the credential of a user who has this right.",
  [Code.NotFound]: "Check the name. What belongs to another user is not found either.",
  [Code.AlreadyExists]: "Choose another name or request_id.",
  [Code.Aborted]: "Read the resource again or wait until it is free, then repeat the call.",
  [Code.FailedPrecondition]: "Change what the message names, then repeat the call.",
  [Code.ResourceExhausted]: "Send less or make room, then repeat the call.",
  [Code.Unavailable]: "Repeat the call.",
  [Code.DeadlineExceeded]: "Allow more time. An accepted turn continues: resume it, or ask again with the error's request_id.",
  [Code.Canceled]: "Repeat what was cancelled if you still want its result.",
};

/** Every error of this client. */
export class ResponsaError extends Error {
  override readonly name: string = "ResponsaError";
  /** A reason of `responsa.errors.v1`, without its prefix. It is "" if the error comes from this client, a proxy or the network. */
  readonly reason: string;
  /** The metadata that the contract documents for the reason. */
  readonly metadata: Readonly<Record<string, string>>;
  /** The mistakes in the request's fields. */
  readonly violations: readonly Violation[];
  /** Milliseconds after which to try again, if the server names a time. */
  readonly retryAfter: number | undefined;
  /** The id under which the server's log has the call; "" if it is unknown. */
  readonly callId: string;
  /** For an error that ends a stream: the turn, `turns/{uuid}`, or "" if it is unknown, and the seq of the last event that was handed out. `resume` continues there. */
  turn = "";
  afterSeq = 0n;
  /** The request_id of the call, which the client fills in; "" if it has none. The same question with this request_id attaches to the same turn. */
  requestId = "";

  constructor(
    message: string,
    readonly code: Code,
    cause?: unknown,
  ) {
    super(message, { cause });
    const from = cause instanceof ConnectError ? cause : undefined;
    const info = from?.findDetails(ErrorInfoSchema).find(({ domain }) => domain === "responsa");
    const retry = from?.findDetails(RetryInfoSchema)[0]?.retryDelay;
    this.reason = info?.reason ?? "";
    this.metadata = info?.metadata ?? {};
    this.retryAfter = retry && Number(retry.seconds) * 1000 + retry.nanos / 1e6;
    this.violations = (from?.findDetails(BadRequestSchema) ?? []).flatMap(({ fieldViolations }) =>
      fieldViolations.map(({ field, reason, description }) => ({ field, rule: reason, description })),
    );
    this.callId = this.metadata["call_id"] ?? from?.metadata.get("x-request-id") ?? "";
  }

  /** What to do, in a sentence. */
  get remedy(): string {
    if (this.violations.length > 0) return this.violations.map(({ field, description }) => `${field}: ${description}`).join("; ");
    if (this.retryAfter !== undefined) return `Try again in ${Math.ceil(this.retryAfter / 1000)} s.`;
    return REMEDIES[this.code] ?? `Report the error${this.callId && `, with the call id ${this.callId}`}.`;
  }
}

/** Whether OpenSSL's complaint is that a server answered a TLS handshake in plain text. */
const plainText = (url: string, message: string) => url.startsWith("https:") && /wrong version number|packet length too long/i.test(message);

/** No server has answered at the address yet, so that waiting does not help. */
export class CannotConnect extends ResponsaError {
  override readonly name = "CannotConnect";

  constructor(url: string, { message, cause }: ResponsaError) {
    super(plainText(url, message) ? `The server at ${url} does not use TLS; write ${url.replace("https:", "http:")}.` : `No Responsa server answers at ${url} (${message.trim()}).`, Code.Unavailable, cause);
  }

  override get remedy(): string {
    return "Check the address, and that a Responsa server runs there.";
  }
}

/** A proxy before the server has refused the request, which another try does not change. */
export class RefusedByProxy extends ResponsaError {
  override readonly name = "RefusedByProxy";

  /** `status`: that of HTTP, from 400 to 499. */
  constructor(readonly status: number) {
    super(`A proxy before the server refused the request with the status ${status}${status === 413 ? ", because it is too large" : ""}.`, status === 413 ? Code.OutOfRange : Code.FailedPrecondition);
  }

  override get remedy(): string {
    return this.status === 413 ? "Send less, or ask whoever runs the proxy to raise its limit." : "Ask whoever runs the proxy.";
  }
}

/** The data that the server sent is inconsistent; another request does not help. */
export class BrokenAnswer extends ResponsaError {
  override readonly name = "BrokenAnswer";

  constructor(message: string) {
    super(message, Code.DataLoss);
  }
}

/** The typed error of what a call has thrown. */
export function errorOf(error: unknown): ResponsaError {
  if (error instanceof ResponsaError) return error;
  const found = ConnectError.from(error);
  // An error that an interceptor of this client raised.
  if (found.cause instanceof ResponsaError) return found.cause;
  return new ResponsaError(found.rawMessage || Code[found.code], found.code, found);
}

/** The error in the `failed` event of a turn, in an operation or in a document. */
export function errorOfStatus({ code, message, details }: Status): ResponsaError {
  const known = Code[code] === undefined ? Code.Unknown : (code as Code);
  const found = new ConnectError(message, known);
  found.details = details.map(({ typeUrl, value }) => ({ type: typeUrl.slice(typeUrl.lastIndexOf("/") + 1), value }));
  return errorOf(found);
}

const details = createRegistry(ErrorInfoSchema, RetryInfoSchema, BadRequestSchema);

/** The statuses with which a proxy says that another try can succeed. */
const PASSING: readonly number[] = [408, 425, 429];

/** The error in a JSON body, `{code, message, details: [{"@type": …ErrorInfo, …}]}`. A body of another form is a proxy's, or means that the connection was lost. `status`: that of HTTP; 0 if it is unknown. */
export function errorOfJson(text: string, status = 0): ResponsaError {
  try {
    const body = JSON.parse(text) as { details: JsonObject[] };
    const known = body.details.filter((one) => details.getMessage(String(one["@type"]).replace(/.*\//, "")));
    return errorOfStatus(fromJson(StatusSchema, { ...body, details: known }, { registry: details, ignoreUnknownFields: true }));
  } catch {
    return status >= 400 && status < 500 && !PASSING.includes(status) ? new RefusedByProxy(status) : cut("the response was incomplete");
  }
}

/** The error for a connection that was lost. */
export function cut(why: string): ResponsaError {
  return new ResponsaError(`The connection was lost (${why}).`, Code.Unavailable);
}

const CANCELLED: Partial<Record<CancelCause, string>> = {
  [CancelCause.OWNER]: " by its owner",
  [CancelCause.ADMINISTRATOR]: " by an administrator",
  [CancelCause.INTERRUPT]: ": a newer question replaced it",
  [CancelCause.DISCONNECT]: ": nobody followed it",
};

/** The error of a turn that failed or was cancelled, from its terminal event; undefined for an answer or a refusal. */
export function turnError(terminal: TurnEvent | undefined): ResponsaError | undefined {
  const event = terminal?.event;
  if (event?.case === "failed" && event.value.status) return errorOfStatus(event.value.status);
  if (event?.case === "cancelled") return new ResponsaError(`The turn was cancelled${CANCELLED[event.value.by] ?? ""}.`, Code.Canceled);
  return undefined;
}
