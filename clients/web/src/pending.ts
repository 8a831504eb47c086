/** The questions this tab waits for, kept over a reload: asking again with its request_id goes on with the same turn. */

const KEY = "responsa.pending";
const MOST = 16;

export interface Pending {
  readonly requestId: string;
  readonly text: string;
  /** `conversations/{uuid}` it was asked in, "" for a new one: sent again just so. */
  readonly conversation: string;
  /** `collections/{id}` it was asked of; none means all. */
  readonly collections: readonly string[];
  /** The conversation that its turn belongs to, "" until the server has told it. */
  readonly begun: string;
}

/** Kept in `storage`; where that is refused (a full or forbidden one), in memory alone. */
export class PendingQuestions {
  readonly #storage: Storage;
  #questions: Pending[];

  constructor(storage: Storage) {
    this.#storage = storage;
    this.#questions = read(storage);
  }

  /** The question that waits in a conversation, or with "" the one whose conversation is not made yet; the latest of several. */
  of(conversation: string): Pending | undefined {
    return this.#questions.findLast((one) => one.begun === conversation);
  }

  /** Keep a question, or its new state. */
  keep(pending: Pending): void {
    this.#questions = [...this.#others(pending.requestId), pending].slice(-MOST);
    this.#write();
  }

  drop(pending: Pending): void {
    this.#questions = this.#others(pending.requestId);
    this.#write();
  }

  /** Drop all of a conversation that is gone. */
  dropOf(conversation: string): void {
    this.#questions = this.#questions.filter((one) => one.begun !== conversation);
    this.#write();
  }

  #others(requestId: string): Pending[] {
    return this.#questions.filter((one) => one.requestId !== requestId);
  }

  #write(): void {
    try {
      if (this.#questions.length > 0) this.#storage.setItem(KEY, JSON.stringify(this.#questions));
      else this.#storage.removeItem(KEY);
    } catch (error) {
      if (!(error instanceof DOMException)) throw error;
    }
  }
}

function read(storage: Storage): Pending[] {
  try {
    const value: unknown = JSON.parse(storage.getItem(KEY) ?? "[]");
    return Array.isArray(value) ? value.filter(isPending) : [];
  } catch {
    return []; // not ours, or not to be read: nothing waits
  }
}

function isPending(value: unknown): value is Pending {
  if (typeof value !== "object" || value === null) return false;
  const one = value as Record<string, unknown>;
  return (
    ["requestId", "text", "conversation", "begun"].every((key) => typeof one[key] === "string") &&
    Array.isArray(one["collections"]) &&
    one["collections"].every((name) => typeof name === "string")
  );
}
