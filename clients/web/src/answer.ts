/** An answer's text with a chip behind every part that a citation supports, and the documents it stands on. */

import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { button, element, WRITTEN } from "./dom.js";
import { flows, parts, sources, type Part } from "./parts.js";

/** Opens the source of the citation of that number; `by` gets the focus back afterwards. */
export type OpenSource = (citations: readonly Citation[], index: number, by: HTMLElement) => void;

/** Grows with the text. What stands already is left alone, so that a focused chip keeps the focus. */
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
    for (const { nodes } of this.#shown.splice(same)) for (const node of nodes) (node as ChildNode).remove();
    for (const part of wanted.slice(same)) {
      const nodes = this.#nodes(part);
      this.#text.append(...nodes);
      this.#shown.push({ part, nodes });
    }
  }

  /** The answer is whole: list its documents. */
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

/** A refusal: an outcome like an answer, only without sources. */
export function refusal(text: string): HTMLElement {
  return element("div", { class: "refusal" }, element("strong", {}, "No answer"), element("p", WRITTEN, text));
}

/** The steps of an answer as they are taken, kept behind a line that sums them up. One line high from the beginning. */
export class StepsView {
  readonly root = element("details", { class: "steps" });
  readonly #summary = element("summary", {});
  readonly #list = element("ol", {});
  readonly #began: { at: number; row: HTMLElement }[] = [];

  constructor() {
    this.root.append(this.#summary, this.#list);
    this.busy("Sending your question…");
  }

  get count(): number {
    return this.#began.length;
  }

  /** Say what goes on without it being a step of the turn. */
  busy(text: string): void {
    this.root.classList.add("busy");
    this.#summary.textContent = text;
  }

  /** A step of the turn; `at` in milliseconds. */
  step(text: string, at: number): void {
    this.#end(at);
    this.busy(text);
    const row = element("li", {}, text);
    this.#began.push({ at, row });
    this.#list.append(row);
  }

  done(summary: string, at: number): void {
    this.#end(at);
    this.root.classList.remove("busy");
    this.#summary.textContent = summary;
  }

  #end(at: number): void {
    const last = this.#began.at(-1);
    if (last && !last.row.querySelector(".note")) last.row.append(" ", element("span", { class: "note" }, duration(at - last.at)));
  }
}

/** Milliseconds for people. */
export function duration(milliseconds: number): string {
  const most = Math.max(milliseconds, 0);
  return most < 950 ? `${Math.round(most)} ms` : `${(most / 1000).toFixed(1)} s`;
}

