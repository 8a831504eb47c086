/** The transport in a browser: gRPC-Web. The browser chooses its connections. */

import type { Interceptor } from "@connectrpc/connect";
import { createGrpcWebTransport } from "@connectrpc/connect-web";
import type { Line } from "./line.js";

export const DEFAULT_URL: string = globalThis.location?.origin ?? "";

export function open(baseUrl: string, interceptors: Interceptor[]): Line {
  return { transport: createGrpcWebTransport({ baseUrl, interceptors }), reached: () => true, renew: () => undefined, close: () => undefined };
}
