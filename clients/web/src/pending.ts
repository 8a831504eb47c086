/** The questions this tab waits for, kept over a reload: their turns are gone on with, or, where the server has not told those yet, asked for again by request_id. */

import type { JsonObject } from "@bufbuild/protobuf";
import { isParameters } from "./schema.js";

const KEY = "responsa.pending";
const MOST = 16;

export interface Pending {
  readonly requestId: string;
  readonly text: string;
  /** `conversations/{uuid}` it was asked in, "" for a new one: sent again just so. */
  readonly conversation: string;
  /** `collections/{id}` it was asked of; none means all. */
  readonly collections: readonly string[];
  /** `agents/{id}` it was asked of, "" for the default. */
  readonly agent: string;
  /** For the agent, as its schema says. */
  readonly parameters: JsonObject;
  /** The conversation that its turn belongs to, "" until the server has told it. */
  readonly begun: string;
  /** `turns/{uuid}`, "" until the server has told it. */
  readonly turn: string;
  /** Whether the user has stopped it, and the server has not said yet that it is. */
  readonly stopping: boolean;
}

/** Kept in `storage`; where that is refused (a full or forbidden one), in memory alone. */
export class PendingQuestions {
  readonly #storage: Storage;
  #questions: Pending[];

  constructor(storage: Storage) {
    this.#storage = storage;
    this.#questions = read(storage);
  }

  /** The questions that wait in a conversation, or with "" those whose conversation is not made yet, in the order of asking. */
  of(conversation: string): readonly Pending[] {
    return this.#questions.filter((one) => one.begun === conversation);
  }

  /** Keep a question, or its new state. */
  keep(pending: Pending): void {
    const known = this.#questions.findIndex((one) => one.requestId === pending.requestId);
    this.#questions = known < 0 ? [...this.#questions, pending].slice(-MOST) : this.#questions.with(known, pending);
    this.#write();
  }

  drop(pending: Pending): void {
    this.#questions = this.#questions.filter((one) => one.requestId !== pending.requestId);
    this.#write();
  }

  /** Drop all of a conversation that is gone. */
  dropOf(conversation: string): void {
    this.#questions = this.#questions.filter((one) => one.begun !== conversation);
    this.#write();
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
    // Kept by a page that knew no parameters yet: there were none.
    return Array.isArray(value) ? value.map((one: unknown) => (isObject(one) ? { parameters: {}, ...one } : one)).filter(isPending) : [];
  } catch {
    return []; // not ours, or not to be read: nothing waits
  }
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function isPending(one: unknown): one is Pending {
  if (!isObject(one)) return false;
  return (
    ["requestId", "text", "conversation", "agent", "begun", "turn"].every((key) => typeof one[key] === "string") &&
    typeof one["stopping"] === "boolean" &&
    isParameters(one["parameters"]) &&
    Array.isArray(one["collections"]) &&
    one["collections"].every((name) => typeof name === "string")
  );
}
