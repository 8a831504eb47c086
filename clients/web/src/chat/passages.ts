/** Shows passages of documents as cards: those of an answer without a language model, and those closest to a question that has no answer. */

import { create } from "@bufbuild/protobuf";
import { CitationSchema, type Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import type { Excerpt } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import type { TurnAnswer } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { actionsOf, waysOn, type AskingHooks } from "./actions.js";
import { codeButton, copyButton } from "./copy.js";
import { kindOf, pathOf, wordsIn } from "./excerpts.js";
import type { Outcome } from "./outcome.js";
import { datedOf, placeOf } from "./parts.js";
import { unitsAt } from "@responsa/client/parts.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import { t } from "../language/language.js";
import { failureOf } from "../server/errors.js";
import type { Place } from "../text/content.js";
import { Markdown } from "../text/markdown.js";
import { made } from "../text/paint.js";
import { plainText } from "../text/prose.js";
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
  /** The excerpt of a passage that the turn around an element only names; undefined for readers who did not ask. Raises ConnectError. */
  readonly further?: (passage: string, within: HTMLElement) => Promise<Excerpt | undefined>;
}

/** What cards need where their question can be asked again. */
export interface CardHooks extends ShownHooks {
  readonly asking: AskingHooks;
}

/** The passages of an answer below the line that says why they are shown. `more`: further controls. */
export function passagesView(question: string, line: string, { text, citations, excerpts, moreExcerpts }: TurnAnswer, hooks: ShownHooks & Partial<CardHooks>, ...more: readonly HTMLElement[]): HTMLElement {
  const root = element("div", { class: "passages" }, element("div", {}, element("strong", {}, t("closest")), element("p", { class: "note" }, line)), cards(question, excerpts, t("passages"), hooks, citations));
  root.append(...furtherView(question, moreExcerpts, hooks));
  if (hooks.asking) root.append(waysOn(question, hooks.asking));
  root.append(element("div", { class: "actions" }, copyButton(t("copyPassages"), () => text, hooks.say, t("copy")), ...more, ...(hooks.asking ? actionsOf(question, hooks.asking, () => text) : [])));
  return root;
}

/** The closest passages, below a refusal or an answer. `named`: whether what stands above says what they are. `folded`: whether the reader unfolds them. */
export function closestView(question: string, { excerpts, named, folded = false }: NonNullable<Outcome["closest"]>, hooks: ShownHooks): HTMLElement {
  const shown = excerpts.filter((one) => one.markdown);
  const left = excerpts.filter((one) => !one.markdown);
  const all = [cards(question, shown, t("closest"), hooks), ...furtherView(question, left, hooks)];
  if (folded) return element("details", { class: "passages" }, element("summary", {}, t("closest")), ...all);
  return element("div", { class: "passages" }, ...(named ? [] : [element("strong", {}, t("closest"))]), ...all);
}

/** Further passages. They are read once they are unfolded. */
function furtherView(question: string, excerpts: readonly Excerpt[], hooks: ShownHooks): readonly HTMLElement[] {
  if (excerpts.length === 0) return [];
  const root = element("details", { class: "further" }, element("summary", {}, t("passagesMore", { count: excerpts.length })));
  const read = async () => {
    const made = await Promise.all(excerpts.map((one) => whole(one, hooks, root)));
    root.append(cards(question, made, t("morePassages"), hooks));
  };
  root.addEventListener("toggle", () => void read(), { once: true });
  return [root];
}

/** An excerpt of the turn around an element with its text, or with the reason why there is none any more. */
async function whole(excerpt: Excerpt, { further }: ShownHooks, within: HTMLElement): Promise<Excerpt> {
  try {
    return (!excerpt.markdown && (await further?.(excerpt.passage, within))) || excerpt;
  } catch (error) {
    return { ...excerpt, markdown: failureOf(error).message };
  }
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
  const named: HTMLElement = element("button", { type: "button", class: "plain open", click: () => open(citations, Math.max(index, 0), named), ...WRITTEN }, element("strong", {}, title!), ...path);
  const collection = element("span", WRITTEN, "\u00A0"); // its line has its height already
  void label(excerpt.collection).then((text) => (collection.textContent = text));
  const notes = [placeOf(excerpt), datedOf(excerpt), kindOf(excerpt)].filter(Boolean).map((one) => ` · ${one}`);
  return element("li", { class: "excerpt" }, named, element("p", { class: "note" }, collection, ...notes), shownExcerpt(question, excerpt, say));
}

/** The text of an excerpt, with a button that unfolds its section. The question's words and a marked cell are set off. */
export function shownExcerpt(question: string, { markdown, sectionMarkdown, markedInMarkdown: cell }: Excerpt, say: (text: string) => void): HTMLElement {
  const [from = 0, to = 0] = cell ? unitsAt(markdown, [Number(cell.start), Number(cell.end)]) : [];
  const root = element("div", {}, prose(question, markdown, say, { from, to }));
  if (!sectionMarkdown) return root;
  const more = button(t("showMore"), () => {
    const whole = more.getAttribute("aria-expanded") !== "true";
    more.setAttribute("aria-expanded", String(whole));
    more.textContent = t(whole ? "showLess" : "showMore");
    root.firstElementChild!.replaceWith(whole ? prose(question, sectionMarkdown, say) : prose(question, markdown, say, { from, to }));
  }, { class: "plain unfold", "aria-expanded": "false" });
  root.append(more);
  return root;
}

function prose(question: string, markdown: string, say: (text: string) => void, cell: Place = { from: 0, to: 0 }): HTMLElement {
  const marked = (views: readonly View[]) => wordsIn(question, markdown).reduce((found, word) => wrapped(found, word, "b", { className: "word" }), wrapped(views, cell, "mark"));
  const views = new Markdown().blocks(markdown).flatMap(({ content }) => framed(marked(content), () => codeButton(say)));
  return element("div", { class: "prose", ...WRITTEN }, ...views.map(made));
}

/** What an excerpt quotes, as a citation of no answer, which has no hash. */
function quoteOf({ passage, documentVersion, title, uri, markdown, sourceRange, pieceRange, markedRange, page, boxes, path, locator, date }: Excerpt): Citation {
  const cited = markedRange ?? pieceRange ?? sourceRange;
  return create(CitationSchema, { passage, documentVersion, title, uri, quote: plainText(markdown), page, boxes, path, locator, date, ...(cited && { sourceRange: cited }) });
}
