/** A conversation: its messages, the question box, and the answers as they arrive. */

import { ArrowUp, Keyboard, Paperclip } from "lucide";
import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { JsonObject } from "@bufbuild/protobuf";
import type { Conversation } from "@responsa/contract/responsa/chat/v1/conversation_pb.js";
import type { Tool } from "@responsa/contract/responsa/chat/v1/tool_pb.js";
import type { ListMessagesResponse } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import { RefusalReason, TurnState, type Turn, type TurnEvent } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import type { AskingHooks } from "./actions.js";
import { agentOf, allTools, toolsOf, type AgentChoice } from "./agents.js";
import type { OpenSource } from "./passages.js";
import type { Api } from "../server/api.js";
import { byteLength, PATIENCE, rest, uuid, wellFormed } from "@responsa/client/parts.js";
import type { DocumentPanel } from "../documents/document.js";
import { Labels } from "../documents/library.js";
import { button, composes, element, focused, replace } from "../widgets/dom.js";
import { keepDraft, takeDraft } from "./draft.js";
import { icon, iconButton } from "../widgets/icons.js";
import { Lazy } from "../widgets/lazy.js";
import { showKeys } from "../widgets/shortcuts.js";
import { failureOf, type Failure } from "../server/errors.js";
import { actions } from "./feedback.js";
import { isFetched } from "./fetched.js";
import { viewFragment } from "../widgets/views.js";
import { ConversationHead } from "./head.js";
import { LiveTurn, type LiveHooks, type Origin } from "./liveturn.js";
import { outcomeOfTurn, type Outcome } from "./outcome.js";
import type { Pending, PendingQuestions } from "./pending.js";
import { AgentPicker } from "./picker.js";
import { ScopeView } from "./scope.js";
import type { SharedStreams } from "./streams.js";
import { stoppedTurn } from "./stopped.js";
import { answerable, askedBy, helpFor, isWeak, questionsFor, suggested, type Suggested } from "./suggest.js";
import { TalkView } from "./talk.js";
import { turnsOf } from "./turns.js";
import { instead, welcome } from "./welcome.js";
import { t } from "../language/language.js";
import { cleanName } from "../text/names.js";

const PAGE = 50;
const NEWEST = 4; // the number of messages that the page reads to find new messages
const MOST_BYTES = 16_384;
const FOLLOW_UPS = 3;
/** Milliseconds between checks for changes that other tabs and programs made in the shown conversation. */
const LOOK_AGAIN = 1_200;
const UNSEEN = 60_000;

/** The parts of a question. */
type Asked = { readonly text: string; readonly collections: readonly string[]; readonly agent: string; readonly parameters: JsonObject };

export interface ChatHooks {
  readonly say: (text: string) => void;
  /** Keep a question in sight where documents are added, which do not answer it yet. */
  readonly lacks: (question: string) => void;
  /** The shown conversation is new, or has a new message or title. */
  readonly changed: (conversation: string) => void;
  readonly titled: (title: string) => void;
  readonly deleted: (conversation: string) => void;
}

export interface ChatParts {
  readonly api: Api;
  readonly me: Pick<User, "ownsInstallation">;
  readonly panel: Pick<DocumentPanel, "openCitation">;
  readonly waiting: PendingQuestions;
  readonly streams: SharedStreams;
  /** The agent that this tab asks. */
  readonly choice: AgentChoice;
}

/** What the first screen knows of some collections, and the questions for a version of an agent. */
interface Known {
  readonly signal: AbortSignal;
  readonly about: string;
  readonly found: Promise<Suggested>;
  version: string;
  questions: Promise<readonly string[]>;
}

export class ChatView {
  readonly root = element("section", { class: "chat", "aria-label": t("conversation") });
  readonly scope: ScopeView;
  readonly picker: AgentPicker;
  readonly #parts: ChatParts;
  readonly #api: Api;
  readonly #labels: Labels;
  readonly #waiting: PendingQuestions;
  readonly #hooks: ChatHooks;
  readonly #head: ConversationHead;
  readonly #earlier = button(t("earlier"), () => void this.#showEarlier(), { hidden: true, class: "plain earlier" });
  readonly #talk: TalkView;
  readonly #question = element("textarea", { id: "question", rows: "1", placeholder: t("askQuestion"), autocomplete: "off", dir: "auto" });
  readonly #form = element("form", { class: "ask" });
  readonly #files = element("input", { type: "file", multiple: true, hidden: true, change: () => void this.#picked() });
  readonly #clips = new Lazy(async () => {
    const made = new (await import("./clips.js")).ClipsView(this.#api, {
      say: (text) => this.#hooks.say(text),
      conversation: () => this.#begun(),
      added: (collection) => this.scope.pin(collection, true),
      emptied: () => this.scope.unpin(),
      reading: (text) => {
        for (const one of this.#live) one.reads(text);
      },
    });
    this.#question.before(made.root);
    return made;
  });
  /** Resolves when the files that were added last have been sent. */
  #sending: Promise<boolean> | undefined;
  readonly #problem = element("p", { class: "problem", role: "alert" });
  /** What stands below the question box while there is no conversation. */
  readonly #below = element("div", { class: "below" });
  #conversation = "";
  #showing = new AbortController();
  readonly #asking: AskingHooks = {
    ask: (question, agent) => void this.#askAgain(question, agent),
    edit: (question) => this.write(question),
    lacks: (question) => this.#hooks.lacks(question),
    everywhere: () => {
      if (this.scope.collections.length === 0) return undefined;
      const ask = (question: string) => {
        this.scope.choose([]);
        void this.#askAgain(question);
      };
      return { label: this.scope.unchosen, ask };
    },
    others: () => this.picker.others,
  };
  readonly #further = async (passage: string, within: HTMLElement) => (await this.#api.knowledge.getPassage({ name: passage, turn: turnAround(within) })).excerpt;
  /** The running and waiting turns, in the order in which they run. */
  #live: LiveTurn[] = [];
  /** The known outcomes of the turns whose answers are shown. */
  #turns: ReadonlyMap<string, Turn> = new Map();
  #etag = "";
  /** What `askNext` was given. */
  #next = "";
  #looking = false;
  /** The tools that the user may use, once they were asked for. */
  #granted: Promise<readonly Tool[]> | undefined;
  #suggested: Known | undefined;
  #nextPage = "";

  constructor(parts: ChatParts, hooks: ChatHooks) {
    this.#parts = parts;
    this.#api = parts.api;
    this.#labels = new Labels(parts.api);
    this.#waiting = parts.waiting;
    this.#hooks = hooks;
    this.#talk = new TalkView((answer) => this.#opener(answer), (turn) => this.#outcome(turn), (answer) => actions(parts.api, !answer.refusalReason, () => answer.turn, () => answer.name, answer.feedback, hooks.say), this.#earlier, { label: (name) => this.#labels.of(name), say: hooks.say, asking: this.#asking, further: this.#further });
    this.#head = new ConversationHead(parts.api, {
      titled: hooks.titled,
      renamed: hooks.changed,
      deleted: (name) => {
        this.#waiting.dropOf(name);
        this.#hooks.say(t("conversationDeleted"));
        this.#hooks.deleted(name);
      },
      problem: (why) => (this.#problem.textContent = why),
    });
    this.scope = new ScopeView(parts.api, sessionStorage, this.#labels, () => !this.#conversation && this.#talk.greeting && this.#greet());
    this.#question.value = takeDraft(sessionStorage);
    this.picker = new AgentPicker(parts.api, parts.choice, (agent) => {
      this.scope.usually(agent?.collections ?? []);
      if (this.#talk.greeting) this.#greet();
    });
    const form = this.#form;
    form.append(
      element("label", { for: "question", class: "unseen" }, t("yourQuestion")),
      this.#question,
      this.picker.parameters,
      this.#files,
      element("div", { class: "bar" }, iconButton(Paperclip, t("attach"), () => this.#files.click()), this.picker.root, this.scope.root, iconButton(Keyboard, t("keyboardShortcuts"), showKeys, { class: "plain icon keys-button" }), element("button", { type: "submit", class: "send", "aria-label": t("ask"), title: t("askKeys") }, icon(ArrowUp))),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#submit();
    });
    form.addEventListener("drop", ({ dataTransfer }) => void this.#attach([...(dataTransfer?.files ?? [])]));
    this.#question.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || composes(event)) return;
      event.preventDefault();
      if (this.#question.value.trim()) form.requestSubmit(); // the browser checks the parameters first
    });
    this.root.append(this.#head.root, this.#talk.root, this.#problem, form, this.#below);
  }

  get conversation(): string {
    return this.#conversation;
  }

  focus(): void {
    this.#question.focus();
  }

  /** Ask a question in the new conversation that is shown next. */
  askNext(question: string): void {
    this.#next = question;
  }

  /** Put a question into the text box. */
  write(question: string): void {
    this.#question.value = question;
    this.focus();
  }

  /** Store a question that was typed but not sent, so that the next page shows it. */
  keepDraft(): void {
    keepDraft(sessionStorage, this.#question.value);
  }

  /** Stop following all turns. */
  close(): void {
    this.#showing.abort();
    for (const one of this.#live) one.leave();
    this.#live = [];
  }

  /** Show a conversation and follow its open turns; "" shows a new conversation. Returns when the messages are shown. */
  async show(conversation: string): Promise<void> {
    this.close();
    this.#showing = new AbortController();
    const { signal } = this.#showing;
    this.#conversation = conversation;
    this.scope.enter(conversation);
    this.#problem.textContent = "";
    this.#head.blank();
    this.#earlier.hidden = true;
    this.#sending = undefined;
    void this.#clips.view?.enter("");
    const waiting = this.#waiting.of(conversation);
    const next = conversation ? "" : this.#next;
    this.#next = "";
    if (!conversation) {
      this.#hooks.titled("");
      this.picker.adopt(undefined);
      if (waiting.length > 0) this.#talk.show([]);
      else this.#greet();
      for (const pending of waiting) this.#follow({ pending });
      if (next && !(this.#form.reportValidity() && this.#send(next))) this.write(next);
      void this.#watch(signal);
      return;
    }
    try {
      const [found, page, turns] = await Promise.all([
        this.#api.chat.getConversation({ name: conversation }, { signal }),
        this.#api.chat.listMessages({ parent: conversation, pageSize: PAGE, orderBy: "create_time desc" }, { signal }),
        turnsOf(this.#api, conversation, PAGE / 2, signal).catch(() => new Map<string, Turn>()), // the messages can be shown without the outcomes of their turns
      ]);
      // Sources name the tools that fetched them; without the tools' titles, by their ids.
      if (page.messages.some((one) => one.citations.some(isFetched))) await this.#allTools().catch(() => []);
      if (signal.aborted) return;
      this.#turns = turns;
      // A continued conversation keeps its agent.
      const [last] = turns.values();
      const agent = agentOf(last?.agentVersion ?? "");
      this.picker.adopt(agent ? { agent, parameters: last?.parameters ?? {} } : undefined);
      this.#head.name(conversation, found.title);
      this.#etag = found.etag;
      if (found.files) {
        this.scope.pin(found.files);
        void this.#clips.get().then((clips) => clips.enter(found.files), () => undefined); // the files can be asked without the list of them
      }
      this.#nextPage = page.nextPageToken;
      this.#earlier.hidden = !this.#nextPage;
      this.#talk.show(page.messages.reverse());
      for (const pending of waiting) {
        if (pending.turn && this.#talk.has(pending.turn)) this.#waiting.drop(pending);
        else this.#follow({ pending });
      }
      void this.#showStopped([...turns.values()], signal);
      void this.#watch(signal);
      if (found.activeTurn) await this.#adopt(found, signal);
      else if (last) void this.#offer(last.name, last.terminalEvent);
    } catch (error) {
      if (!signal.aborted) this.#lost(failureOf(error));
    }
  }

  /** Show changes by other tabs and programs. After an error, the next check tries again. */
  async look(): Promise<void> {
    const name = this.#conversation;
    const { signal } = this.#showing;
    if (!name || this.#looking || document.hidden || !this.root.isConnected) return;
    this.#looking = true;
    try {
      const found = await this.#api.chat.getConversation({ name }, { signal });
      if (signal.aborted || name !== this.#conversation) return;
      this.#head.name(name, found.title);
      if (found.activeTurn) await this.#adopt(found, signal);
      if (signal.aborted || found.etag === this.#etag) return;
      this.#etag = found.etag;
      await this.#merge(name, signal);
    } catch (error) {
      const failure = failureOf(error);
      if (!signal.aborted && failure.reason === "RESOURCE_NOT_FOUND") this.#lost(failure);
    } finally {
      this.#looking = false;
    }
  }

  /** Withdraw the shown answers that the user may no longer read. */
  async withdraw(): Promise<void> {
    const parent = this.#conversation;
    const { signal } = this.#showing;
    for (let pageToken: string | undefined = ""; parent && pageToken !== undefined; ) {
      const page: ListMessagesResponse = await this.#api.chat.listMessages({ parent, pageSize: PAGE, orderBy: "create_time desc", pageToken }, { signal });
      if (signal.aborted) return;
      for (const one of page.messages) if (one.refusalReason === RefusalReason.NOT_PERMITTED) this.#talk.withdraw(one);
      pageToken = page.nextPageToken || undefined;
    }
  }

  async #watch(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await rest(document.hidden ? UNSEEN : LOOK_AGAIN, signal, PATIENCE);
      if (!signal.aborted) await this.look();
    }
  }

  /** Follow the conversation's running turn and the turns that wait behind it. */
  async #adopt(found: Conversation, signal: AbortSignal): Promise<void> {
    const filter = `conversation = "${found.name}" AND state = QUEUED`;
    const { turns } = await this.#api.chat.listTurns({ filter, orderBy: "create_time" }, { signal });
    const order = [found.activeTurn, ...turns.map((one) => one.name)];
    // This tab may have asked for one of these turns without knowing the turn's name yet.
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

  /** Show the messages that have arrived since the last check. */
  async #merge(name: string, signal: AbortSignal): Promise<void> {
    const page = await this.#api.chat.listMessages({ parent: name, pageSize: NEWEST, orderBy: "create_time desc" }, { signal });
    if (signal.aborted) return;
    const fresh = page.messages.filter((one) => !this.#talk.knows(one)).reverse();
    if (fresh.length === page.messages.length && page.nextPageToken) return this.show(name); // earlier messages are missing too
    const [last] = fresh.length > 0 ? (await this.#know(turnsOf(this.#api, name, NEWEST, signal))).values() : [];
    const unknown = fresh.filter((one) => !this.#talk.knows(one));
    if (signal.aborted || unknown.length === 0) return;
    this.#talk.add(unknown);
    if (last) void this.#offer(last.name, last.terminalEvent);
  }

  /** Offer what to ask after the last answer: headings of its documents that ask; and Responsa's own help, if the answer says little. */
  async #offer(turn: string, end: TurnEvent | undefined): Promise<void> {
    if (!end) return;
    const { signal } = this.#showing;
    const asksAll = this.scope.collections.length === 0;
    const [found, help] = await Promise.all([
      end.event.case === "answer" ? askedBy(this.#api, end.event.value.excerpts, signal).catch(() => []) : [], // without the documents, there is nothing to offer
      asksAll && isWeak(end) ? helpFor(this.#api, this.#talk.question, signal).catch(() => undefined) : undefined,
    ]);
    if (signal.aborted || this.#live.length > 0 || this.#talk.last !== turn) return;
    const fresh = [...new Set(found.map(cleanName))].filter((one) => one && !this.#talk.asked(one));
    this.#talk.offer(fresh.slice(0, FOLLOW_UPS), (question) => void this.#askAgain(question), help);
  }

  /** Show the stopped turns among these, which are the newest first. They have no messages, so their text is read from their logs. */
  async #showStopped(turns: readonly Turn[], signal: AbortSignal): Promise<void> {
    for (const [index, turn] of turns.entries()) {
      if (turn.state !== TurnState.CANCELLED || this.#known(turn.name)) continue;
      const view = await stoppedTurn(turn, this.#api, this.#liveHooks, signal).catch(() => undefined); // without its log, the turn is not shown
      if (signal.aborted) return;
      if (!view || this.#known(turn.name)) continue;
      const later = turns.slice(0, index).findLast((one) => this.#talk.has(one.name));
      this.#talk.insert(view, later?.name);
    }
  }

  /** Whether a turn is shown, or will be when this tab knows its state. */
  #known(turn: string): boolean {
    return this.#talk.has(turn) || this.#waiting.of(this.#conversation).some((one) => one.turn === turn);
  }

  /** Show why the conversation cannot be shown. If there is none, the next question begins a new one. */
  #lost(failure: Failure): void {
    const name = this.#conversation;
    this.#head.blank();
    this.#earlier.hidden = true;
    if (failure.reason !== "RESOURCE_NOT_FOUND") {
      this.#talk.show([instead(t("conversationNotShown"), failure.message, [button(t("tryAgain"), () => void this.show(name), { class: "filled" })], true)]);
      return;
    }
    this.#waiting.dropOf(name);
    this.close();
    this.#showing = new AbortController();
    this.#conversation = "";
    this.scope.enter("");
    this.#talk.show([instead(t("conversationGone"), t("conversationGoneNote"), [element("a", { href: "#/", class: "button" }, t("newConversation"))], true)]);
    void this.#watch(this.#showing.signal);
  }

  /** Show a turn as it arrives, above `before` if that is given. */
  #follow(origin: Origin, before?: LiveTurn): void {
    const live = new LiveTurn(origin, { api: this.#api, streams: this.#parts.streams, waiting: this.#waiting }, this.#liveHooks);
    this.#live.splice(before ? this.#live.indexOf(before) : this.#live.length, 0, live);
    this.#talk.append(live.view, before?.view);
    void live.run();
  }

  readonly #liveHooks: LiveHooks = {
    open: (citations, index, by) => this.#opener("")(citations, index, by),
    label: (name) => this.#labels.of(name),
    further: this.#further,
    say: (text) => this.#hooks.say(text),
    asking: this.#asking,
    agent: (version) => this.picker.label(version),
    focus: () => this.focus(),
    named: (live) => {
      if (!this.#talk.has(live.turn, true)) return true;
      // The turn ended before the messages were read, so the messages contain its answer.
      live.view.remove();
      this.#drop(live);
      return false;
    },
    begun: (live) => {
      if (this.#conversation && this.#conversation !== live.conversation) return;
      this.#conversation = live.conversation;
      this.scope.begun(live.conversation);
      this.#hooks.changed(live.conversation);
    },
    grow: (live, change) => this.#talk.grow(live.view, change),
    ended: (live) => {
      this.#drop(live);
      void this.#offer(live.turn, live.end);
      if (!live.conversation) return;
      this.#hooks.changed(live.conversation);
      void this.look();
    },
    refused: (pending, failure) => void this.#refused(pending, failure),
    again: (live, pending) => {
      live.view.remove();
      this.#ask(pending);
      this.focus();
    },
  };

  #drop(live: LiveTurn): void {
    this.#live = this.#live.filter((one) => one !== live);
    this.#live.forEach((one, index) => one.turn && one.place(index));
  }

  /** Show why the server refused the question, and put the question back into the question box. */
  async #refused(pending: Pending, failure: Failure): Promise<void> {
    if (!this.#question.value) this.#question.value = pending.text;
    if (this.#talk.empty) this.#greet();
    if (failure.reason === "RESOURCE_NOT_FOUND" && failure.metadata["resource_type"] === "collection") {
      this.#problem.textContent = this.scope.forget([failure.metadata["resource_name"] ?? ""]);
      return;
    }
    if (failure.reason === "RESOURCE_NOT_FOUND" && failure.metadata["resource_type"] === "agent") {
      void this.picker.load();
      this.#problem.textContent = t("noAgent", { agent: pending.agent.replace("agents/", "") });
      return;
    }
    if (await this.picker.refused(failure, pending.agent)) this.#hooks.say(failure.message);
    else this.#problem.textContent = failure.message;
  }

  #submit(): void {
    if (this.#sending) {
      const { signal } = this.#showing;
      this.#form.setAttribute("aria-busy", "true");
      void this.#sending.then((sent) => !signal.aborted && sent && this.#submit());
    } else if (this.#send(this.#question.value)) this.#question.value = "";
  }

  async #picked(): Promise<void> {
    const files = [...(this.#files.files ?? [])];
    this.#files.value = ""; // the same file can be picked again
    await this.#attach(files);
  }

  /** Add files to the conversation. A question that is sent meanwhile is asked when the server has them all. */
  async #attach(files: readonly File[]): Promise<void> {
    if (files.length === 0) return;
    this.focus();
    const before = this.#sending;
    const sending = this.#clips.get().then(
      async (clips) => (await clips.add(files)) && (await before) !== false,
      () => {
        this.#problem.textContent = t("unloaded");
        return false;
      },
    );
    this.#sending = sending;
    await sending;
    if (this.#sending !== sending) return;
    this.#sending = undefined;
    this.#form.removeAttribute("aria-busy");
  }

  /** The shown conversation, or a new one, which its first question will name. */
  async #begun(): Promise<string> {
    if (this.#conversation) return this.#conversation;
    const { signal } = this.#showing;
    const { name } = await this.#api.chat.createConversation({ conversation: {}, requestId: uuid() });
    signal.throwIfAborted();
    this.#conversation = name;
    this.scope.begun(name);
    this.#hooks.changed(name);
    return name;
  }

  /** Ask what the user wrote. Returns false, and says why, if it cannot be asked now. */
  #send(written: string): boolean {
    this.scope.close();
    const text = wellFormed(written.trim());
    if (!text) return false;
    this.#problem.textContent = "";
    const over = byteLength(text) - MOST_BYTES;
    if (over > 0) {
      this.#problem.textContent = t("tooLong", { count: over, limit: MOST_BYTES });
    } else if (this.#live.some((one) => !one.turn)) {
      // Two concurrent calls could reach the server in the wrong order.
      this.#problem.textContent = t("stillSending");
    } else {
      this.#ask({ text, collections: this.scope.collections, ...this.picker.asked });
      return true;
    }
    return false;
  }

  #ask({ text, collections, agent, parameters }: Asked): void {
    const conversation = this.#conversation;
    this.#follow({ pending: { requestId: uuid(), text, conversation, collections, agent, parameters, begun: conversation, turn: "", stopping: false } });
  }

  /** Documents or collections have changed: show it in a new conversation, and where collections are named. */
  documentsChanged(): void {
    this.#suggested = undefined;
    this.#labels.forget();
    void this.scope.reread();
    if (this.#talk.greeting) this.#greet();
  }

  /** Ask a question again. If the agent lacks a parameter, the browser says so at its field. */
  async #askAgain(question: string, agent?: string): Promise<void> {
    if (agent) await this.picker.choose(agent);
    if (this.#form.reportValidity()) this.#send(question);
  }

  /** Show a greeting while there is no message. */
  #greet(): void {
    if (this.picker.gone) return this.#talk.show([this.#agentGone()]);
    const { greeting, below } = welcome(this.picker.agent, { use: (question) => this.write(question), more: () => this.#suggest(), about: (collection) => this.scope.chooseForNew([collection]), tools: () => this.#tools() });
    replace(this.#below, ...(this.picker.modelless ? [noModel(this.#parts.me.ownsInstallation)] : []), ...below);
    this.#talk.show([greeting]);
  }

  /** Says that there is no agent as the page's address, or this tab, names it. Any choice of another agent leads to the greeting. */
  #agentGone(): HTMLElement {
    const { default: other, gone } = this.picker;
    const ask = other ? [button(t("askInstead", { agent: other.displayName || other.name }), () => void this.picker.choose(""), { class: "filled" })] : [];
    const files = element("a", { href: viewFragment({ area: "administration", tab: "agents", query: {} }) }, t("checkFiles"));
    return instead(t("agentGone", { agent: gone }), t("agentGoneNote"), [...ask, ...(this.#parts.me.ownsInstallation ? [files] : [])], false);
  }

  /** What people call the tools of the chosen agent. */
  async #tools(): Promise<string> {
    const agent = this.picker.agent?.name;
    return agent ? toolsOf(await this.#allTools(), agent) : "";
  }

  /** All tools, asked for once. */
  async #allTools(): Promise<readonly Tool[]> {
    const granted = (this.#granted ??= allTools(this.#api));
    try {
      return await granted;
    } catch (error) {
      if (this.#granted === granted) this.#granted = undefined; // the next call asks again
      throw error;
    }
  }

  /** What to ask this agent, about the documents that a question would search now. Each question is searched once. */
  async #suggest(): Promise<Suggested & { readonly questions: readonly string[] }> {
    const { agent } = this.picker;
    const known = this.#facts();
    if (known.version !== agent?.version) {
      known.version = agent?.version ?? "";
      known.questions = known.found.then((found) => (agent ? answerable(this.#api, agent, questionsFor(agent, found), this.scope.searched, known.signal) : [])).catch(() => []);
    }
    const [found, questions] = await Promise.all([known.found, known.questions]);
    return { ...found, questions };
  }

  #facts(): Known {
    const { signal } = this.#showing;
    const collections = this.scope.searched;
    const about = JSON.stringify(collections);
    // The greeting is shown again whenever the page knows more about the agent.
    if (this.#suggested?.signal !== signal || this.#suggested.about !== about) {
      this.#suggested = { signal, about, found: suggested(this.#api, collections, signal), version: "", questions: Promise.resolve([]) };
    }
    return this.#suggested;
  }

  #outcome(turn: string): Outcome | undefined {
    const known = this.#turns.get(turn);
    return known && outcomeOfTurn(known, this.picker.label(known.agentVersion));
  }

  /** Remember the outcomes of turns, to show them below the answers. If the outcomes cannot be read, the page shows the answers alone. */
  async #know(turns: Promise<ReadonlyMap<string, Turn>>): Promise<ReadonlyMap<string, Turn>> {
    const found = await turns.catch(() => new Map<string, Turn>());
    this.#turns = new Map([...this.#turns, ...found]);
    return found;
  }

  async #showEarlier(): Promise<void> {
    const { signal } = this.#showing;
    try {
      const request = { parent: this.#conversation, pageSize: PAGE, orderBy: "create_time desc", pageToken: this.#nextPage };
      const page = await this.#api.chat.listMessages(request, { signal });
      this.#nextPage = page.nextPageToken;
      this.#earlier.hidden = !this.#nextPage;
      const turns = await this.#know(turnsOf(this.#api, this.#conversation, PAGE / 2, signal, page.messages[0]?.createTime));
      if (signal.aborted) return;
      this.#talk.prepend(page.messages.reverse());
      void this.#showStopped([...turns.values()], signal);
      if (!focused()) this.focus();
    } catch (error) {
      if (!signal.aborted) this.#problem.textContent = failureOf(error).message;
    }
  }

  #opener(answer: string): OpenSource {
    return (citations, index, by) => {
      const name = answer || turnAround(by);
      const citation = citations[index];
      if (citation) void this.#parts.panel.openCitation({ citation, answer: name, index }, by);
    };
  }
}

/** The turn that is shown around an element, `turns/{uuid}`. */
function turnAround(element: HTMLElement): string {
  return element.closest<HTMLElement>("[data-turn]")?.dataset["turn"] ?? "";
}

/** Says that there is no language model; owners of the installation can set one. */
function noModel(owner: boolean): HTMLElement {
  const set = element("a", { href: viewFragment({ area: "administration", tab: "model", query: {} }) }, t("setModel"));
  return element("p", { class: "note" }, t("noModel"), ...(owner ? [" ", set] : []));
}
