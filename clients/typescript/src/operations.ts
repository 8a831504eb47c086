/** Follows operations of the server until they end. */

import type { Client } from "@connectrpc/connect";
import type { Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import type { KnowledgeService } from "@responsa/contract/responsa/knowledge/v1/knowledge_service_pb.js";
import { errorOf } from "./errors.js";
import { mayPass, PATIENCE, type Patience } from "./patience.js";

/** Wait for the end of an operation. `tell` receives its states on the way. An error while waiting does not stop the operation. Raises errors that waiting cannot fix, and an error when the signal aborts. */
export async function ended(
  { knowledge }: { readonly knowledge: Pick<Client<typeof KnowledgeService>, "watchOperation"> },
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
      const states = knowledge.watchOperation({ name: begun.name, afterSeq: seq }, { signal: AbortSignal.any([signal, silent.signal]) });
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
      if (!silent.signal.aborted && !mayPass(errorOf(error), patience)) throw error;
    } finally {
      clearTimeout(watchdog);
    }
    if (operation.done) break;
    await patience.sleep(patience.pause(tries), signal);
    signal.throwIfAborted();
  }
  return operation;
}
