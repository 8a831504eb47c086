/** Follows operations of the server until they end. */

import type { Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import type { Api } from "./api.js";
import { failureOf } from "./errors.js";
import { mayPass, PATIENCE, type Patience } from "./patience.js";

/** Wait for the end of an operation. `tell` receives its states on the way. An error while waiting does not stop the operation. Raises errors that waiting cannot fix, and an error when the signal aborts. */
export async function ended(
  api: Pick<Api, "operations">,
  begun: Operation,
  tell: (operation: Operation) => void,
  signal: AbortSignal,
  patience: Patience = PATIENCE,
): Promise<Operation> {
  let operation = begun;
  for (let tries = 0; !operation.done; ) {
    tell(operation);
    try {
      operation = await api.operations.waitOperation({ name: begun.name, timeout: { seconds: 1n } }, { signal });
      tries = 0;
    } catch (error) {
      if (signal.aborted || !mayPass(failureOf(error))) throw error;
      await patience.sleep(patience.pause((tries += 1)), signal);
      signal.throwIfAborted();
    }
  }
  return operation;
}
