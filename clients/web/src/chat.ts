/** A conversation: its messages, the question box, and the answers as they come. */

import type { Conversation } from "@responsa/contract/responsa/chat/v1/conversation_pb.js";
import type { Turn } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import type { OpenSource } from "./answer.js";
import type { Api } from "./api.js";
import { byteLength, uuid, wellFormed } from "./bytes.js";
import { confirmed, prompted } from "./dialog.js";
import type { DocumentPanel } from "./document.js";
import { button, element, focused, WRITTEN } from "./dom.js";
import { failureOf, type Failure } from "./errors.js";
import { LiveTurn, type LiveHooks, type Origin } from "./liveturn.js";
import { PATIENCE, rest } from "./patience.js";
import type { Pending, PendingQuestions } from "./pending.js";
import { ScopeView } from "./scope.js";
import type { SharedStreams } from "./streams.js";
import { TalkView } from "./talk.js";
import { welcome } from "./turnview.js";

const PAGE = 50;
const NEWEST = 4; // messages that are read to see what is new
const MOST_BYTES = 16_384;
/** Milliseconds between looks for what other tabs and programs did in the conversation that is shown. */
const LOOK_AGAIN = 1_200;
const UNSEEN = 60_000;

export interface ChatHooks {
  readonly say: (text: string) => void;
  /** The conversation shown was begun, has a new message or another title. */
  readonly changed: (conversation: string) => void;
  readonly titled: (title: string) => void;
  readonly deleted: (conversation: string) => void;
}

export interface ChatParts {
  readonly api: Api;
  readonly panel: DocumentPanel;
  readonly waiting: PendingQuestions;
  readonly streams: SharedStreams;
  /** `agents/{id}` to ask, "" for the default. */
  readonly agent: string;
}

export class ChatView {
  readonly root = element("section", { class: "chat", "aria-label": "Conversation" });
  readonly scope: ScopeView;
  readonly #parts: ChatParts;
  readonly #api: Api;
  readonly #waiting: PendingQuestions;
  readonly #hooks: ChatHooks;
  readonly #title = element("h2", WRITTEN);
  readonly #head = element(
    "header",
    { class: "chat-head blank" },
    this.#title,
    button("Rename", () => void this.#rename()),
    button("Delete", () => void this.#delete(), { class: "plain danger" }),
  );
  readonly #earlier = button("Show earlier messages", () => void this.#showEarlier(), { hidden: true, class: "plain earlier" });
  readonly #talk: TalkView;
  readonly #question = element("textarea", { id: "question", rows: "2", placeholder: "Ask about your documents", autocomplete: "off", dir: "auto" });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  #conversation = "";
  #showing = new AbortController();
  /** The turns that are being answered or wait, in their order. */
  #live: LiveTurn[] = [];
  #etag = "";
  #looking = false;
  #nextPage = "";

  constructor(parts: ChatParts, hooks: ChatHooks) {
    this.#parts = parts;
    this.#api = parts.api;
    this.#waiting = parts.waiting;
    this.#hooks = hooks;
    this.#talk = new TalkView((answer) => this.#opener(answer), this.#earlier);
    this.scope = new ScopeView(parts.api, sessionStorage);
    const form = element(
      "form",
      { class: "ask" },
      element("label", { for: "question", class: "unseen" }, "Your question"),
      this.#question,
      element("button", { type: "submit" }, "Ask"),
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
    const asked = parts.agent ? `Asking ${parts.agent.replace("agents/", "the agent ")}` : "Enter asks, Shift+Enter makes a new line";
    const hint = element("span", { class: parts.agent ? "note" : "note hint" }, asked);
    this.root.append(this.#head, this.#talk.root, this.#problem, form, element("div", { class: "row under" }, this.scope.root, hint));
  }

  get conversation(): string {
    return this.#conversation;
  }

  focus(): void {
    this.#question.focus();
  }

  /** Follow nothing any more. */
  close(): void {
    this.#showing.abort();
    for (const one of this.#live) one.leave();
    this.#live = [];
  }

  /** Show a conversation, or with "" a new one, and go on with what waits in it. Returns when its messages stand there. */
  async show(conversation: string): Promise<void> {
    this.close();
    this.#showing = new AbortController();
    const { signal } = this.#showing;
    this.#conversation = conversation;
    this.#problem.textContent = "";
    this.#head.classList.add("blank");
    this.#earlier.hidden = true;
    const waiting = this.#waiting.of(conversation);
    if (!conversation) {
      this.#hooks.titled("");
      this.#talk.show(waiting.length > 0 ? [] : [welcome()]);
      for (const pending of waiting) this.#follow({ pending });
      void this.#watch(signal);
      return;
    }
    try {
      const [found, page] = await Promise.all([
        this.#api.chat.getConversation({ name: conversation }, { signal }),
        this.#api.chat.listMessages({ parent: conversation, pageSize: PAGE, orderBy: "create_time desc" }, { signal }),
      ]);
      if (signal.aborted) return;
      this.#name(found.title);
      this.#etag = found.etag;
      this.#nextPage = page.nextPageToken;
      this.#earlier.hidden = !this.#nextPage;
      this.#talk.show(page.messages.reverse());
      for (const pending of waiting) {
        if (pending.turn && this.#talk.has(pending.turn)) this.#waiting.drop(pending);
        else this.#follow({ pending });
      }
      void this.#watch(signal);
      if (found.activeTurn) await this.#adopt(found, signal);
    } catch (error) {
      if (!signal.aborted) this.#lost(failureOf(error));
    }
  }

  /** See what other tabs and programs did here. What cannot be seen just now is seen the next time. */
  async look(): Promise<void> {
    const name = this.#conversation;
    const { signal } = this.#showing;
    if (!name || this.#looking || document.hidden || !this.root.isConnected) return;
    this.#looking = true;
    try {
      const found = await this.#api.chat.getConversation({ name }, { signal });
      if (signal.aborted || name !== this.#conversation) return;
      this.#name(found.title);
      if (found.activeTurn) await this.#adopt(found, signal);
      if (signal.aborted || found.etag === this.#etag) return;
      this.#etag = found.etag;
      await this.#merge(name, signal);
    } catch (error) {
      const failure = failureOf(error);
      if (!signal.aborted && failure.reason === "RESOURCE_NOT_FOUND") {
        this.close();
        this.#lost(failure);
      }
    } finally {
      this.#looking = false;
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await rest(document.hidden ? UNSEEN : LOOK_AGAIN, signal, PATIENCE);
      if (!signal.aborted) await this.look();
    }
  }

  /** Follow the turn that is being answered in a conversation, and those that wait behind it. */
  async #adopt(found: Conversation, signal: AbortSignal): Promise<void> {
    const filter = `conversation = "${found.name}" AND state = QUEUED`;
    const { turns } = await this.#api.chat.listTurns({ filter, orderBy: "create_time" }, { signal });
    const order = [found.activeTurn, ...turns.map((one) => one.name)];
    // One whose name is not known yet may be among them.
    if (signal.aborted || this.#live.some((one) => !one.turn)) return;
    if (!this.#talk.has(found.activeTurn)) {
      const active = await this.#api.chat.getTurn({ name: found.activeTurn }, { signal });
      if (signal.aborted || this.#live.some((one) => !one.turn)) return;
      this.#found(active, this.#live[0]);
    }
    for (const one of turns) this.#found(one);
    for (const one of this.#live) if (order.includes(one.turn)) one.place(order.indexOf(one.turn));
  }

  #found({ name, conversation, text }: Turn, before?: LiveTurn): void {
    if (!this.#talk.has(name)) this.#follow({ turn: name, conversation, text }, before);
  }

  /** Show the messages that came since. */
  async #merge(name: string, signal: AbortSignal): Promise<void> {
    const page = await this.#api.chat.listMessages({ parent: name, pageSize: NEWEST, orderBy: "create_time desc" }, { signal });
    if (signal.aborted) return;
    const fresh = page.messages.filter((one) => !this.#talk.knows(one)).reverse();
    if (fresh.length === page.messages.length && page.nextPageToken) return this.show(name); // more than these are missing
    this.#talk.add(fresh);
  }

  /** The conversation cannot be shown. */
  #lost(failure: Failure): void {
    this.#talk.show([]);
    this.#head.classList.add("blank");
    this.#earlier.hidden = true;
    if (failure.reason === "RESOURCE_NOT_FOUND") this.#waiting.dropOf(this.#conversation);
    this.#problem.textContent = failure.reason === "RESOURCE_NOT_FOUND" ? "This conversation does not exist, or is not yours." : failure.message;
  }

  /** Show a turn as it comes, above another one where that is given. */
  #follow(origin: Origin, before?: LiveTurn): void {
    const live = new LiveTurn(origin, { api: this.#api, streams: this.#parts.streams, waiting: this.#waiting }, this.#liveHooks);
    this.#live.splice(before ? this.#live.indexOf(before) : this.#live.length, 0, live);
    this.#talk.append(live.view, before?.view);
    void live.run();
  }

  readonly #liveHooks: LiveHooks = {
    open: (citations, index, by) => this.#opener("")(citations, index, by),
    say: (text) => this.#hooks.say(text),
    focus: () => this.focus(),
    named: (live) => {
      if (!this.#talk.has(live.turn, true)) return true;
      // It had ended before the messages were read: they have it.
      live.view.remove();
      this.#drop(live);
      return false;
    },
    begun: (live) => {
      if (this.#conversation && this.#conversation !== live.conversation) return;
      this.#conversation = live.conversation;
      this.#hooks.changed(live.conversation);
    },
    grow: (live, change) => this.#talk.grow(live.view, change),
    ended: (live) => {
      this.#drop(live);
      if (!live.conversation) return;
      this.#hooks.changed(live.conversation);
      void this.look();
    },
    refused: (pending, failure) => this.#refused(pending, failure),
    again: (live, pending) => {
      live.view.remove();
      this.#ask(pending.text, pending.collections);
      this.focus();
    },
  };

  #drop(live: LiveTurn): void {
    this.#live = this.#live.filter((one) => one !== live);
    this.#live.forEach((one, index) => one.turn && one.place(index));
  }

  /** The server did not take the question: say why, and give it back to the user. */
  #refused(pending: Pending, failure: Failure): void {
    if (!this.#question.value) this.#question.value = pending.text;
    if (this.#talk.empty) this.#talk.show([welcome()]);
    if (failure.reason === "RESOURCE_NOT_FOUND" && failure.metadata["resource_type"] === "collection") {
      this.scope.forget(failure.metadata["resource_name"] ?? "");
      this.#problem.textContent = "A collection that you asked does not exist any more; it is no longer chosen. Ask again.";
      return;
    }
    this.#problem.textContent = failure.message;
  }

  #submit(): void {
    const text = wellFormed(this.#question.value.trim());
    if (!text) return;
    this.#problem.textContent = "";
    const over = byteLength(text) - MOST_BYTES;
    if (over > 0) {
      this.#problem.textContent = `The question is too long by ${over} bytes; ${MOST_BYTES} are the most. Put long texts into a document.`;
    } else if (this.#live.some((one) => !one.turn)) {
      // Asked side by side, they could come to the server in another order.
      this.#problem.textContent = "Your question before is still on its way; ask this one in a moment.";
    } else {
      this.#question.value = "";
      this.#ask(text, this.scope.collections);
    }
  }

  #ask(text: string, collections: readonly string[]): void {
    const [conversation, agent] = [this.#conversation, this.#parts.agent];
    this.#follow({ pending: { requestId: uuid(), text, conversation, collections, agent, begun: conversation, turn: "", stopping: false } });
  }

  async #showEarlier(): Promise<void> {
    const { signal } = this.#showing;
    try {
      const request = { parent: this.#conversation, pageSize: PAGE, orderBy: "create_time desc", pageToken: this.#nextPage };
      const page = await this.#api.chat.listMessages(request, { signal });
      this.#nextPage = page.nextPageToken;
      this.#earlier.hidden = !this.#nextPage;
      this.#talk.prepend(page.messages.reverse());
      if (!focused()) this.focus();
    } catch (error) {
      if (!signal.aborted) this.#problem.textContent = failureOf(error).message;
    }
  }

  #opener(answer: string): OpenSource {
    return (citations, index, by) => {
      const name = answer || by.closest<HTMLElement>("[data-turn]")?.dataset["turn"] || "";
      const citation = citations[index];
      if (citation) void this.#parts.panel.openCitation({ citation, answer: name, index }, by);
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
    this.#waiting.dropOf(name);
    this.#hooks.say("Conversation deleted.");
    this.#hooks.deleted(name);
  }

  #name(title: string): void {
    this.#head.classList.remove("blank");
    if (this.#title.textContent !== title) this.#title.textContent = title;
    this.#hooks.titled(title);
  }
}
