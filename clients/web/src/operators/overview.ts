/** Shows administrators how the service does: the health of its parts, and plots of an hour up to a year. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import { QuestionOutcome, type Quality } from "@responsa/contract/responsa/admin/v1/insight_pb.js";
import type { UsageRow } from "@responsa/contract/responsa/auth/v1/usage_report_pb.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { count, momentOf, money } from "../text/facts.js";
import { button, element, replace } from "../widgets/dom.js";
import { noted, type Part } from "../widgets/tabbed.js";
import { healthOf } from "./health.js";
import type { Matters } from "./matters.js";
import { lapse, periodsOf, RANGES, rowsOf, share, spanOf, turnsOf, type Period, type RangeName } from "./periods.js";
import { Plot, type Plotted } from "./plot.js";

const FIRST: RangeName = "week";
const REASONS: Readonly<Record<string, string>> = {
  NO_SUPPORT: "the documents have no answer",
  NEEDS_MODEL: "needs a language model",
  OUT_OF_SCOPE: "outside the agent’s task",
  UNSAFE: "the model declined",
  BUDGET: "over the limit of cost",
  QUOTA: "over the quota",
  SOURCE_ERASED: "a document was erased",
  NOT_PERMITTED: "no longer permitted",
};

/** The figures of a period. */
interface Figures {
  readonly usage: UsageRow | undefined;
  readonly quality: Quality | undefined;
}

export class OverviewView implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin">;
  readonly #matters: Matters;
  readonly #health = element("section", { class: "row wrap health", "aria-label": "Health" }, element("p", { class: "note" }, "Loading…"));
  readonly #ranges: ReadonlyMap<string, HTMLButtonElement>;
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #plots: readonly Plot[];
  readonly #grid: HTMLElement;
  readonly #state = element("p", { class: "note", role: "status" });
  readonly #behind = element("section", { class: "stack behind", "aria-labelledby": "behind-title", hidden: true });
  #range: RangeName = FIRST;
  #reads = 0;

  constructor(api: Pick<Api, "admin">, matters: Matters) {
    this.#api = api;
    this.#matters = matters;
    this.#plots = [0, 1, 2, 3].map(() => new Plot((period) => void this.#look(period)));
    this.#grid = element("div", { class: "plots" }, ...this.#plots.map((one) => one.root));
    this.#ranges = new Map(Object.entries(RANGES).map(([name, { label }]) => [name, button(label, () => this.#choose(name as RangeName), { "aria-pressed": "false" })]));
    const ranges = element("div", { class: "segments", role: "group", "aria-label": "Time" }, ...this.#ranges.values());
    this.root = element("div", { class: "stack" }, this.#health, element("div", { class: "row wrap" }, ranges, this.#state), this.#problem, this.#grid, this.#behind);
    const redraw = () => this.#plots.forEach((one) => one.redraw());
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
    new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    this.#range = (Object.keys(RANGES) as RangeName[]).find((one) => one === query["time"]) ?? FIRST;
    await Promise.all([this.#status(), this.#read()]);
  }

  #choose(range: RangeName): void {
    this.#range = range;
    noted({ area: "administration", tab: "overview", query: { time: range } });
    void this.#read();
  }

  async #status(): Promise<void> {
    try {
      replace(this.#health, ...healthOf(await this.#api.admin.getSystemStatus({})));
    } catch (error) {
      replace(this.#health, element("p", { class: "problem", role: "alert" }, failureOf(error).message));
    }
  }

  async #read(): Promise<void> {
    const read = (this.#reads += 1);
    for (const [name, one] of this.#ranges) one.setAttribute("aria-pressed", String(name === this.#range));
    this.#behind.hidden = true;
    this.#grid.setAttribute("aria-busy", "true");
    this.#state.textContent = "Loading…";
    const periods = periodsOf(this.#range, new Date());
    const whole = { start: periods[0]!.start, end: periods.at(-1)!.end };
    try {
      const [usage, total, ...qualities] = await Promise.all([
        this.#api.admin.queryUsage({ ...spanOf(whole), granularity: RANGES[this.#range].granularity }),
        this.#quality(whole),
        ...periods.map((one) => this.#quality(one)),
      ]);
      if (read !== this.#reads) return; // a later call will show the newer figures
      const rows = rowsOf(periods, usage.rows);
      const figures = periods.map((_, index): Figures => ({ usage: rows[index], quality: qualities[index] }));
      [questions, times, opinions, cost].forEach((plotted, index) => this.#plots[index]!.show(periods, plotted(figures, total)));
      this.#problem.textContent = "";
      const through = usage.completeThrough ? `Counted up to ${momentOf(timestampDate(usage.completeThrough))}.` : "";
      this.#state.textContent = usage.recounting ? `${through} Questions of the earlier release are still being counted.` : through;
    } catch (error) {
      if (read !== this.#reads) return;
      this.#problem.textContent = failureOf(error).message;
      this.#state.textContent = "";
    }
    this.#grid.hidden = this.#problem.textContent !== "";
    this.#grid.removeAttribute("aria-busy");
  }

  /** The quality of all agents together. */
  async #quality(period: Pick<Period, "start" | "end">): Promise<Quality | undefined> {
    const { qualities } = await this.#api.admin.getQualityStats(spanOf(period));
    return qualities.find((one) => !one.agent);
  }

  /** Show what was asked in a period, and what people thought of the answers. */
  async #look(period: Period): Promise<void> {
    const heading = element("h3", { id: "behind-title", tabindex: "-1" }, period.name);
    const questions = this.#matters.patterns({ label: `Questions of ${period.name}`, span: () => period, outcome: () => QuestionOutcome.UNSPECIFIED, empty: "Nobody asked anything.", changed: () => undefined });
    const feedback = this.#matters.feedback({ label: `Feedback of ${period.name}`, filter: () => `update_time >= "${period.start.toISOString()}" AND update_time < "${period.end.toISOString()}"`, empty: "No feedback.", changed: () => void this.#look(period) });
    const hours = period.end.getTime() - period.start.getTime() < 86_400_000;
    replace(this.#behind, heading, element("h4", {}, hours ? "Questions of this day (UTC), grouped by meaning" : "Questions, grouped by meaning"), questions.root, element("h4", {}, "Feedback"), feedback.root);
    this.#behind.hidden = false;
    heading.focus();
    heading.scrollIntoView({ block: "nearest" });
    await Promise.all([questions.refresh(), feedback.refresh()]);
  }
}

function questions(figures: readonly Figures[], total: Quality | undefined): Plotted {
  const all = figures.reduce((sum, { usage }) => sum + turnsOf(usage), 0);
  const reasons = Object.entries(total?.refusals ?? {}).map(([reason, number]) => `${REASONS[reason] ?? reason.toLowerCase()}: ${number.toLocaleString("en")}`);
  const refused = total && total.refusedTurns > 0n ? ` ${total.refusedTurns.toLocaleString("en")} refused (${reasons.join("; ")}).` : "";
  const failed = total && total.failedTurns > 0n ? ` ${total.failedTurns.toLocaleString("en")} failed.` : "";
  return {
    title: "Questions",
    figure: all.toLocaleString("en"),
    summary: all > 0 ? `${share(Number(total?.answeredTurns ?? 0), all)} answered.${refused}${failed}` : "Nobody asked anything in this time.",
    bars: true,
    series: [
      { label: "Answered", colour: "--lake", values: figures.map(({ usage }) => Number(usage?.answeredTurns ?? 0)) },
      { label: "Refused", colour: "--amber", values: figures.map(({ usage }) => Number(usage?.refusedTurns ?? 0)) },
      { label: "Failed or stopped", colour: "--coral", values: figures.map(({ usage }) => Number((usage?.failedTurns ?? 0n) + (usage?.cancelledTurns ?? 0n))) },
    ],
    write: whole,
  };
}

function times(figures: readonly Figures[], total: Quality | undefined): Plotted {
  const answered = turnsOf(total) > 0 && total ? total : undefined;
  const of = (read: (one: Quality) => number) => figures.map(({ quality }) => (quality && turnsOf(quality) > 0 ? read(quality) : undefined));
  return {
    title: "Time to the whole answer",
    figure: answered ? lapse(answered.latencyP50Ms) : "–",
    summary: answered ? `Half of the answers were complete by then, nine of ten within ${lapse(answered.latencyP90Ms)}.` : "No answers in this time.",
    bars: false,
    series: [
      { label: "Half", colour: "--lake", values: of((one) => one.latencyP50Ms) },
      { label: "Nine of ten", colour: "--amber", values: of((one) => one.latencyP90Ms) },
    ],
    write: lapse,
  };
}

function opinions(figures: readonly Figures[], total: Quality | undefined): Plotted {
  const [up, down] = [Number(total?.upRatings ?? 0), Number(total?.downRatings ?? 0)];
  return {
    title: "Opinions",
    figure: share(up, up + down),
    summary: up + down > 0 ? `${up.toLocaleString("en")} of ${count(up + down, "rating")} ${up === 1 ? "says" : "say"} “Helpful”.` : "Nobody rated an answer in this time.",
    bars: true,
    series: [
      { label: "Helpful", colour: "--leaf", values: figures.map(({ quality }) => Number(quality?.upRatings ?? 0)) },
      { label: "Not helpful", colour: "--coral", values: figures.map(({ quality }) => Number(quality?.downRatings ?? 0)) },
    ],
    write: whole,
  };
}

function cost(figures: readonly Figures[]): Plotted {
  const sum = (read: (one: UsageRow) => bigint) => figures.reduce((all, { usage }) => all + (usage ? read(usage) : 0n), 0n);
  const [micros, tokens, unpriced] = [sum((one) => one.costUsdMicros), sum((one) => one.inputTokens + one.outputTokens), sum((one) => one.unpricedTokens)];
  const without = unpriced > 0n ? `, ${unpriced.toLocaleString("en")} of them of models without a known price` : "";
  return {
    title: "Cost",
    figure: money(micros),
    summary: tokens > 0n ? `${count(tokens, "token")} of language models${without}.` : "No language model was used in this time.",
    bars: true,
    series: [{ label: "Cost", colour: "--lake", values: figures.map(({ usage }) => Number(usage?.costUsdMicros ?? 0)) }],
    write: (value) => money(BigInt(Math.round(value))),
  };
}

function whole(value: number): string {
  return Number.isInteger(value) ? value.toLocaleString("en") : "";
}
