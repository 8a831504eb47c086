/** The transport in Node: gRPC over HTTP/2. */

import { Code, type Interceptor, type Transport } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import { ResponsaError } from "./errors.js";
import type { Line } from "./line.js";

export const DEFAULT_URL: string = "http://127.0.0.1:8080";

/** Probes find a connection that was lost without notice. The server permits this interval. */
const KEEPALIVE = { pingIntervalMs: 30_000, pingTimeoutMs: 10_000 };

const ignore = () => undefined;

export function open(baseUrl: string, interceptors: Interceptor[]): Line {
  let managers: Http2SessionManager[] = [];
  let current!: Transport;
  let reached = false;
  // Node would leave the brackets of an IPv6 address away, and servers refuse such an authority.
  const { host: authority, pathname } = new URL(baseUrl);
  if (pathname !== "/") throw new ResponsaError(`${baseUrl} has more parts than a scheme, a host and a port; write http://host:port`, Code.InvalidArgument);
  const hear = () => (reached = true);
  class Manager extends Http2SessionManager {
    override async request(...[method, path, headers, options]: Parameters<Http2SessionManager["request"]>) {
      const stream = await super.request(method, path, { ...headers, ":authority": authority }, options);
      // Each listener once: requests share a session. Settings are the first frame of every server. The base class stops listening to a session that it replaces, and an
      // error without a listener would end the program.
      stream.session?.off("remoteSettings", hear).on("remoteSettings", hear).off("error", ignore).on("error", ignore);
      return stream;
    }
  }
  const renew = () => {
    const sessionManager = new Manager(baseUrl, KEEPALIVE);
    managers = [...managers.filter((one) => one.state() === "open"), sessionManager];
    current = createGrpcTransport({ baseUrl, interceptors, sessionManager });
  };
  renew();
  return {
    transport: { unary: (...call) => current.unary(...call), stream: (...call) => current.stream(...call) },
    reached: () => reached,
    renew,
    close: () => managers.forEach((one) => one.abort()),
  };
}
