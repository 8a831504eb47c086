/** The questions whose answers this tab waits for. They survive a reload: the page follows their turns again, or sends the question again with its request_id if the turn is not known yet. */

import type { JsonObject } from "@bufbuild/protobuf";
import { isParameters } from "./schema.js";

const KEY = "responsa.pending";
const MOST = 16;

export interface Pending {
  readonly requestId: string;
  readonly text: string;
  /** The `conversations/{uuid}` of the request, or "" for a new one; a repetition sends the same value. */
  readonly conversation: string;
  /** The collections to search, `collections/{id}`; an empty list means all. */
  readonly collections: readonly string[];
  /** The agent, `agents/{id}`, or "" for the default. */
  readonly agent: string;
  /** The agent's parameters, which match its schema. */
  readonly parameters: JsonObject;
  /** The conversation of its turn, "" until the server has sent it. */
  readonly begun: string;
  /** `turns/{uuid}`, "" until the server has sent it. */
  readonly turn: string;
  /** Whether the user has stopped it and the server has not confirmed this yet. */
  readonly stopping: boolean;
}

/** Kept in `storage`, or in memory only if `storage` is full or forbidden. */
export class PendingQuestions {
  readonly #storage: Storage;
  #questions: Pending[];

  constructor(storage: Storage) {
    this.#storage = storage;
    this.#questions = read(storage);
  }

  /** The waiting questions of a conversation, in their order; with "", those whose conversation does not exist yet. */
  of(conversation: string): readonly Pending[] {
    return this.#questions.filter((one) => one.begun === conversation);
  }

  /** Store a question or its new state. */
  keep(pending: Pending): void {
    const known = this.#questions.findIndex((one) => one.requestId === pending.requestId);
    this.#questions = known < 0 ? [...this.#questions, pending].slice(-MOST) : this.#questions.with(known, pending);
    this.#write();
  }

  drop(pending: Pending): void {
    this.#questions = this.#questions.filter((one) => one.requestId !== pending.requestId);
    this.#write();
  }

  /** Drop all questions of a deleted conversation. */
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
    // Stored by an older page, without parameters.
    return Array.isArray(value) ? value.map((one: unknown) => (isObject(one) ? { parameters: {}, ...one } : one)).filter(isPending) : [];
  } catch {
    return []; // written by another program, or unreadable: no question waits
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
