/** The face of the code assistant's former back end: an agent that answers one message, as an emitter of `data`, `end` and `error`. */

import type { JsonObject } from "@bufbuild/protobuf";
import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { EventEmitter } from "eventemitter3";
import type { Responsa } from "./client.js";
import { errorOf, turnError } from "./errors.js";
import type { TurnStream } from "./stream.js";

export interface AgentOptions {
  /** Return the sections of the documents instead of an answer. Agents with the parameter `raw` can do so. */
  readonly mcpMode?: boolean;
  /** The agent's parameters, such as `{ source: "cairo_book" }`. */
  readonly parameters?: JsonObject;
}

/** A source of the answer, in the former form. */
export interface AgentSource {
  readonly pageContent: string;
  readonly metadata: { readonly title: string; readonly sourceLink: string; readonly uniqueId: string };
}

interface AgentEvents {
  /** JSON: `{"type": "sources", "data": AgentSource[]}` has all sources so far; `{"type": "response", "data": string}` has the next piece of the answer. */
  data: [json: string];
  /** The pieces so far were withdrawn: the answer begins again. Without a listener, this is an error. */
  restart: [];
  end: [];
  /** JSON: `{"data": message, "reason": reason, "remedy": remedy}`. Nothing follows it. */
  error: [json: string];
}

/** The emitter of one answer. */
export class AgentEmitter extends EventEmitter<AgentEvents> {
  /** `conversations/{uuid}`, for the `history` of the next message; "" before the first event. */
  conversation = "";
  #said = "";
  #sources = 0;

  /** Emit what the stream brings. */
  async follow(stream: TurnStream): Promise<void> {
    try {
      for await (const { event } of stream) {
        if (event.case === "started") this.conversation = event.value.conversation;
        if (event.case === "refused") this.#say(event.value.message, true);
        else if (event.case !== "failed" && event.case !== "cancelled") this.#show(stream, event.case === "answer");
      }
      const failure = turnError(stream.terminal);
      if (failure) throw failure;
      this.emit("end");
    } catch (thrown) {
      const error = errorOf(thrown);
      const { message, reason, remedy } = error;
      if (!this.emit("error", JSON.stringify({ data: message, reason, remedy }))) throw error;
    }
  }

  #show({ citations, text }: TurnStream, whole: boolean): void {
    if (citations.length !== this.#sources) {
      this.#sources = citations.length;
      this.emit("data", JSON.stringify({ type: "sources", data: citations.map(sourceOf) }));
    }
    this.#say(text, whole);
  }

  /** Emit the end of a text whose beginning was emitted. */
  #say(text: string, whole: boolean): void {
    if (!text.startsWith(this.#said)) {
      if (!whole && this.#said.startsWith(text)) return; // the next pieces may be the same again
      if (!this.emit("restart")) throw new Error("The answer began again with another text: listen to `restart`.");
      this.#said = "";
    }
    const piece = text.slice(this.#said.length);
    this.#said = text;
    if (piece) this.emit("data", JSON.stringify({ type: "response", data: piece }));
  }
}

/**
 * Let the server's default agent answer a message. history: the conversation of the earlier messages, `conversations/{uuid}` (the emitter of an answer names it), or
 * [] to begin one; the server keeps the messages. Listeners that are added in the same step miss nothing.
 */
export function createAgent(message: string, history: string | readonly [], client: Responsa, options: AgentOptions = {}): AgentEmitter {
  return agentOf("", message, history, client, options);
}

/** The same with an agent, by its id. Raises ResponsaError if there is no such agent. */
export async function createAgentById(message: string, history: string | readonly [], agentId: string, client: Responsa, options: AgentOptions = {}): Promise<AgentEmitter> {
  const { name } = await client.chat.getAgent({ name: `agents/${agentId.replace(/^agents\//, "")}` });
  return agentOf(name, message, history, client, options);
}

function agentOf(agent: string, text: string, history: string | readonly unknown[], client: Responsa, { mcpMode, parameters }: AgentOptions): AgentEmitter {
  if (typeof history !== "string" && history.length > 0) throw new TypeError("The server keeps the messages: pass the `conversation` of the last answer as `history`.");
  const emitter = new AgentEmitter();
  const options = { parameters: { ...parameters, ...(mcpMode && { raw: true }) } };
  const stream = client.ask({ text, agent, conversation: typeof history === "string" ? history : "", includeDeltas: true, options });
  setTimeout(() => void emitter.follow(stream));
  return emitter;
}

function sourceOf({ quote, title, uri, passage }: Citation): AgentSource {
  return { pageContent: quote, metadata: { title, sourceLink: uri, uniqueId: passage } };
}
