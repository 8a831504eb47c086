/** Names that people wrote, as parts of other text: they change the order of no letters but their own. Nothing here touches the page. */

/** Control characters, line separators, and the characters that embed, override and isolate directions. */
const CONTROLS = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;
export const RIGHT_TO_LEFT = /[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\u{10800}-\u{10fff}\u{1e800}-\u{1efff}]/u;

/** The name with U+FFFD in place of each character that would reorder letters or break the line. For a name that has its own element with `WRITTEN`. */
export function cleanName(name: string): string {
  return name.replace(CONTROLS, "\ufffd");
}

/** The characters that embed and override directions. The isolating characters of `nameWithin` are not among them. */
const OVERRIDES = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066\u2067]/gu;

/** A label that contains names, with U+FFFD in place of each character of a name that would reorder the rest of the label or break the line. */
export function cleanLabel(label: string): string {
  return label.replace(OVERRIDES, "\ufffd");
}

/** The characters that embed and override directions. */
const DIRECTIONS = /[\u202a-\u202e\u2066\u2067]/gu;

/** A text that may contain names, with U+FFFD in place of each character that would reorder the rest of the text. Its line breaks stay. */
export function cleanText(text: string): string {
  return text.replace(DIRECTIONS, "\ufffd");
}

/** A model as people call it: its name without the provider, e.g. "gpt-5" for "openai:gpt-5". */
export function modelName(name: string): string {
  return name.slice(name.indexOf(":") + 1);
}

/** The clean name for the middle of a text. Invisible characters isolate a name with letters that are written from right to left. */
export function nameWithin(name: string): string {
  const clean = cleanName(name);
  return RIGHT_TO_LEFT.test(clean) ? `\u2068${clean}\u2069` : clean;
}
