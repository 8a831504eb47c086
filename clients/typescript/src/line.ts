import type { Transport } from "@connectrpc/connect";

/** A transport and its connection. */
export interface Line {
  readonly transport: Transport;
  /** Whether a server has spoken at the address. Browsers do not say, and always return true. */
  readonly reached: () => boolean;
  /** Make all further calls over a new connection. */
  readonly renew: () => void;
  readonly close: () => void;
}
