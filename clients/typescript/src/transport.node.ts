/** The transport in Node: gRPC over HTTP/2. */

import type { Interceptor, Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import type { Line } from "./line.js";

export const DEFAULT_URL: string = "http://127.0.0.1:8080";

/** Probes find a connection that was lost without notice. The server permits this interval. */
const KEEPALIVE = { pingIntervalMs: 30_000, pingTimeoutMs: 10_000 };

export function open(baseUrl: string, interceptors: Interceptor[], defaultTimeoutMs: number): Line {
  let managers: Http2SessionManager[] = [];
  let current!: Transport;
  const renew = () => {
    const sessionManager = new Http2SessionManager(baseUrl, KEEPALIVE);
    managers = [...managers.filter((one) => one.state() === "open"), sessionManager];
    current = createGrpcTransport({ baseUrl, interceptors, defaultTimeoutMs, sessionManager });
  };
  renew();
  return {
    transport: { unary: (...call) => current.unary(...call), stream: (...call) => current.stream(...call) },
    renew,
    close: () => managers.forEach((one) => one.abort()),
  };
}
