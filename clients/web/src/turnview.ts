/** One question and its answer as it comes. */

import { timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import type { TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { AnswerView, duration, refusal, StepsView, type OpenSource } from "./answer.js";
import { hex, sha256Hex } from "./bytes.js";
import { button, element, replace, WRITTEN } from "./dom.js";
import type { Failure } from "./errors.js";

export interface TurnHooks {
  readonly open: OpenSource;
  readonly say: (text: string) => void;
  /** Ask the same question anew, as another turn. */
  readonly askAgain: () => void;
}

const SPOKEN = 700; // characters of an answer that are read out by themselves

export class TurnView {
  readonly question: HTMLElement;
  readonly reply = element("li", { class: "message assistant", "aria-busy": "true" });
  readonly #hooks: TurnHooks;
  readonly #steps = new StepsView();
  readonly #body = element("div", { class: "body" });
  readonly #answer: AnswerView;
  #text = "";
  readonly #citations: Citation[] = [];
  #accepted: number | undefined;

  constructor(question: string, hooks: TurnHooks) {
    this.#hooks = hooks;
    this.question = questionRow(question);
    this.#answer = new AnswerView(hooks.open);
    this.reply.append(element("div", { class: "answer" }, this.#steps.root, this.#body));
  }

  /** What goes on besides the turn's own steps. */
  busy(text: string): void {
    this.#steps.busy(text);
    this.#hooks.say(text);
  }

  async take({ event, createTime }: TurnEvent): Promise<void> {
    const at = milliseconds(createTime);
    switch (event.case) {
      case "started":
        this.#accepted = at;
        this.#steps.busy("Your question was accepted…");
        break;
      case "status":
        this.#steps.step(event.value.message, at);
        this.#hooks.say(event.value.message);
        break;
      case "delta":
        this.#text += event.value.text;
        this.#show(this.#text, this.#citations);
        break;
      case "citation":
        this.#citations.push(event.value);
        this.#show(this.#text, this.#citations);
        break;
      case "answer": {
        const { text, citations, sha256, passagesUsed } = event.value;
        this.#show(text, citations);
        this.#answer.showSources();
        this.#end(`Answered${this.#took(at)}from ${count(passagesUsed, "passage")}`, at);
        this.#hooks.say(spoken(text, citations.length));
        const found = await sha256Hex(text);
        if (found !== undefined && found !== hex(sha256)) this.#problem("This answer did not arrive as it was written; reload the page.");
        break;
      }
      case "refused":
        replace(this.#body, refusal(event.value.message));
        this.#end(`Looked${this.#took(at)}and found no support`, at);
        this.#hooks.say(`No answer. ${event.value.message}`);
        break;
      case "failed":
        this.#fail(event.value.status?.message || "The question could not be answered.", event.value.retriable, at);
        break;
      case undefined: // a kind that this page does not know yet
        break;
    }
  }

  #fail(message: string, retriable: boolean, at: number): void {
    // What was written so far belongs to no answer.
    replace(this.#body);
    this.#end("Failed", at);
    this.#problem(message);
    if (retriable) this.#body.append(button("Ask again", this.#hooks.askAgain, { class: "quiet" }));
    this.#hooks.say(message);
  }

  #problem(message: string): void {
    this.#body.append(element("p", { class: "problem", ...WRITTEN }, message));
  }

  #show(text: string, citations: readonly Citation[]): void {
    if (!this.#answer.root.isConnected) replace(this.#body, this.#answer.root);
    this.#answer.show(text, citations);
  }

  #end(summary: string, at: number): void {
    this.reply.removeAttribute("aria-busy");
    this.#steps.done(summary, at);
  }

  #took(at: number): string {
    return this.#accepted === undefined ? " " : ` in ${duration(at - this.#accepted)} `;
  }
}

export function questionRow(text: string): HTMLElement {
  return element("li", { class: "message user" }, element("p", WRITTEN, element("span", { class: "unseen" }, "You asked: "), text));
}

/** What to say while a question is asked again. */
export function waitingFor(failure: Failure): string {
  if (failure.reason === "OVERLOADED") return "The server is busy; asking again in a moment…";
  return "The connection was lost; going on…";
}

/** What stands where no message is yet. */
export function welcome(): HTMLElement {
  return element(
    "li",
    { class: "empty" },
    element("p", {}, "Ask a question."),
    element("p", { class: "note" }, "Every sentence of the answer opens the passage that it comes from. What no document supports is not answered."),
  );
}

function milliseconds(time: Timestamp | undefined): number {
  return time ? timestampMs(time) : Date.now();
}

function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? "" : "s"}`;
}

function spoken(text: string, citations: number): string {
  const start = text.length > SPOKEN ? `${text.slice(0, SPOKEN)}…` : text;
  return `Answer with ${count(citations, "citation")}: ${start}`;
}
