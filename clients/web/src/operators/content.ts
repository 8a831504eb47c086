/** Writes what a version of an agent contains as lines, which are easy to compare. Nothing here touches the page. */

import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { byName } from "../text/values.js";

/** The number of `agents/{id}/versions/{n}`; 0 for any other name. */
export function numberOf(version: string): number {
  return Number(/\/versions\/(\d+)$/.exec(version)?.[1] ?? 0);
}

/** One line for each value, such as `config.history.messages: 10`. The lines of a longer text follow its name, indented. "" without content. */
export function contentText(content: JsonObject | undefined): string {
  return content ? linesOf(content, "").join("\n") : "";
}

function linesOf(value: JsonValue, name: string): string[] {
  if (Array.isArray(value) && value.some((one) => typeof one === "object" && one !== null)) return value.flatMap((one, index) => linesOf(one, `${name}[${index}]`));
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return byName(value).flatMap(([key, one]) => linesOf(one, name ? `${name}.${key}` : key));
  if (typeof value === "string" && value.includes("\n")) return [`${name}:`, ...value.trimEnd().split("\n").map((line) => `    ${line}`)];
  return [`${name}: ${typeof value === "string" ? value : JSON.stringify(value)}`];
}
