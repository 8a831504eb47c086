/** The content of a teacher's form, and its validation. Nothing here touches the page. */

import type { JsonObject } from "@bufbuild/protobuf";
import type { Teacher } from "@responsa/contract/responsa/admin/v1/teacher_pb.js";
import { byteLength } from "./bytes.js";

export const NAME_BYTES = 200;
export const PERSONA_BYTES = 8_192;
const VALUES_BYTES = 4_096;

/** A teacher as the user typed it. */
export interface Draft {
  readonly displayName: string;
  readonly persona: string;
  /** Further values, one per line: `subject: biology`. */
  readonly values: string;
}

/** Why a text is not valid; "" if it is valid. */
export function textProblem(text: string, most: number): string {
  if (!text.trim()) return "Enter a text.";
  const over = byteLength(text) - most;
  return over > 0 ? `This is too long by ${over} bytes; the limit is ${most.toLocaleString("en")}.` : "";
}

export function valuesProblem(lines: string): string {
  const read = valuesOf(lines);
  if (typeof read === "string") return read;
  const over = byteLength(JSON.stringify(read)) - VALUES_BYTES;
  return over > 0 ? `These are too long by ${over} bytes.` : "";
}

/** The values of lines such as `subject: biology`, or the mistake in a line. A value that is valid JSON is read as JSON: `grade: 7` is a number. */
export function valuesOf(lines: string): JsonObject | string {
  const found: JsonObject = {};
  for (const [place, line] of lines.split("\n").entries()) {
    if (!line.trim()) continue;
    const colon = line.indexOf(":");
    const name = line.slice(0, colon).trim();
    if (colon < 0 || !name) return `Line ${place + 1} must read “name: value”.`;
    if (Object.hasOwn(found, name)) return `Line ${place + 1} names “${name}” again.`;
    found[name] = valueOf(line.slice(colon + 1).trim());
  }
  return found;
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
  return Object.entries(values ?? {})
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, value]) => `${name}: ${typeof value === "string" && plain(value) ? value : JSON.stringify(value)}`)
    .join("\n");
}

/** Whether a string can be written on a line without quotes. */
function plain(text: string): boolean {
  return text === text.trim() && !text.includes("\n") && valueOf(text) === text;
}

export function draftOf({ displayName, persona, parameters }: Pick<Teacher, "displayName" | "persona" | "parameters">): Draft {
  return { displayName, persona, values: linesOf(parameters) };
}

/** The fields that differ, as paths of an update mask. */
export function changedPaths(before: Draft, after: Draft): string[] {
  const paths: string[] = [];
  if (before.displayName !== after.displayName) paths.push("display_name");
  if (before.persona !== after.persona) paths.push("persona");
  if (JSON.stringify(valuesOf(before.values)) !== JSON.stringify(valuesOf(after.values))) paths.push("parameters");
  return paths;
}
