import type { Transport } from "@connectrpc/connect";

/** A transport and its connection. */
export interface Line {
  readonly transport: Transport;
  /** Make all further calls over a new connection. */
  readonly renew: () => void;
  readonly close: () => void;
}
