/** Finds the words of a search in a text. Nothing here touches the page. */

/** The text in pieces, of which every second one is one of these words, in upper or lower case, also as a part of a longer word. */
export function cutAtWords(text: string, words: readonly string[]): readonly string[] {
  const escaped = words.map((word) => word.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&"));
  return words.length > 0 ? text.split(new RegExp(`(${escaped.join("|")})`, "iu")) : [text];
}

/** The marks of Markdown whose other half lies outside of an excerpt. */
const HALVES = /(?<!\s)(?:\*{1,3}|_{2,3}|~~|`+)|(?:\*{1,3}|_{2,3}|~~|`+)(?!\s|$)/g;

/** A text that a reader sees, without the marks that an excerpt of Markdown has cut in two. */
export function withoutHalves(text: string): string {
  return text.replace(HALVES, "");
}
