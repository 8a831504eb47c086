/** Shows one question, and its answer while it arrives. */

import { Pencil } from "lucide";
import { create } from "@bufbuild/protobuf";
import { timestampMs, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { CancelCause, ToolOutcome, TurnToolCallSchema, type TurnEvent, type TurnToolCall, type TurnToolResult } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import type { ByteRange } from "@responsa/contract/responsa/type/v1/byte_range_pb.js";
import { actionsOf } from "./actions.js";
import { AnswerView, outcomeNote, refusal } from "./answer.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { iconButton } from "../widgets/icons.js";
import { failureOfStatus, isLimit, type Failure } from "../server/errors.js";
import type { FrameReader } from "@responsa/client/parts.js";
import { called, outcomeOf, refusalWords, stepWords, switched, toolFailure, type Outcome } from "./outcome.js";
import { passagesView, type CardHooks } from "./passages.js";
import { lapse } from "../text/facts.js";
import { plainText } from "../text/prose.js";
import { StepsView } from "./steps.js";
import { ToolCallView } from "./toolview.js";
import { t, type Key } from "../language/language.js";

export interface TurnHooks extends CardHooks {
  /** The display name of the agent with this version, `agents/{id}/versions/{n}`. */
  readonly agent: (version: string) => string;
  readonly stop: () => void;
  /** The controls for feedback on the answer, and those that share it if `shares`. */
  readonly feedback?: (shares: boolean) => HTMLElement;
  /** Ask the same question again, as another turn; undefined if another tab or program asked the question. */
  readonly askAgain: (() => void) | undefined;
  /** Move the focus away from a button that is removed. */
  readonly focus: () => void;
}

const SPOKEN = 700; // the number of characters after which an answer is cut for screen readers
const FAILURE = 120; // the number of characters after which a tool's failure is cut

const STOPPED: Partial<Record<CancelCause, Key>> = {
  [CancelCause.OWNER]: "stoppedByYou",
  [CancelCause.ADMINISTRATOR]: "stoppedByAdministrator",
  [CancelCause.INTERRUPT]: "replacedByNewer",
  [CancelCause.DISCONNECT]: "stoppedUnwatched",
};

export class TurnView {
  readonly question: HTMLElement;
  readonly reply = element("li", { class: "message assistant", "aria-busy": "true" });
  readonly #asked: string;
  readonly #hooks: TurnHooks;
  readonly #steps = new StepsView();
  readonly #stop: HTMLButtonElement;
  readonly #body = element("div", { class: "body" });
  readonly #answer: AnswerView;
  readonly #tools = new Map<string, ToolCallView>();
  #accepted: number | undefined;
  #version = "";
  #place = 0;

  constructor(question: string, hooks: TurnHooks) {
    this.#asked = question;
    this.#hooks = hooks;
    this.question = questionRow(question, hooks.asking.edit);
    this.#answer = new AnswerView(hooks.open, hooks.say);
    this.#stop = button(t("stop"), hooks.stop, { class: "quiet stop", title: t("stopAnswer") });
    this.reply.append(element("div", { class: "answer" }, element("div", { class: "progress" }, this.#steps.root, this.#stop), this.#body));
  }

  remove(): void {
    this.question.remove();
    this.reply.remove();
  }

  /** Show an activity that is not a step of the turn. */
  busy(text: string): void {
    this.#steps.busy(text);
  }

  /** Report that nothing arrives at the moment. A lost connection that the next try restores is not reported. */
  paused(failure: Failure, tries: number, offline: boolean): void {
    if (tries < 2 && !offline && failure.reason === "") return;
    const limit = isLimit(failure) ? failure.retryAfter : undefined;
    const why = limit === undefined ? waitingFor(failure, offline) : t("tooMany");
    this.#steps.pause(why, limit);
    this.#hooks.say(why);
  }

  resumed(): void {
    this.#steps.resume();
  }

  /** Show the number of turns before this turn in the conversation; 0 means that this turn begins. */
  place(place: number): void {
    if (place === this.#place) return;
    this.#place = place;
    const text = place > 0 ? t("waitingBehind", { count: place }) : t("answerBegins");
    this.#steps.busy(text);
    this.#hooks.say(text);
  }

  stopping(): void {
    this.#stop.setAttribute("aria-disabled", "true"); // a disabled button would lose the focus
    this.#stop.textContent = t("stopping");
    this.#hooks.say(t("stopping"));
  }

  /** Show that the turn could not be stopped. */
  notStopped(why: string): void {
    this.#stop.removeAttribute("aria-disabled");
    this.#stop.textContent = t("stop");
    this.#steps.pause(t("notStopped", { why }));
    this.#hooks.say(t("notStopped", { why }));
  }

  /** Show the next event, which `reader` has already taken. `grow` shows the text of deltas, and citations. */
  take(taken: TurnEvent, reader: FrameReader): void {
    const { event } = taken;
    const at = milliseconds(taken.createTime);
    const outcome = outcomeOf(taken, this.#version && this.#hooks.agent(this.#version));
    switch (event.case) {
      case "started":
        this.#accepted = at;
        this.#version = event.value.agentVersion;
        if (this.#place === 0) this.#steps.busy(t("accepted"));
        break;
      case "status": {
        const text = stepWords(event.value.step, event.value.message);
        this.#place = 0;
        this.#steps.step(text, at);
        this.#hooks.say(text);
        break;
      }
      case "toolCall":
        this.#steps.busy(t("callingTool", { tool: this.#called(event.value, at).tool }));
        break;
      case "toolResult":
        this.#returned(event.value, at);
        break;
      case "providerSwitched":
        this.#steps.note(switched(event.value));
        this.#steps.busy(t("askingModel", { model: event.value.target }));
        break;
      case "usage":
        this.#steps.note(called(event.value));
        break;
      case "attemptRestarted":
        this.#steps.note(t("attemptRestarted"));
        this.#steps.busy(t("continuing"));
        this.grow(reader);
        break;
      case "answer": {
        const { text, citations, passagesUsed, unsourced } = event.value;
        const feedback = this.#feedback(true);
        if (outcome?.passages) {
          const { why, answer } = outcome.passages;
          this.#replace(passagesView(this.#asked, why, answer, this.#hooks, ...feedback));
          this.#tell(outcome);
          this.#end(this.#in(t("searched"), at), at);
          this.#hooks.say([why, ...answer.excerpts.map((one) => plainText(one.markdown)), ...outcome.fallbacks].join(" "));
          break;
        }
        this.#show(text, citations, unsourced);
        this.#answer.finish(...feedback, ...actionsOf(this.#asked, this.#hooks.asking, () => this.#answer.sourced, this.#hooks.say));
        this.#tell(outcome);
        this.#end(`${this.#in(t("answered"), at)}${passagesUsed > 0 ? ` ${t("passagesRead", { count: passagesUsed })}` : ""}`, at);
        this.#hooks.say([spoken(text, citations.length), ...(outcome?.fallbacks ?? [])].join(" "));
        break;
      }
      case "refused": {
        const { message, reason } = event.value;
        const { heading, text, did, end } = refusalWords(reason, message);
        this.#replace(refusal(this.#asked, message, reason, this.#hooks.asking));
        this.#tell(outcome);
        this.#body.append(element("div", { class: "actions" }, ...this.#feedback(false), ...actionsOf(this.#asked, this.#hooks.asking)));
        this.#end([this.#in(did, at), end].filter(Boolean).join(" "), at);
        this.#hooks.say([heading, text].filter(Boolean).join(". "));
        break;
      }
      case "failed":
        // The text so far does not belong to an answer.
        this.#replace();
        this.#end(t("failed"), at);
        this.#problem((event.value.status && failureOfStatus(event.value.status).message) || t("notAnswered"));
        this.#tell(outcome);
        if (event.value.retriable) this.#offerAgain();
        break;
      case "cancelled":
        this.#cancelled(t(STOPPED[event.value.by] ?? "stopped"), reader, at);
        break;
      case "delta": // `grow` shows the text.
      case "citation":
      case "snapshot": // The reader has already handled events of these three kinds.
      case "reconnect":
      case "heartbeat":
      case undefined: // a kind that this page does not know yet
        break;
    }
  }

  /** Show the text that the reader has taken so far. */
  grow(reader: FrameReader): void {
    this.#show(reader.text, reader.citations.map((one) => one.citation));
  }

  /** Show that the turn cannot be followed to its end. */
  broken(message: string): void {
    this.#replace();
    this.#end(t("interrupted"), Date.now());
    this.#problem(message);
  }

  /** Show that the turn was cancelled. Its text stays, although it does not belong to the conversation. */
  #cancelled(why: string, reader: FrameReader, at: number): void {
    const { text } = reader;
    this.#answer.root.classList.add("stopped");
    if (text) {
      this.grow(reader);
      this.#answer.finish();
    } else this.#answer.root.remove();
    this.#end(this.#accepted === undefined ? t("didStop") : t("stoppedAfter", { time: lapse(at - this.#accepted) }), at);
    this.#body.append(element("p", { class: "note stopped-note" }, text ? t("incomplete", { why }) : why));
    this.#offerAgain();
    this.#hooks.say(why);
  }

  #offerAgain(): void {
    if (this.#hooks.askAgain) this.#body.append(button(t("askAgain"), this.#hooks.askAgain, { class: "quiet" }));
  }

  #feedback(shares: boolean): readonly HTMLElement[] {
    return this.#hooks.feedback ? [this.#hooks.feedback(shares)] : [];
  }

  #called(call: TurnToolCall, at: number): ToolCallView {
    const view = new ToolCallView(call, at);
    this.#steps.add(view.root);
    this.#tools.set(call.callId, view);
    return view;
  }

  #returned(result: TurnToolResult, at: number): void {
    const { callId, outcome } = result;
    const view = this.#tools.get(callId) ?? this.#called(create(TurnToolCallSchema, { callId, tool: callId }), at);
    view.returned(result, at);
    if (outcome === ToolOutcome.OK) {
      this.#steps.busy(t("toolFinished", { tool: view.tool }));
      return;
    }
    const unknown = outcome !== ToolOutcome.ERROR;
    // The page shows openly what the tool may have done in the user's name.
    const text = unknown ? t("toolUnknown", { tool: view.tool }) : t("toolFailed", { tool: view.tool, why: shortened(toolFailure(result)) });
    this.reply.querySelector(".progress")?.after(element("p", { class: unknown ? "note tool-report warning" : "note tool-report", ...WRITTEN }, text));
    this.#hooks.say(text);
  }

  #problem(message: string): void {
    this.#body.append(element("p", { class: "problem", ...WRITTEN }, message));
    this.#hooks.say(message);
  }

  #tell(outcome: Outcome | undefined): void {
    const note = outcome && outcomeNote(this.#asked, outcome, this.#hooks);
    if (note) this.#body.append(note);
  }

  #show(text: string, citations: readonly Citation[], unsourced: readonly ByteRange[] = []): void {
    if (!this.#answer.root.isConnected) this.#replace(this.#answer.root);
    this.#answer.show(text, citations, unsourced);
  }

  #replace(...nodes: Node[]): void {
    replace(this.#body, ...nodes);
  }

  #end(summary: string, at: number): void {
    this.reply.removeAttribute("aria-busy");
    this.#steps.done(summary, at);
    if (document.activeElement === this.#stop) this.#hooks.focus();
    this.#stop.remove();
  }

  /** What was done, and how long it took. */
  #in(what: string, at: number): string {
    return this.#accepted === undefined ? what : t("took", { what, time: lapse(at - this.#accepted) });
  }
}

/** `edit` puts the question into the question box, if it can be asked again. */
export function questionRow(text: string, edit?: (question: string) => void): HTMLElement {
  const row = element("li", { class: "message user" }, element("span", { class: "unseen" }, t("youAsked")), element("p", WRITTEN, text));
  if (edit) row.append(iconButton(Pencil, t("editQuestion"), () => edit(text)));
  return row;
}

function waitingFor(failure: Failure, offline: boolean): string {
  if (offline) return t("offlineWaits");
  if (failure.reason === "OVERLOADED") return t("serverBusy");
  return t("reconnecting");
}

function milliseconds(time: Timestamp | undefined): number {
  return time ? timestampMs(time) : Date.now();
}

function shortened(text: string): string {
  return text.length > FAILURE ? `${text.slice(0, FAILURE)}…` : text;
}

function spoken(text: string, citations: number): string {
  const plain = plainText(text);
  const start = plain.length > SPOKEN ? `${plain.slice(0, SPOKEN)}…` : plain;
  return t("spoken", { count: citations, text: start });
}
