/** Finds the cited parts of an answer and the documents that it cites. */

import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { fetchedBy } from "./fetched.js";
import { unitsAt } from "@responsa/client/parts.js";
import type { Place } from "../text/content.js";
import { dateOf } from "../text/facts.js";
import { t } from "../language/language.js";

/** Behind the mark of a source, these would stand alone. */
const CLOSING = /[.,;:!?…。，！？]/;

export interface Part extends Place {
  /** The number of the citation that supports this part, from 0. */
  readonly index: number;
}

/** The parts of an answer that citations support, in the order of their ends. A part whose text has not arrived yet is left out. White space at the end does not belong to a part, punctuation right behind it does. */
export function parts(text: string, citations: readonly Citation[]): Part[] {
  const ranges = citations.flatMap(({ answerRange }, index) => (answerRange ? [{ index, start: Number(answerRange.start), end: Number(answerRange.end) }] : []));
  const units = unitsAt(text, ranges.flatMap(({ start, end }) => [start, end]));
  return ranges
    .map(({ index }, number) => {
      const from = units[2 * number]!;
      let to = units[2 * number + 1]!;
      while (to > from && /\s/.test(text[to - 1]!)) to -= 1;
      if (to > from) while (to < text.length && CLOSING.test(text[to]!)) to += 1;
      return { index, from, to };
    })
    .filter(({ from, to }) => to > from)
    .sort((a, b) => a.to - b.to || a.index - b.index);
}

export interface Source {
  /** `documents/{uuid}/versions/{n}`; "" for a source that a tool returned. */
  readonly version: string;
  /** Which tool fetched the source, and when; "" for a document. */
  readonly fetched: string;
  readonly title: string;
  readonly uri: string;
  /** See `datedOf`. */
  readonly dated: string;
  /** The numbers of the document's citations, from 0. */
  readonly citations: readonly number[];
  /** Where the citations are in the original file, such as "page 3", each once; empty if this is not known. */
  readonly places: readonly string[];
}

/** The date that a document states for its content, such as "dated 1 Feb 2025"; "" if it states none. */
export function datedOf({ date }: { readonly date: string }): string {
  return date && t("dated", { date: dateOf(new Date(`${date}T00:00`)) });
}

/** Where a citation is in the original file; "" if this is not known. */
export function placeOf({ page, path, locator }: Pick<Citation, "page" | "path" | "locator">): string {
  return path || (page > 0 ? t("pageNumber", { number: locator || String(page) }) : "");
}

/** The documents and the tools' sources that an answer cites, in the order of their first citation. */
export function sources(citations: readonly Citation[]): Source[] {
  const found = new Map<string, { version: string; fetched: string; title: string; uri: string; dated: string; citations: number[]; places: string[] }>();
  citations.forEach((one, index) => {
    const { documentVersion: version, origin, title, uri } = one;
    const key = origin.case === "toolResult" ? `${origin.value.callId} ${origin.value.sourceIndex}` : version;
    const known = found.get(key) ?? { version, fetched: fetchedBy(one), title, uri, dated: datedOf(one), citations: [], places: [] };
    found.set(key, known);
    known.citations.push(index);
    const place = placeOf(one);
    if (place && !known.places.includes(place)) known.places.push(place);
  });
  return [...found.values()];
}
