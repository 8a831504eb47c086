/**
 * `<responsa-answers key="rsp_…">`: a text box and the answer to its question, in the page of another site. The page loads this script from the Responsa server that
 * answers. The element keeps no cookie and nothing else in the browser.
 */

import { loadMarkdown } from "../text/markdown.js";
import { Prose } from "../text/prose.js";
import { placesOf } from "../text/ranges.js";
import { button, composes, element, replace, WRITTEN } from "../widgets/dom.js";
import { ask, NONE, type Citation, type Ended } from "./asking.js";
import { style } from "./style.js";

const SERVER = new URL((document.currentScript as HTMLScriptElement).src).origin;

class Answers extends HTMLElement {
  #asking = new AbortController();

  connectedCallback(): void {
    if (this.shadowRoot) return;
    const shadow = this.attachShadow({ mode: "open" });
    shadow.adoptedStyleSheets = [style()];
    const label = this.getAttribute("label") ?? "Ask a question";
    const question = element("input", { type: "text", required: true, maxlength: "2000", "aria-label": label, placeholder: label, autocomplete: "off", ...WRITTEN });
    const answer = element("div", { class: "answer", role: "status" });
    const form = element("form", {}, question, element("button", { type: "submit" }, this.getAttribute("action") ?? "Ask"));
    question.addEventListener("keydown", (event) => event.key === "Enter" && !event.isComposing && composes(event) && event.preventDefault());
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#ask(question.value.trim(), answer);
    });
    shadow.append(form, answer);
  }

  disconnectedCallback(): void {
    this.#asking.abort();
  }

  async #ask(text: string, answer: HTMLElement): Promise<void> {
    if (!text) return;
    this.#asking.abort();
    const { signal } = (this.#asking = new AbortController());
    const prose = new Prose(() => element("span", {}));
    replace(answer, element("p", { class: "note" }, "Searching…"));
    const question = { text, agent: this.getAttribute("agent") ?? "" };
    const show = (shown: string) => {
      if (!prose.root.isConnected) replace(answer, prose.root);
      prose.show(shown, []);
    };
    await loadMarkdown();
    const end = await ask(SERVER, this.getAttribute("key") ?? "", question, show, signal);
    if (signal.aborted) return;
    if (end.problem) return replace(answer, element("p", { class: end.problem === NONE ? "note" : "problem" }, end.problem));
    this.#cite(end, prose, answer);
  }

  /** Show the whole answer, with a number at the end of each cited part, a line about the sentences without one, and the quotes below. */
  #cite({ text, citations, passages, unsourced }: Ended, prose: Prose, answer: HTMLElement): void {
    const sources = citations.map((one, index) => source(one, index));
    const places = placesOf(text, citations.map(({ answerRange }) => answerRange ?? {}));
    const spots = citations.map((one, index) => {
      const open = () => {
        sources[index]!.open = true;
        sources[index]!.scrollIntoView({ block: "nearest" });
      };
      const flaw = flawOf(one);
      const label = `Source ${index + 1}: ${one.title ?? ""}${flaw && `; differs; ${flaw}`}`;
      const make = () => button(`${index + 1}${flaw && ` ${flaw}`}`, open, { class: flaw ? "chip flawed" : "chip", "aria-label": label });
      return { ...places[index]!, index, widget: { type: "widget" as const, key: String(index), make } };
    });
    const sorted = [...spots].sort((one, other) => one.to - other.to);
    const bare = placesOf(text, unsourced);
    const line = button(bare.length === 1 ? "1 sentence names no source" : `${bare.length} sentences name no source`, () => {
      const on = line.getAttribute("aria-pressed") !== "true";
      line.setAttribute("aria-pressed", String(on));
      prose.show(text, sorted, on ? bare : []);
    }, { class: "bare", "aria-pressed": "true" });
    prose.show(text, sorted, bare);
    const title = passages ? [element("p", {}, element("strong", {}, "Closest passages"))] : [];
    const unchecked = !passages && citations.some(({ quote, verdict }) => quote && verdict === "JUDGE_VERDICT_NONE");
    const note = unchecked ? [element("p", { class: "note" }, "Responsa checked that the quotes are there, not that they are right.")] : [];
    replace(answer, ...title, prose.root, ...(bare.length > 0 ? [line] : []), element("ol", { class: "sources", "aria-label": "Sources" }, ...sources.map((one) => element("li", {}, one))), ...note);
  }
}

/** What stands against a citation, in a few words; "" for a valid one. */
function flawOf({ quoteOrigin, verdict, differences }: Citation): string {
  if (quoteOrigin === "QUOTE_ORIGIN_NOT_FOUND") return "words not in the passage";
  if (verdict === "JUDGE_VERDICT_DENIED") return "a model checked it and denies it";
  return differences?.length ? "the passage differs" : "";
}

function source({ title, uri, quote, quoteOrigin }: Citation, index: number): HTMLDetailsElement {
  const chosen = quoteOrigin === "QUOTE_ORIGIN_CHOSEN" ? [element("p", { class: "note" }, "Closest words, found by search.")] : [];
  return element("details", {}, element("summary", WRITTEN, title || uri || `Source ${index + 1}`), element("blockquote", WRITTEN, quote ?? ""), ...chosen);
}

customElements.define("responsa-answers", Answers);
