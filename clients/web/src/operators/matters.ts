/** What operators deal with: feedback, and questions grouped by meaning. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import { FeedbackState, type GivenFeedback, type QuestionOutcome, type QuestionPattern } from "@responsa/contract/responsa/admin/v1/insight_pb.js";
import { Rating } from "@responsa/contract/responsa/chat/v1/feedback_pb.js";
import type { Api } from "../server/api.js";
import { labelOf } from "../chat/agents.js";
import { failureOf } from "../server/errors.js";
import type { People } from "../server/people.js";
import { count, dateOf, momentOf } from "../text/facts.js";
import { filled } from "../widgets/dialog.js";
import { button, element, field, WRITTEN } from "../widgets/dom.js";
import { Listing } from "../widgets/listing.js";
import { spanOf, type Period } from "./periods.js";

const PAGE = 50;
const NOTE_BYTES = 2048;
const HIDDEN = "The question is hidden";

interface Wanted {
  readonly label: string;
  readonly empty: string;
  /** Something has been dealt with. */
  readonly changed: () => void;
}

export interface MattersHooks {
  readonly say: (text: string) => void;
  /** Ask a question again as oneself. */
  readonly ask: (question: string) => void;
}

/** Makes the lists of an operator's matters. */
export class Matters {
  readonly #api: Pick<Api, "admin">;
  readonly #people: People;
  readonly #hooks: MattersHooks;

  constructor(api: Pick<Api, "admin">, people: People, hooks: MattersHooks) {
    this.#api = api;
    this.#people = people;
    this.#hooks = hooks;
  }

  /** The feedback that a filter finds, the latest first. */
  feedback({ label, empty, changed, filter }: Wanted & { readonly filter: () => string }): Listing<GivenFeedback> {
    let names: ReadonlyMap<string, string> = new Map();
    const read = async (pageToken: string) => {
      const { feedback, nextPageToken } = await this.#api.admin.listFeedback({ pageSize: PAGE, pageToken, filter: filter() });
      names = new Map([...names, ...(await this.#people.labels(feedback.flatMap(({ user, resolver }) => [user, resolver])))]);
      return { items: feedback, next: nextPageToken };
    };
    return new Listing<GivenFeedback>({ label, read, row: (one) => this.#feedbackRow(one, names, changed), empty: () => empty });
  }

  /** The questions of a time, those that mean about the same together. */
  patterns({ label, empty, span, outcome }: Wanted & { readonly span: () => Pick<Period, "start" | "end">; readonly outcome: () => QuestionOutcome }): Listing<QuestionPattern> {
    let others = 0n;
    const read = async (pageToken: string) => {
      const { questionPatterns, nextPageToken, otherQuestions } = await this.#api.admin.listQuestionPatterns({ pageSize: PAGE, pageToken, outcome: outcome(), ...spanOf(span()) });
      others = otherQuestions;
      return { items: questionPatterns, next: nextPageToken };
    };
    return new Listing<QuestionPattern>({ label, read, row: (one) => this.#patternRow(one), empty: () => (others > 0n ? `${count(others, "question")}, not grouped yet or no longer.` : empty) });
  }

  #feedbackRow(one: GivenFeedback, names: ReadonlyMap<string, string>, changed: () => void): HTMLElement {
    const { question, comment, rating, score, user, agent, updateTime, state, note, resolver, resolveTime } = one;
    const opinion = rating === Rating.DOWN ? ["Not helpful", "bad"] : rating === Rating.UP ? ["Helpful", "good"] : ["Neither", "warn"];
    const facts = [score > 0 && `${score} of 5`, names.get(user) ?? "", labelOf([], agent), updateTime && momentOf(timestampDate(updateTime))];
    const done = state === FeedbackState.DONE;
    const dealt = done ? `Done${resolveTime ? ` on ${dateOf(timestampDate(resolveTime))}` : ""} by ${names.get(resolver) ?? "a deleted user"}${note && `: ${note}`}` : "";
    const act = done ? button("Open again", () => void this.#resolve(one, FeedbackState.OPEN, note, changed).catch((error: unknown) => this.#hooks.say(failureOf(error).message))) : button("Done…", () => void this.#finish(one, changed), { "aria-label": `Done: ${question || HIDDEN}` });
    return element(
      "li",
      { class: "wrapping matter" },
      element(
        "div",
        { class: "about" },
        title(question),
        ...(comment ? [element("blockquote", { class: "whole", ...WRITTEN }, comment)] : []),
        element("p", { class: "note whole" }, element("span", { class: `dot ${opinion[1]}` }), ` ${opinion[0]} · ${facts.filter(Boolean).join(" · ")}`),
        ...(dealt ? [element("p", { class: "note whole", ...WRITTEN }, dealt)] : []),
      ),
      this.#acts(question, act),
    );
  }

  #patternRow({ title: called, question, questions, answeredTurns, noSupportTurns, failedTurns, downRatings, firstTime, lastTime }: QuestionPattern): HTMLElement {
    const times = [firstTime, lastTime].map((one) => (one ? dateOf(timestampDate(one)) : ""));
    const when = times[0] === times[1] ? times[0] : `${times[0]} to ${times[1]}`;
    const facts = [answeredTurns > 0n && `${answeredTurns} answered`, noSupportTurns > 0n && `${noSupportTurns} without an answer`, failedTurns > 0n && `${failedTurns} failed`, downRatings > 0n && `${downRatings} not helpful`, when];
    return element(
      "li",
      { class: "wrapping matter" },
      element("div", { class: "about" }, title(called || question), ...(called ? [element("p", { class: "whole", ...WRITTEN }, `“${question}”`)] : []), element("p", { class: "note whole" }, [count(questions, "question"), ...facts].filter(Boolean).join(" · "))),
      this.#acts(question),
    );
  }

  #acts(question: string, ...more: readonly HTMLElement[]): HTMLElement {
    const again = question ? [button("Ask again", () => this.#hooks.ask(question), { "aria-label": `Ask again: ${question}` })] : [];
    return element("div", { class: "row wrap acts" }, element("a", { href: "#/documents" }, "Add a document"), ...again, ...more);
  }

  async #finish(one: GivenFeedback, changed: () => void): Promise<void> {
    const note = element("textarea", { id: "done-note", rows: "3", maxlength: String(NOTE_BYTES), ...WRITTEN });
    const fields = [...(one.question ? [element("p", WRITTEN, one.question)] : []), field("What was done", note, "Other administrators see it, the user does not. You may leave it empty.")];
    await filled({ title: "Mark as done", action: "Done", fields, first: note, act: () => this.#resolve(one, FeedbackState.DONE, note.value.trim(), changed) });
  }

  async #resolve({ feedback }: GivenFeedback, state: FeedbackState, note: string, changed: () => void): Promise<void> {
    await this.#api.admin.resolveFeedback({ name: feedback, state, note });
    this.#hooks.say(state === FeedbackState.DONE ? "Marked as done." : "Opened again.");
    changed();
  }
}

function title(question: string): HTMLElement {
  return question ? element("strong", { class: "name", ...WRITTEN }, question) : element("span", { class: "note" }, HIDDEN);
}
