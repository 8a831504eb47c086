/** The client itself. */

import type { CallOptions, Client } from "@connectrpc/connect";
import { Operations, type Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import type { AdminService } from "@responsa/contract/responsa/admin/v1/admin_service_pb.js";
import { AuthService } from "@responsa/contract/responsa/auth/v1/auth_service_pb.js";
import { ChatService } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import { KnowledgeService, type SearchHit, type SearchRequestSchema } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { uuid } from "./bytes.js";
import { Connection, type ConnectionOptions } from "./connection.js";
import { errorOfStatus } from "./errors.js";
import type { Fields } from "./fields.js";
import { ended } from "./operations.js";
import { PATIENCE, type Patience } from "./patience.js";
import { TurnStream, type FollowOptions, type Question } from "./stream.js";
import { upload, type DocumentFields, type UploadOptions } from "./upload.js";

export interface ClientOptions extends ConnectionOptions {
  /** When to try again, and when to give up. By default, a stream without a frame for five minutes ends with its last error. */
  readonly patience?: Partial<Patience>;
}

/**
 * A client of a Responsa server. Each service of the contract has its methods here, such as `client.chat.listAgents({})`; the comments of the contract say what they
 * do. Calls raise ResponsaError. An interrupted call is repeated if a second call has no second effect.
 */
export class Responsa {
  readonly chat: Client<typeof ChatService>;
  readonly knowledge: Client<typeof KnowledgeService>;
  readonly auth: Client<typeof AuthService>;
  readonly admin: Client<typeof AdminService>;
  readonly operations: Client<typeof Operations>;
  readonly #connection: Connection;
  readonly #patience: Patience;

  constructor({ patience, ...options }: ClientOptions = {}) {
    this.#patience = { ...PATIENCE, giveUp: 300_000, longestLimit: 120_000, ...patience };
    this.#connection = new Connection(options, this.#patience);
    this.chat = this.#connection.service(ChatService);
    this.knowledge = this.#connection.service(KnowledgeService);
    this.auth = this.#connection.service(AuthService);
    // Most programs never administer, and its messages are the larger part of the contract.
    this.admin = loadedByCalls(async () => this.#connection.service((await import("@responsa/contract/responsa/admin/v1/admin_service_pb.js")).AdminService));
    this.operations = this.#connection.service(Operations);
  }

  /** Ask a question, and follow its turn to the end. question: the text, or the fields of an AskRequest. */
  ask(question: string | Question, options: FollowOptions = {}): TurnStream {
    const fields = typeof question === "string" ? { text: question, includeDeltas: true } : question;
    return new TurnStream(this.chat, this.#connection, { ...fields, requestId: fields.requestId || uuid() }, options, this.#patience);
  }

  /** Follow a turn, `turns/{uuid}`, from the first event after a seq: before, while and after it runs. */
  resume(turn: string, afterSeq = 0n, options: FollowOptions & { readonly includeDeltas?: boolean } = {}): TurnStream {
    const { includeDeltas = true, ...follows } = options;
    return new TurnStream(this.chat, this.#connection, { turn, afterSeq, includeDeltas }, follows, this.#patience);
  }

  /** The passages that answer a query best. query: a term, or several. */
  async search(query: string | readonly string[], request: Omit<Fields<typeof SearchRequestSchema>, "terms"> = {}, options?: CallOptions): Promise<SearchHit[]> {
    const terms = typeof query === "string" ? [query] : [...query];
    return (await this.knowledge.search({ ...request, terms }, options)).hits;
  }

  /** Upload a document, at most 64 MiB. Returns the operation that makes it searchable: `finished` waits for its end. In Node, `openAsBlob` of `node:fs` opens a file. */
  upload(file: Blob, fields: DocumentFields, options: UploadOptions = {}): Promise<Operation> {
    return upload(file, fields, options, this.#connection, this.knowledge, this.#patience);
  }

  /** Wait for the end of an operation. Raises the operation's own error. onState: receives its states on the way. An aborted signal ends the wait, and not the operation. */
  async finished(operation: Operation, { onState = () => undefined, signal = new AbortController().signal }: { readonly onState?: (state: Operation) => void; readonly signal?: AbortSignal } = {}): Promise<Operation> {
    const end = await ended(this, operation, onState, signal, this.#patience);
    if (end.result.case === "error") throw errorOfStatus(end.result.value);
    return end;
  }

  /** End all calls and streams, and close the connection. */
  close(): void {
    this.#connection.close();
  }
}

/** A client of unary methods, whose code is loaded by the first call. */
function loadedByCalls<Service extends object>(load: () => Promise<Service>): Service {
  let loading: Promise<Service> | undefined;
  const call = async (method: string | symbol, args: unknown[]) => {
    loading ??= load();
    loading.catch(() => (loading = undefined)); // the next call tries again
    const service = await loading;
    return await (Reflect.get(service, method) as (...args: unknown[]) => unknown)(...args);
  };
  const methods = { get: (_: object, method: string | symbol) => (method === "then" ? undefined : (...args: unknown[]) => call(method, args)) };
  return new Proxy({}, methods) as Service;
}
