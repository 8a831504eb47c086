/** Labels of documents, written as lines. Nothing here touches the page. */

import { byteLength } from "./bytes.js";
import { byName, pairsOf } from "./values.js";

const MOST = 32;
const KEY_BYTES = 63;
const VALUE_BYTES = 255;

export type Labels = Readonly<Record<string, string>>;

/** The labels of lines such as `team: legal`, or the mistake in a line. */
export function labelsOf(lines: string): Labels | string {
  const found = pairsOf(lines);
  if (typeof found === "string") return found;
  for (const [key, value] of found) {
    if (byteLength(key) > KEY_BYTES) return `The label “${key}” is longer than ${KEY_BYTES} bytes.`;
    if (byteLength(value) > VALUE_BYTES) return `The value of “${key}” is longer than ${VALUE_BYTES} bytes.`;
  }
  return found.size > MOST ? `These are ${found.size} labels; the limit is ${MOST}.` : Object.fromEntries(found);
}

/** Writes labels as lines. */
export function labelLines(labels: Labels): string {
  return byName(labels)
    .map(([key, value]) => `${key}: ${value}`)
    .join("\n");
}
