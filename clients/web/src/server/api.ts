/** The typed clients. They use gRPC-Web on the port that served this page; the browser adds the session's cookie. */

import { createClient, type Client, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { AdminService } from "@responsa/contract/responsa/admin/v1/admin_service_pb.js";
import { ChatService } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import { KnowledgeService } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { AuthService } from "@responsa/contract/responsa/auth/v1/auth_service_pb.js";
import { Operations } from "@responsa/contract/google/longrunning/operations_pb.js";
import { failureOf, signedOut, type Failure } from "./errors.js";

export interface Api {
  readonly chat: Client<typeof ChatService>;
  readonly knowledge: Client<typeof KnowledgeService>;
  readonly auth: Client<typeof AuthService>;
  readonly admin: Client<typeof AdminService>;
  readonly operations: Client<typeof Operations>;
  /** The user whom the calls name, `users/{uuid}`; "" if the calls name nobody. */
  readonly user: string;
}

/** The header that names the user for whom the page is drawn. The server refuses a call if the browser's session is another user's, because the session may have been replaced in another tab or by a program on another port of the host. */
export const USER = "responsa-user";

/** The maximum time of a call in milliseconds. Streams get `NO_LIMIT`, because their readers notice a silent stream. */
const UNARY_LIMIT = 30_000;
export const NO_LIMIT = { timeoutMs: 0 } as const;

/** `user`: the user for whom the page is drawn. */
export function connect(origin: string, user = "", interceptors: Interceptor[] = []): Api {
  if (user) interceptors.unshift(naming(user));
  const transport = createGrpcWebTransport({ baseUrl: origin, interceptors, defaultTimeoutMs: UNARY_LIMIT });
  return {
    chat: createClient(ChatService, transport),
    knowledge: createClient(KnowledgeService, transport),
    auth: createClient(AuthService, transport),
    admin: createClient(AdminService, transport),
    operations: createClient(Operations, transport),
    user,
  };
}

/** Names the user in each call. */
export function naming(user: string): Interceptor {
  return (next) => (request) => {
    request.header.set(USER, user);
    return next(request);
  };
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
