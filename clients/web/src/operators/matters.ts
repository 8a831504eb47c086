/** What operators deal with: feedback, and questions grouped by meaning. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Agent } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { FeedbackState, QuestionPatternState, type GivenFeedback, type QuestionOutcome, type QuestionPattern, type ShownSource, type TenantTurn } from "@responsa/contract/responsa/admin/v1/insight_pb.js";
import { Rating } from "@responsa/contract/responsa/chat/v1/feedback_pb.js";
import { RefusalReason, TurnState } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { t, type Key } from "../language/operators/texts.js";
import { t as shared } from "../language/account/texts.js";
import type { Api } from "../server/api.js";
import { agentOf, allAgents, labelOf } from "../chat/agents.js";
import { outcomeOfTurn, refusalWords } from "../chat/outcome.js";
import { failureOf } from "../server/errors.js";
import { usersWith, type People } from "../server/people.js";
import { dateOf, lapse, moment, money } from "../text/facts.js";
import { filled } from "../widgets/dialog.js";
import { button, element, field, replace, WRITTEN } from "../widgets/dom.js";
import { choiceEntry } from "../widgets/fields.js";
import { Listing, type Batch } from "../widgets/listing.js";
import { PersonField } from "../widgets/person.js";
import { viewFragment } from "../widgets/views.js";
import { loadMarkdown } from "../text/markdown.js";
import { Prose } from "../text/prose.js";
import { numberOf } from "./content.js";
import { spanOf, type Period } from "./periods.js";

const PAGE = 50;
const NOTE_BYTES = 2048;
const ORDERS = [
  ["create_time desc", t("newest")],
  ["first_words_ms desc", t("firstWordsFirst")],
  ["latency_ms desc", t("slowestFirst")],
  ["cost_usd_micros desc", t("dearestFirst")],
] as const;
export type TurnOrder = (typeof ORDERS)[number][0];
const OUTCOMES = [
  ["", t("all")],
  ["ANSWERED", t("answered")],
  ["REFUSED", t("refused")],
  ["FAILED", t("failed")],
  ["CANCELLED", t("stopped")],
] as const;
/** How a turn ended, with the colour of its dot. */
const ENDS: Partial<Record<TurnState, readonly [word: string, colour: string]>> = {
  [TurnState.ANSWERED]: [t("answered"), "lake"],
  [TurnState.REFUSED]: [t("refused"), "amber"],
  [TurnState.FAILED]: [t("failed"), "coral"],
  [TurnState.CANCELLED]: [t("stopped"), ""],
};
const OPINIONS: Readonly<Record<Rating, readonly [word: string, colour: string]>> = {
  [Rating.UP]: [t("helpful"), "good"],
  [Rating.DOWN]: [t("notHelpful"), "bad"],
  [Rating.UNSPECIFIED]: [t("neither"), "warn"],
};
const REASONS: Readonly<Record<string, Key>> = {
  NO_SUPPORT: "reasonNoSupport",
  NEEDS_MODEL: "reasonNeedsModel",
  OUT_OF_SCOPE: "reasonOutOfScope",
  UNSAFE: "reasonUnsafe",
  BUDGET: "reasonBudget",
  QUOTA: "reasonQuota",
  SOURCE_ERASED: "reasonSourceErased",
  NOT_PERMITTED: "reasonNotPermitted",
};

/** The reason of refusals in words, by its name in the contract, such as "NO_SUPPORT". */
export function reasonOf(name: string): string {
  const key = REASONS[name];
  return key ? t(key) : name.toLowerCase();
}

/** How a turn ended, with the reason's name in the contract, or "" without one: for example "Refused: no document answers it". */
function endText(state: TurnState, reason: string): string {
  return `${ENDS[state]?.[0] ?? ""}${reason && `: ${reasonOf(reason)}`}`;
}

/** How many questions a pattern has, and how many of them ended in which way, in words. */
export function countsOf({ answeredTurns, refusedTurns, noSupportTurns, failedTurns, cancelledTurns, downRatings }: QuestionPattern): string[] {
  // The pattern's own number has only the questions with the outcome of the list, and the others count all.
  const questions = answeredTurns + refusedTurns + failedTurns + cancelledTurns;
  const counts = [["countQuestions", questions], ["countAnswered", answeredTurns], ["countUnsupported", noSupportTurns], ["countFailing", failedTurns], ["countNotHelpful", downRatings]] as const;
  return counts.filter(([, number]) => number > 0n).map(([key, number]) => t(key, { count: Number(number) }));
}

/** The time, the person and the words with which somebody dealt with a matter. `names`: of users. */
function dealt(plain: Key, noted: Key, { note, resolver, resolveTime }: Pick<QuestionPattern, "note" | "resolver" | "resolveTime">, names: ReadonlyMap<string, string>): string {
  return t(note ? noted : plain, { date: resolveTime ? dateOf(timestampDate(resolveTime)) : "–", who: names.get(resolver) ?? t("deletedUser"), note });
}

/** A list of patterns, or of how many are hidden. */
export type Patterns = Listing<QuestionPattern | number>;

interface Wanted {
  readonly label: string;
  readonly empty: string;
}

export interface MattersHooks {
  readonly say: (text: string) => void;
  /** Ask a question again as oneself. */
  readonly ask: (question: string) => void;
  /** Keep a question in sight where documents are added, which do not answer it yet. */
  readonly lacks: (question: string) => void;
}

/** Makes the lists of an operator's matters. */
export class Matters {
  readonly #api: Pick<Api, "admin" | "chat">;
  readonly #people: People;
  readonly #hooks: MattersHooks;
  #agents: readonly Agent[] = [];

  constructor(api: Pick<Api, "admin" | "chat">, people: People, hooks: MattersHooks) {
    this.#api = api;
    this.#people = people;
    this.#hooks = hooks;
  }

  /** The feedback that a filter finds, the latest first. `changed`: feedback has been dealt with. */
  feedback({ label, empty, changed, filter }: Wanted & { readonly filter: () => string; readonly changed: () => void }): Listing<GivenFeedback> {
    let names: ReadonlyMap<string, string> = new Map();
    const read = async (pageToken: string) => {
      const [{ feedback, nextPageToken }] = await Promise.all([this.#api.admin.listFeedback({ pageSize: PAGE, pageToken, filter: filter() }), this.#know()]);
      names = new Map([...names, ...(await this.#people.labels(feedback.flatMap(({ user, resolver }) => [user, resolver])))]);
      return { items: feedback, next: nextPageToken };
    };
    return new Listing<GivenFeedback>({ label, read, row: (one) => this.#feedbackRow(one, names, changed), empty: () => empty });
  }

  /** The questions of a time, those that mean about the same together. `empty`: what an empty list says, from how many questions are in no group; `filter`: which of them; with it, administrators say in the list what becomes of them. */
  patterns({ label, empty, span, outcome, filter }: Pick<Wanted, "label"> & { readonly empty: (ungrouped: string) => string; readonly span: () => Pick<Period, "start" | "end">; readonly outcome: () => QuestionOutcome; readonly filter?: () => string }): Patterns {
    let others = 0n;
    let names: ReadonlyMap<string, string> = new Map();
    const asked = (pageToken: string) => this.#api.admin.listQuestionPatterns({ pageSize: PAGE, pageToken, outcome: outcome(), filter: filter?.() ?? "", ...spanOf(span()) });
    const read = async (pageToken: string): Promise<Batch<QuestionPattern | number>> => {
      const { questionPatterns, nextPageToken, otherQuestions } = await asked(pageToken);
      others = otherQuestions;
      if (questionPatterns.some((one) => !one.question)) {
        // Where one is hidden, all are.
        let count = questionPatterns.length;
        for (let next = nextPageToken; next; ) {
          const page = await asked(next);
          count += page.questionPatterns.length;
          next = page.nextPageToken;
        }
        return { items: [count], next: "" };
      }
      if (filter) names = new Map([...names, ...(await this.#people.labels(questionPatterns.flatMap(({ assignee, resolver }) => [assignee, resolver])))]);
      return { items: questionPatterns, next: nextPageToken };
    };
    const list: Patterns = new Listing<QuestionPattern | number>({ label, read, row: (one) => (typeof one === "number" ? element("li", { class: "note" }, t("hiddenGroups", { count: one })) : filter ? this.#patternRow(one, this.#fate(one, names), this.#fateActs(one, list)) : this.#patternRow(one)), empty: () => empty(others > 0n ? t("ungrouped", { count: Number(others) }) : "") });
    return list;
  }

  /** The turns of a time that have ended, with choices of their order and their outcome. */
  turns(label: string, span: Pick<Period, "start" | "end">, first: TurnOrder): { readonly root: HTMLElement; readonly refresh: () => Promise<void> } {
    const [order, outcome] = [choiceEntry(t("order"), ORDERS), choiceEntry(t("outcome"), OUTCOMES)];
    let names: ReadonlyMap<string, string> = new Map();
    const list = new Listing<TenantTurn>({
      label,
      read: async (pageToken) => {
        const filter = outcome.control.value && `state = ${outcome.control.value}`;
        const [{ turns, nextPageToken }] = await Promise.all([this.#api.admin.listTenantTurns({ pageSize: PAGE, pageToken, filter, orderBy: order.control.value, ...spanOf(span) }), this.#know()]);
        names = new Map([...names, ...(await this.#people.labels(turns.map(({ user }) => user)))]);
        return { items: turns, next: nextPageToken };
      },
      row: (one) => this.#turnRow(one, names),
      empty: () => t("noTurns"),
    });
    order.control.value = first;
    for (const { root, control } of [order, outcome]) {
      root.classList.add("inline");
      control.addEventListener("change", () => void list.refresh());
    }
    return { root: element("div", { class: "stack" }, element("div", { class: "row wrap" }, order.root, outcome.root), list.root), refresh: () => list.refresh() };
  }

  /** Learn the agents' names, once; without them, rows show ids. */
  async #know(): Promise<void> {
    if (this.#agents.length === 0) this.#agents = await allAgents(this.#api).catch(() => []);
  }

  #turnRow({ turn, question, state, refusal, createTime, agentVersion, firstWordsMs, latencyMs, costUsdMicros, rating, user }: TenantTurn, names: ReadonlyMap<string, string>): HTMLElement {
    const end = endText(state, refusal === RefusalReason.UNSPECIFIED ? "" : RefusalReason[refusal]);
    const [first, whole] = [lapse(Number(firstWordsMs)), lapse(Number(latencyMs))];
    const agent = t("version", { agent: labelOf(this.#agents, agentOf(agentVersion)), number: numberOf(agentVersion) });
    const facts = [moment(createTime), first !== whole && t("firstWordsAfter", { time: first }), t("wholeAfter", { time: whole }), costUsdMicros > 0n && money(costUsdMicros), agent, rating !== Rating.UNSPECIFIED && OPINIONS[rating][0], names.get(user)];
    const more = element("p", { class: "note lines", ...WRITTEN });
    const details = element("details", { class: "raw" }, element("summary", {}, t("details")), more);
    details.addEventListener("toggle", () => details.open && void this.#detailsOf(turn, agent).then((text) => (more.textContent = text)));
    return element(
      "li",
      { class: "wrapping matter event" },
      element("div", { class: "about" }, ...(question ? [title(question)] : []), element("p", { class: "whole" }, element("span", { class: `dot ${ENDS[state]?.[1] ?? ""}` }), ` ${end}`), element("p", { class: "note whole", ...WRITTEN }, facts.filter(Boolean).join(" · "))),
      details,
      ...(question ? [state === TurnState.ANSWERED ? element("div", { class: "row wrap acts" }, ...this.#again(question)) : this.#acts(question)] : []),
    );
  }

  /** The model, the tokens and the fallbacks of a turn, which the server tells only the user who asked. */
  async #detailsOf(name: string, agent: string): Promise<string> {
    try {
      const turn = await this.#api.chat.getTurn({ name });
      const { who, fallbacks, passages } = outcomeOfTurn(turn, agent);
      const { inputTokens = 0n, outputTokens = 0n } = turn.usage ?? {};
      return [passages?.why, who, inputTokens + outputTokens > 0n && t("tokens", { count: Number(inputTokens), written: Number(outputTokens) }), ...fallbacks].filter(Boolean).join("\n") || "–";
    } catch (error) {
      const { reason, message } = failureOf(error);
      return reason === "RESOURCE_NOT_FOUND" ? t("onlyAsker") : message;
    }
  }

  #feedbackRow(one: GivenFeedback, names: ReadonlyMap<string, string>, changed: () => void): HTMLElement {
    const { question, comment, rating, score, user, agent, updateTime } = one;
    const [opinion, colour] = OPINIONS[rating];
    const facts = [score > 0 && t("scoreOf", { score }), names.get(user) ?? "", labelOf(this.#agents, agent), moment(updateTime)];
    const done = one.state === FeedbackState.DONE;
    const act = this.#dealing(one, done, async (now, note) => {
      await this.#api.admin.resolveFeedback({ name: one.feedback, state: now ? FeedbackState.DONE : FeedbackState.OPEN, note });
      this.#hooks.say(t(now ? "markedDone" : "openedAgain"));
      changed();
    });
    return element(
      "li",
      { class: "wrapping matter" },
      element(
        "div",
        { class: "about" },
        ...(question || !one.shown ? [title(question)] : []), // what is shown stands below
        ...(comment ? [element("blockquote", { class: "whole", ...WRITTEN }, comment)] : []),
        element("p", { class: "note whole" }, element("span", { class: `dot ${colour}` }), ` ${opinion} · ${facts.filter(Boolean).join(" · ")}`),
        ...(done ? [element("p", { class: "note whole", ...WRITTEN }, dealt("dealtWith", "dealtWithNote", one, names))] : []),
      ),
      ...(one.shown ? [this.#exchange(one.feedback)] : []),
      this.#acts(question, ...(one.shown ? [element("a", { href: viewFragment({ area: "administration", tab: "agents", query: { edit: agent } }) }, t("correctAgent"))] : []), act),
    );
  }

  /** The question and the answer that the user shows, read when the administrator unfolds them: each reading is in the audit log. */
  #exchange(name: string): HTMLElement {
    const body = element("div", { class: "stack", "aria-live": "polite" });
    const details = element("details", { class: "raw" }, element("summary", {}, t("readExchange")), body);
    details.addEventListener("toggle", () => details.open && !body.firstChild && void this.#read(name).then((found) => replace(body, ...found)));
    return details;
  }

  async #read(name: string): Promise<readonly HTMLElement[]> {
    try {
      const [{ question, answer, refusal, sources }] = await Promise.all([this.#api.admin.getShownExchange({ name }), loadMarkdown().catch(() => undefined)]);
      const source = ({ title, documentVersion, text }: ShownSource) => element("li", { class: "wrapping" }, documentVersion ? element("a", { class: "name", href: `#/${documentVersion}`, ...WRITTEN }, title) : element("span", { class: "name", ...WRITTEN }, title), text ? markdown(text) : element("p", { class: "note" }, t("mayNotReadSource")));
      const list = sources.length > 0 ? [element("h4", {}, t("exchangeSources")), element("ul", { class: "documents" }, ...sources.map(source))] : [];
      return [element("p", { class: "lines", ...WRITTEN }, t("quoted", { text: question })), answer ? markdown(refusal ? refusalWords(refusal, answer).text : answer) : element("p", { class: "note" }, t("answerWithheld")), ...list];
    } catch (error) {
      const { reason, message } = failureOf(error);
      return [element("p", { class: "problem" }, reason === "RESOURCE_NOT_FOUND" ? t("exchangeGone") : message)];
    }
  }

  #patternRow(pattern: QuestionPattern, fate: readonly HTMLElement[] = [], acts: readonly HTMLElement[] = []): HTMLElement {
    const { title: called, question, firstTime, lastTime } = pattern;
    const [from = "", to = ""] = [firstTime, lastTime].map((one) => (one ? dateOf(timestampDate(one)) : ""));
    const facts = [...countsOf(pattern), from === to ? from : t("fromTo", { from, to })];
    return element(
      "li",
      { class: "wrapping matter" },
      element("div", { class: "about" }, title(called || question), ...(called ? [element("p", { class: "whole", ...WRITTEN }, t("quoted", { text: question }))] : []), element("p", { class: "note whole" }, facts.filter(Boolean).join(" · ")), ...fate),
      this.#acts(question, ...acts),
    );
  }

  /** What administrators do about a pattern, and have done. */
  #fate(pattern: QuestionPattern, names: ReadonlyMap<string, string>): HTMLElement[] {
    const { state, assignee } = pattern;
    const reopened = state === QuestionPatternState.REOPENED && [element("span", { class: "dot warn" }), ` ${dealt("askedSince", "askedSinceNote", pattern, names)}`];
    const lines = [assignee && [t("assignedTo", { who: names.get(assignee) ?? assignee })], state === QuestionPatternState.DONE && [dealt("dealtWith", "dealtWithNote", pattern, names)], reopened];
    return lines.flatMap((line) => (line ? [element("p", { class: "note whole", ...WRITTEN }, ...line)] : []));
  }

  #fateActs(pattern: QuestionPattern, list: Patterns): HTMLElement[] {
    const { question } = pattern;
    const change = async (changes: Partial<Pick<QuestionPattern, "state" | "note" | "assignee">>, said: string) => {
      let why = "";
      try {
        await this.#api.admin.updateQuestionPattern({ questionPattern: { name: pattern.name, etag: pattern.etag, ...changes }, updateMask: { paths: Object.keys(changes) } });
        this.#hooks.say(said);
      } catch (error) {
        if (failureOf(error).reason !== "ETAG_MISMATCH") throw error;
        why = shared("changedNotDone");
      }
      await list.refresh();
      if (why) list.refuse(why);
    };
    const set = (done: boolean, note: string) => change({ state: done ? QuestionPatternState.DONE : QuestionPatternState.OPEN, note }, t(done ? "markedDone" : "openedAgain"));
    return [
      button(t("assign"), () => void this.#assign(pattern, (assignee, said) => change({ assignee }, said)), { "aria-label": t("assignLabel", { question }) }),
      this.#dealing(pattern, pattern.state === QuestionPatternState.DONE, set),
    ];
  }

  async #assign({ question }: QuestionPattern, set: (assignee: string, said: string) => Promise<void>): Promise<void> {
    const person = new PersonField(t("assignee"), usersWith(this.#api, "role = ADMIN AND state = ACTIVE"), t("assigneeNote"));
    const act = async () => {
      if (!person.text) return set("", t("assignedToNobody"));
      const chosen = await person.chosen();
      return chosen ? set(chosen.name, t("assignedTo", { who: chosen.label })) : false;
    };
    await filled({ title: t("assignTitle"), action: t("assignAct"), fields: [...quoted(question), person.root], first: person.control, act });
  }

  #acts(question: string, ...more: readonly HTMLElement[]): HTMLElement {
    return element("div", { class: "row wrap acts" }, element("a", { href: "#/documents", click: () => question && this.#hooks.lacks(question) }, t("addDocument")), ...this.#again(question), ...more);
  }

  #again(question: string): HTMLElement[] {
    return question ? [button(t("askAgain"), () => this.#hooks.ask(question), { "aria-label": t("askAgainLabel", { question }) })] : [];
  }

  /** The button that says that a matter is dealt with, or opens it again. */
  #dealing({ question, note }: Pick<QuestionPattern, "question" | "note">, done: boolean, set: (done: boolean, note: string) => Promise<void>): HTMLElement {
    if (done) return button(t("openAgain"), () => void set(false, note).catch((error: unknown) => this.#hooks.say(failureOf(error).message)));
    return button(t("done"), () => void this.#finish(question, (text) => set(true, text)), { "aria-label": t("doneLabel", { question }) });
  }

  async #finish(question: string, act: (note: string) => Promise<void>): Promise<void> {
    const note = element("textarea", { id: "done-note", rows: "3", maxlength: String(NOTE_BYTES), ...WRITTEN });
    await filled({ title: t("markDone"), action: t("isDone"), fields: [...quoted(question), field(t("whatWasDone"), note, t("whatWasDoneNote"))], first: note, act: () => act(note.value.trim()) });
  }
}

function markdown(text: string): HTMLElement {
  const prose = new Prose(() => element("span", {}));
  prose.show(text, []);
  return prose.root;
}

function quoted(question: string): HTMLElement[] {
  return question ? [element("p", WRITTEN, question)] : [];
}

function title(question: string): HTMLElement {
  return question ? element("strong", { class: "name", ...WRITTEN }, question) : element("span", { class: "note" }, t("hidden"));
}
