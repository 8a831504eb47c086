/** A turn that the page follows to its end. This tab, another tab or a program may have asked its question. */

import { OnBusy } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import type { TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import type { CardHooks } from "./passages.js";
import type { Api } from "../server/api.js";
import { failureOf, isLimit, signedOut, type Failure } from "../server/errors.js";
import { actions } from "./feedback.js";
import { BrokenAnswer, type Calls, follow, FrameReader, PATIENCE, type Patience, persist, type ResponsaError } from "@responsa/client/parts.js";
import { loadMarkdown } from "../text/markdown.js";
import { Pace } from "../text/pace.js";
import type { Pending, PendingQuestions } from "./pending.js";
import type { SharedStreams } from "./streams.js";
import { TurnView } from "./turnview.js";
import { t } from "../language/language.js";

/** The question that this tab asked, or a turn that this tab found. */
export type Origin = { readonly pending: Pending } | { readonly turn: string; readonly conversation: string; readonly text: string };

export interface LiveHooks extends CardHooks {
  readonly agent: (version: string) => string;
  readonly focus: () => void;
  /** The turn's name is now known. Returns false if the page already shows the turn's answer. */
  readonly named: (live: LiveTurn) => boolean;
  /** The turn's conversation, possibly a new one, is now known. */
  readonly begun: (live: LiveTurn) => void;
  /** Change the view; the page scrolls along. */
  readonly grow: (live: LiveTurn, change: () => void) => void;
  /** The turn has ended, or cannot be followed to its end. */
  readonly ended: (live: LiveTurn) => void;
  /** The server refused the question. */
  readonly refused: (pending: Pending, failure: Failure) => void;
  readonly again: (live: LiveTurn, pending: Pending) => void;
}

export interface Parts {
  readonly api: Pick<Api, "chat">;
  readonly streams: Pick<SharedStreams, "ask" | "resume" | "forget">;
  readonly waiting: PendingQuestions;
  readonly patience?: Patience;
}

/** Milliseconds for which a stopped answer waits for the rest of its text. */
const CATCH_UP = 1_000;
/** The longest limit of questions in milliseconds that the page waits for by itself. */
const LONGEST_LIMIT = 120_000;

export class LiveTurn {
  readonly view: TurnView;
  readonly #parts: Parts;
  readonly #hooks: LiveHooks;
  readonly #patience: Patience;
  readonly #reader: FrameReader;
  readonly #following = new AbortController();
  readonly #pace = new Pace();
  #pending: Pending | undefined;
  #conversation: string;
  /** The limit that the question waits for. */
  #limit: Failure | undefined;
  #left = false;
  #stopping = false;
  #over = false;

  constructor(origin: Origin, parts: Parts, hooks: LiveHooks) {
    this.#parts = parts;
    this.#hooks = hooks;
    this.#patience = { ...(parts.patience ?? PATIENCE), longestLimit: LONGEST_LIMIT };
    this.#pending = "pending" in origin ? origin.pending : undefined;
    const { turn, text } = "pending" in origin ? origin.pending : origin;
    this.#conversation = "pending" in origin ? origin.pending.begun : origin.conversation;
    this.#reader = new FrameReader({ includeDeltas: true, turn });
    this.view = new TurnView(text, {
      open: hooks.open,
      label: hooks.label,
      ...(hooks.further && { further: hooks.further }),
      say: (what) => this.#left || hooks.say(what),
      asking: hooks.asking,
      agent: hooks.agent,
      stop: () => void this.stop(),
      feedback: (shares) => actions(parts.api, shares, () => this.turn, () => this.turn, undefined, hooks.say),
      askAgain: this.#pending && (() => this.#pending && hooks.again(this, this.#pending)),
      focus: hooks.focus,
    });
    if (turn) this.#mark();
    if (!this.#pending) this.view.busy(t("askedElsewhere"));
  }

  /** `turns/{uuid}`, "" until it is known. */
  get turn(): string {
    return this.#reader.turn;
  }

  /** The terminal event, once the turn has ended. */
  get end(): TurnEvent | undefined {
    return this.#reader.terminal;
  }

  /** `conversations/{uuid}`, "" until it is known. */
  get conversation(): string {
    return this.#conversation;
  }

  /** Stop following the turn, because it is no longer shown. A turn whose conversation is not known yet could not be found again, so the page follows such a turn until it knows the conversation. */
  leave(): void {
    this.#left = true;
    this.#pace.drop();
    if (!this.#conversation) return;
    this.#following.abort();
    this.#parts.streams.forget(this.turn);
  }

  /** Show the number of turns before this turn in the conversation. */
  place(place: number): void {
    if (!this.#over && this.#reader.lastSeq <= 1n) this.view.place(place);
  }

  /** Show which file is being read, and how far, while the question waits for it. */
  reads(text: string): void {
    if (!this.#over && this.#pending && !this.#reader.text) this.view.busy(text);
  }

  /** Follow the turn to its end. */
  async run(): Promise<void> {
    const { api, streams, waiting } = this.#parts;
    const pending = this.#pending;
    if (pending) waiting.keep(pending);
    if (pending?.stopping) void this.stop();
    await loadMarkdown().catch(() => undefined); // without the parser, the answer shows its markup
    const calls: Calls = {
      ...(pending && { ask: (signal) => streams.ask((one) => api.chat.ask({ ...body(pending), includeDeltas: true }, { signal: one }), signal) }),
      resume: streams.resume.bind(streams),
      get: (name, signal) => api.chat.getTurn({ name }, { signal }),
    };
    const notices = {
      place: (place: number) => this.place(place),
      paused: (error: ResponsaError, tries: number) => {
        this.#pace.flush(); // the text may stay like this for a while
        const failure = failureOf(error);
        this.#limit = isLimit(failure) ? failure : undefined;
        this.view.paused(failure, tries, this.#patience.offline());
      },
      resumed: () => {
        this.#limit = undefined;
        this.view.resumed();
      },
    };
    let named = this.turn;
    try {
      for await (const event of follow(this.#reader, calls, this.#following.signal, notices, this.#patience)) {
        if (!named) {
          named = this.turn;
          this.#mark();
          if (!this.#hooks.named(this)) return this.#end();
        }
        if (event.event.case === "started") this.#began(event.event.value.conversation);
        this.#take(event);
      }
    } catch (error) {
      if (!this.#following.signal.aborted) this.#fail(error);
    }
    // Another call may have reported the end.
    if (this.#reader.terminal) this.#take(this.#reader.terminal);
  }

  /** Stop the turn, even if the server has not sent its name yet. A turn that has already ended keeps its outcome. */
  async stop(): Promise<void> {
    if (this.#stopping || this.#over) return;
    if (this.#limit && !this.turn) {
      this.#fail(this.#limit); // the question, which the server does not have, goes back to its box
      return this.#following.abort();
    }
    this.#stopping = true;
    this.view.stopping();
    if (this.#pending) this.#parts.waiting.keep((this.#pending = { ...this.#pending, turn: this.turn, stopping: true }));
    const { chat } = this.#parts.api;
    // This signal never aborts: the turn is stopped even if the user opens another conversation meanwhile.
    const { signal } = new AbortController();
    try {
      const name = this.turn || (await persist((one) => chat.startTurn(body(this.#pending!), { signal: one }), signal, this.#patience)).name;
      const { terminalEvent, conversation } = await persist((one) => chat.cancelTurn({ name }, { signal: one }), signal, this.#patience);
      if (!terminalEvent || this.#reader.terminal) return;
      // Text that was written before the stop may still be on its way; other tabs show it too.
      if (this.#reader.lastSeq + 1n < terminalEvent.seq) await this.#patience.sleep(CATCH_UP, this.#following.signal);
      if (this.#reader.terminal) return;
      this.#reader.turn ||= name;
      this.#mark();
      if (!this.#conversation) this.#began(conversation);
      this.#reader.end(terminalEvent);
      this.#take(terminalEvent);
      this.#following.abort();
    } catch (error) {
      if (this.turn && !(error instanceof BrokenAnswer)) return this.#notStopped(failureOf(error));
      this.#fail(error);
      this.#following.abort();
    }
  }

  /** Stopping the turn failed. The turn continues, and the user may try again. If the turn ends anyway, its stream reports the end. */
  #notStopped(failure: Failure): void {
    if (this.#over) return;
    this.#stopping = false;
    if (this.#pending) this.#parts.waiting.keep((this.#pending = { ...this.#pending, stopping: false }));
    this.view.notStopped(failure.message);
  }

  #mark(): void {
    this.view.reply.dataset["turn"] = this.turn;
  }

  #began(conversation: string): void {
    this.#conversation = conversation;
    if (this.#pending) this.#parts.waiting.keep((this.#pending = { ...this.#pending, begun: conversation, turn: this.turn }));
    if (this.#left) this.#following.abort();
    else this.#hooks.begun(this);
  }

  #take(event: TurnEvent): void {
    if (this.#over) return;
    const ended = event === this.#reader.terminal;
    // The stream may end a moment later; nothing waits for that.
    if (ended) this.#end();
    if (this.#left) return;
    if (event.event.case === "delta" || event.event.case === "citation") return this.#pace.soon(() => this.#hooks.grow(this, () => this.view.grow(this.#reader)));
    this.#hooks.grow(this, () => this.view.take(event, this.#reader));
    if (ended) this.#hooks.ended(this);
  }

  #end(): void {
    this.#over = true;
    this.#pace.drop();
    if (this.#pending) this.#parts.waiting.drop(this.#pending);
    this.#parts.streams.forget(this.turn);
  }

  #fail(error: unknown): void {
    if (this.#over) return;
    if (error instanceof BrokenAnswer) {
      this.#end();
      this.view.broken(t("damaged"));
      return this.#hooks.ended(this);
    }
    const failure = failureOf(error);
    if (signedOut(failure)) {
      this.#over = true; // the question waits until the user signs in again
      return;
    }
    this.#end();
    if (!this.turn || failure.reason === "RESOURCE_NOT_FOUND") this.view.remove();
    else this.view.broken(failure.message);
    if (this.#left) return;
    this.#hooks.ended(this);
    if (!this.turn && this.#pending) this.#hooks.refused(this.#pending, failure);
  }
}

/** The request's fields. They are the same for each call that asks this question. */
function body({ conversation, text, requestId, agent, parameters, collections }: Pending) {
  const given = Object.keys(parameters).length > 0 && { parameters };
  const options = { scope: { collections: [...collections] }, onBusy: OnBusy.QUEUE, ...given };
  return { conversation, text, requestId, agent, options };
}
