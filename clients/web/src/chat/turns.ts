/** Reads the turns of a conversation's messages. The turns contain the outcomes. */

import { timestampFromMs, timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { Turn } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import type { Api } from "../server/api.js";

/** The newest turns of a conversation, at most `most`, by name, newest first. If `until` is given, later turns are left out. */
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

/** The time in whole milliseconds, because a browser's dates are not more precise. The time is rounded up, so that the turn itself is included. */
function later(time: Timestamp): string {
  return timestampDate(timestampFromMs(Math.ceil(Number(time.seconds) * 1000 + time.nanos / 1e6))).toISOString();
}
