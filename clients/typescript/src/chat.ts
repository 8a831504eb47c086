/** The transport of the AI SDK's `useChat`, which assistant-ui's runtime for the AI SDK uses, too. It needs no package of either. */

import { JudgeVerdict, type Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { Role } from "@responsa/contract/responsa/chat/v1/message_pb.js";
import { Step } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import type { Responsa } from "./client.js";
import { turnError } from "./errors.js";
import type { Question, TurnStream } from "./stream.js";

/** A source of an answer. `providerMetadata.responsa` has the `quote` and the `passage`. */
export type ChatSource =
  | { readonly type: "source-url"; readonly sourceId: string; readonly url: string; readonly title: string; readonly providerMetadata: Quoted }
  | { readonly type: "source-document"; readonly sourceId: string; readonly mediaType: string; readonly title: string; readonly providerMetadata: Quoted };

type Quoted = { responsa: { quote: string; passage: string } };

/** The step of an answer that is being written. */
interface ChatStatus {
  readonly type: "data-status";
  readonly id: string;
  readonly data: { readonly step: string; readonly message: string };
}

/** What happens in an answer, as `UIMessageChunk` has it. */
export type ChatChunk =
  | { readonly type: "start" | "start-step" | "reset-step" | "finish-step" | "abort" }
  | { readonly type: "text-start" | "text-end"; readonly id: string }
  | { readonly type: "text-delta"; readonly id: string; readonly delta: string }
  | { readonly type: "error"; readonly errorText: string }
  | { readonly type: "finish"; readonly messageMetadata: { readonly turn: string } }
  | ChatStatus
  | ChatSource;

/** A message, as `UIMessage` has it. */
export interface ChatMessage {
  id: string;
  role: "user" | "assistant";
  parts: ({ type: "text"; text: string } | ChatStatus | ChatSource)[];
  metadata: { turn: string };
}

/** What the transport reads of a `UIMessage`. */
interface Asked {
  readonly role: string;
  readonly parts: readonly { readonly type: string; readonly text?: string }[];
}

export interface ChatTransportOptions {
  /** Further fields of each question, such as `agent`. */
  readonly question?: Omit<Question, "text" | "conversation" | "requestId" | "includeDeltas">;
  /** The address of Responsa's page, to which sources without an address of their own lead. By default, the page that runs. */
  readonly page?: string;
}

/** Asks for `useChat`. The `id` of a chat is the id of its conversation, which `begin` makes. Nothing is kept in the browser: the server has all messages. */
export class ResponsaChatTransport {
  readonly resumeStreamIsReplay = true;

  constructor(
    private readonly client: Responsa,
    private readonly options: ChatTransportOptions = {},
  ) {}

  /** Begin a conversation, and return the id of its chat. */
  async begin(): Promise<string> {
    return (await this.client.chat.createConversation({})).name.replace("conversations/", "");
  }

  /** The messages of a chat so far, for `useChat`, with the question of a turn that runs; `resume` shows its answer. */
  async messages(id: string): Promise<ChatMessage[]> {
    const parent = `conversations/${id}`;
    const messages: ChatMessage[] = [];
    let pageToken = "";
    do {
      const page = await this.client.chat.listMessages({ parent, pageToken });
      for (const { name, role, text, turn, citations } of page.messages) {
        const isUser = role === Role.USER;
        messages.push({ id: name, role: isUser ? "user" : "assistant", parts: [{ type: "text", text }, ...this.#sources(citations)], metadata: { turn } });
      }
      pageToken = page.nextPageToken;
    } while (pageToken);
    const { activeTurn: turn } = await this.client.chat.getConversation({ name: parent });
    if (turn && !messages.some(({ metadata }) => metadata.turn === turn)) {
      const { text } = await this.client.chat.getTurn({ name: turn });
      messages.push({ id: turn, role: "user", parts: [{ type: "text", text }], metadata: { turn } });
    }
    return messages;
  }

  /** Ask the last question of a chat. If the signal aborts, the turn is cancelled. */
  async sendMessages({ chatId, messages, abortSignal }: { readonly chatId: string; readonly messages: readonly Asked[]; readonly abortSignal?: AbortSignal | undefined }): Promise<ReadableStream<ChatChunk>> {
    const last = messages.findLast(({ role }) => role === "user");
    const text = (last?.parts ?? []).map((part) => (part.type === "text" ? (part.text ?? "") : "")).join("\n");
    const question = { ...this.options.question, text, conversation: `conversations/${chatId}`, includeDeltas: true };
    return this.#follow((signal) => this.client.ask(question, { signal }), abortSignal);
  }

  /** Follow the turn that runs in a chat from its beginning; null if none runs. */
  async reconnectToStream({ chatId, abortSignal }: { readonly chatId: string; readonly abortSignal?: AbortSignal | undefined }): Promise<ReadableStream<ChatChunk> | null> {
    const { activeTurn } = await this.client.chat.getConversation({ name: `conversations/${chatId}` });
    return activeTurn ? this.#follow((signal) => this.client.resume(activeTurn, 0n, { signal }), abortSignal) : null;
  }

  #follow(open: (signal: AbortSignal) => TurnStream, abortSignal?: AbortSignal): ReadableStream<ChatChunk> {
    const left = new AbortController(); // nobody reads any longer; the turn goes on
    const stream = open(left.signal);
    const stop = () => void stream.stop().catch(() => undefined);
    if (abortSignal?.aborted) stop();
    abortSignal?.addEventListener("abort", stop, { once: true });
    const chunks = this.#chunks(stream);
    return new ReadableStream<ChatChunk>({
      pull: async (controller) => {
        const { done, value } = await chunks.next();
        if (done) controller.close();
        else controller.enqueue(value);
      },
      cancel: () => left.abort(),
    });
  }

  async *#chunks(stream: TurnStream): AsyncGenerator<ChatChunk, undefined> {
    let sent = "";
    let part = 0;
    yield { type: "start" };
    yield { type: "start-step" };
    for await (const { event } of stream) {
      if (event.case === "status") yield { type: "data-status", id: "status", data: { step: Step[event.value.step], message: event.value.message } };
      const text = event.case === "refused" ? event.value.message : stream.text;
      if (!text.startsWith(sent)) {
        // Another worker or model goes on, and has withdrawn a part of the text.
        yield { type: "reset-step" };
        sent = "";
        part += 1;
      }
      if (text && !sent) yield { type: "text-start", id: `${part}` };
      if (text !== sent) yield { type: "text-delta", id: `${part}`, delta: text.slice(sent.length) };
      sent = text;
    }
    if (sent) yield { type: "text-end", id: `${part}` };
    yield* this.#sources(stream.citations);
    const error = turnError(stream.terminal);
    if (stream.terminal?.event.case === "cancelled") yield { type: "abort" };
    else if (error) yield { type: "error", errorText: `${error.message} ${error.remedy}`.trim() };
    yield { type: "finish-step" };
    yield { type: "finish", messageMetadata: { turn: stream.turn } };
    return undefined;
  }

  #sources(citations: readonly Citation[]): ChatSource[] {
    return citations
      .filter(({ verdict }) => verdict !== JudgeVerdict.DENIED)
      .map(({ title, uri, documentVersion, page, quote, passage }, place) => {
        const shown = documentVersion && `${this.options.page ?? ""}/#/${documentVersion}${page ? `?page=${page}` : ""}`;
        const url = /^https?:/.test(uri) ? uri : shown;
        const common = { sourceId: `${place + 1}`, title, providerMetadata: { responsa: { quote, passage } } };
        return url ? { type: "source-url", url, ...common } : { type: "source-document", mediaType: "text/plain", ...common };
      });
  }
}
