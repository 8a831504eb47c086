/** The typed clients, over gRPC-Web on the one port that served this page; the session's cookie goes along by itself. */

import { createClient, type Client, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { AdminService } from "@responsa/contract/responsa/admin/v1/admin_service_pb.js";
import { ChatService } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import { KnowledgeService } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { AuthService } from "@responsa/contract/responsa/auth/v1/auth_service_pb.js";
import { Operations } from "@responsa/contract/google/longrunning/operations_pb.js";
import { failureOf, signedOut } from "./errors.js";

export interface Api {
  readonly chat: Client<typeof ChatService>;
  readonly knowledge: Client<typeof KnowledgeService>;
  readonly auth: Client<typeof AuthService>;
  readonly admin: Client<typeof AdminService>;
  readonly operations: Client<typeof Operations>;
}

/** Milliseconds that a call may take; streams are given `NO_LIMIT` and are watched by their readers. */
const UNARY_LIMIT = 30_000;
export const NO_LIMIT = { timeoutMs: 0 } as const;

export function connect(origin: string, interceptors: Interceptor[] = []): Api {
  const transport = createGrpcWebTransport({ baseUrl: origin, interceptors, defaultTimeoutMs: UNARY_LIMIT });
  return {
    chat: createClient(ChatService, transport),
    knowledge: createClient(KnowledgeService, transport),
    auth: createClient(AuthService, transport),
    admin: createClient(AdminService, transport),
    operations: createClient(Operations, transport),
  };
}

/** Tells `over` when a call fails because the session is over; the call fails as it would. */
export function watchingSession(over: () => void): Interceptor {
  const look = (error: unknown): never => {
    if (signedOut(failureOf(error))) over();
    throw error;
  };
  async function* watched<T>(messages: AsyncIterable<T>): AsyncGenerator<T> {
    try {
      yield* messages;
    } catch (error) {
      look(error);
    }
  }
  return (next) => async (request) => {
    const response = await next(request).catch(look);
    return response.stream ? { ...response, message: watched(response.message) } : response;
  };
}
