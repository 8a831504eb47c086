/** Places of a text that the server names by bytes. Nothing here touches the page. */

import { unitsAt } from "@responsa/client/parts.js";
import type { Place } from "./content.js";

/** The places of these ranges of bytes. In JSON, numbers are strings, and 0 is left out. */
export function placesOf(text: string, ranges: readonly { readonly start?: bigint | string; readonly end?: bigint | string }[]): readonly Place[] {
  const units = unitsAt(text, ranges.flatMap(({ start, end }) => [Number(start ?? 0), Number(end ?? 0)]));
  return ranges.map((_, index) => ({ from: units[2 * index]!, to: units[2 * index + 1]! }));
}
