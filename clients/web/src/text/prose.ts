/** Shows Markdown that may still grow, with a widget at the end of each cited part. */

import { element } from "../widgets/dom.js";
import type { Block, Place } from "./content.js";
import { Markdown } from "./markdown.js";
import { paint } from "./paint.js";
import { alone, framed, placed, textOf, wrapped, type View, type Widget } from "./view.js";

/** A cited part of a text. */
export interface Spot extends Place {
  /** The number of the citation, from 0. */
  readonly index: number;
  /** Stands at the end of the part. */
  readonly widget: Widget;
  /** Stands below the block in which the part ends. */
  readonly note?: Widget | undefined;
  /** What is underlined because the source says something else. */
  readonly differing?: readonly Place[];
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

  /** The trees of a text with its cited parts, which are in the order of their ends. `apart`: the places that are set off. */
  views(text: string, spots: readonly Spot[], apart: readonly Place[] = []): readonly View[] {
    const blocks = this.#markdown.blocks(text);
    const homes = spots.map((one) => blocks.findLastIndex((block) => block.from < one.to && block.content.length > 0));
    this.#kept = blocks.map((block, index) => {
      const here = spots.filter((_, number) => homes[number] === index);
      const near = spots.filter((one) => one.from < block.to && one.to > block.from);
      const off = apart.filter((one) => one.from < block.to && one.to > block.from);
      const key = [...[...here, ...near].map((one) => `${one.widget.key} ${one.from} ${one.to}`), ...off.map(({ from, to }) => `${from} ${to}`)].join();
      const known = this.#kept[index];
      return known?.block === block && known.spots === key ? known : { block, spots: key, views: this.#views(block, near, here, off) };
    });
    // A part whose text Markdown hides, at the start of the text.
    const homeless = spots.filter((_, number) => homes[number] === -1).map((one) => alone(one.widget, one.to));
    return [...homeless, ...this.#kept.flatMap((one) => one.views)];
  }

  /** The place behind the marks around a place of the text, where another mark can stand. */
  outside(end: number): { readonly end: number; readonly block: boolean } {
    return this.#markdown.outside(end);
  }

  #views(block: Block, near: readonly Spot[], here: readonly Spot[], off: readonly Place[]): readonly View[] {
    let views: readonly View[] = block.content;
    let covered = 0;
    for (const one of near) {
      views = wrapped(views, { from: Math.max(one.from, covered), to: one.to }, "span", { className: "supported", dataCitation: one.index });
      covered = Math.max(covered, one.to);
    }
    for (const one of off) views = wrapped(views, one, "span", { className: "unsourced" });
    for (const one of near.flatMap(({ differing = [] }) => differing)) views = wrapped(views, one, "span", { className: "differs" });
    for (const one of here) views = placed(views, one.to, one.widget) ?? [...views, alone(one.widget, one.to)];
    return [...framed(views, this.#copy), ...here.flatMap(({ note }) => note ?? [])];
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

  /** Show a text and its cited parts, which are in the order of their ends, with some places set off. Existing nodes change only where the text does. */
  show(text: string, spots: readonly Spot[], apart: readonly Place[] = []): void {
    const views = this.#cited.views(text, spots, apart);
    paint(this.root, this.#shown, views);
    this.#shown = views;
  }

  /** The place behind the marks around a place of the shown text, where another mark can stand. */
  outside(end: number): { readonly end: number; readonly block: boolean } {
    return this.#cited.outside(end);
  }
}

/** The text that a reader sees of a Markdown text, in one line. */
export function plainText(text: string): string {
  const blocks = new Markdown().blocks(text).filter((one) => one.content.length > 0);
  return blocks.map((one) => textOf(one.content).trim().replace(/\s+/g, " ")).join(" ");
}
