/**
 * Makes a tree of elements from Markdown (CommonMark with the tables, tasks, strikethrough and bare links of GitHub). Each text in the tree names the characters of the
 * source that it shows, so that the page can mark exactly these characters. Raw HTML stays text, images are not loaded, and links lead only to web and mail addresses and where `inside` says.
 * Markup beyond the limits below also stays text, so that the time for any input is bounded.
 */

import { TreeFragment, type SyntaxNode, type Tree } from "@lezer/common";
import { Autolink, parser as commonMark, Strikethrough, Table, TaskList, InlineContext, type BlockContext, type LeafBlock, type LeafBlockParser, type Line } from "@lezer/markdown";
import { characterEntities } from "character-entities";
import { clean } from "./clean.js";
import { CONTROLS, frontMatter, OVERRIDES, pieces, type Block, type Content, type Marked, type Options, type Place, type Tag, type Words } from "./content.js";
import { RIGHT_TO_LEFT } from "./names.js";

/** The number of blocks, and the number of marks such as emphasis, that may lie within each other. */
const DEEPEST = 24;
/** The number of UTF-16 units of a paragraph that may contain markup. A longer line is text, and a longer paragraph is cut between two lines. */
const LONGEST = 8_192;
/** The same for a table. */
const LONGEST_TABLE = 32_768;
/** The number of characters in a paragraph or cell that may be marks. */
const MOST_MARKS = 2_000;
const MOST_COLUMNS = 64;
const MOST_CELLS = 4_000;

/** A text that may grow. Blocks that do not change are neither parsed nor rendered again. */
export class CommonMark {
  readonly #whole: boolean;
  readonly #front: boolean;
  readonly #inside: (link: string) => string | undefined;
  readonly #parser;
  #text = "";
  #tree: Tree | undefined;
  #labels: ReadonlySet<string> = new Set();
  #kept: readonly Kept[] = [];

  constructor({ whole = false, front = false, extracted = false, inside = () => undefined }: Options = {}) {
    this.#parser = extracted ? listsAndTables : parser.configure({ parseInline: [{ name: "Brackets", before: "LinkEnd", parse: (cx, next, at) => brackets(cx, next, at, this.#labels) }] });
    this.#whole = whole;
    this.#front = front;
    this.#inside = inside;
  }

  /** The blocks of this text. A block that did not change since the last call is the same object. */
  blocks(text: string): readonly Block[] {
    const front = this.#front ? frontMatter(text) : 0;
    const labels = labelsOf(text);
    // Which brackets are links depends on the definitions everywhere in the text.
    if (!same(labels, this.#labels)) this.#tree = undefined;
    this.#labels = labels;
    const tree = this.#parser.parse(text.slice(0, front).replace(/[^\r\n]/g, " ") + text.slice(front), this.#fragments(text));
    this.#text = text;
    this.#tree = tree;
    const nodes = childrenOf(tree.topNode);
    const links = text.includes("]:") ? definitions(tree, text) : NONE;
    const signature = JSON.stringify([...links]);
    const kept: Kept[] = [];
    let level = TITLE;
    if (front > 0) kept.push({ source: text.slice(0, front), signature, before: level, after: level, block: cleaned(plain(text, 0, front)) });
    for (const node of nodes) {
      const { from, to } = node;
      const source = text.slice(from, to);
      const known = this.#kept[kept.length];
      if (known && known.block.from === from && known.source === source && known.before === level && known.signature === signature) {
        kept.push(known);
      } else {
        const renderer = new Renderer(text, links, this.#whole, this.#inside, level);
        const block = cleaned({ from, to, content: renderer.block(node, 0) });
        kept.push({ source, signature, before: level, after: renderer.level, block });
      }
      level = kept.at(-1)!.after;
    }
    this.#kept = kept;
    return kept.map((one) => one.block);
  }

  /**
   * The place for a mark that belongs to the text before `end`: behind the marks that begin before `end` and end after it, but before the bar that ends a table's row. If
   * `end` lies in a block of code or in the rule below a table's header, the end of the block; `block` says so.
   */
  outside(end: number): { readonly end: number; readonly block: boolean } {
    let outer = end;
    for (let node: SyntaxNode | null = this.#tree?.resolveInner(end, -1) ?? null; node; node = node.parent) {
      if (CODE.has(node.name)) return { end: node.to, block: true };
      if (node.name === "TableDelimiter") {
        if (node.parent?.name === "Table") return { end: node.parent.to, block: true };
        return { end: this.#text.slice(0, node.from).trimEnd().length, block: false };
      }
      if (INLINE.has(node.name) && node.from < end) outer = Math.max(outer, node.to);
    }
    return { end: outer, block: false };
  }

  #fragments(text: string): readonly TreeFragment[] {
    if (!this.#tree) return [];
    let same = 0;
    const most = Math.min(text.length, this.#text.length);
    if (text.startsWith(this.#text)) same = this.#text.length;
    else while (same < most && text.charCodeAt(same) === this.#text.charCodeAt(same)) same += 1;
    return TreeFragment.applyChanges(TreeFragment.addTree(this.#tree), [{ fromA: same, toA: this.#text.length, fromB: same, toB: text.length }]);
  }
}

interface Kept {
  readonly source: string;
  /** The definitions of links on which the block may depend. */
  readonly signature: string;
  /** The levels of the last heading before and after the block. */
  readonly before: number;
  readonly after: number;
  readonly block: Block;
}

type Links = ReadonlyMap<string, string>;
const NONE: Links = new Map();
/** The level of the heading above the text: the title of a conversation or document. */
const TITLE = 2;

const CODE = new Set(["FencedCode", "CodeBlock"]);
const INLINE = new Set(["Autolink", "Emphasis", "Entity", "Escape", "Image", "InlineCode", "Link", "StrongEmphasis", "Strikethrough", "URL"]);
const TAGS: Readonly<Record<string, Tag>> = { Emphasis: "em", StrongEmphasis: "strong", Strikethrough: "del" };
const TASK = { done: "☑", open: "☐" };

/** The parser's own rules, without raw HTML and with limits. */
const parser = commonMark.configure([
  { remove: ["HTMLBlock", "HTMLTag"] },
  Table,
  TaskList,
  Strikethrough,
  Autolink,
  {
    parseBlock: [
      { name: "Depth", before: "LinkReference", parse: tooDeep },
      { name: "Length", before: "LinkReference", leaf: () => new Cut() },
    ],
    parseInline: [
      { name: "Length", before: "Escape", parse: tooLong },
      { name: "Spaces", before: "HardBreak", parse: spaces },
      { name: "Address", before: "Link", parse: address },
    ],
  },
]);

const listsAndTables = parser.configure({
  remove: [
    ...["LinkReference", "IndentedCode", "FencedCode", "Blockquote", "HorizontalRule", "ATXHeading", "SetextHeading", "TaskList"],
    ...["Escape", "Entity", "InlineCode", "Emphasis", "HardBreak", "Link", "Image", "LinkEnd", "Strikethrough", "Address"],
  ],
});

/** Makes text of the rest of a line that lies too deep. */
function tooDeep(cx: BlockContext, line: Line): boolean {
  if (cx.depth <= DEEPEST) return false;
  const from = cx.lineStart + line.pos;
  cx.addElement(cx.elt("Paragraph", from, Math.max(from, cx.lineStart + line.text.length)));
  cx.nextLine();
  return true;
}

/** Ends a paragraph that is too long. Some rules read a paragraph again from its start with every line. */
class Cut implements LeafBlockParser {
  #longest = 0;

  nextLine(cx: BlockContext, line: Line, leaf: LeafBlock): boolean {
    // The rule for a link's definition is slow on long paragraphs, and applies to those that begin with a bracket.
    this.#longest ||= /^[-:| \t>]*$/.test(line.text) && !leaf.content.startsWith("[") ? LONGEST_TABLE : LONGEST;
    if (leaf.content.length < this.#longest) return false;
    return this.finish(cx, leaf);
  }

  finish(cx: BlockContext, leaf: LeafBlock): boolean {
    if (this.#longest === 0 || leaf.content.length < this.#longest) return false;
    cx.addLeafElement(leaf, cx.elt("Paragraph", leaf.start, leaf.start + leaf.content.length, cx.parser.parseInline(leaf.content, leaf.start)));
    return true;
  }
}

/** Makes text of a paragraph or cell that is too long, or has too many marks. */
function tooLong(cx: InlineContext, _: number, at: number): number {
  if (at !== cx.offset) return -1;
  if (cx.text.length > LONGEST) return cx.end;
  let marks = 0;
  for (let index = 0; index < cx.text.length; index += 1) if (MARKS.has(cx.text.charCodeAt(index))) marks += 1;
  return marks > MOST_MARKS ? cx.end : -1;
}

const MARKS = new Set([..."*_~`[]"].map((one) => one.charCodeAt(0)));

/** Skips a run of spaces that does not end a line. The rule for hard line breaks would read the run again from each space. */
function spaces(cx: InlineContext, next: number, at: number): number {
  if (next !== 32 || cx.char(at + 1) !== 32) return -1;
  let end = at + 2;
  while (cx.char(end) === 32) end += 1;
  return cx.char(end) === 10 ? -1 : end;
}

/** An address in angle brackets. (The parser has this rule together with that for HTML.) */
function address(cx: InlineContext, next: number, at: number): number {
  if (next !== 60) return -1;
  const found = /^<((?:https?:|mailto:)[^\s<>]+|[\w.+-]{1,100}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,9})>/i.exec(cx.slice(at, Math.min(at + 2_048, cx.end)));
  if (!found) return -1;
  const end = at + found[0].length;
  return cx.addElement(cx.elt("Autolink", at, end, [cx.elt("LinkMark", at, at + 1), cx.elt("URL", at + 1, end - 1), cx.elt("LinkMark", end - 1, end)]));
}

/** Makes text of brackets that are not a link, because nothing defines their label. (The parser would take them for a link, and would not let them be in the text of another link.) */
function brackets(cx: InlineContext, next: number, at: number, defined: ReadonlySet<string>): number {
  if (next !== 93 || cx.char(at + 1) === 40 || cx.char(at + 1) === 91) return -1;
  const open = cx.findOpeningDelimiter(InlineContext.linkStart) ?? -1;
  const image = cx.findOpeningDelimiter(InlineContext.imageStart) ?? -1;
  const from = cx.getDelimiterAt(open)?.to;
  if (open <= image || from === undefined || defined.has(labelOf(cx.slice(from, at)))) return -1;
  for (const one of cx.takeContent(open)) cx.addElement(one);
  return at + 1;
}

/** What looks like the label of a definition in a text. */
function labelsOf(text: string): ReadonlySet<string> {
  const found = new Set<string>();
  if (text.includes("]:")) for (const [, label] of text.matchAll(/\[((?:[^[\]\\]|\\.){1,999})\]:/gs)) found.add(labelOf(label!));
  return found;
}

function same(one: ReadonlySet<string>, other: ReadonlySet<string>): boolean {
  return one.size === other.size && [...one].every((label) => other.has(label));
}

function childrenOf(node: SyntaxNode): SyntaxNode[] {
  const found: SyntaxNode[] = [];
  for (let one = node.firstChild; one; one = one.nextSibling) found.push(one);
  return found;
}

/** The addresses that the text defines, by the labels of links. */
function definitions(tree: Tree, text: string): Links {
  const found = new Map<string, string>();
  tree.iterate({
    enter: (ref) => {
      if (ref.name !== "LinkReference") return;
      const label = ref.node.getChild("LinkLabel");
      const url = ref.node.getChild("URL");
      if (!label || !url) return;
      const name = labelOf(text.slice(label.from + 1, label.to - 1));
      if (!found.has(name)) found.set(name, addressOf(text.slice(url.from, url.to)));
    },
  });
  return found;
}

function labelOf(text: string): string {
  return text.trim().replace(/\s+/g, " ").toLowerCase();
}

/** A link's address without the brackets, escapes and character references of Markdown. */
function addressOf(text: string): string {
  const inner = text.startsWith("<") && text.endsWith(">") ? text.slice(1, -1) : text;
  return inner.replace(/\\([!-/:-@[-`{-~])|&(?:#\d{1,7}|#x[\da-f]{1,6}|\w{1,32});/gi, (whole, escaped?: string) => escaped ?? decoded(whole) ?? whole);
}

/** The text of a character reference; undefined if the reference is unknown. */
function decoded(reference: string): string | undefined {
  const name = reference.slice(1, -1);
  if (!name.startsWith("#")) return Object.hasOwn(characterEntities, name) ? characterEntities[name] : undefined;
  const code = /^#x/i.test(name) ? parseInt(name.slice(2), 16) : parseInt(name.slice(1), 10);
  return code === 0 || code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? "\ufffd" : String.fromCodePoint(code);
}

/** The address as the page may link to it; undefined if the page must not link to it. `relative` says whether the address names no scheme. */
function linked(address: string): { readonly href: string | undefined; readonly relative: boolean } {
  // A browser ignores these characters in a scheme.
  const bare = address.replace(/[\u0000-\u0020]+/g, "");
  if (/^(?:https?:\/\/[^/]|mailto:[^\s])/i.test(bare) && URL.canParse(bare)) return { href: new URL(bare).href, relative: false };
  return { href: undefined, relative: !/^[a-z][a-z\d+.-]*:/i.test(bare) };
}

/** The direction of a text, decided by its first letter. Containers need it, because `dir="auto"` does not look into blocks that have their own direction. */
function directionOf(text: string): "ltr" | "rtl" {
  const first = /\p{L}/u.exec(text.length > 2_000 ? text.slice(0, 2_000) : text)?.[0];
  return first && RIGHT_TO_LEFT.test(first) ? "rtl" : "ltr";
}

function cleaned(block: Block): Block {
  return { ...block, content: clean(block.content) };
}

/** A block that shows its source unchanged. */
function plain(text: string, from: number, to: number): Block {
  const place = { from, to };
  const words = pieces(text, from, to, CONTROLS);
  return { ...place, content: [{ type: "element", tagName: "pre", properties: { className: ["plain"], dir: "auto" }, children: words, data: place }] };
}

interface Within {
  readonly depth: number;
  readonly link: boolean;
  readonly cell: boolean;
}

class Renderer {
  /** The level of the last heading. */
  level: number;
  readonly #text: string;
  readonly #links: Links;
  readonly #whole: boolean;
  readonly #inside: (link: string) => string | undefined;

  constructor(text: string, links: Links, whole: boolean, inside: (link: string) => string | undefined, level: number) {
    this.#text = text;
    this.#links = links;
    this.#whole = whole;
    this.#inside = inside;
    this.level = level;
  }

  block(node: SyntaxNode, depth: number): Content[] {
    const { name } = node;
    if (depth > 2 * DEEPEST) return [this.#plain(node)];
    switch (name) {
      case "Paragraph":
        return [this.#make("p", node, this.#inline(node), { dir: "auto" })];
      case "Task":
        return [this.#make("p", node, this.#inline(node), { dir: "auto", className: ["task"] })];
      case "Blockquote":
        return [this.#make("blockquote", node, this.#blocks(node, depth))];
      case "BulletList":
        return [this.#make("ul", node, this.#blocks(node, depth), { dir: this.#direction(node) })];
      case "OrderedList": {
        const start = /\d+/.exec(this.#text.slice(node.from, node.from + 12))?.[0] ?? "1";
        return [this.#make("ol", node, this.#blocks(node, depth), { dir: this.#direction(node), ...(Number(start) !== 1 && { start: Number(start) }) })];
      }
      case "ListItem":
        return [this.#make("li", node, this.#blocks(node, depth))];
      case "FencedCode":
      case "CodeBlock":
        return [this.#code(node)];
      case "HorizontalRule":
        return [this.#make("hr", node, [])];
      case "Table":
        return [this.#table(node)];
      case "LinkReference":
        return this.#whole ? [this.#make("p", node, this.#words(node.from, node.to), { dir: "auto", className: ["definition"] })] : [];
      case "QuoteMark":
      case "ListMark":
        return [];
    }
    const heading = /^(?:ATX|Setext)Heading(\d)$/.exec(name);
    if (!heading) return [this.#plain(node)];
    // Headings below the page's own headings, without a gap between two levels.
    this.level = Math.min(Number(heading[1]) + TITLE, this.level + 1, 6);
    const marks = node.getChildren("HeaderMark");
    let from = marks[0]?.from === node.from ? marks[0].to : node.from;
    let to = marks.findLast((one) => one.from > from)?.from ?? node.to;
    while (from < to && /\s/.test(this.#text[from]!)) from += 1;
    while (from < to && /\s/.test(this.#text[to - 1]!)) to -= 1;
    return [this.#make(`h${this.level as 3 | 4 | 5 | 6}`, node, this.#inline(node, from, to), { dir: "auto" })];
  }

  #make(tagName: Tag, { from, to }: Place, children: Content[], properties: Marked["properties"] = {}): Marked {
    return { type: "element", tagName, properties, children, data: { from, to } };
  }

  #blocks(node: SyntaxNode, depth: number): Content[] {
    return childrenOf(node).flatMap((one) => this.block(one, depth + 1));
  }

  #direction({ from, to }: Place): "ltr" | "rtl" {
    return directionOf(this.#text.slice(from, to));
  }

  #plain({ from, to }: Place): Content {
    return plain(this.#text, from, to).content[0]!;
  }

  #words(from: number, to: number): Content[] {
    return from < to ? pieces(this.#text, from, to, OVERRIDES) : [];
  }

  /** The inline content of a node between two places. */
  #inline(node: SyntaxNode, from = node.from, to = node.to, within: Within = { depth: 0, link: false, cell: false }): Content[] {
    const found: Content[] = [];
    let place = from;
    for (let one = node.firstChild; one; one = one.nextSibling) {
      if (one.from < place || one.to > to) continue;
      found.push(...this.#words(place, one.from), ...this.#mark(one, within));
      place = one.to;
    }
    found.push(...this.#words(place, to));
    return found;
  }

  #mark(node: SyntaxNode, within: Within): Content[] {
    const { name, from, to } = node;
    const inner = { ...within, depth: within.depth + 1 };
    if (within.depth > DEEPEST) return this.#words(from, to);
    switch (name) {
      case "HeaderMark":
      case "QuoteMark":
      case "EmphasisMark":
      case "StrikethroughMark":
        return [];
      case "Escape":
        return [this.#stands(this.#text.slice(from + 1, to), node)];
      case "Entity":
        return [this.#stands(decoded(this.#text.slice(from, to)) ?? this.#text.slice(from, to), node)];
      case "HardBreak":
        return [this.#make("br", node, [])];
      case "TaskMarker":
        return [this.#stands(/x/i.test(this.#text.slice(from, to)) ? TASK.done : TASK.open, node)];
      case "Emphasis":
      case "StrongEmphasis":
      case "Strikethrough":
        return [this.#make(TAGS[name]!, node, this.#inline(node, from, to, inner))];
      case "InlineCode":
        return [this.#inlineCode(node, within.cell)];
      case "URL":
      case "Autolink":
        return this.#bare(node, within);
      case "Link":
      case "Image":
        return this.#link(node, inner);
      default:
        return this.#words(from, to);
    }
  }

  /** A text that stands for another text of the source. */
  #stands(value: string, { from, to }: Place): Words {
    return { type: "text", value, data: { from, to } };
  }

  #inlineCode(node: SyntaxNode, cell: boolean): Marked {
    const marks = node.getChildren("CodeMark");
    let from = marks[0]?.to ?? node.from;
    let to = marks.at(-1)?.from ?? node.to;
    const value = this.#text.slice(from, to);
    if (/^[ \n].*[ \n]$/s.test(value) && /[^ \n]/.test(value)) {
      from += 1;
      to -= 1;
    }
    const children: Content[] = [];
    const add = (start: number, end: number) => children.push(...pieces(this.#text, start, end, CONTROLS));
    let place = from;
    for (const { from: start, to: end } of node.getChildren("QuoteMark")) {
      add(place, start);
      place = end;
    }
    if (cell) {
      // In a cell, a backslash escapes the bar even in code.
      for (const { index } of this.#text.slice(place, to).matchAll(/\\\|/g)) {
        const at = from + index;
        add(place, at);
        children.push(this.#stands("|", { from: at, to: at + 2 }));
        place = at + 2;
      }
    }
    if (place < to) add(place, to);
    return this.#make("code", node, children, { dir: "auto" });
  }

  /** An address that is its own text. */
  #bare(node: SyntaxNode, { link }: Within): Content[] {
    const { from, to } = node.name === "Autolink" ? (node.getChild("URL") ?? node) : node;
    const text = /^[^"<>`]*/.exec(this.#text.slice(from, to))![0]; // an address in an HTML attribute ends at its quote
    const end = from + text.length;
    const address = /^(?:https?|mailto):/i.test(text) ? text : /^www\./i.test(text) ? `https://${text}` : /^[^\s:/]+@[^\s:/]+$/.test(text) ? `mailto:${text}` : "";
    const { href } = linked(address);
    if (!href || link) return this.#words(from, to);
    return [this.#anchor(href, node, this.#words(from, end)), ...this.#words(end, to)];
  }

  #anchor(href: string, node: Place, children: Content[]): Marked {
    return this.#make("a", node, children, { href, title: href, target: "_blank", rel: ["noopener", "noreferrer"] });
  }

  #link(node: SyntaxNode, within: Within): Content[] {
    const { from, to, name } = node;
    const [open, close] = node.getChildren("LinkMark");
    if (!open || !close) return this.#words(from, to);
    const url = node.getChild("URL");
    const label = node.getChild("LinkLabel");
    const given = label && label.to - label.from > 2 ? this.#text.slice(label.from + 1, label.to - 1) : this.#text.slice(open.to, close.from);
    const inline = this.#text[close.to] === "(" && close.to < to;
    const address = url ? addressOf(this.#text.slice(url.from, url.to)) : inline ? "" : this.#links.get(labelOf(given));
    const content = this.#inline(node, open.to, close.from, { ...within, link: within.link || name === "Link" || address !== undefined });
    const { href, relative } = linked(address ?? "");
    // The reader sees where a link would lead that the page does not make: an address of another kind, or a label without an address.
    if (address === undefined || (!href && !relative)) return [...this.#words(from, open.to), ...content, ...this.#words(close.from, to)];
    const shown = content.length > 0 ? content : name === "Image" ? [this.#stands("image", { from: open.to, to: close.from })] : [];
    if (within.link) return shown;
    if (href) return [this.#anchor(href, node, shown)];
    const inside = name === "Link" && address ? this.#inside(address) : undefined;
    return inside ? [this.#make("a", node, shown, { href: inside })] : shown;
  }

  #code(node: SyntaxNode): Marked {
    const info = node.getChild("CodeInfo");
    const language = info ? /^[\w+#.-]{1,30}/.exec(this.#text.slice(info.from, info.to))?.[0] : undefined;
    const words = node.getChildren("CodeText").flatMap(({ from, to }) => pieces(this.#text, from, to, CONTROLS));
    const code = this.#make("code", node, words);
    return this.#make("pre", node, [code], language ? { dataLanguage: language } : {});
  }

  #table(node: SyntaxNode): Content {
    const head = node.getChild("TableHeader");
    const line = node.getChild("TableDelimiter");
    const rows = node.getChildren("TableRow");
    if (!head || !line) return this.#plain(node);
    const titles = cellsOf(head);
    if (titles.length > MOST_COLUMNS || titles.length * (rows.length + 1) > MOST_CELLS) return this.#plain(node);
    const alignments = this.#text.slice(line.from, line.to).split("|").map((one) => one.trim()).filter(Boolean).map(alignment);
    const row = (one: SyntaxNode, tag: "td" | "th") => {
      const cells = cellsOf(one).slice(0, titles.length);
      while (cells.length < titles.length) cells.push(undefined);
      const made = cells.map((cell, column) => {
        const place = cell ?? { from: one.to, to: one.to };
        const children = cell ? this.#inline(cell, cell.from, cell.to, { depth: 0, link: false, cell: true }) : [];
        const side = alignments[column];
        return this.#make(tag, place, children, { dir: "auto", ...(tag === "th" && { scope: "col" }), ...(side && { className: [side] }) });
      });
      return this.#make("tr", one, made);
    };
    const parts = [this.#make("thead", head, [row(head, "th")])];
    if (rows.length > 0) parts.push(this.#make("tbody", { from: rows[0]!.from, to: node.to }, rows.map((one) => row(one, "td"))));
    return this.#make("table", node, parts, { dir: this.#direction(node) });
  }
}

function alignment(rule: string): "" | "center" | "end" {
  if (!rule.endsWith(":")) return "";
  return rule.startsWith(":") ? "center" : "end";
}

/** The cells of a table's row; undefined for an empty cell. */
function cellsOf(row: SyntaxNode): (SyntaxNode | undefined)[] {
  const cells: (SyntaxNode | undefined)[] = [];
  let cell: SyntaxNode | undefined;
  let begun = false;
  for (const one of childrenOf(row)) {
    if (one.name === "TableCell") cell = one;
    else if (one.name === "TableDelimiter") {
      if (begun || cell) cells.push(cell);
      cell = undefined;
      begun = true;
    }
  }
  if (cell) cells.push(cell);
  return cells;
}
