/** Shows passages of documents as cards: those of an answer without a language model, and those closest to a question that has no answer. */

import { create } from "@bufbuild/protobuf";
import { CitationSchema, type Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import type { Excerpt } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import type { TurnAnswer } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { actionsOf, type AskingHooks } from "./actions.js";
import { codeButton, copyButton } from "./copy.js";
import { headingOf, kindOf, pathOf, wordsIn } from "./excerpts.js";
import { datedOf, placeOf } from "./parts.js";
import { unitsAt } from "@responsa/client/parts.js";
import { element, WRITTEN } from "../widgets/dom.js";
import { t } from "../language/language.js";
import type { Place } from "../text/content.js";
import { Markdown } from "../text/markdown.js";
import { made } from "../text/paint.js";
import { framed, wrapped, type View } from "../text/view.js";

/** Opens the source of the citation with the number `index`. When the source is closed, `by` gets the focus back. */
export type OpenSource = (citations: readonly Citation[], index: number, by: HTMLElement) => void;

/** What cards need of the page. */
export interface ShownHooks {
  readonly open: OpenSource;
  /** The name of a collection, `collections/{id}`, for people. */
  readonly label: (collection: string) => Promise<string>;
  /** Announces a text to screen readers. */
  readonly say: (text: string) => void;
}

/** What cards need where their question can be asked again. */
export interface CardHooks extends ShownHooks {
  readonly asking: AskingHooks;
}

/** The passages of an answer below the line that says why they are shown. `more`: further controls. */
export function passagesView(question: string, line: string, { text, citations, excerpts, moreExcerpts }: TurnAnswer, hooks: ShownHooks & Partial<CardHooks>, ...more: readonly HTMLElement[]): HTMLElement {
  const root = element("div", { class: "passages" }, element("div", {}, element("strong", {}, headingOf(excerpts, hooks.asking !== undefined)), element("p", { class: "note" }, line)), cards(question, excerpts, t("passages"), hooks, citations));
  if (moreExcerpts.length > 0) {
    const summary = element("summary", {}, t("passagesMore", { count: moreExcerpts.length }));
    root.append(element("details", { class: "further" }, summary, cards(question, moreExcerpts, t("morePassages"), hooks)));
  }
  root.append(element("div", { class: "actions" }, copyButton(t("copyPassages"), () => text, hooks.say), ...(hooks.asking ? actionsOf(question, hooks.asking, () => text) : []), ...more));
  return root;
}

/** The passages that come closest to an answer, below a refusal. */
export function closestView(question: string, excerpts: readonly Excerpt[], hooks: ShownHooks): HTMLElement {
  return element("div", { class: "passages" }, element("p", { class: "note" }, `${t("closest")}:`), cards(question, excerpts, t("closest"), hooks));
}

/** One card for each excerpt. `cited`: the citations of the answer. */
function cards(question: string, excerpts: readonly Excerpt[], name: string, hooks: ShownHooks, cited: readonly Citation[] = []): HTMLElement {
  return element("ol", { class: "excerpts", "aria-label": name }, ...excerpts.map((one) => card(question, one, hooks, cited)));
}

function card(question: string, excerpt: Excerpt, { open, label, say }: ShownHooks, cited: readonly Citation[]): HTMLElement {
  const { start = 0n, end = 0n } = excerpt.sourceRange ?? {};
  const index = cited.findIndex(({ passage, sourceRange }) => passage === excerpt.passage && sourceRange !== undefined && sourceRange.start >= start && sourceRange.start < end);
  const citations = index < 0 ? [quoteOf(excerpt)] : cited;
  const [title, ...headings] = pathOf(excerpt);
  const path = headings.map((one) => element("span", WRITTEN, ` › ${one}`));
  const named: HTMLElement = element("button", { type: "button", class: "plain open", click: () => open(citations, Math.max(index, 0), named) }, element("strong", WRITTEN, title!), ...path);
  const collection = element("span", WRITTEN);
  void label(excerpt.collection).then((text) => (collection.textContent = text));
  const notes = [placeOf(excerpt), datedOf(excerpt), kindOf(excerpt)].filter(Boolean).map((one) => ` · ${one}`);
  const words = wordsIn(question, excerpt.markdown);
  const { markedInMarkdown: cell } = excerpt;
  const [from = 0, to = 0] = cell ? unitsAt(excerpt.markdown, [Number(cell.start), Number(cell.end)]) : [];
  return element("li", { class: "excerpt" }, named, element("p", { class: "note" }, collection, ...notes), prose(excerpt.markdown, (view) => words.reduce((views, word) => wrapped(views, word, "b", { className: word.best ? "word best" : "word" }), wrapped(view, { from, to }, "mark")), say));
}

/** A Markdown text with a place in it marked. */
export function markedProse(markdown: string, place: Place, say: (text: string) => void): HTMLElement {
  return prose(markdown, (view) => wrapped(view, place, "mark", { dataCitation: 0 }), say);
}

function prose(markdown: string, marked: (view: readonly View[]) => readonly View[], say: (text: string) => void): HTMLElement {
  const views = new Markdown().blocks(markdown).flatMap(({ content }) => framed(marked(content), () => codeButton(say)));
  const root = element("div", { class: "prose", ...WRITTEN }, ...views.map(made));
  // A long text scrolls within its card, where the keyboard must reach it, and begins with what is marked in sight. Its size is known only when the card is not folded away, and changes with the width of the page.
  let seen = false;
  const scrolls = () => {
    if (root.clientHeight === 0) return;
    const long = root.scrollHeight > root.clientHeight;
    for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", t("passage")]] as const) {
      if (long) root.setAttribute(name, value);
      else root.removeAttribute(name);
    }
    if (!long || seen) return;
    seen = true;
    const mark = root.querySelector("mark") ?? root.querySelector(".best");
    if (mark) root.scrollTop = mark.getBoundingClientRect().bottom - root.getBoundingClientRect().top - root.clientHeight / 2;
  };
  new ResizeObserver(scrolls).observe(root);
  return root;
}

/** An excerpt, or its marked cell, as a citation of no answer, which has no hash. */
function quoteOf({ passage, documentVersion, title, uri, text, sourceRange, markedRange, page, boxes, path, date }: Excerpt): Citation {
  const cited = markedRange ?? sourceRange;
  const { start = 0n } = sourceRange ?? {};
  const [from, to] = markedRange ? unitsAt(text, [Number(markedRange.start - start), Number(markedRange.end - start)]) : [];
  return create(CitationSchema, { passage, documentVersion, title, uri, quote: text.slice(from, to), page, boxes, path, date, ...(cited && { sourceRange: cited }) });
}
