/** A turn as an asynchronous iterator of its events. */

import { Code, type Client } from "@connectrpc/connect";
import type { AskRequestSchema, ChatService } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import type { Turn, TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import type { Connection } from "./connection.js";
import { errorOf, ResponsaError } from "./errors.js";
import type { Fields } from "./fields.js";
import { follow, type Calls, type Notices } from "./following.js";
import { FrameReader } from "./frames.js";
import type { Patience } from "./patience.js";

/** The fields of an AskRequest. */
export type Question = Fields<typeof AskRequestSchema> & { readonly text: string };

/** The question to ask, or the turn to resume. */
export type Opening = (Question & { readonly requestId: string }) | { readonly turn: string; readonly afterSeq: bigint; readonly includeDeltas: boolean };

export interface FollowOptions extends Notices {
  /** When it aborts, the iteration ends with the signal's reason. The turn continues. */
  readonly signal?: AbortSignal;
  /** Milliseconds until the iteration ends with DEADLINE_EXCEEDED. The turn continues. No limit by default. */
  readonly timeoutMs?: number;
}

/**
 * Yields each event of one turn once, in the order of seq, up to the terminal event, over any number of connections. The first step of the iteration sends the
 * question. Leaving the loop ends the stream, but not the turn. Every error that ends the iteration is a ResponsaError with `turn`, `afterSeq` and `requestId`,
 * except that of an aborted signal.
 */
export class TurnStream implements AsyncIterable<TurnEvent> {
  readonly #reader: FrameReader;
  readonly #events: AsyncGenerator<TurnEvent, void>;
  #handed: bigint;

  constructor(
    private readonly chat: Client<typeof ChatService>,
    private readonly connection: Connection,
    private readonly opening: Opening,
    private readonly options: FollowOptions,
    private readonly patience: Patience,
  ) {
    const { includeDeltas = false } = opening;
    this.#reader = new FrameReader("turn" in opening ? { ...opening } : { includeDeltas });
    this.#handed = this.#reader.lastSeq;
    this.#events = this.#follow();
  }

  [Symbol.asyncIterator](): AsyncGenerator<TurnEvent, void> {
    return this.#events;
  }

  /** The request_id of the question; "" for a resumed turn. */
  get requestId(): string {
    return "turn" in this.opening ? "" : this.opening.requestId;
  }

  /** `turns/{uuid}`; "" before the first frame. */
  get turn(): string {
    return this.#reader.turn;
  }

  /** The seq of the last event that was handed out. `resume` continues after it. */
  get lastSeq(): bigint {
    return this.#handed;
  }

  /** The event that ended the turn. A stream that resumes after this event yields nothing, but has it, too. */
  get terminal(): TurnEvent | undefined {
    return this.#reader.terminal;
  }

  /** The answer's text so far: the deltas that were not withdrawn, and at the end the complete answer. After `resume`, the text before `afterSeq` is missing. */
  get text(): string {
    return this.#reader.text;
  }

  /** The citations so far that were not withdrawn. */
  get citations(): readonly Citation[] {
    const end = this.terminal?.event;
    return end?.case === "answer" ? end.value.citations : this.#reader.citations.map(({ citation }) => citation);
  }

  /**
   * Cancel the turn, and return it with its terminal event. This also works before the turn's name is known: a question that is still on its way cannot start a turn
   * afterwards. The iteration goes on to the terminal event.
   */
  async stop(): Promise<Turn> {
    return this.chat.cancelTurn({ name: this.turn || (await this.#started()) });
  }

  async #started(): Promise<string> {
    const { includeDeltas: _, cancelOnDisconnect: __, ...question } = this.opening as Question;
    return (await this.chat.startTurn(question)).name;
  }

  async *#follow(): AsyncGenerator<TurnEvent, void> {
    const { signal, timeoutMs, ...notices } = this.options;
    const late = timeoutMs === undefined ? undefined : AbortSignal.timeout(timeoutMs);
    const ends = [this.connection.closed, signal, late].filter((one) => one !== undefined);
    try {
      for await (const event of follow(this.#reader, this.#calls(), AbortSignal.any(ends), notices, this.patience)) {
        this.#handed = event.seq;
        yield event;
      }
    } catch (error) {
      throw this.#named(errorOf(error));
    }
    if (this.terminal) return;
    signal?.throwIfAborted();
    throw this.#named(
      late?.aborted
        ? new ResponsaError(`${this.turn || "The turn"} had not ended within ${timeoutMs} ms. It continues.`, Code.DeadlineExceeded)
        : new ResponsaError("This client is closed.", Code.Canceled),
    );
  }

  #calls(): Calls {
    const { chat, opening, connection } = this;
    const { includeDeltas = false } = opening;
    return {
      ...(!("turn" in opening) && { ask: (signal: AbortSignal) => chat.ask(opening, { signal }) }),
      resume: (turn, afterSeq, signal) => chat.resumeTurn({ turn, afterSeq, includeDeltas }, { signal }),
      get: (name, signal) => chat.getTurn({ name }, { signal }),
      renew: () => connection.renew(),
      renewsToken: connection.renewsToken,
    };
  }

  #named(error: ResponsaError): ResponsaError {
    return Object.assign(error, { turn: this.turn, afterSeq: this.#handed, requestId: this.requestId });
  }
}
