/**
 * The questions whose answers this tab waits for. The questions survive a reload, after which the page follows their turns again. If the turn of a question is not known
 * yet, the page sends the question again with the same request_id.
 */

import type { JsonObject } from "@bufbuild/protobuf";
import { isParameters } from "./schema.js";
import { keep } from "../server/kept.js";

const KEY = "responsa.pending";
const MOST = 16;

export interface Pending {
  readonly requestId: string;
  readonly text: string;
  /** The conversation in the request, `conversations/{uuid}`, or "" for a new one. A repetition of the request sends the same value. */
  readonly conversation: string;
  /** The collections to search, `collections/{id}`; an empty list means that the user chose no collections. */
  readonly collections: readonly string[];
  /** The agent, `agents/{id}`, or "" for the default. */
  readonly agent: string;
  /** The agent's parameters, which match its schema. */
  readonly parameters: JsonObject;
  /** The conversation of the question's turn; "" until the server has sent it. */
  readonly begun: string;
  /** The question's turn, `turns/{uuid}`; "" until the server has sent its name. */
  readonly turn: string;
  /** Whether the user has stopped the turn but the server has not confirmed this yet. */
  readonly stopping: boolean;
}

/** Keeps the questions in `storage`, or only in memory if `storage` is full or forbidden. */
export class PendingQuestions {
  readonly #storage: Storage;
  #questions: Pending[];

  constructor(storage: Storage) {
    this.#storage = storage;
    this.#questions = read(storage);
  }

  /** The waiting questions of a conversation, in the order in which they were asked; with "", the questions whose conversation does not exist yet. */
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
    keep(this.#storage, KEY, this.#questions.length > 0 ? JSON.stringify(this.#questions) : "");
  }
}

function read(storage: Storage): Pending[] {
  try {
    const value: unknown = JSON.parse(storage.getItem(KEY) ?? "[]");
    // An older version of the page stored questions without parameters.
    return Array.isArray(value) ? value.map((one: unknown) => (isObject(one) ? { parameters: {}, ...one } : one)).filter(isPending) : [];
  } catch {
    return []; // another program wrote the stored text, or the text cannot be read, so no question waits
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
