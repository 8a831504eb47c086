/** Follows operations of the server until they end. */

import type { Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import { NO_LIMIT, type Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { mayPass, PATIENCE, type Patience } from "../server/patience.js";

/** Wait for the end of an operation. `tell` receives its states on the way. An error while waiting does not stop the operation. Raises errors that waiting cannot fix, and an error when the signal aborts. */
export async function ended(
  api: Pick<Api, "knowledge">,
  begun: Operation,
  tell: (operation: Operation) => void,
  signal: AbortSignal,
  patience: Patience = PATIENCE,
): Promise<Operation> {
  let operation = begun;
  let seq = 0n;
  tell(operation);
  for (let tries = 1; !operation.done; tries += 1) {
    const silent = new AbortController();
    const stop = () => silent.abort();
    let watchdog = setTimeout(stop, patience.silence);
    try {
      const states = api.knowledge.watchOperation({ name: begun.name, afterSeq: seq }, { signal: AbortSignal.any([signal, silent.signal]), ...NO_LIMIT });
      for await (const state of states) {
        clearTimeout(watchdog);
        watchdog = setTimeout(stop, patience.silence);
        if (!state.operation) continue; // a heartbeat
        tries = 1;
        ({ operation, seq } = { operation: state.operation, seq: state.seq });
        if (!operation.done) tell(operation);
      }
    } catch (error) {
      signal.throwIfAborted();
      if (!silent.signal.aborted && !mayPass(failureOf(error))) throw error;
    } finally {
      clearTimeout(watchdog);
    }
    if (operation.done) break;
    await patience.sleep(patience.pause(tries), signal);
    signal.throwIfAborted();
  }
  return operation;
}
