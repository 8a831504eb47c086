/** The tree of elements that Markdown becomes, and the parts of it that no parser makes. */

const LONGEST_FRONT_MATTER = 17_000;

/** A stretch of the source, in UTF-16 units. */
export interface Place {
  readonly from: number;
  readonly to: number;
}

export interface Words {
  readonly type: "text";
  /** If the value is as long as its place, its characters are those of the source. Otherwise it stands for the whole place, e.g. "&" for `&amp;`. */
  readonly value: string;
  readonly data: Place;
}

export type Tag =
  | ("a" | "blockquote" | "br" | "code" | "del" | "em" | "h3" | "h4" | "h5" | "h6" | "hr" | "li" | "ol" | "p" | "pre" | "span" | "strong")
  | ("table" | "tbody" | "td" | "th" | "thead" | "tr" | "ul");

export interface Marked {
  readonly type: "element";
  readonly tagName: Tag;
  readonly properties: Readonly<Record<string, string | number | string[]>>;
  readonly children: Content[];
  readonly data: Place;
}

export type Content = Words | Marked;

/** A block of a text's top level. It has no content if Markdown hides the block. */
export interface Block extends Place {
  readonly content: readonly Content[];
}

export interface Options {
  /** Show what Markdown hides: the definitions of links. */
  readonly whole?: boolean;
  /** The text is what the server has read from a file of another format: only its lists and tables are markup, and all other characters show themselves. */
  readonly extracted?: boolean;
  /** Show lines between two lines of three hyphens at the start as front matter. */
  readonly front?: boolean;
  /** The fragment of this page to which a link without a scheme leads, such as one to another document; undefined if it leads nowhere. */
  readonly inside?: (link: string) => string | undefined;
}

/**
 * The length of the front matter at the start of a document, as the server reads it (`responsa_formats/text/front_matter.py`): YAML between two lines of three hyphens, or TOML between
 * two lines of three plus signs.
 */
export function frontMatter(text: string): number {
  return FRONT_MATTER.exec(text.slice(0, LONGEST_FRONT_MATTER))?.[0].length ?? 0;
}

const FRONT_MATTER =
  /^(---|\+\+\+)[ \t]*(?:\r\n|\r|\n)(?:[ \t]*(?:#[^\r\n]*)?(?:\r\n|\r|\n)){0,20}?(?=["']?[A-Za-z_][\w\-. ]{0,63}["']?[ \t]*(?::\s|=))[^]*?(?:\r\n|\r|\n)(?:\1|\.\.\.)[ \t]*(?:\r\n|\r|\n|$)/;

/** Overrides display letters in another order than they have in the text. */
export const OVERRIDES = /[\u202d\u202e]/;
/** In code, embeddings and isolates can do the same. */
export const CONTROLS = /[\u202a-\u202e\u2066-\u2069]/;

function codePoint(character: string): string {
  return `U+${character.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0")}`;
}

/** The text of the source between two places. The page shows the names of control characters that would change the order of the letters. */
export function pieces(text: string, from: number, to: number, controls: RegExp): Content[] {
  const found: Content[] = [];
  let place = from;
  const value = text.slice(from, to);
  if (controls.test(value)) {
    for (const { index, 0: character } of value.matchAll(new RegExp(controls, "g"))) {
      const at = from + index;
      if (at > place) found.push({ type: "text", value: text.slice(place, at), data: { from: place, to: at } });
      const data = { from: at, to: at + 1 };
      const shown: Words = { type: "text", value: character, data };
      found.push({ type: "element", tagName: "span", properties: { className: ["control"], dataName: codePoint(character) }, children: [shown], data });
      place = at + 1;
    }
  }
  if (place < to) found.push({ type: "text", value: text.slice(place, to), data: { from: place, to } });
  return found;
}
