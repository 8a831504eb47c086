import type { Content, Options } from "../src/text/content.js";
import { Markdown } from "../src/text/markdown.js";
import type { View } from "../src/text/view.js";

/** The tree of a text as the page would show it. */
export function tree(text: string, options: Options = {}): Content[] {
  return new Markdown(options).blocks(text).flatMap((block) => block.content);
}

/** Trees in the form of HTML. Widgets are shown by their key, and directions are left out. */
export function html(nodes: readonly View[]): string {
  return nodes.map(one).join("");
}

function one(node: View): string {
  if (node.type === "text") return node.value.replace(/[&<]/g, (found) => ({ "&": "&amp;", "<": "&lt;" })[found]!);
  if (node.type === "widget") return `{${node.key}}`;
  const { dir: _, ...shown } = node.properties;
  const attributes = Object.entries(shown).map(([name, value]) => ` ${name}="${Array.isArray(value) ? value.join(" ") : value}"`);
  return `<${node.tagName}${attributes.join("")}>${html(node.children)}</${node.tagName}>`;
}

export function shown(text: string, options: Options = {}): string {
  return html(tree(text, options));
}

/** All nodes of a tree. */
export function* every(nodes: readonly View[]): Generator<View> {
  for (const node of nodes) {
    yield node;
    if (node.type === "element") yield* every(node.children);
  }
}
