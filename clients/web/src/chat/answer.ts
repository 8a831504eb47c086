/** Shows an answer's text with a chip after every part that a citation supports, and the list of the cited documents. */

import { JudgeVerdict, QuoteOrigin, type Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import type { ByteRange } from "@responsa/contract/responsa/type/v1/byte_range_pb.js";
import { RefusalReason } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { waysOn, type AskingHooks } from "./actions.js";
import { codeButton, copyButton, withSources } from "./copy.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import { refusalWords, type Origin, type Outcome } from "./outcome.js";
import { fetchedBy, linkOf } from "./fetched.js";
import { datedOf, parts, placeOf, sources } from "./parts.js";
import { flawsOf } from "./flaws.js";
import type { Place } from "../text/content.js";
import { plainText, Prose } from "../text/prose.js";
import { placesOf } from "../text/ranges.js";
import { closestView, type CardHooks, type OpenSource } from "./passages.js";
import { tipped } from "../widgets/tip.js";
import { cleanName } from "../text/names.js";
import { t } from "../language/language.js";

/** The number of characters of a quote that a chip's tip shows. */
const QUOTED = 400;

/** Shows an answer, whose text may still grow. Existing nodes change only where the text does, so a focused chip keeps the focus. */
export class AnswerView {
  readonly root = element("div", { class: "cited" });
  readonly #prose: Prose;
  readonly #open: OpenSource;
  readonly #say: (text: string) => void;
  #text = "";
  #citations: readonly Citation[] = [];
  #bare: readonly Place[] = [];

  /** `say` announces a text to screen readers. */
  constructor(open: OpenSource, say: (text: string) => void) {
    this.#open = open;
    this.#say = say;
    this.#prose = new Prose(() => codeButton(say));
    this.#prose.root.classList.add("answer-text");
    this.root.append(this.#prose.root);
  }

  /** `unsourced`: the sentences that name no source, which are set off. */
  show(text: string, citations: readonly Citation[], unsourced: readonly ByteRange[] = []): void {
    this.#text = text;
    this.#citations = citations;
    this.#bare = placesOf(text, unsourced);
    this.#paint(this.#bare);
  }

  #paint(apart: readonly Place[]): void {
    const spots = parts(this.#text, this.#citations).map((one) => {
      const citation = this.#citations[one.index]!;
      const flaws = flawsOf(this.#text, citation);
      const key = `${one.index} ${citation.passage} ${citation.sourceRange?.start} ${flaws.join()}`;
      const differing = placesOf(this.#text, citation.differences.flatMap(({ answerRange }) => answerRange ?? []));
      const note = flaws.length > 0 ? { type: "widget" as const, key: `note ${key}`, make: () => element("p", { class: "flaw", ...WRITTEN }, `${one.index + 1}: ${flaws.join(" ")}`) } : undefined;
      return { ...one, differing, note, widget: { type: "widget" as const, key, make: () => this.#chip(one.index, flaws) } };
    });
    this.#prose.show(this.#text, spots, apart);
  }

  /** The text with a footnote for each citation. */
  get sourced(): string {
    return withSources(this.#text, this.#citations, parts(this.#text, this.#citations), (end) => this.#prose.outside(end));
  }

  /** Show the documents and the buttons of an answer that does not grow any more. `more`: further controls, after the buttons. */
  finish(...more: readonly HTMLElement[]): void {
    this.#showSources();
    if (!this.#text) return;
    this.root.querySelector(".bare")?.remove();
    if (this.#bare.length > 0) this.root.append(switched(t("unsourced", { count: this.#bare.length }), (on) => this.#paint(on ? this.#bare : [])));
    const copy = copyButton(t("copyAnswer"), () => this.#text, this.#say, t("copy"));
    const actions = element("div", { class: "actions" }, copy, ...more);
    this.root.querySelector(".actions")?.remove();
    this.root.append(actions);
  }

  #showSources(): void {
    for (const old of this.root.querySelectorAll(".sources, .unchecked")) old.remove();
    const found = sources(this.#citations);
    if (found.length === 0) return;
    const list = element("ul", { class: "sources", "aria-label": t("sources") });
    for (const source of found) {
      const title = button(cleanName(source.title || source.uri || t("document")), () => this.#open(this.#citations, source.citations[0]!, title), {
        class: "plain source",
        ...WRITTEN,
      });
      const numbers = element("span", { class: "numbers", "aria-hidden": "true" }, source.citations.map((one) => one + 1).join(" · "));
      const row = element("li", {}, numbers, title);
      const within = [...source.places, source.dated].filter(Boolean);
      if (within.length > 0) row.append(element("span", { class: "note", ...WRITTEN }, within.join(", ")));
      if (source.fetched) row.append(element("span", { class: "note" }, source.fetched));
      if (source.uri && (source.fetched || source.uri !== source.title)) row.append(addressOf(source.uri, source.fetched !== ""));
      list.append(row);
    }
    const unchecked = this.#citations.some(({ quote, verdict }) => quote && verdict === JudgeVerdict.NONE);
    this.root.append(list, ...(unchecked ? [element("p", { class: "unchecked note" }, t("unchecked"))] : []));
  }

  #chip(index: number, flaws: readonly string[]): HTMLElement {
    const citation = this.#citations[index]!;
    const title = cleanName([citation.title || citation.uri, placeOf(citation), datedOf(citation), fetchedBy(citation)].filter(Boolean).join(", "));
    const label = [t("sourceIs", { number: index + 1, title }), ...(flaws.length > 0 ? [t("differs"), ...flaws] : [])].join("; ");
    const chip = button(`${index + 1}`, () => this.#open(this.#citations, index, chip), { class: "chip", "aria-label": label });
    if (flaws.length > 0) chip.classList.add("flawed");
    tipped(chip, () => {
      const quote = plainText(citation.quote);
      const notes = [title, citation.quoteOrigin === QuoteOrigin.CHOSEN ? t("quoteChosen") : ""].filter(Boolean);
      const lines = [...flaws.map((one) => element("strong", WRITTEN, one)), ...notes.map((one) => element("span", { class: "note", ...WRITTEN }, one))];
      return [...(quote ? [element("q", WRITTEN, quote.length > QUOTED ? `${quote.slice(0, QUOTED)}…` : quote)] : []), ...lines];
    });
    chip.dataset["of"] = String(index);
    for (const kind of ["pointerenter", "pointerleave", "focus", "blur"]) chip.addEventListener(kind, () => this.#light());
    return chip;
  }

  /** Underline the parts whose chip the reader points at or has opened. */
  #light(): void {
    const lit = new Set<string | undefined>();
    for (const chip of this.root.querySelectorAll<HTMLElement>(".chip")) if (chip.matches(":hover, :focus-visible, [aria-current]")) lit.add(chip.dataset["of"]);
    for (const part of this.root.querySelectorAll<HTMLElement>(".supported")) part.classList.toggle("lit", lit.has(part.dataset["citation"]));
  }
}

/** A line that is pressed, can be released, and says which. */
function switched(label: string, turn: (on: boolean) => void): HTMLElement {
  const made = button(label, () => {
    const on = made.getAttribute("aria-pressed") !== "true";
    made.setAttribute("aria-pressed", String(on));
    turn(on);
  }, { class: "plain bare", "aria-pressed": "true" });
  return made;
}

/** The address of a source. Only what a tool fetched from the web is a link, which opens in another tab. */
function addressOf(uri: string, fetched: boolean): HTMLElement {
  const href = fetched ? linkOf(uri) : undefined;
  if (href) return element("a", { class: "note", href, title: href, target: "_blank", rel: "noopener noreferrer", ...WRITTEN }, uri);
  return element("span", { class: "note", ...WRITTEN }, uri);
}

/** Shows a refusal, which is an outcome like an answer but has no sources. */
export function refusal(question: string, text: string, reason: RefusalReason, asking: AskingHooks): HTMLElement {
  const ways = reason === RefusalReason.NO_SUPPORT ? [waysOn(question, asking)] : [];
  const words = refusalWords(reason, text);
  return element("div", { class: "refusal" }, ...(words.heading ? [element("h3", WRITTEN, words.heading)] : []), element("p", WRITTEN, words.text), ...ways);
}

/** Says where an answer comes from, and names the collection as soon as its name is known. */
function originLine({ text, collection }: Origin, { label }: Pick<CardHooks, "label">): HTMLElement {
  const line = element("p", { class: "origin", ...WRITTEN }, `${text}.`);
  if (collection) void label(collection).then((name) => (line.textContent = `${text}${t("ofCollection", { name })}.`));
  return line;
}

/** The note below an answer or another outcome; undefined if there is nothing to report. */
export function outcomeNote(question: string, { who, fallbacks, origin, closest }: Outcome, hooks: CardHooks): HTMLElement | undefined {
  const note = element("div", { class: "outcome note" });
  if (closest && closest.excerpts.length > 0) note.append(closestView(question, closest, hooks));
  if (origin) note.append(originLine(origin, hooks));
  if (fallbacks.length > 0) {
    const rows = fallbacks.map((one) => element("li", WRITTEN, one));
    note.append(element("ul", { class: "fell-back", "aria-label": t("fallbacks") }, ...rows));
  }
  if (who) note.append(element("p", WRITTEN, who));
  return note.childElementCount > 0 ? note : undefined;
}
