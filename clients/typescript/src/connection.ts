/** The connection to a server: the credential, deadlines, and which calls to repeat. Over it, each service of the contract has the client that Connect makes, with typed errors. */

import { getOption, type DescService } from "@bufbuild/protobuf";
import { MethodOptions_IdempotencyLevel as Level } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, createClient, type CallOptions, type Client, type Interceptor, type Transport, type UnaryRequest } from "@connectrpc/connect";
import { http } from "@responsa/contract/google/api/annotations_pb.js";
import { uuid } from "./bytes.js";
import { CannotConnect, errorOf, ResponsaError } from "./errors.js";
import { DEFAULT_URL, open } from "#transport";
import type { Line } from "./line.js";
import { persist, type Patience } from "./patience.js";

const TIMEOUT = 60_000;

/** An API key, or an access token, or a function that returns the newest access token and is called before each call. */
export type Credential = string | (() => string | Promise<string>);

export interface ConnectionOptions {
  /** The server's address; `host:port` means HTTP without TLS. By default `http://127.0.0.1:8080`, and in a browser the address that the page came from. */
  readonly url?: string;
  /** Without a credential, a browser's session cookie counts. */
  readonly credential?: Credential;
  /** The maximum time of a call in milliseconds, with its repetitions; 60,000 by default. Streams and uploads have no limit. */
  readonly timeoutMs?: number;
  /** How often an interrupted call is repeated at most, if a second call has no second effect; 12 by default. */
  readonly retries?: number;
  /** Further headers of each call, such as `responsa-on-behalf-of`. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly interceptors?: readonly Interceptor[];
  /** Replaces the transport, which is gRPC in Node and gRPC-Web in a browser. It gets none of the interceptors. */
  readonly transport?: (interceptors: Interceptor[]) => Transport;
}

export class Connection {
  readonly url: string;
  readonly #options: ConnectionOptions;
  readonly #patience: Patience;
  readonly #line: Line;
  readonly #closed = new AbortController();

  constructor(options: ConnectionOptions, patience: Patience) {
    this.url = (options.url || DEFAULT_URL).replace(/\/$/, "").replace(/^(?=[^/]+$)/, "http://");
    this.#options = options;
    this.#patience = patience;
    const interceptors: Interceptor[] = [this.#repeating, ...(options.interceptors ?? []), this.#authorised];
    const transport = options.transport?.(interceptors);
    this.#line = transport ? { transport, reached: () => true, renew: () => undefined, close: () => undefined } : open(this.url, interceptors);
  }

  /** Aborts when the client is closed. */
  get closed(): AbortSignal {
    return this.#closed.signal;
  }

  /** Whether a call may have another access token than the call before. */
  get renewsToken(): boolean {
    return typeof this.#options.credential === "function";
  }

  /** Make all further calls over a new connection. Calls that run keep theirs. */
  renew(): void {
    this.#line.renew();
  }

  close(): void {
    this.#closed.abort();
    this.#line.close();
  }

  /** The headers that every call has, the credential among them. Raises ResponsaError: the function that returns the access token has failed. */
  async headers(): Promise<Record<string, string>> {
    const { credential, headers } = this.#options;
    const token = typeof credential === "function" ? await tokenOf(credential) : credential;
    return { ...headers, ...(token && { authorization: `Bearer ${token}` }) };
  }

  /** The client of a service. */
  service<Service extends DescService>(service: Service): Client<Service> {
    const calls = Object.entries(createClient(service, this.#line.transport) as Record<string, (request: unknown, options: CallOptions) => unknown>);
    const typed = calls.map(([name, call]) => {
      const { methodKind, input } = service.method[name]!;
      const limit = methodKind === "unary" ? (this.#options.timeoutMs ?? TIMEOUT) : 0;
      const made = (request: { requestId?: string }, { timeoutMs = limit, ...options }: CallOptions = {}) => {
        const requestId = methodKind === "unary" && input.field["requestId"] ? request.requestId || uuid() : "";
        const result = call(requestId ? { ...request, requestId } : request, { timeoutMs, ...options }) as Promise<unknown> | AsyncIterable<unknown>;
        if (Symbol.asyncIterator in result) return streamed(result);
        return result.catch((thrown: unknown) => {
          const error = errorOf(thrown);
          const isLate = error.code === Code.DeadlineExceeded && !error.reason;
          throw Object.assign(isLate ? new ResponsaError(`${this.url} did not answer within ${timeoutMs} ms.`, error.code) : error, { requestId });
        });
      };
      return [name, made];
    });
    return Object.fromEntries(typed) as Client<Service>;
  }

  readonly #authorised: Interceptor = (next) => async (request) => {
    for (const [name, value] of Object.entries(await this.headers())) request.header.set(name, value);
    try {
      return await next(request);
    } catch (thrown) {
      throw request.signal.aborted || this.closed.aborted || this.#line.reached() ? thrown : new CannotConnect(this.url, errorOf(thrown));
    }
  };

  readonly #repeating: Interceptor = (next) => async (request) => {
    if (request.stream) return next(request);
    let mayRenew = this.renewsToken;
    const call = async () => {
      try {
        return await next(request);
      } catch (thrown) {
        const error = errorOf(thrown);
        if (error.reason !== "TOKEN_INVALID" || !mayRenew) throw error;
        mayRenew = false;
        return next(request);
      }
    };
    return persist(call, request.signal, this.#patience, isRepeatable(request) ? (this.#options.retries ?? 12) : 0);
  };
}

async function* streamed<Response>(messages: AsyncIterable<Response>): AsyncGenerator<Response> {
  try {
    yield* messages;
  } catch (error) {
    throw errorOf(error);
  }
}

async function tokenOf(credential: () => string | Promise<string>): Promise<string> {
  try {
    return await credential();
  } catch (thrown) {
    if (thrown instanceof ResponsaError) throw thrown;
    throw new ResponsaError(`The function that returns the access token has failed: ${ConnectError.from(thrown).rawMessage}`, Code.FailedPrecondition, thrown);
  }
}

/** Whether a second call has no second effect. tools/clients/plan.py has the same rule. */
export function isRepeatable({ method, message }: Pick<UnaryRequest, "method" | "message">): boolean {
  const verb = getOption(method, http).pattern.case;
  if (verb === "get" || method.idempotency === Level.NO_SIDE_EFFECTS) return true;
  // A second response has no secret, so it does not replace the first.
  if (method.input.field["requestId"]) return !method.output.field["secret"];
  const hasEtag = [message, ...Object.values(message)].some((one) => Boolean((one as { etag?: string } | undefined)?.etag));
  return (verb === "patch" || method.idempotency === Level.IDEMPOTENT) && !hasEtag;
}
