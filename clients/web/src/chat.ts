/** A conversation: its messages, the question box, and the answer as it comes. */

import { Role, type Message } from "@responsa/contract/responsa/chat/v1/message_pb.js";
import { TurnState } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { AnswerView, refusal, type OpenSource } from "./answer.js";
import { NO_LIMIT, type Api } from "./api.js";
import { byteLength, uuid, wellFormed } from "./bytes.js";
import { confirmed, prompted } from "./dialog.js";
import type { DocumentPanel } from "./document.js";
import { button, element, focused, replace, WRITTEN } from "./dom.js";
import { failureOf, signedOut, type Failure } from "./errors.js";
import { follow, Refused, terminal, WAITS } from "./follow.js";
import type { Pending, PendingQuestions } from "./pending.js";
import { ScopeView } from "./scope.js";
import { questionRow, TurnView, waitingFor, welcome } from "./turnview.js";

const PAGE = 50;
const MOST_BYTES = 16_384;
const NEAR_END = 120; // pixels from the end that still count as reading the newest
const MARGIN = 6; // pixels above a question

export interface ChatHooks {
  readonly say: (text: string) => void;
  /** The conversation shown was begun, has a new message or another title. */
  readonly changed: (conversation: string) => void;
  readonly titled: (title: string) => void;
  readonly deleted: (conversation: string) => void;
}

export class ChatView {
  readonly root = element("section", { class: "chat", "aria-label": "Conversation" });
  readonly scope: ScopeView;
  readonly #api: Api;
  readonly #panel: DocumentPanel;
  readonly #pending: PendingQuestions;
  readonly #hooks: ChatHooks;
  readonly #title = element("h2", WRITTEN);
  readonly #head = element(
    "header",
    { class: "chat-head", hidden: true },
    this.#title,
    button("Rename", () => void this.#rename()),
    button("Delete", () => void this.#delete(), { class: "plain danger" }),
  );
  readonly #earlier = button("Show earlier messages", () => void this.#showEarlier(), { hidden: true, class: "plain earlier" });
  readonly #messages = element("ol", { class: "messages", "aria-label": "Messages" });
  readonly #scroll = element("div", { class: "scroll" }, this.#earlier, this.#messages);
  readonly #question = element("textarea", { id: "question", rows: "2", placeholder: "Ask about your documents", autocomplete: "off", dir: "auto" });
  readonly #send = element("button", { type: "submit" }, "Ask");
  readonly #problem = element("p", { class: "problem", role: "alert" });
  #conversation = "";
  #showing = new AbortController();
  #asking: AbortController | undefined;
  /** The turn of somebody else that is waited for. */
  #watched = "";
  #nextPage = "";

  constructor(api: Api, panel: DocumentPanel, pending: PendingQuestions, hooks: ChatHooks) {
    this.#api = api;
    this.#panel = panel;
    this.#pending = pending;
    this.#hooks = hooks;
    this.scope = new ScopeView(api, sessionStorage);
    const form = element(
      "form",
      { class: "ask" },
      element("label", { for: "question", class: "unseen" }, "Your question"),
      this.#question,
      this.#send,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    this.#question.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      this.#submit();
    });
    const hint = element("span", { class: "note hint" }, "Enter asks, Shift+Enter makes a new line");
    this.root.append(this.#head, this.#scroll, this.#problem, form, element("div", { class: "row under" }, this.scope.root, hint));
  }

  get conversation(): string {
    return this.#conversation;
  }

  /** Whether this page itself waits for an answer here. */
  get busy(): boolean {
    return this.#asking !== undefined;
  }

  focus(): void {
    this.#question.focus();
  }

  /** Show a conversation, or with "" a new one, and go on with what waits in it. Returns when its messages stand there. */
  async show(conversation: string): Promise<void> {
    this.#showing.abort();
    this.#showing = new AbortController();
    const { signal } = this.#showing;
    this.#watched = "";
    this.#asking = undefined;
    this.#send.disabled = false;
    this.#conversation = conversation;
    this.#problem.textContent = "";
    this.#head.hidden = true;
    this.#earlier.hidden = true;
    const waiting = this.#pending.of(conversation);
    if (!conversation) {
      this.#hooks.titled("");
      replace(this.#messages, ...(waiting ? [] : [welcome()]));
      if (waiting) void this.#ask(waiting);
      return;
    }
    try {
      const [found, page] = await Promise.all([
        this.#api.chat.getConversation({ name: conversation }, { signal }),
        this.#api.chat.listMessages({ parent: conversation, pageSize: PAGE, orderBy: "create_time desc" }, { signal }),
      ]);
      if (signal.aborted) return;
      this.#name(found.title);
      this.#nextPage = page.nextPageToken;
      this.#earlier.hidden = !this.#nextPage;
      replace(this.#messages, ...page.messages.reverse().map((one) => this.#row(one)));
      this.#toEnd();
      if (waiting) void this.#ask(waiting);
      else if (found.activeTurn) void this.#watch(found.activeTurn, signal);
    } catch (error) {
      if (signal.aborted) return;
      const failure = failureOf(error);
      replace(this.#messages);
      if (failure.reason === "RESOURCE_NOT_FOUND") this.#pending.dropOf(conversation);
      this.#problem.textContent = failure.reason === "RESOURCE_NOT_FOUND" ? "This conversation does not exist, or is not yours." : failure.message;
    }
  }

  /** Ask a question; or one that this tab asked before, to go on with it. */
  async #ask(pending: Pending): Promise<void> {
    const asking = new AbortController();
    const shown = this.#showing.signal;
    // Until its conversation is known a question is followed even when another conversation is shown: it could not be found again.
    let begun = pending.begun;
    shown.addEventListener("abort", () => begun && asking.abort(), { once: true });
    this.#asking = asking;
    this.#pending.keep(pending);
    this.#send.disabled = true;
    this.#problem.textContent = "";
    this.#messages.querySelector(".empty")?.remove();
    const view = new TurnView(pending.text, { open: this.#opener(""), say: (text) => shown.aborted || this.#hooks.say(text), askAgain: () => this.#again(pending, view) });
    this.#messages.append(view.question, view.reply);
    this.#toEnd();
    let turn = "";
    const ask = (signal: AbortSignal) =>
      this.#api.chat.ask(
        {
          conversation: pending.conversation,
          text: pending.text,
          requestId: pending.requestId,
          options: { includeDeltas: true, scope: { collections: [...pending.collections] } },
        },
        { signal, ...NO_LIMIT },
      );
    try {
      for await (const told of follow(ask, asking.signal, (failure) => view.busy(waitingFor(failure)), WAITS)) {
        if (!turn) {
          turn = told.turn;
          view.reply.dataset["turn"] = turn;
          const already = this.#messages.querySelector(`[data-turn="${CSS.escape(turn)}"]:not([aria-busy])`);
          if (already) {
            // It had ended before the messages were read: they have it.
            view.question.remove();
            view.reply.remove();
            this.#pending.drop(pending);
            return;
          }
        }
        if (told.event.event.case === "started") {
          begun = told.event.event.value.conversation;
          this.#pending.keep({ ...pending, begun });
          if (shown.aborted) return asking.abort();
          this.#conversation = begun;
          this.#hooks.changed(begun);
        }
        if (terminal(told.event)) {
          // The stream may take a moment more to end; nobody has to wait for that.
          this.#pending.drop(pending);
          this.#release(asking);
          void this.#settled(begun);
        }
        const following = this.#following(view.question);
        await view.take(told.event);
        if (following) this.#toEnd(view.question);
      }
    } catch (error) {
      if (asking.signal.aborted) return;
      view.question.remove();
      view.reply.remove();
      const failure = error instanceof Refused ? error.failure : failureOf(error);
      if (signedOut(failure)) return; // the question waits for the user's return
      this.#pending.drop(pending);
      if (!shown.aborted) await this.#refused(pending, failure);
    } finally {
      this.#release(asking);
    }
  }

  #release(asking: AbortController): void {
    if (this.#asking !== asking) return;
    this.#send.disabled = false;
    this.#asking = undefined;
  }

  /** The server did not take the question: say why, and give it back to the user. */
  async #refused(pending: Pending, failure: Failure): Promise<void> {
    if (!this.#question.value) this.#question.value = pending.text;
    if (this.#messages.childElementCount === 0) replace(this.#messages, welcome());
    if (failure.reason === "CONVERSATION_BUSY") {
      this.#problem.textContent =
        "This conversation is still answering another question, perhaps one from another tab. Yours was not asked; it is in the box again. Ask it when that answer is here.";
      const active = failure.metadata["active_turn"];
      if (active) void this.#watch(active, this.#showing.signal);
      return;
    }
    if (failure.reason === "RESOURCE_NOT_FOUND" && failure.metadata["resource_type"] === "collection") {
      this.scope.forget(failure.metadata["resource_name"] ?? "");
      this.#problem.textContent = "A collection that you asked does not exist any more; it is no longer chosen. Ask again.";
      return;
    }
    this.#problem.textContent = failure.message;
  }

  /** Wait for a turn that another tab or program began in this conversation, then show what it brought. */
  async #watch(turn: string, signal: AbortSignal): Promise<void> {
    if (this.#watched === turn) return;
    this.#watched = turn;
    let row: TurnView | undefined;
    for (let tries = 1; !signal.aborted; tries += 1) {
      try {
        const found = await this.#api.chat.getTurn({ name: turn }, { signal });
        if (signal.aborted) break;
        if (!row && found.state <= TurnState.RUNNING) {
          row = new TurnView(found.text, { open: this.#opener(turn), say: this.#hooks.say, askAgain: () => undefined });
          row.busy("Being answered; another tab or program asked it…");
          this.#messages.append(row.question, row.reply);
          this.#toEnd();
        }
        if (found.state > TurnState.RUNNING) {
          this.#watched = "";
          this.#problem.textContent = "";
          if (found.state === TurnState.FAILED && row && found.terminalEvent) await row.take(found.terminalEvent);
          else await this.refresh();
          return;
        }
      } catch (error) {
        if (signal.aborted || failureOf(error).reason === "RESOURCE_NOT_FOUND") break;
      }
      await WAITS.sleep(Math.min(250 * tries, 3_000), signal);
    }
    if (this.#watched === turn) this.#watched = "";
    row?.question.remove();
    row?.reply.remove();
  }

  /** Read the shown conversation anew, unless an answer is just coming into it. */
  async refresh(): Promise<void> {
    if (this.#conversation && !this.busy) await this.show(this.#conversation);
  }

  async #settled(conversation: string): Promise<void> {
    this.#hooks.changed(conversation);
    try {
      const { title } = await this.#api.chat.getConversation({ name: conversation });
      if (this.#conversation === conversation) this.#name(title);
    } catch {
      // Only the title is missing; the next look at the conversation brings it.
    }
  }

  #again(failed: Pending, view: TurnView): void {
    if (this.busy) return;
    view.question.remove();
    view.reply.remove();
    void this.#ask({ ...failed, requestId: uuid(), conversation: this.#conversation, begun: this.#conversation });
    this.focus();
  }

  #submit(): void {
    const text = wellFormed(this.#question.value.trim());
    if (!text) return;
    if (this.busy) return this.#hooks.say("Wait for the answer before you ask again.");
    const over = byteLength(text) - MOST_BYTES;
    if (over > 0) {
      this.#problem.textContent = `The question is too long by ${over} bytes; ${MOST_BYTES} are the most. Put long texts into a document.`;
      return;
    }
    this.#question.value = "";
    void this.#ask({ requestId: uuid(), text, conversation: this.#conversation, collections: this.scope.collections, begun: this.#conversation });
  }

  async #showEarlier(): Promise<void> {
    const { signal } = this.#showing;
    try {
      const request = { parent: this.#conversation, pageSize: PAGE, orderBy: "create_time desc", pageToken: this.#nextPage };
      const page = await this.#api.chat.listMessages(request, { signal });
      const height = this.#scroll.scrollHeight;
      this.#nextPage = page.nextPageToken;
      this.#earlier.hidden = !this.#nextPage;
      this.#messages.prepend(...page.messages.reverse().map((one) => this.#row(one)));
      this.#scroll.scrollTop += this.#scroll.scrollHeight - height;
      if (!focused()) this.focus();
    } catch (error) {
      if (!signal.aborted) this.#problem.textContent = failureOf(error).message;
    }
  }

  #row(message: Message): HTMLElement {
    if (message.role === Role.USER) return questionRow(message.text);
    const body = element("div", { class: "answer" });
    if (message.refusalReason) {
      body.append(refusal(message.text));
    } else {
      const view = new AnswerView(this.#opener(message.name));
      view.show(message.text, message.citations);
      view.showSources();
      body.append(view.root);
    }
    return element("li", { class: "message assistant", "data-turn": message.turn }, body);
  }

  /** Opens sources of the answer of that name; with "" of the turn that the row is marked with. */
  #opener(answer: string): OpenSource {
    return (citations, index, by) => {
      const name = answer || by.closest<HTMLElement>("[data-turn]")?.dataset["turn"] || "";
      const citation = citations[index];
      if (citation) void this.#panel.openCitation({ citation, answer: name, index }, by);
    };
  }

  async #rename(): Promise<void> {
    const name = this.#conversation;
    const rename = async (title: string) => {
      await this.#api.chat.updateConversation({ conversation: { name, title }, updateMask: { paths: ["title"] } });
      if (this.#conversation === name) this.#name(title);
      this.#hooks.changed(name);
    };
    const value = this.#title.textContent ?? "";
    await prompted({ title: "Rename the conversation", label: "Title", value, maxLength: 200, action: "Rename", act: rename });
  }

  async #delete(): Promise<void> {
    const name = this.#conversation;
    const text = `“${this.#title.textContent}” is deleted with all its messages. This cannot be undone.`;
    if (!(await confirmed({ title: "Delete the conversation?", text, action: "Delete" }))) return;
    try {
      await this.#api.chat.deleteConversation({ name });
    } catch (error) {
      this.#problem.textContent = failureOf(error).message;
      return;
    }
    this.#pending.dropOf(name);
    this.#hooks.say("Conversation deleted.");
    this.#hooks.deleted(name);
  }

  #name(title: string): void {
    this.#title.textContent = title;
    this.#head.hidden = false;
    this.#hooks.titled(title);
  }

  /** Whether the reader is where new text comes, and has not scrolled up. */
  #following(question: HTMLElement): boolean {
    return this.#scroll.scrollTop > this.#end(question) - NEAR_END;
  }

  /** To the end, but not so far that the question leaves: an answer is read from its beginning. */
  #toEnd(question?: HTMLElement): void {
    this.#scroll.scrollTop = this.#end(question);
  }

  #end(question: HTMLElement | undefined): number {
    const end = this.#scroll.scrollHeight - this.#scroll.clientHeight;
    return question ? Math.min(end, question.offsetTop - MARGIN) : end;
  }
}
