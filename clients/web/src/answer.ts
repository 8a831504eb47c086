/** Shows an answer's text with a chip after every part that a citation supports, and the list of the cited documents. */

import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import type { RefusalReason } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { button, element, WRITTEN } from "./dom.js";
import { refusalWords, type Outcome } from "./outcome.js";
import { flows, parts, sources, type Part } from "./parts.js";

/** Opens the source of the citation with the number `index`. When the source is closed, `by` gets the focus back. */
export type OpenSource = (citations: readonly Citation[], index: number, by: HTMLElement) => void;

/** Shows an answer, whose text may still grow. Existing nodes do not change, so a focused chip keeps the focus. */
export class AnswerView {
  readonly root = element("div", { class: "cited" });
  readonly #text = element("p", { class: "answer-text", ...WRITTEN });
  readonly #open: OpenSource;
  #shown: { readonly part: Part; readonly nodes: readonly Node[] }[] = [];
  #citations: readonly Citation[] = [];

  constructor(open: OpenSource) {
    this.#open = open;
    this.root.append(this.#text);
  }

  show(text: string, citations: readonly Citation[]): void {
    this.#citations = citations;
    const wanted = parts(text, citations);
    let same = 0;
    while (same < wanted.length && same < this.#shown.length && equal(wanted[same]!, this.#shown[same]!.part)) same += 1;
    this.#grow(wanted[same], same);
    if (this.#shown[same]?.part === wanted[same]) same += 1;
    for (const { nodes } of this.#shown.splice(same)) for (const node of nodes) (node as ChildNode).remove();
    for (const part of wanted.slice(same)) {
      const nodes = this.#nodes(part);
      this.#text.append(...nodes);
      this.#shown.push({ part, nodes });
    }
  }

  /** List the documents of an answer that is complete. */
  showSources(): void {
    this.root.querySelector(".sources")?.remove();
    const found = sources(this.#citations);
    if (found.length === 0) return;
    const list = element("ul", { class: "sources", "aria-label": "Sources" });
    for (const source of found) {
      const title = button(source.title || source.uri || "Document", () => this.#open(this.#citations, source.citations[0]!, title), {
        class: "plain source",
        ...WRITTEN,
      });
      const numbers = element("span", { class: "numbers", "aria-hidden": "true" }, source.citations.map((one) => one + 1).join(" · "));
      const row = element("li", {}, numbers, title);
      if (source.uri && source.uri !== source.title) row.append(element("span", { class: "note", ...WRITTEN }, source.uri));
      list.append(row);
    }
    this.root.append(list);
  }

  /** Keep the node of a text that grows only at its end, so that the reader's selection does not change. */
  #grow(part: Part | undefined, place: number): void {
    const shown = this.#shown[place];
    const node = shown?.nodes[0];
    if (!part || !(node instanceof Text) || part.citation !== undefined || !part.text.startsWith(shown!.part.text)) return;
    node.appendData(part.text.slice(shown!.part.text.length));
    this.#shown[place] = { part, nodes: [node] };
  }

  #nodes(part: Part): Node[] {
    if (part.citation === undefined) return [document.createTextNode(part.text)];
    const index = part.citation;
    const citation = this.#citations[index]!;
    const chip = button(String(index + 1), () => this.#open(this.#citations, index, chip), {
      class: "chip",
      title: citation.title,
      "aria-label": `Source ${index + 1}: ${citation.title}`,
    });
    return [element("span", { class: flows(part.text) ? "supported flows" : "supported" }, part.text), chip];
  }
}

function equal(one: Part, other: Part): boolean {
  return one.text === other.text && one.citation === other.citation;
}

/** Shows a refusal, which is an outcome like an answer but has no sources. */
export function refusal(text: string, reason: RefusalReason): HTMLElement {
  return element("div", { class: "refusal" }, element("strong", {}, refusalWords(reason).heading), element("p", WRITTEN, text));
}

/** The note below an answer or another outcome; undefined if there is nothing to report. */
export function outcomeNote({ who, fallbacks }: Outcome): HTMLElement | undefined {
  if (!who && fallbacks.length === 0) return undefined;
  const note = element("div", { class: "outcome note" });
  if (fallbacks.length > 0) {
    const rows = fallbacks.map((one) => element("li", WRITTEN, one));
    note.append(element("ul", { class: "fell-back", "aria-label": "Fallbacks" }, ...rows));
  }
  if (who) note.append(element("p", WRITTEN, who));
  return note;
}
