/** Finds places where a document in Markdown can be cut, so that each part can be shown without the others: before a block of the top level. */

const FENCE = /^[ \t>]*(?:[-*+][ \t]+|\d{1,9}[.)][ \t]+)?(`{3,}|~{3,})(.*)$/;

/** The places in a text, in order, where a block begins after a blank line, outside of fenced code. The text itself begins outside of fenced code. */
export function* blockStarts(text: string): Generator<number> {
  let fence = "";
  let blank = true;
  for (let at = 0; at < text.length; ) {
    const next = text.indexOf("\n", at);
    const end = next < 0 ? text.length : next;
    const line = text.slice(at, Math.min(end, at + 1_000));
    if (!line.trim()) {
      blank = true;
    } else {
      if (blank && !fence && !/^\s/.test(line)) yield at;
      blank = false;
      fence = fenceAfter(line, fence);
    }
    at = end + 1;
  }
}

/** The fence of the code that is open after a line; "" if no code is open. */
function fenceAfter(line: string, fence: string): string {
  const [, marks = "", rest = ""] = FENCE.exec(line) ?? [];
  if (!marks) return fence;
  if (!fence) return marks.startsWith("`") && rest.includes("`") ? "" : marks;
  return marks[0] === fence[0] && marks.length >= fence.length && !rest.trim() ? "" : fence;
}

/** The last place in a text at which a block begins, or else a line. */
export function lastStart(text: string): number {
  let last = -1;
  for (const at of blockStarts(text)) last = at;
  return last >= 0 ? last : text.lastIndexOf("\n") + 1;
}

/** The first place at or after `least` at which a block begins; the end of the text if no block begins there. */
export function firstEnd(text: string, least: number): number {
  for (const at of blockStarts(text)) if (at >= least && at > 0) return at;
  return text.length;
}
