/** The question this tab waits for, kept over a reload: asking again with its request_id goes on with the same turn. */

const KEY = "responsa.pending";

export interface Pending {
  readonly requestId: string;
  readonly text: string;
  /** `conversations/{uuid}` it was asked in, "" for a new one. */
  readonly conversation: string;
  readonly collections: readonly string[];
}

export function keepPending(storage: Storage, pending: Pending): void {
  storage.setItem(KEY, JSON.stringify(pending));
}

export function dropPending(storage: Storage): void {
  storage.removeItem(KEY);
}

export function readPending(storage: Storage): Pending | undefined {
  try {
    const value: unknown = JSON.parse(storage.getItem(KEY) ?? "null");
    return isPending(value) ? value : undefined;
  } catch {
    return undefined;
  }
}

function isPending(value: unknown): value is Pending {
  if (typeof value !== "object" || value === null) return false;
  const one = value as Record<string, unknown>;
  return (
    typeof one["requestId"] === "string" &&
    typeof one["text"] === "string" &&
    typeof one["conversation"] === "string" &&
    Array.isArray(one["collections"]) &&
    one["collections"].every((name) => typeof name === "string")
  );
}
