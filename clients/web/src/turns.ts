/** What became of the turns that a conversation's messages belong to. */

import { timestampFromMs, timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { Turn } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import type { Api } from "./api.js";

/** `turns/{uuid}` → what became of it, of the newest turns of a conversation, newest first, accepted at `until` or before. */
export async function turnsOf(
  api: Pick<Api, "chat">,
  conversation: string,
  most: number,
  signal: AbortSignal,
  until?: Timestamp,
): Promise<ReadonlyMap<string, Turn>> {
  const before = until ? ` AND create_time <= "${later(until)}"` : "";
  const request = { filter: `conversation = "${conversation}"${before}`, orderBy: "create_time desc", pageSize: most };
  const { turns } = await api.chat.listTurns(request, { signal });
  return new Map(turns.map((one) => [one.name, one]));
}

/** A browser's dates know milliseconds: rounded up, so that the turn itself is among those meant. */
function later(time: Timestamp): string {
  return timestampDate(timestampFromMs(Math.ceil(Number(time.seconds) * 1000 + time.nanos / 1e6))).toISOString();
}
