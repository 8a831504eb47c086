/** Labels of documents, written as lines. Nothing here touches the page. */

import { byteLength } from "@responsa/client/parts.js";
import { byName, fits, nameLine, pairsOf, stringOf } from "../text/values.js";
import { t } from "../language/documents/texts.js";

const MOST = 32;
const KEY_BYTES = 63;
const VALUE_BYTES = 255;

export type Labels = Readonly<Record<string, string>>;

/** The labels of lines such as `team: legal`, or the mistake in a line. */
export function labelsOf(lines: string): Labels | string {
  const read = pairsOf(lines);
  if (typeof read === "string") return read;
  const found = new Map([...read].map(([key, text]) => [key, stringOf(text) ?? text]));
  for (const [key, value] of found) {
    if (byteLength(key) > KEY_BYTES) return t("labelLong", { key, count: KEY_BYTES });
    if (byteLength(value) > VALUE_BYTES) return t("labelValueLong", { key, count: VALUE_BYTES });
  }
  return found.size > MOST ? t("labelsMany", { count: found.size, limit: MOST }) : Object.fromEntries(found);
}

/** Writes labels as lines. A value that could be read as something else is written as a JSON string. `labelsOf` reads the same labels from these lines. */
export function labelLines(labels: Labels): string {
  return byName(labels)
    .map(([key, value]) => `${nameLine(key)}: ${fits(value) && stringOf(value) === undefined ? value : JSON.stringify(value)}`)
    .join("\n");
}
