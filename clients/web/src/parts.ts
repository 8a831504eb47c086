/** Cutting an answer at what its citations support. */

import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { ByteText } from "./bytes.js";

export interface Part {
  readonly text: string;
  /** Number of the citation from 0 that supports it; undefined for text between. */
  readonly citation: number | undefined;
}

/** Cut an answer at its citations' ranges, in the order of the text. Together the parts are the text. */
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
    if (end <= start) continue; // within another one's range, or of text that is still to come
    if (start > place) result.push({ text: bytes.slice(place, start), citation: undefined });
    result.push({ text: bytes.slice(start, end), citation: index });
    place = end;
  }
  if (place < bytes.length) result.push({ text: bytes.slice(place, bytes.length), citation: undefined });
  return result;
}

const STRUCTURED = /\n(?:[ \t]|[-*+|>#•]|\d+[.)]|```|~~~|\n)/;

/** Whether a quote's line ends are only where its source was wrapped; lists, tables and code keep theirs. */
export function flows(text: string): boolean {
  return !STRUCTURED.test(text) && !/^(?:[ \t|]|```|~~~)/.test(text);
}

export interface Source {
  /** `documents/{uuid}/versions/{n}`. */
  readonly version: string;
  readonly title: string;
  readonly uri: string;
  /** Numbers of its citations, from 0. */
  readonly citations: readonly number[];
}

/** The documents that an answer stands on, in the order of their first citation. */
export function sources(citations: readonly Citation[]): Source[] {
  const found = new Map<string, { version: string; title: string; uri: string; citations: number[] }>();
  citations.forEach((one, index) => {
    const known = found.get(one.documentVersion);
    if (known) known.citations.push(index);
    else found.set(one.documentVersion, { version: one.documentVersion, title: one.title, uri: one.uri, citations: [index] });
  });
  return [...found.values()];
}
