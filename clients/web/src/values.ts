/** Values that users write as lines such as `subject: biology`. Nothing here touches the page. */

import type { JsonObject } from "@bufbuild/protobuf";
import { byteLength } from "./bytes.js";

/** The maximum size of values as JSON. */
const VALUES_BYTES = 4_096;

/** The names and texts of lines such as `name: text`, or the mistake in a line. */
export function pairsOf(lines: string): Map<string, string> | string {
  const found = new Map<string, string>();
  for (const [place, line] of lines.split("\n").entries()) {
    if (!line.trim()) continue;
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).trim();
    if (colon < 0 || !name) return `Line ${place + 1} must read “name: value”.`;
    if (found.has(name)) return `Line ${place + 1} names “${name}” again.`;
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
  return over > 0 ? `These are too long by ${over} bytes.` : "";
}

function valueOf(text: string): JsonObject[string] {
  try {
    return JSON.parse(text) as JsonObject[string];
  } catch {
    return text;
  }
}

/** Writes values as lines. `valuesOf` reads the same values from these lines, unless a name contains a colon or a line break. */
export function linesOf(values: JsonObject | undefined): string {
  return byName(values ?? {})
    .map(([name, value]) => `${name}: ${typeof value === "string" && plain(value) ? value : JSON.stringify(value)}`)
    .join("\n");
}

/** Whether a string can be written on a line without quotes. */
function plain(text: string): boolean {
  return text === text.trim() && !text.includes("\n") && valueOf(text) === text;
}

/** The entries of an object in the order of their names. */
export function byName<T>(values: Readonly<Record<string, T>>): [string, T][] {
  return Object.entries(values).sort(([one], [other]) => (one < other ? -1 : 1));
}
