/** Finds the sentences of an answer that name no source. Nothing here touches the page. */

import type { Content, Marked, Place } from "./content.js";
import { Markdown } from "./markdown.js";

/** The elements that hold sentences: a paragraph, also of a list's item, or a row of a table. */
const HOLDERS = new Set(["p", "tr"]);
/** Not counted: headings, code, and the names of columns. */
const OTHERS = new Set(["h1", "h2", "h3", "h4", "h5", "h6", "pre", "thead"]);
const SENTENCES = new Intl.Segmenter(undefined, { granularity: "sentence" });

/**
 * The sentences that name no source, without questions and lead-ins, which end in a colon. `cited`: the parts that citations support. A citation at the end of a paragraph
 * counts for all of it.
 */
export function unsourced(text: string, cited: readonly Place[]): readonly Place[] {
  const holders = new Markdown().blocks(text).flatMap(({ content }) => content.flatMap(holdersIn));
  return holders.flatMap(({ tagName, data: { from, to } }) => {
    const sentences = tagName === "tr" ? [{ from, to }] : sentencesIn(text, from, to);
    const near = sentences.at(-1);
    if (!near || isCited(near, cited)) return [];
    return sentences.filter((one) => !isCited(one, cited) && isSaid(text.slice(one.from, one.to)));
  });
}

function holdersIn(content: Content): readonly Marked[] {
  if (content.type !== "element" || OTHERS.has(content.tagName)) return [];
  return HOLDERS.has(content.tagName) ? [content] : content.children.flatMap(holdersIn);
}

function sentencesIn(text: string, start: number, end: number): readonly Place[] {
  const places: Place[] = [];
  for (const { index, segment } of SENTENCES.segment(text.slice(start, end))) {
    const [from, to] = [start + index, start + index + segment.trimEnd().length];
    // Closing marks, such as those of emphasis, belong to the sentence before them.
    if (/[\p{L}\p{N}]/u.test(segment)) places.push({ from, to });
  }
  return places;
}

function isCited({ from, to }: Place, cited: readonly Place[]): boolean {
  return cited.some((one) => one.from < to && from < one.to);
}

function isSaid(sentence: string): boolean {
  return !/[:：?？][\s*_~`"”)]*$/u.test(sentence);
}
