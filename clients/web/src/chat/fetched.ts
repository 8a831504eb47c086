/** Describes calls of tools and what they returned. Nothing here touches the page. */

import type { Timestamp } from "@bufbuild/protobuf/wkt";
import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { ToolOutcome, type TurnToolResult } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { lapse, moment } from "../text/facts.js";
import { described, t } from "../language/language.js";

/** The id of a tool, `tools/{id}`. */
export function toolOf(name: string): string {
  return name.replace(/^tools\//, "");
}

/** What people call the tools that this page has met, by name, `tools/{id}`. Citations hold only the name. */
const TITLES = new Map<string, string>();

/** Remember what people call a tool. */
export function rememberTool({ name, title }: { readonly name: string; readonly title: string }): void {
  if (title) TITLES.set(name, described(title));
}

/** What people call the tool `tools/{id}`; its id if the page has not met it. */
export function titleOf(name: string): string {
  return TITLES.get(name) ?? toolOf(name);
}

/** Whether a tool returned the source of a citation. */
export function isFetched({ origin }: Citation): boolean {
  return origin.case === "toolResult";
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

/** For example "fetched by the web search, 3 Feb 2026, 14:05"; "" for a citation of a document. */
export function fetchedBy({ origin }: Citation): string {
  if (origin.case !== "toolResult") return "";
  return fetched(titleOf(origin.value.tool), origin.value.fetchTime);
}

/** For example "fetched by the web search, 3 Feb 2026, 14:05". */
export function fetched(tool: string, time: Timestamp | undefined): string {
  return [t("fetchedBy", { tool }), moment(time)].filter(Boolean).join(", ");
}

/** How a call ended: "done in 0.8 s, 3 sources". `took` is in milliseconds. */
export function endOf({ outcome, sources }: TurnToolResult, took: number): string {
  const found = sources.length > 0 ? `, ${t("sourceCount", { count: sources.length })}` : "";
  if (outcome === ToolOutcome.OK) return `${t("doneIn", { time: lapse(took) })}${found}`;
  return outcome === ToolOutcome.ERROR ? `${t("failedAfter", { time: lapse(took) })}${found}` : t("effectUnknown");
}
