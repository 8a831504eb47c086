/** Makes a tree of elements from Markdown. The parser is a third of the page's code, and the first screen needs none of it, so the browser loads it afterwards. */

import type { CommonMark } from "./commonmark.js";
import { frontMatter, OVERRIDES, pieces, type Block, type Content, type Options } from "./content.js";

let parser: typeof CommonMark | undefined;
let loading: Promise<void> | undefined;

/** Load the parser. Raises TypeError if it cannot be loaded; a later call tries again. */
export function loadMarkdown(): Promise<void> {
  return (loading ??= import("./commonmark.js").then(
    (found) => void (parser = found.CommonMark),
    (error: unknown) => {
      loading = undefined;
      throw error;
    },
  ));
}

/** A text that may grow. Blocks that do not change are neither parsed nor rendered again. Until the parser is loaded, the text is one paragraph without markup. */
export class Markdown {
  readonly #options: Options;
  #parsed: CommonMark | undefined;

  constructor(options: Options = {}) {
    this.#options = options;
  }

  /** The blocks of this text. A block that did not change since the last call is the same object. */
  blocks(text: string): readonly Block[] {
    if (parser) return (this.#parsed ??= new parser(this.#options)).blocks(text);
    const place = { from: 0, to: text.length };
    return [{ ...place, content: [{ type: "element", tagName: "p", properties: { dir: "auto" }, children: [...unrendered(text)], data: place }] }];
  }

  /** The place for a mark behind the markup around a place of the text; `block` says whether that is the end of a block of code or of a table's header. */
  outside(end: number): { readonly end: number; readonly block: boolean } {
    return this.#parsed?.outside(end) ?? { end, block: false };
  }
}

/** A document without its front matter. */
export function withoutFrontMatter(text: string): string {
  return text.slice(frontMatter(text));
}

/** A text as it is, without rendering its markup. */
export function unrendered(text: string): readonly Content[] {
  return pieces(text, 0, text.length, OVERRIDES);
}
