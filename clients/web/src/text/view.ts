/** Trees of the page: elements, texts, and widgets that the page makes itself. The functions here put marks and widgets at places of the source; they do not touch the page. */

import type { Place, Words } from "./content.js";

export interface ViewElement {
  readonly type: "element";
  readonly tagName: string;
  readonly properties: Readonly<Record<string, string | number | readonly string[]>>;
  readonly children: readonly View[];
  readonly data: Place;
}

/** An element that the page makes with `make`, and keeps as long as a widget with the same key is in its place. */
export interface Widget {
  readonly type: "widget";
  readonly key: string;
  readonly make: () => HTMLElement;
}

export type View = Words | ViewElement | Widget;

/** Elements within a line of text. */
const INLINE = new Set(["a", "code", "del", "em", "mark", "span", "strong"]);
/** Elements that no widget may be put into. */
const CLOSED = new Set(["a", "code"]);

function element(tagName: string, data: Place, children: readonly View[], properties: ViewElement["properties"] = {}): ViewElement {
  return { type: "element", tagName, properties, children, data };
}

/** Wraps all text between two places of the source, each text separately. A text that stands for several characters is wrapped as a whole. */
export function wrapped(nodes: readonly View[], range: Place, tagName: string, properties: ViewElement["properties"] = {}): readonly View[] {
  if (range.to <= range.from) return nodes;
  return changed(nodes, (node) => {
    if (node.type === "widget" || node.data.to <= range.from || node.data.from >= range.to) return undefined;
    if (node.type === "element") {
      const children = wrapped(node.children, range, tagName, properties);
      return children === node.children ? undefined : [{ ...node, children }];
    }
    const from = whole(node) ? node.data.from : Math.max(range.from, node.data.from);
    const to = whole(node) ? node.data.to : Math.min(range.to, node.data.to);
    const inner = part(node, from, to);
    return [...part(node, node.data.from, from), ...(inner.length > 0 ? [element(tagName, { from, to }, inner, properties)] : []), ...part(node, to, node.data.to)];
  });
}

/** The same nodes if `change` returns undefined for each of them; otherwise, with those that it returns instead. */
function changed(nodes: readonly View[], change: (node: View) => readonly View[] | undefined): readonly View[] {
  const results = nodes.map(change);
  return results.every((one) => one === undefined) ? nodes : results.flatMap((one, index) => one ?? [nodes[index]!]);
}

/** Whether a text stands for several characters and cannot be cut. */
function whole({ value, data }: Words): boolean {
  return value.length !== data.to - data.from;
}

/** The part of a text between two of its places: one text, or none. */
function part(words: Words, from: number, to: number): readonly Words[] {
  if (from >= to) return [];
  if (from === words.data.from && to === words.data.to) return [words];
  return [{ type: "text", value: words.value.slice(from - words.data.from, to - words.data.from), data: { from, to } }];
}

/** Puts a widget behind the last text before a place of the source. Behind a block of code, it stands in its own paragraph. Returns undefined if there is no such text. */
export function placed(nodes: readonly View[], end: number, widget: Widget): readonly View[] | undefined {
  for (let index = nodes.length - 1; index >= 0; index -= 1) {
    const node = nodes[index]!;
    if (node.type === "widget" || node.data.from >= end) continue;
    if (node.type === "text") {
      const at = whole(node) ? node.data.to : Math.min(end, node.data.to);
      return spliced(nodes, index, [...part(node, node.data.from, at), widget, ...part(node, at, node.data.to)]);
    }
    if (node.tagName === "pre") return behindCode(nodes, index, widget);
    if (INLINE.has(node.tagName) && (CLOSED.has(node.tagName) || node.data.to <= end)) return spliced(nodes, index, [node, widget]);
    const children = placed(node.children, end, widget);
    if (children) return spliced(nodes, index, [{ ...node, children }]);
    if (INLINE.has(node.tagName)) return spliced(nodes, index, [node, widget]);
  }
  return undefined;
}

/** Replaces the node at the index. The widgets that follow this node stay before the last widget of the replacement, so that the widgets keep their order. */
function spliced(nodes: readonly View[], index: number, replacement: readonly View[]): readonly View[] {
  let next = index + 1;
  while (nodes[next]?.type === "widget") next += 1;
  const last = replacement.findLastIndex((one) => one.type === "widget");
  const others = nodes.slice(index + 1, next);
  const middle = last < 0 || last < replacement.length - 1 ? [...replacement, ...others] : [...replacement.slice(0, last), ...others, ...replacement.slice(last)];
  return [...nodes.slice(0, index), ...middle, ...nodes.slice(next)];
}

function behindCode(nodes: readonly View[], index: number, widget: Widget): readonly View[] {
  const next = nodes[index + 1];
  const code = nodes[index]! as ViewElement;
  const after = { from: code.data.to, to: code.data.to };
  if (next?.type === "element" && next.properties["className"] === "chips") return nodes.with(index + 1, { ...next, children: [...next.children, widget] });
  return nodes.toSpliced(index + 1, 0, element("p", after, [widget], { className: "chips" }));
}

/** A paragraph that holds only this widget. */
export function alone(widget: Widget, at: number): ViewElement {
  return element("p", { from: at, to: at }, [widget], { className: "chips" });
}

/** Gives each block of code a button, and each table and block of code a frame in which it scrolls. `copy` makes the button. */
export function framed(nodes: readonly View[], copy: () => HTMLElement): readonly View[] {
  return changed(nodes, (node) => {
    if (node.type !== "element") return undefined;
    if (node.tagName === "pre" && !("className" in node.properties)) {
      const { dataLanguage = "", ...properties } = node.properties;
      const head = element("div", node.data, [element("span", node.data, text(String(dataLanguage), node.data), { className: "note" }), { type: "widget", key: "copy", make: copy }], { className: "code-head" });
      return [element("div", node.data, [head, { ...node, properties: { ...properties, tabIndex: 0 } }], { className: "code" })];
    }
    if (node.tagName === "table") return [element("div", node.data, [node], { className: "table", role: "group", ariaLabel: "Table", tabIndex: 0 })];
    const children = framed(node.children, copy);
    return children === node.children ? undefined : [{ ...node, children }];
  });
}

function text(value: string, data: Place): readonly Words[] {
  return value ? [{ type: "text", value, data }] : [];
}

/** Elements whose text stands apart from the text around them. */
const APART = new Set(["blockquote", "br", "li", "p", "pre", "td", "th", "tr"]);

/** The text of nodes, without widgets. */
export function textOf(nodes: readonly View[]): string {
  return nodes.map((one) => (one.type === "text" ? one.value : one.type === "element" ? `${textOf(one.children)}${APART.has(one.tagName) ? " " : ""}` : "")).join("");
}
