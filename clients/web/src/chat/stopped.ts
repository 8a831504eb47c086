/** Shows a turn that was cancelled earlier, with the text that its log still has. */

import type { Turn } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import type { Api } from "../server/api.js";
import { follow, FrameReader } from "@responsa/client/parts.js";
import type { LiveHooks } from "./liveturn.js";
import { TurnView } from "./turnview.js";

/** Reads the turn's log to its end. Raises ResponsaError. */
export async function stoppedTurn({ name, text }: Turn, api: Pick<Api, "chat">, hooks: Pick<LiveHooks, "open" | "label" | "say" | "asking" | "agent" | "focus">, signal: AbortSignal): Promise<TurnView | undefined> {
  const reader = new FrameReader({ includeDeltas: true, turn: name });
  let shown = false;
  const view = new TurnView(text, {
    open: hooks.open,
    label: hooks.label,
    say: (what) => shown && hooks.say(what), // the turn ended earlier, so its events are not announced
    asking: hooks.asking,
    agent: hooks.agent,
    stop: () => undefined,
    askAgain: undefined,
    focus: hooks.focus,
  });
  view.reply.dataset["turn"] = name;
  const calls = {
    resume: (turn: string, afterSeq: bigint, stop: AbortSignal) => api.chat.resumeTurn({ turn, afterSeq, includeDeltas: true }, { signal: stop }),
    get: (turn: string, stop: AbortSignal) => api.chat.getTurn({ name: turn }, { signal: stop }),
  };
  for await (const event of follow(reader, calls, signal)) view.take(event, reader);
  shown = true;
  return reader.terminal ? view : undefined;
}
