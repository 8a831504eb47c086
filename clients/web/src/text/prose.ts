/** Shows Markdown that may still grow, with a widget at the end of each cited part. */

import { element } from "../widgets/dom.js";
import type { Block, Place } from "./content.js";
import { Markdown, withoutFrontMatter } from "./markdown.js";
import { paint } from "./paint.js";
import { alone, framed, placed, textOf, wrapped, type View, type Widget } from "./view.js";

/** A cited part of a text. */
export interface Spot extends Place {
  /** The number of the citation, from 0. */
  readonly index: number;
  /** Stands at the end of the part. */
  readonly widget: Widget;
}

interface Kept {
  readonly block: Block;
  readonly spots: string;
  readonly views: readonly View[];
}

/** Makes the trees of a text that may grow. What does not change stays the same object. */
export class Cited {
  readonly #markdown = new Markdown();
  readonly #copy: () => HTMLElement;
  #kept: readonly Kept[] = [];

  /** `copy` makes the button that copies a block of code. */
  constructor(copy: () => HTMLElement) {
    this.#copy = copy;
  }

  /** The trees of a text with its cited parts, which are in the order of their ends. */
  views(text: string, spots: readonly Spot[]): readonly View[] {
    const blocks = this.#markdown.blocks(text);
    const homes = spots.map((one) => blocks.findLastIndex((block) => block.from < one.to && block.content.length > 0));
    this.#kept = blocks.map((block, index) => {
      const here = spots.filter((_, number) => homes[number] === index);
      const near = spots.filter((one) => one.from < block.to && one.to > block.from);
      const key = [...here, ...near].map((one) => `${one.widget.key} ${one.from} ${one.to}`).join();
      const known = this.#kept[index];
      return known?.block === block && known.spots === key ? known : { block, spots: key, views: this.#views(block, near, here) };
    });
    // A part whose text Markdown hides, at the start of the text.
    const homeless = spots.filter((_, number) => homes[number] === -1).map((one) => alone(one.widget, one.to));
    return [...homeless, ...this.#kept.flatMap((one) => one.views)];
  }

  /** The place behind the marks around a place of the text, where another mark can stand. */
  outside(end: number): { readonly end: number; readonly block: boolean } {
    return this.#markdown.outside(end);
  }

  #views(block: Block, near: readonly Spot[], here: readonly Spot[]): readonly View[] {
    let views: readonly View[] = block.content;
    let covered = 0;
    for (const one of near) {
      views = wrapped(views, { from: Math.max(one.from, covered), to: one.to }, "span", { className: "supported", dataCitation: one.index });
      covered = Math.max(covered, one.to);
    }
    for (const one of here) views = placed(views, one.to, one.widget) ?? [...views, alone(one.widget, one.to)];
    return framed(views, this.#copy);
  }
}

export class Prose {
  readonly root = element("div", { class: "prose" });
  readonly #cited: Cited;
  #shown: readonly View[] = [];

  /** `copy` makes the button that copies a block of code. */
  constructor(copy: () => HTMLElement) {
    this.#cited = new Cited(copy);
  }

  /** Show a text and its cited parts, which are in the order of their ends. Existing nodes change only where the text does. */
  show(text: string, spots: readonly Spot[]): void {
    const views = this.#cited.views(text, spots);
    paint(this.root, this.#shown, views);
    this.#shown = views;
  }

  /** The place behind the marks around a place of the shown text, where another mark can stand. */
  outside(end: number): { readonly end: number; readonly block: boolean } {
    return this.#cited.outside(end);
  }
}

const FENCES = /^[ \t>]*(?:```|~~~).*$/gm;

/**
 * The blocks round a place of a passage in Markdown, of at least `least` characters together if it has them, and the place within them. Headings that come first are left out,
 * and so is the rest of a block of code in which the passage begins before the place.
 */
export function blocksRound(passage: string, { from, to }: Place, least: number): { readonly markdown: string } & Place {
  const fences = [...passage.matchAll(FENCES)];
  const end = fences[0] ? fences[0].index + fences[0][0].length : 0;
  const cut = fences.length % 2 === 1 && /[`~]\s*$/.test(fences[0]![0]) && end <= from ? end : passage.length - withoutFrontMatter(passage).length;
  const text = passage.slice(cut);
  const blocks = new Markdown().blocks(text).filter((one) => one.content.length > 0);
  const place = Math.max(0, blocks.findIndex((one) => one.to > from - cut));
  let first = place;
  let last = Math.max(place, blocks.findLastIndex((one) => one.from < to - cut));
  const size = () => (blocks[last]?.to ?? 0) - (blocks[first]?.from ?? 0);
  while (size() < least && (last + 1 < blocks.length || first > 0)) {
    if (last + 1 < blocks.length) last += 1;
    else first -= 1;
  }
  const isHeading = ({ content }: Block) => content.some((one) => one.type === "element" && /^h\d$/.test(one.tagName));
  while (first < last && isHeading(blocks[first]!) && (first < place || to <= from)) first += 1;
  const start = blocks[first]?.from ?? 0;
  return { markdown: text.slice(start, blocks[last]?.to ?? 0), from: from - cut - start, to: to - cut - start };
}

/** The text that a reader sees of a Markdown text, in one line. */
export function plainText(text: string): string {
  const blocks = new Markdown().blocks(text).filter((one) => one.content.length > 0);
  return blocks.map((one) => textOf(one.content).trim().replace(/\s+/g, " ")).join(" ");
}
