/** Shows passages of documents as cards: those of an answer without a language model, and those closest to a question that has no answer. */

import { CircleCheck, CircleHelp } from "lucide";
import { create } from "@bufbuild/protobuf";
import { CitationSchema, type Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { ExcerptGrade, type Excerpt } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import type { TurnAnswer } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { actionsOf, type AskingHooks } from "./actions.js";
import { codeButton, type OpenSource } from "./answer.js";
import { copyButton } from "./copy.js";
import { about, bestGrade, gradeWords, pathOf } from "./excerpts.js";
import { datedOf, placeOf } from "./parts.js";
import { element, WRITTEN } from "../widgets/dom.js";
import { icon } from "../widgets/icons.js";
import { t } from "../language/language.js";
import { collectionId } from "../documents/library.js";
import { unitsAt } from "@responsa/client/parts.js";
import { Markdown, type Place } from "../text/markdown.js";
import { made } from "../text/paint.js";
import { framed, wrapped } from "../text/view.js";

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
  const grade = bestGrade(excerpts);
  const verdict = element("strong", { class: "grade", "data-grade": String(grade) }, icon(grade === ExcerptGrade.ANSWERS ? CircleCheck : CircleHelp), gradeWords(grade));
  const root = element("div", { class: "passages" }, element("div", {}, verdict, element("p", { class: "note" }, line)), cards(excerpts, t("passages"), hooks, grade, citations));
  if (moreExcerpts.length > 0) {
    const summary = element("summary", {}, t("passagesMore", { count: moreExcerpts.length }));
    root.append(element("details", { class: "further" }, summary, cards(moreExcerpts, t("morePassages"), hooks, grade)));
  }
  root.append(element("div", { class: "actions" }, copyButton(t("copyPassages"), () => text, hooks.say), ...(hooks.asking ? actionsOf(question, hooks.asking, () => text) : []), ...more));
  return root;
}

/** The passages that come closest to an answer, below a refusal. */
export function closestView(excerpts: readonly Excerpt[], hooks: ShownHooks): HTMLElement {
  return element("div", { class: "passages" }, element("p", { class: "note" }, `${t("closest")}:`), cards(excerpts, t("closest"), hooks, bestGrade(excerpts)));
}

/** One card for each excerpt. `said`: the grade that the line above says. `cited`: the citations of the answer. */
function cards(excerpts: readonly Excerpt[], name: string, hooks: ShownHooks, said: ExcerptGrade, cited: readonly Citation[] = []): HTMLElement {
  return element("ol", { class: "excerpts", "aria-label": name }, ...excerpts.map((one) => card(one, hooks, said, cited)));
}

function card(excerpt: Excerpt, { open, label, say }: ShownHooks, said: ExcerptGrade, cited: readonly Citation[]): HTMLElement {
  const index = cited.findIndex(({ passage, sourceRange }) => passage === excerpt.passage && sourceRange?.start === excerpt.markedRange?.start);
  const citations = index < 0 ? [quoteOf(excerpt)] : cited;
  const [title, ...headings] = pathOf(excerpt);
  const path = headings.map((one) => element("span", WRITTEN, ` › ${one}`));
  const named: HTMLElement = element("button", { type: "button", class: "plain open", click: () => open(citations, Math.max(index, 0), named) }, element("strong", WRITTEN, title!), ...path);
  named.dataset["of"] = "0"; // the panel keeps the marks of the opened card in sight
  const collection = element("span", WRITTEN, collectionId(excerpt.collection));
  void label(excerpt.collection).then((text) => (collection.textContent = text));
  const notes = [placeOf(excerpt), datedOf(excerpt), ...about(excerpt, said)].filter(Boolean).map((one) => ` · ${one}`);
  return element("li", { class: "excerpt cited" }, named, element("p", { class: "note" }, collection, ...notes), markedProse(excerpt.markdown, marked(excerpt), say));
}

/** The place of the likeliest sentence in the excerpt's Markdown; empty if it is not there. */
function marked({ markdown, markedInMarkdown }: Excerpt): Place {
  const ends = markedInMarkdown ? [Number(markedInMarkdown.start), Number(markedInMarkdown.end)] : [0, 0];
  const [from = 0, to = 0] = unitsAt(markdown, ends);
  return { from, to };
}

/** A Markdown text with a place in it marked. */
export function markedProse(markdown: string, place: Place, say: (text: string) => void): HTMLElement {
  const views = new Markdown().blocks(markdown).flatMap(({ content }) => framed(wrapped(content, place, "mark", { dataCitation: 0 }), () => codeButton(say)));
  const root = element("div", { class: "prose", ...WRITTEN }, ...views.map(made));
  // A long list or table scrolls within its card, and begins with the marked sentence in sight. This waits until the card has a size, which it has not while it is folded away.
  const seen = new ResizeObserver(() => {
    if (root.clientHeight === 0) return;
    seen.disconnect();
    if (root.scrollHeight <= root.clientHeight) return;
    for (const [name, value] of [["tabindex", "0"], ["role", "group"], ["aria-label", t("passage")]] as const) root.setAttribute(name, value);
    const mark = root.querySelector("mark");
    if (mark) root.scrollTop = mark.getBoundingClientRect().bottom - root.getBoundingClientRect().top - root.clientHeight / 2;
  });
  seen.observe(root);
  return root;
}

/** The marked sentence as a citation of no answer, which has no hash. */
function quoteOf({ passage, documentVersion, title, uri, text, sourceRange, markedRange, page, box, path, date }: Excerpt): Citation {
  const [from, to] = unitsAt(text, [Number((markedRange?.start ?? 0n) - (sourceRange?.start ?? 0n)), Number((markedRange?.end ?? 0n) - (sourceRange?.start ?? 0n))]);
  const quote = text.slice(from, to);
  return create(CitationSchema, { passage, documentVersion, title, uri, quote, page, path, date, ...(markedRange && { sourceRange: markedRange }), ...(box && { box }) });
}
