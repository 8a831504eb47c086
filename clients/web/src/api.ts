/** The typed clients, over gRPC-Web on the one port that served this page; the session's cookie goes along by itself. */

import { createClient, type Client, type Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import { ChatService } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import { KnowledgeService } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { AuthService } from "@responsa/contract/responsa/auth/v1/auth_service_pb.js";
import { Operations } from "@responsa/contract/google/longrunning/operations_pb.js";

export interface Api {
  readonly chat: Client<typeof ChatService>;
  readonly knowledge: Client<typeof KnowledgeService>;
  readonly auth: Client<typeof AuthService>;
  readonly operations: Client<typeof Operations>;
}

export function connect(origin: string, interceptors: Interceptor[] = []): Api {
  const transport = createGrpcWebTransport({ baseUrl: origin, interceptors });
  return {
    chat: createClient(ChatService, transport),
    knowledge: createClient(KnowledgeService, transport),
    auth: createClient(AuthService, transport),
    operations: createClient(Operations, transport),
  };
}
