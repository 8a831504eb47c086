/** The outcomes of the turns of a conversation's messages. */

import { timestampFromMs, timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { Turn } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import type { Api } from "./api.js";

/** `turns/{uuid}` → outcome, for the newest turns of a conversation that were accepted at `until` or before, newest first. */
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

/** Rounded up to milliseconds, the precision of a browser's dates, so that the turn itself is included. */
function later(time: Timestamp): string {
  return timestampDate(timestampFromMs(Math.ceil(Number(time.seconds) * 1000 + time.nanos / 1e6))).toISOString();
}
