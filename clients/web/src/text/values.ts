/** Values that users write as lines such as `subject: biology`. Nothing here touches the page. */

import type { JsonObject } from "@bufbuild/protobuf";
import { byteLength } from "@responsa/client/parts.js";
import { t } from "../language/documents/texts.js";

/** The maximum size of values as JSON. */
const VALUES_BYTES = 4_096;

/** A name in quotes, as a JSON string, with the colon behind it. */
const QUOTED = /^\s*("(?:[^"\\]|\\.)*")\s*:/;

/** The names and texts of lines such as `name: text`, or the mistake in a line. A name may be a JSON string: `"a:b": text`. */
export function pairsOf(lines: string): Map<string, string> | string {
  const found = new Map<string, string>();
  for (const [place, line] of lines.split("\n").entries()) {
    if (!line.trim()) continue;
    const [start = "", quotes = ""] = QUOTED.exec(line) ?? [];
    const quoted = stringOf(quotes);
    const colon = quoted === undefined ? line.indexOf(":") : start.length - 1;
    const name = quoted ?? line.slice(0, colon).trim();
    if (colon < 0 || (!name && quoted === undefined)) return t("lineForm", { line: place + 1 });
    if (found.has(name)) return t("lineAgain", { line: place + 1, name });
    found.set(name, line.slice(colon + 1).trim());
  }
  return found;
}

/** The values of lines such as `subject: biology`, or the mistake in a line. A value that is valid JSON is read as JSON: `grade: 7` is a number. */
export function valuesOf(lines: string): JsonObject | string {
  const read = pairsOf(lines);
  return typeof read === "string" ? read : Object.fromEntries([...read].map(([name, text]) => [name, valueOf(text)]));
}

/** Why lines are not valid values; "" if they are valid. */
export function valuesProblem(lines: string): string {
  const read = valuesOf(lines);
  if (typeof read === "string") return read;
  const over = byteLength(JSON.stringify(read)) - VALUES_BYTES;
  return over > 0 ? t("valuesLong", { count: over }) : "";
}

function valueOf(text: string): JsonObject[string] {
  try {
    return JSON.parse(text) as JsonObject[string];
  } catch {
    return text;
  }
}

/** Writes values as lines. `valuesOf` reads the same values from these lines. */
export function linesOf(values: JsonObject | undefined): string {
  return byName(values ?? {})
    .map(([name, value]) => `${nameLine(name)}: ${typeof value === "string" && fits(value) && valueOf(value) === value ? value : JSON.stringify(value)}`)
    .join("\n");
}

/** A name as it begins a line: in quotes if it could be read as something else without them. */
export function nameLine(name: string): string {
  return name && fits(name) && !name.includes(":") && !name.startsWith('"') ? name : JSON.stringify(name);
}

/** Whether a string stays the same at the end of a line. */
export function fits(text: string): boolean {
  return text === text.trim() && !/[\n\r]/.test(text);
}

/** The string that a JSON string means; undefined if the text is not a JSON string. */
export function stringOf(text: string): string | undefined {
  const value = text.startsWith('"') ? valueOf(text) : undefined;
  return typeof value === "string" && value !== text ? value : undefined;
}

/** The entries of an object in the order of their names. */
export function byName<T>(values: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(values).sort(([one], [other]) => (one < other ? -1 : 1));
}
