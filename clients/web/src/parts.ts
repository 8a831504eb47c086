/** Cuts an answer at the ranges of its citations. */

import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { ByteText } from "./bytes.js";

export interface Part {
  readonly text: string;
  /** The number of the citation that supports this part, from 0; undefined for text between citations. */
  readonly citation: number | undefined;
}

/** Cut an answer at its citations' ranges, in the order of the text. The parts together are the whole text. */
export function parts(text: string, citations: readonly Citation[]): Part[] {
  const bytes = new ByteText(text);
  const order = citations
    .flatMap(({ answerRange }, index) => (answerRange ? [{ index, start: Number(answerRange.start), end: Number(answerRange.end) }] : []))
    .sort((a, b) => a.start - b.start);
  const result: Part[] = [];
  let place = 0;
  for (const { index, start: begins, end: ends } of order) {
    const start = bytes.borderBefore(Math.max(begins, place));
    const end = bytes.borderBefore(ends);
    if (end <= start) continue; // the range lies within another range, or its text has not arrived yet
    if (start > place) result.push({ text: bytes.slice(place, start), citation: undefined });
    result.push({ text: bytes.slice(start, end), citation: index });
    place = end;
  }
  if (place < bytes.length) result.push({ text: bytes.slice(place, bytes.length), citation: undefined });
  return result;
}

const STRUCTURED = /\n(?:[ \t]|[-*+|>#•]|\d+[.)]|```|~~~|\n)/;

/** Whether the page may ignore the line breaks of a quote, because they only wrap lines in the source. Lists, tables and code keep their line breaks. */
export function flows(text: string): boolean {
  return !STRUCTURED.test(text) && !/^(?:[ \t|]|```|~~~)/.test(text);
}

export interface Source {
  /** `documents/{uuid}/versions/{n}`. */
  readonly version: string;
  readonly title: string;
  readonly uri: string;
  /** The numbers of the document's citations, from 0. */
  readonly citations: readonly number[];
}

/** The documents that an answer cites, in the order of their first citation. */
export function sources(citations: readonly Citation[]): Source[] {
  const found = new Map<string, { version: string; title: string; uri: string; citations: number[] }>();
  citations.forEach((one, index) => {
    const known = found.get(one.documentVersion);
    if (known) known.citations.push(index);
    else found.set(one.documentVersion, { version: one.documentVersion, title: one.title, uri: one.uri, citations: [index] });
  });
  return [...found.values()];
}
