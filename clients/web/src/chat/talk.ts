/** The messages of a conversation, and the reader's position among them. */

import { Role, type Message } from "@responsa/contract/responsa/chat/v1/message_pb.js";
import { RefusalReason } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { actionsOf } from "./actions.js";
import { AnswerView, outcomeNote, refusal } from "./answer.js";
import { passagesView, type CardHooks, type OpenSource } from "./passages.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { fragmentOf } from "../documents/place.js";
import type { Outcome } from "./outcome.js";
import { questionRow, type TurnView } from "./turnview.js";
import { t } from "../language/language.js";

const NEAR_END = 120; // pixels; a reader who is closer to the end than this reads the newest text
const MARGIN = 6; // pixels that stay free above a question

export class TalkView {
  readonly root: HTMLElement;
  readonly #messages = element("ol", { class: "messages", "aria-label": t("messages") });
  readonly #next = element("ul", { class: "next", "aria-label": t("askNext") });
  /** Returns a function that opens the sources of the answer with that name. With "", the function opens the sources of the turn that the row names. */
  readonly #opener: (answer: string) => OpenSource;

  /** The outcome of a turn; undefined if the outcome is unknown. */
  readonly #outcome: (turn: string) => Outcome | undefined;
  /** The controls for feedback on an answer or a refusal. */
  readonly #feedback: (answer: Message) => HTMLElement;
  readonly #hooks: Omit<CardHooks, "open">;
  /** The question of each turn whose question is shown. */
  readonly #questions = new Map<string, string>();

  /** `earlier` is shown above the messages. */
  constructor(opener: (answer: string) => OpenSource, outcome: (turn: string) => Outcome | undefined, feedback: (answer: Message) => HTMLElement, earlier: HTMLElement, hooks: Omit<CardHooks, "open">) {
    this.#feedback = feedback;
    this.#opener = opener;
    this.#outcome = outcome;
    this.#hooks = hooks;
    this.root = element("div", { class: "scroll", tabindex: "-1" }, earlier, this.#messages, this.#next);
  }

  get empty(): boolean {
    return this.#messages.childElementCount === 0;
  }

  /** Whether the list shows the greeting of a new conversation. */
  get greeting(): boolean {
    return this.#messages.querySelector(".empty:not(.lost)") !== null;
  }

  /** The turn `turns/{uuid}` of the last answer, or "". */
  get last(): string {
    const row = this.#messages.lastElementChild;
    return (row instanceof HTMLElement && row.dataset["turn"]) || "";
  }

  /** Whether a question of this text is shown. */
  asked(question: string): boolean {
    return [...this.#messages.querySelectorAll(".user > p")].some((one) => one.lastChild?.textContent === question);
  }

  /** The last question that is shown, or "". */
  get question(): string {
    return this.#lastQuestion()?.querySelector("p")?.textContent ?? "";
  }

  /** Offer questions below the last answer, until a message follows, and a document of Responsa's help. Whoever sees the last question still sees it afterwards. */
  offer(questions: readonly string[], ask: (question: string) => void, help?: string): void {
    const atEnd = this.root.scrollTop + MARGIN > this.#end(undefined);
    const chosen = (question: string) => {
      this.root.focus({ preventScroll: true }); // the button goes; a focus on the question box would open a phone's keyboard
      ask(question);
    };
    replace(this.#next, ...questions.map((one) => element("li", {}, button(one, () => chosen(one), { class: "quiet", ...WRITTEN }))));
    if (help) this.#next.append(element("li", {}, element("a", { href: fragmentOf({ name: help, tab: undefined, page: 0 }) }, t("helpHas"))));
    const last = this.#lastQuestion();
    if (atEnd) this.toEnd(last && last.offsetTop >= this.root.scrollTop ? last : undefined);
  }

  /** Show only these messages or other rows, from the last question on if the rest does not fit. */
  show(rows: readonly (Message | HTMLElement)[]): void {
    replace(this.#next);
    replace(this.#messages, ...rows.map((one) => (one instanceof HTMLElement ? one : this.#row(one))));
    this.root.scrollTop = this.#end(this.#lastQuestion());
  }

  #lastQuestion(): HTMLElement | undefined {
    return [...this.#messages.querySelectorAll<HTMLElement>(".user")].at(-1);
  }

  /** Show messages above the others; the visible part stays in its place. */
  prepend(messages: readonly Message[]): void {
    const height = this.root.scrollHeight;
    this.#messages.prepend(...messages.map((one) => this.#row(one)));
    this.root.scrollTop += this.root.scrollHeight - height;
  }

  /** Whether the answer of that turn is shown. With `settled`, only an answer that is shown as a message of the conversation counts, not an answer that the page followed. */
  has(turn: string, settled = false): boolean {
    return this.#messages.querySelector(`[data-turn="${CSS.escape(turn)}"]${settled ? "[data-message]" : ""}`) !== null;
  }

  /** Whether that message is shown, as a message or as the answer of its turn. */
  knows(message: Message): boolean {
    return this.has(message.turn) || this.#messages.querySelector(`[data-message="${CSS.escape(message.name)}"]`) !== null;
  }

  /** Show a message that the user may no longer read as the refusal that it has become. */
  withdraw(message: Message): void {
    const shown = [`[data-message="${CSS.escape(message.name)}"]`, `[data-turn="${CSS.escape(message.turn)}"]`].map((one) => this.#messages.querySelector(`.assistant${one}`)).find(Boolean);
    if (!shown || shown.querySelector(".refusal.withheld") || shown.hasAttribute("aria-busy")) return;
    replace(this.#next);
    shown.replaceWith(this.#row(message));
  }

  /** Add messages that were written elsewhere, above the open turns. */
  add(messages: readonly Message[]): void {
    if (messages.length === 0) return;
    replace(this.#next);
    const following = this.#following();
    const live = this.#messages.querySelector("[aria-busy]")?.previousElementSibling ?? null;
    for (const one of messages) this.#messages.insertBefore(this.#row(one), live);
    if (following) this.toEnd();
  }

  /** Add a question and its reply, above `before` if that is given. */
  append(view: TurnView, before?: TurnView): void {
    replace(this.#next);
    this.#messages.querySelector(".empty")?.remove();
    for (const row of [view.question, view.reply]) this.#messages.insertBefore(row, before?.question ?? null);
    this.toEnd();
  }

  /** Add a question and its reply above those of another turn; if there is no such turn, above the open turns. The visible part stays in its place. */
  insert(view: TurnView, before: string | undefined): void {
    const reply = before && this.#messages.querySelector(`[data-turn="${CSS.escape(before)}"]`);
    const next = reply || this.#messages.querySelector("[aria-busy]");
    const rest = this.root.scrollHeight - this.root.scrollTop;
    for (const row of [view.question, view.reply]) this.#messages.insertBefore(row, next?.previousElementSibling ?? null);
    this.root.scrollTop = this.root.scrollHeight - rest;
  }

  /** Change a reply. If the user is reading the end of the reply, scroll along. */
  grow(view: TurnView, change: () => void): void {
    const following = this.#following(view.question);
    change();
    if (following) this.toEnd(view.question);
  }

  /** Scroll to the end, but keep the question visible, because people read an answer from its beginning. Never scroll back. */
  toEnd(question?: HTMLElement): void {
    this.root.scrollTop = Math.max(this.root.scrollTop, this.#end(question));
  }

  /** Whether the reader is where new text appears, and has not scrolled up. */
  #following(question?: HTMLElement): boolean {
    return this.root.scrollTop > this.#end(question) - NEAR_END;
  }

  #end(question: HTMLElement | undefined): number {
    const end = this.root.scrollHeight - this.root.clientHeight;
    return question ? Math.min(end, question.offsetTop - MARGIN) : end;
  }

  #row(message: Message): HTMLElement {
    if (message.role === Role.USER) {
      this.#questions.set(message.turn, message.text);
      const row = questionRow(message.text, this.#hooks.asking.edit);
      row.dataset["message"] = message.name;
      return row;
    }
    const body = element("div", { class: "answer" });
    const isWithheld = message.refusalReason === RefusalReason.NOT_PERMITTED;
    const outcome = isWithheld ? undefined : this.#outcome(message.turn);
    const hooks = { ...this.#hooks, open: this.#opener("") };
    const question = this.#questions.get(message.turn) ?? "";
    if (message.refusalReason) {
      body.append(refusal(question, message.text, message.refusalReason, hooks.asking));
      body.firstElementChild?.classList.toggle("withheld", isWithheld);
    } else if (outcome?.passages) {
      body.append(passagesView(question, outcome.passages.why, outcome.passages.answer, hooks, this.#feedback(message)));
    } else {
      const view = new AnswerView(this.#opener(message.name), this.#hooks.say);
      view.show(message.text, message.citations, outcome?.unsourced);
      view.finish(this.#feedback(message), ...actionsOf(question, hooks.asking, () => view.sourced, hooks.say));
      body.append(view.root);
    }
    const note = outcome && outcomeNote(question, outcome, hooks);
    if (note) body.append(note);
    if (message.refusalReason) body.append(element("div", { class: "actions" }, this.#feedback(message), ...actionsOf(question, hooks.asking)));
    return element("li", { class: "message assistant", "data-turn": message.turn, "data-message": message.name }, body);
  }
}
