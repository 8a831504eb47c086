/** What went wrong, for people and for programs. */

import { ConnectError } from "@connectrpc/connect";
import { ErrorInfoSchema, RetryInfoSchema } from "@responsa/contract/google/rpc/error_details_pb.js";

export interface Failure {
  /** The reason of `responsa.errors.v1`, or "" for an error that is not Responsa's own: the connection was cut. */
  readonly reason: string;
  readonly message: string;
  /** Milliseconds after which to try again, where the server says so. */
  readonly retryAfter: number | undefined;
}

export function failureOf(error: unknown): Failure {
  const connect = ConnectError.from(error);
  const info = connect.findDetails(ErrorInfoSchema).find((one) => one.domain === "responsa");
  const retry = connect.findDetails(RetryInfoSchema)[0]?.retryDelay;
  return {
    reason: info?.reason ?? "",
    message: info ? connect.rawMessage : "The connection was lost.",
    retryAfter: retry ? Number(retry.seconds) * 1000 + retry.nanos / 1e6 : undefined,
  };
}
