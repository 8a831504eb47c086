/**
 * Reads a turn's frames and checks that a stream is complete. This module does not depend on a transport. A frame covers the events whose seq is above `afterSeq`
 * and at most `throughSeq`. The `afterSeq` of a frame is the `throughSeq` of the previous frame. A frame whose `throughSeq` equals its `afterSeq` is a heartbeat,
 * or ends its stream. Deltas that were not withdrawn add up to the answer's text, byte for byte.
 */

import { QuoteOrigin, type Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import type { TurnAnswer, TurnAttemptRestarted, TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { byteLength, ByteText, sha256Hex, hex } from "./bytes.js";
import { BrokenAnswer } from "./errors.js";

/** The fields of an AskResponse. A ResumeTurnResponse has the same fields. */
export interface Frame {
  /** `turns/{uuid}`. */
  readonly turn: string;
  readonly afterSeq: bigint;
  readonly throughSeq: bigint;
  readonly events: readonly TurnEvent[];
}

/** A frame does not continue the previous frame of its stream. Resuming after the last good frame returns all further frames. */
export class ChainBroken extends Error {}

const TERMINAL: readonly unknown[] = ["answer", "refused", "failed", "cancelled"] satisfies TurnEvent["event"]["case"][];

/** Whether an event ends its turn. An event of an unknown kind does not end the turn. */
export function terminal(event: TurnEvent): boolean {
  return TERMINAL.includes(event.event.case);
}

export interface Begin {
  /** Whether the stream includes deltas. */
  readonly includeDeltas: boolean;
  /** `turns/{uuid}`, if it is already known. */
  readonly turn?: string;
  /** The seq of the last event that another reader read. This reader does not have the text up to this event. */
  readonly afterSeq?: bigint;
}

/** Takes the frames of one turn, over any number of streams, and returns each event once. */
export class FrameReader {
  /** The turn's name, `turns/{uuid}`; "" before the first frame, unless the caller gave the name. */
  turn: string;
  /** The seq of the last event that was returned or covered. */
  lastSeq: bigint;
  /** The event that ended the turn. */
  terminal: TurnEvent | undefined;
  /** The number of turns before this turn in its conversation; 0 if this turn does not wait. */
  place = 0;
  /** Milliseconds after which the client should open another connection, if the server asked for it on this stream. */
  reconnect: number | undefined;
  readonly #includeDeltas: boolean;
  #citations: { readonly seq: bigint; readonly citation: Citation }[] = [];
  #through = 0n;
  #attempt = 0;
  /** The byte of the answer at which `#text` begins; undefined while it is unknown. */
  #base: number | undefined;
  #text = "";
  #bytes = 0;

  constructor({ includeDeltas, turn = "", afterSeq = 0n }: Begin) {
    this.#includeDeltas = includeDeltas;
    this.turn = turn;
    this.lastSeq = afterSeq;
    this.#base = afterSeq === 0n ? 0 : undefined;
  }

  /** The answer's text so far, from the first byte that this reader has. */
  get text(): string {
    return this.#text;
  }

  /** The citation events that were not withdrawn. */
  get citations(): readonly { readonly seq: bigint; readonly citation: Citation }[] {
    return this.#citations;
  }

  /** Begin a new stream, which returns the events after `lastSeq`. */
  begin(): void {
    this.#through = this.lastSeq;
    this.reconnect = undefined;
  }

  /** The frame's new events, in order, without heartbeats and unknown kinds. Raises ChainBroken, BrokenAnswer. */
  take(frame: Frame): TurnEvent[] {
    if (this.turn && frame.turn !== this.turn) throw new BrokenAnswer(`the stream of ${this.turn} contained a frame of ${frame.turn}`);
    if (frame.afterSeq !== this.#through || frame.throughSeq < frame.afterSeq) {
      throw new ChainBroken(`a frame covers (${frame.afterSeq}, ${frame.throughSeq}] but should continue after ${this.#through}`);
    }
    const unnumbered = frame.events.filter((event) => event.seq === 0n);
    const logged = frame.events.filter((event) => event.seq !== 0n);
    const snapshot = unnumbered.find((event) => event.event.case === "snapshot")?.event;
    const pruned = snapshot?.case === "snapshot" ? snapshot.value : undefined;
    if (!pruned) this.#check(frame, logged);
    this.turn = frame.turn;
    this.#through = frame.throughSeq;
    if (frame.throughSeq > this.lastSeq) {
      this.lastSeq = frame.throughSeq;
      this.place = 0;
    }
    const known = logged.filter((event) => this.#takeEvent(event));
    if (pruned?.terminalEvent) known.push(this.#takeSnapshot(pruned.terminalEvent));
    for (const { event } of unnumbered) {
      if (event.case === "heartbeat") this.place = event.value.queuePlace;
      else if (event.case === "reconnect") this.reconnect = Number(event.value.after?.seconds ?? 0n) * 1000 + (event.value.after?.nanos ?? 0) / 1e6;
    }
    return known;
  }

  /** End the turn with a terminal event that another call returned. Raises BrokenAnswer. */
  end(event: TurnEvent): void {
    if (!this.terminal) this.#takeSnapshot(event);
  }

  /** Check that the events are within the frame's range and in order. If the stream includes deltas, no event may be missing. */
  #check(frame: Frame, logged: readonly TurnEvent[]): void {
    let last = frame.afterSeq;
    for (const { seq } of logged) {
      const follows = this.#includeDeltas ? seq === last + 1n : seq > last;
      if (!follows || seq > frame.throughSeq) throw new ChainBroken(`event ${seq} follows ${last} in a frame that covers the events up to ${frame.throughSeq}`);
      last = seq;
    }
    if (this.#includeDeltas && last !== frame.throughSeq) throw new ChainBroken(`a frame that covers the events up to ${frame.throughSeq} ends with event ${last}`);
  }

  #takeEvent(event: TurnEvent): boolean {
    if (this.terminal) throw new BrokenAnswer(`event ${event.seq} of ${this.turn} comes after the terminal event`);
    const kind = event.event;
    if (kind.case === "attemptRestarted") this.#restart(event.attempt, kind.value);
    else if (!this.#attempt) this.#attempt = event.attempt;
    if (kind.case === "delta" || kind.case === "citation") {
      if (event.attempt !== this.#attempt) throw new BrokenAnswer(`event ${event.seq} of ${this.turn} belongs to attempt ${event.attempt}, not ${this.#attempt}`);
    }
    if (kind.case === "delta") this.#append(Number(kind.value.byteOffset), kind.value.text);
    else if (kind.case === "citation") this.#citations.push({ seq: event.seq, citation: kind.value });
    else if (kind.case === "answer") this.#answer(kind.value, this.#includeDeltas);
    if (terminal(event)) this.terminal = event;
    return kind.case !== undefined;
  }

  #takeSnapshot(event: TurnEvent): TurnEvent {
    if (event.event.case === "answer") this.#answer(event.event.value, false);
    this.terminal = event;
    if (event.seq > this.lastSeq) this.lastSeq = event.seq;
    return event;
  }

  #append(offset: number, text: string): void {
    this.#base ??= offset;
    if (offset !== this.#base + this.#bytes) {
      throw new BrokenAnswer(`a piece of the answer of ${this.turn} begins at byte ${offset}, not at ${this.#base + this.#bytes}`);
    }
    this.#text += text;
    this.#bytes += byteLength(text);
  }

  #restart(attempt: number, { discardFromSeq, keepBytes }: TurnAttemptRestarted): void {
    const keep = Number(keepBytes);
    if (attempt <= this.#attempt) throw new BrokenAnswer(`attempt ${attempt} of ${this.turn} follows attempt ${this.#attempt}`);
    this.#attempt = attempt;
    this.#citations = this.#citations.filter((one) => one.seq < discardFromSeq);
    if (!this.#includeDeltas) return;
    if (this.#base === undefined || keep <= this.#base) {
      // The kept bytes lie before the text that this reader has.
      this.#base = keep;
      this.#text = "";
      this.#bytes = 0;
      return;
    }
    const text = new ByteText(this.#text);
    const stays = keep - this.#base;
    if (stays > this.#bytes || text.borderBefore(stays) !== stays) throw new BrokenAnswer(`the answer of ${this.turn} cannot be cut after ${keep} bytes`);
    this.#text = text.slice(0, stays);
    this.#bytes = stays;
  }

  #answer(answer: TurnAnswer, compare: boolean): void {
    checkAnswer(answer);
    if (compare && this.#base !== undefined) {
      const text = new ByteText(answer.text);
      if (this.#text !== text.slice(this.#base, text.length)) throw new BrokenAnswer(`the pieces of the answer of ${this.turn} do not add up to its text`);
    }
    this.#base = 0;
    this.#text = answer.text;
    this.#bytes = byteLength(answer.text);
  }
}

/** Check the checksums of an answer's text and of each citation's quote, and the ranges of the citations. Raises BrokenAnswer. */
export function checkAnswer(answer: TurnAnswer): void {
  const length = BigInt(byteLength(answer.text));
  if (sha256Hex(answer.text) !== hex(answer.sha256)) throw new BrokenAnswer("the answer's text does not match its SHA-256");
  answer.citations.forEach(({ quote, sha256, sourceRange, answerRange, quoteOrigin }, index) => {
    if (sha256Hex(quote) !== hex(sha256)) throw new BrokenAnswer(`the quote of citation ${index + 1} does not match its SHA-256`);
    const source = { start: 0n, end: 0n, ...sourceRange };
    const cited = { start: 0n, end: 0n, ...answerRange };
    const quoted = quoteOrigin === QuoteOrigin.NOT_FOUND ? 0n : source.end - source.start;
    if (quoted !== BigInt(byteLength(quote))) throw new BrokenAnswer(`the quote of citation ${index + 1} is not as long as its range in the source`);
    if (cited.start < 0n || cited.end < cited.start || cited.end > length) throw new BrokenAnswer(`citation ${index + 1} points beyond the answer's text`);
  });
}
