/** A conversation: its messages, the question box, and the answer as it comes. */

import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { Role, type Message } from "@responsa/contract/responsa/chat/v1/message_pb.js";
import type { Api } from "./api.js";
import { answerView } from "./answer.js";
import { sha256Hex, hex } from "./bytes.js";
import type { DocumentPanel } from "./document.js";
import { element, replace } from "./dom.js";
import { failureOf } from "./errors.js";
import { follow, Refused, WAITS } from "./follow.js";
import { dropPending, keepPending, type Pending } from "./pending.js";

export interface ChatHooks {
  /** A conversation was begun or has a new message. */
  readonly changed: (conversation: string) => void;
  readonly announce: (text: string) => void;
}

export class ChatView {
  readonly root = element("section", { class: "chat", "aria-label": "Conversation" });
  readonly #api: Api;
  readonly #panel: DocumentPanel;
  readonly #hooks: ChatHooks;
  readonly #messages = element("ol", { class: "messages" });
  readonly #question = element("textarea", {
    id: "question",
    rows: "2",
    maxlength: "16384",
    placeholder: "Ask about your documents",
    autocomplete: "off",
  });
  readonly #send = element("button", { type: "submit" }, "Ask");
  readonly #problem = element("p", { class: "problem", role: "alert" });
  #conversation = "";
  #asking: AbortController | undefined;
  #shown = 0;

  constructor(api: Api, panel: DocumentPanel, hooks: ChatHooks) {
    this.#api = api;
    this.#panel = panel;
    this.#hooks = hooks;
    const form = element("form", { class: "ask" }, element("label", { for: "question", class: "unseen" }, "Your question"), this.#question, this.#send);
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#question.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
        event.preventDefault();
        this.#submit();
      }
    });
    this.root.append(this.#messages, this.#problem, form);
  }

  get conversation(): string {
    return this.#conversation;
  }

  focus(): void {
    this.#question.focus();
  }

  /** Show a conversation, or with "" a new one. What is being answered elsewhere goes on there. */
  async show(conversation: string): Promise<void> {
    this.#asking?.abort();
    this.#conversation = conversation;
    this.#problem.textContent = "";
    const shown = (this.#shown += 1);
    if (!conversation) {
      replace(this.#messages, element("li", { class: "empty" }, "Ask a question. Every sentence of the answer opens the passage that it comes from."));
      return;
    }
    try {
      const rows: HTMLElement[] = [];
      let pageToken = "";
      do {
        const page = await this.#api.chat.listMessages({ parent: conversation, pageSize: 200, pageToken });
        rows.push(...page.messages.map((one) => this.#messageRow(one)));
        pageToken = page.nextPageToken;
      } while (pageToken);
      if (shown !== this.#shown) return;
      replace(this.#messages, ...rows);
      this.#toEnd();
    } catch (error) {
      if (shown === this.#shown) this.#problem.textContent = failureOf(error).message;
    }
  }

  /** Ask, or with a question that was pending before a reload: go on with it. */
  async ask(pending: Pending): Promise<void> {
    this.#asking?.abort();
    const asking = new AbortController();
    this.#asking = asking;
    this.#problem.textContent = "";
    this.#messages.querySelector(".empty")?.remove();
    keepPending(sessionStorage, pending);
    const status = element("p", { class: "status" }, "Sending your question…");
    const body = element("div", { class: "answer" }, status);
    const rows = [questionRow(pending.text), element("li", { class: "message assistant", "aria-busy": "true" }, body)];
    this.#messages.append(...rows);
    this.#toEnd();
    this.#send.disabled = true;
    try {
      await this.#follow(pending, asking.signal, status, body);
    } catch (error) {
      if (asking.signal.aborted) return;
      dropPending(sessionStorage);
      for (const row of rows) row.remove();
      this.#problem.textContent = error instanceof Refused ? error.failure.message : failureOf(error).message;
      if (!this.#question.value) this.#question.value = pending.text;
    } finally {
      rows[1]!.removeAttribute("aria-busy");
      if (this.#asking === asking) {
        this.#send.disabled = false;
        this.#asking = undefined;
      }
    }
  }

  async #follow(pending: Pending, signal: AbortSignal, status: HTMLElement, body: HTMLElement): Promise<void> {
    const open = (inner: AbortSignal) =>
      this.#api.chat.ask(
        {
          conversation: pending.conversation,
          text: pending.text,
          requestId: pending.requestId,
          options: { includeDeltas: true, scope: { collections: [...pending.collections] } },
        },
        { signal: inner },
      );
    const say = (text: string) => {
      status.textContent = text;
      this.#hooks.announce(text);
    };
    let text = "";
    const citations: Citation[] = [];
    for await (const { event } of follow(open, signal, () => say("The connection was lost; going on…"), WAITS)) {
      switch (event.case) {
        case "started":
          this.#conversation = event.value.conversation;
          this.#hooks.changed(this.#conversation);
          break;
        case "status":
          say(event.value.message);
          break;
        case "delta":
          text += event.value.text;
          replace(body, status, this.#answer(text, citations));
          this.#toEnd();
          break;
        case "citation":
          citations.push(event.value);
          replace(body, status, this.#answer(text, citations));
          break;
        case "answer": {
          const whole = (await sha256Hex(event.value.text)) === hex(event.value.sha256);
          replace(body, this.#answer(event.value.text, event.value.citations));
          if (!whole) body.append(element("p", { class: "problem" }, "This answer did not arrive as it was written; reload the page."));
          this.#hooks.announce("The answer is ready.");
          break;
        }
        case "refused":
          replace(body, refusal(event.value.message));
          this.#hooks.announce(event.value.message);
          break;
        case "failed":
          replace(body, element("p", { class: "problem" }, event.value.status?.message ?? "The question could not be answered."));
          this.#hooks.announce("The question could not be answered.");
          break;
        case undefined:
          break;
      }
    }
    if (signal.aborted) return;
    dropPending(sessionStorage);
    this.#toEnd();
    this.#hooks.changed(this.#conversation);
  }

  #submit(): void {
    const text = this.#question.value.trim();
    if (!text || this.#asking) return;
    this.#question.value = "";
    void this.ask({ requestId: crypto.randomUUID(), text, conversation: this.#conversation, collections: [] });
  }

  #messageRow(message: Message): HTMLElement {
    if (message.role === Role.USER) return questionRow(message.text);
    const view = message.refusalReason ? refusal(message.text) : this.#answer(message.text, message.citations);
    return element("li", { class: "message assistant" }, element("div", { class: "answer" }, view));
  }

  #answer(text: string, citations: readonly Citation[]): HTMLElement {
    return answerView(text, citations, (citation) => void this.#panel.openCitation(citation));
  }

  #toEnd(): void {
    this.#messages.lastElementChild?.scrollIntoView({ block: "end" });
  }
}

function questionRow(text: string): HTMLElement {
  return element("li", { class: "message user" }, element("p", {}, text));
}

function refusal(text: string): HTMLElement {
  return element("p", { class: "refusal" }, text);
}
