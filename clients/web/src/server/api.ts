/** The typed clients. They use gRPC-Web on the port that served this page; the browser adds the session's cookie. */

import type { Interceptor } from "@connectrpc/connect";
import { Responsa } from "@responsa/client";
import { PATIENCE } from "@responsa/client/parts.js";
import { failureOf, signedOut, type Failure } from "./errors.js";

export interface Api extends Pick<Responsa, "chat" | "knowledge" | "auth" | "admin" | "operations" | "upload"> {
  /** The user whom the calls name, `users/{uuid}`; "" if the calls name nobody. */
  readonly user: string;
}

/** The header that names the user for whom the page is drawn. The server refuses a call if the browser's session is another user's, because the session may have been replaced in another tab or by a program on another port of the host. */
export const USER = "responsa-user";

/** The maximum time of a call in milliseconds. */
const UNARY_LIMIT = 30_000;

/** `user`: the user for whom the page is drawn. The page itself decides which calls it repeats. */
export function connect(origin: string, user = "", interceptors: Interceptor[] = []): Api {
  const headers = user ? { [USER]: user } : {};
  return Object.assign(new Responsa({ url: origin, timeoutMs: UNARY_LIMIT, retries: 0, patience: PATIENCE, headers, interceptors }), { user });
}

/** Calls `over` when a call fails because the session has ended or is another user's. The call fails after `over` has returned. */
export function watchingSession(over: (failure: Failure) => void | Promise<void>): Interceptor {
  const look = async (error: unknown): Promise<never> => {
    const failure = failureOf(error);
    if (signedOut(failure)) await over(failure);
    throw error;
  };
  async function* watched<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
    try {
      yield* messages;
    } catch (error) {
      await look(error);
    }
  }
  return (next) => async (request) => {
    const response = await next(request).catch(look);
    return response.stream ? { ...response, message: watched(response.message) } : response;
  };
}
