/** Shows trees on the page. Nodes that do not change stay, so that the reader keeps the focus and the selection. */

import type { View, ViewElement } from "./view.js";

const NAMES: Readonly<Record<string, string>> = { ariaLabel: "aria-label", className: "class", dataCitation: "data-citation", dataName: "data-name", tabIndex: "tabindex" };

/** Turns the nodes that `before` describes into those of `after`. No other node may be in `parent`. */
export function paint(parent: Element, before: readonly View[], after: readonly View[]): void {
  const nodes = [...parent.childNodes];
  after.forEach((view, index) => {
    const node = nodes[index];
    const known = before[index];
    if (!node || !known) parent.append(made(view));
    else if (known !== view && !updated(node, known, view)) node.replaceWith(made(view));
  });
  for (const node of nodes.slice(after.length)) node.remove();
}

/** The page's nodes for a view. */
export function made(view: View): Node {
  if (view.type === "text") return document.createTextNode(view.value);
  if (view.type === "widget") return view.make();
  const node = document.createElement(view.tagName);
  for (const [name, value] of attributes(view)) node.setAttribute(name, value);
  node.append(...view.children.map(made));
  return node;
}

/** Change a node; returns false if it must be replaced. */
function updated(node: ChildNode, before: View, after: View): boolean {
  if (after.type === "text") {
    if (before.type !== "text" || !(node instanceof Text)) return false;
    if (after.value === before.value) return true;
    // A text that only grows keeps the reader's selection.
    if (after.value.startsWith(before.value)) node.appendData(after.value.slice(before.value.length));
    else node.data = after.value;
    return true;
  }
  if (after.type === "widget") return before.type === "widget" && before.key === after.key;
  if (before.type !== "element" || before.tagName !== after.tagName || !(node instanceof Element)) return false;
  const old = attributes(before);
  const next = attributes(after);
  for (const [name] of old) if (!next.has(name)) node.removeAttribute(name);
  for (const [name, value] of next) if (old.get(name) !== value) node.setAttribute(name, value);
  paint(node, before.children, after.children);
  return true;
}

function attributes({ properties }: ViewElement): ReadonlyMap<string, string> {
  return new Map(Object.entries(properties).map(([name, value]) => [NAMES[name] ?? name.toLowerCase(), Array.isArray(value) ? value.join(" ") : String(value)]));
}
