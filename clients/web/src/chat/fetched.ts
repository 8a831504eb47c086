/** Describes calls of tools and what they returned. Nothing here touches the page. */

import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { ToolOutcome, type TurnToolResult } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { count, momentOf } from "../common/facts.js";
import { duration } from "./steps.js";

/** The id of a tool, `tools/{id}`. */
export function toolOf(name: string): string {
  return name.replace(/^tools\//, "");
}

/** The address that a link may have; undefined for anything but http and https. */
export function linkOf(uri: string): string | undefined {
  if (!/^https?:\/\/[^/]/i.test(uri) || !URL.canParse(uri)) return undefined;
  return new URL(uri).href;
}

/** The host of an address, or else the address itself. */
export function hostOf(uri: string): string {
  return linkOf(uri) ? new URL(uri).host : uri;
}

/** For example "fetched by web_search, 3 Feb 2026, 14:05"; "" for a citation of a document. */
export function fetchedBy({ origin }: Citation): string {
  if (origin.case !== "toolResult") return "";
  return fetched(toolOf(origin.value.tool), origin.value.fetchTime);
}

/** For example "fetched by web_search, 3 Feb 2026, 14:05". */
export function fetched(tool: string, time: Timestamp | undefined): string {
  return [`fetched by ${tool}`, ...(time ? [momentOf(timestampDate(time))] : [])].join(", ");
}

/** How a call ended: "done in 0.8 s, 3 sources". `took` is in milliseconds. */
export function endOf({ outcome, sources }: TurnToolResult, took: number): string {
  const found = sources.length > 0 ? `, ${count(sources.length, "source")}` : "";
  if (outcome === ToolOutcome.OK) return `done in ${duration(took)}${found}`;
  return outcome === ToolOutcome.ERROR ? `failed after ${duration(took)}${found}` : "it is not known whether it was done";
}
