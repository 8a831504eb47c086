/** Invented turns and their frames. The answers are empty. */

import { create } from "@bufbuild/protobuf";
import { ResumeTurnResponseSchema } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import { TurnEventSchema, type TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { sha256 } from "@noble/hashes/sha2.js";
import type { Frame } from "../src/frames.js";

type Kind = NonNullable<NonNullable<Parameters<typeof create<typeof TurnEventSchema>>[1]>["event"]>;

export const TURN = "turns/1";

export function event(seq: number, kind: Kind, attempt = 1): TurnEvent {
  return create(TurnEventSchema, { seq: BigInt(seq), attempt, event: kind });
}

export const started = (seq: number) => event(seq, { case: "started", value: {} });
export const status = (seq: number) => event(seq, { case: "status", value: { message: `step ${seq}` } });
export const answer = (seq: number) => event(seq, { case: "answer", value: { text: "", sha256: sha256(new Uint8Array()) } });
export const heartbeat = (queuePlace = 0) => event(0, { case: "heartbeat", value: { queuePlace } });
export const reconnect = () => event(0, { case: "reconnect", value: {} });

export function frame(after: number, through: number, ...events: TurnEvent[]): Frame {
  return create(ResumeTurnResponseSchema, { turn: TURN, afterSeq: BigInt(after), throughSeq: BigInt(through), events });
}

/** A turn with this number of events, each in its own frame. The last event is the answer. */
export function whole(events: number): Frame[] {
  return Array.from({ length: events }, (_, place) => {
    const seq = place + 1;
    return frame(place, seq, seq === events ? answer(seq) : seq === 1 ? started(seq) : status(seq));
  });
}

/** Waits until the signal aborts. */
export async function hang(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
