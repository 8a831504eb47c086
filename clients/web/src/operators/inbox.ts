/** Shows administrators what needs them: answers that did not help, and questions without an answer. */

import { QuestionOutcome, type GivenFeedback } from "@responsa/contract/responsa/admin/v1/insight_pb.js";
import { t } from "../language/operators/texts.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import type { Administrator } from "../server/people.js";
import { confirmed } from "../widgets/dialog.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { choiceEntry } from "../widgets/fields.js";
import type { Listing } from "../widgets/listing.js";
import { noted, type Part } from "../widgets/tabbed.js";
import { viewFragment } from "../widgets/views.js";
import type { Matters, Patterns } from "./matters.js";
import { periodsOf } from "./periods.js";

const STATES = [["OPEN", t("open")], ["MINE", t("mine")], ["DONE", t("isDone")]] as const;

export class InboxView implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin">;
  readonly #say: (text: string) => void;
  readonly #texts = element("div", { class: "row wrap texts" });
  readonly #state = choiceEntry(t("show"), STATES);
  readonly #feedback: Listing<GivenFeedback>;
  readonly #missing: Patterns;

  /** Feedback is assigned to nobody. */
  readonly #unassigned: HTMLElement;

  /** What is wrong with the model that answers. */
  readonly #model = element("div", { class: "stack", role: "status" });
  readonly #ownsInstallation: boolean;

  /** `me`: the administrator. Owners of the installation alone may ask about the model. */
  constructor(api: Pick<Api, "admin">, matters: Matters, me: Administrator, say: (text: string) => void) {
    this.#api = api;
    this.#ownsInstallation = me.ownsInstallation;
    this.#say = say;
    this.#feedback = matters.feedback({
      label: t("notHelpful"),
      filter: () => `rating = DOWN AND state = ${this.#state.control.value === "DONE" ? "DONE" : "OPEN"}`,
      empty: t("inboxEmpty"),
      changed: () => void this.#feedback.refresh(),
    });
    this.#missing = matters.patterns({
      label: t("withoutAnswer"),
      span: () => ({ start: periodsOf("month", new Date())[0]!.start, end: new Date() }),
      outcome: () => QuestionOutcome.NO_SUPPORT,
      filter: () => ({ DONE: "state = DONE", MINE: `NOT state = DONE AND assignee = "${me.name}"` })[this.#state.control.value] ?? "NOT state = DONE",
      empty: (ungrouped) => ({ DONE: t("doneEmpty"), MINE: t("mineEmpty") })[this.#state.control.value] ?? (ungrouped || t("withoutAnswerEmpty")),
    });
    this.#state.control.addEventListener("change", () => {
      noted({ area: "administration", tab: "inbox", query: { state: this.#state.control.value } });
      void this.#list();
    });
    this.#unassigned = element("div", { class: "stack" }, element("h3", {}, t("notHelpful")), this.#feedback.root);
    this.root = element(
      "div",
      { class: "stack", hidden: true },
      this.#model,
      element("div", { class: "row wrap between" }, this.#texts, this.#state.root),
      this.#unassigned,
      element("h3", {}, t("withoutAnswerHeading")),
      element("p", { class: "note" }, t("withoutAnswerNote")),
      this.#missing.root,
    );
    this.#state.root.classList.add("inline");
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    this.#state.control.value = STATES.some(([state]) => state === query["state"]) ? query["state"]! : "OPEN";
    await Promise.all([this.#look(), this.#list(), this.#lookAtModel()]);
    this.root.hidden = false; // what came bit by bit would move the rest
  }

  async #list(): Promise<void> {
    this.#unassigned.hidden = this.#state.control.value === "MINE";
    await Promise.all([this.#feedback.refresh(), this.#missing.refresh()]);
  }

  /** Say why answers come without the model, and what helps. */
  async #lookAtModel(): Promise<void> {
    const problem = this.#ownsInstallation ? await this.#api.admin.getModels({}).then((found) => found.problem, () => "") : "";
    const link = element("a", { href: viewFragment({ area: "administration", tab: "model", query: {} }) }, t("modelTab"));
    replace(this.#model, ...(problem ? [element("p", { class: "warning", ...WRITTEN }, problem, " ", link)] : []));
  }

  /** Say whether the questions may be read. */
  async #look(): Promise<void> {
    try {
      const { questionTexts } = await this.#api.admin.getInsightSettings({});
      replace(this.#texts, element("p", { class: "note" }, t(questionTexts ? "mayRead" : "mayNotRead")), button(t(questionTexts ? "hideQuestions" : "showQuestionsDots"), () => void this.#allow(!questionTexts), { class: "quiet" }));
    } catch (error) {
      replace(this.#texts, element("p", { class: "problem" }, failureOf(error).message));
    }
  }

  async #allow(allowed: boolean): Promise<void> {
    if (allowed && !(await confirmed({ title: t("showQuestionsTitle"), text: t("showQuestionsText"), action: t("showQuestions") }))) return;
    try {
      await this.#api.admin.updateInsightSettings({ insightSettings: { questionTexts: allowed }, updateMask: { paths: ["question_texts"] } });
    } catch (error) {
      return replace(this.#texts, element("p", { class: "problem", role: "alert" }, failureOf(error).message));
    }
    this.#say(t(allowed ? "mayRead" : "areHidden"));
    await this.show({ state: this.#state.control.value });
    this.#texts.querySelector("button")?.focus();
  }
}
