/** Shows administrators how the service does: the health of its parts, and plots of an hour up to a year. */

import { QuestionOutcome, type Quality } from "@responsa/contract/responsa/admin/v1/insight_pb.js";
import type { UsageRow } from "@responsa/contract/responsa/auth/v1/usage_report_pb.js";
import { MONEY } from "../administration/amounts.js";
import { locale } from "../language/language.js";
import { t } from "../language/operators/texts.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { lapse, moment, money } from "../text/facts.js";
import { filled } from "../widgets/dialog.js";
import { button, element, renew, replace } from "../widgets/dom.js";
import { textEntry } from "../widgets/fields.js";
import { noted, type Part } from "../widgets/tabbed.js";
import { healthOf } from "./health.js";
import { reasonOf, type Matters, type TurnOrder } from "./matters.js";
import { budgetOf, periodsOf, RANGES, rowsOf, share, spanOf, turnsOf, type Period, type RangeName } from "./periods.js";
import { Plot, type Plotted, type Series } from "./plot.js";

const FIRST: RangeName = "week";
const DAY = 86_400_000; // milliseconds

/** The figures of a period. */
interface Figures {
  readonly usage: UsageRow | undefined;
  readonly quality: Quality | undefined;
}

type Write = (figures: readonly Figures[], total: Quality | undefined) => Plotted;

export class OverviewView implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin">;
  readonly #matters: Matters;
  readonly #health = element("section", { class: "row wrap health", "aria-label": t("health") }, element("p", { class: "note" }, t("loading")));
  readonly #ranges: ReadonlyMap<string, HTMLButtonElement>;
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #plots: readonly Plot[];
  readonly #grid: HTMLElement;
  readonly #state = element("p", { class: "note", role: "status" });
  readonly #behind = element("section", { class: "stack behind", "aria-labelledby": "behind-title", hidden: true });
  #range: RangeName = FIRST;
  #reads = 0;
  /** In millionths of a US dollar in a month; 0 for none. */
  #budget = 0n;

  constructor(api: Pick<Api, "admin">, matters: Matters) {
    this.#api = api;
    this.#matters = matters;
    // What lies behind a figure begins with what has made it great.
    const orders: readonly TurnOrder[] = ["create_time desc", "first_words_ms desc", "latency_ms desc", "cost_usd_micros desc", "create_time desc"];
    this.#plots = orders.map((order) => new Plot((period) => void this.#look(period, order)));
    this.#grid = element("div", { class: "plots" }, ...this.#plots.map((one) => one.root));
    this.#ranges = new Map((Object.keys(RANGES) as RangeName[]).map((name) => [name, button(t(name), () => this.#choose(name), { "aria-pressed": "false" })]));
    const ranges = element("div", { class: "segments", role: "group", "aria-label": t("time") }, ...this.#ranges.values());
    this.root = element("div", { class: "stack" }, this.#health, element("div", { class: "row wrap" }, ranges, this.#state), this.#problem, this.#grid, this.#behind);
    this.#watch();
  }

  /** Draw the plots again when their width or the theme changes. A view that is hidden or removed has no width, and then nothing else holds it. */
  #watch(): void {
    const redraw = () => this.#plots.forEach((one) => one.redraw());
    const [dark, theme] = [window.matchMedia("(prefers-color-scheme: dark)"), new MutationObserver(redraw)];
    new ResizeObserver(() => {
      dark.removeEventListener("change", redraw);
      theme.disconnect();
      if (this.#grid.clientWidth === 0) return;
      dark.addEventListener("change", redraw);
      theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
      redraw();
    }).observe(this.#grid);
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    this.#range = (Object.keys(RANGES) as RangeName[]).find((one) => one === query["time"]) ?? FIRST;
    await Promise.all([this.#status(), this.#read()]);
  }

  /** Read the health again. The figures say until when they are counted. */
  readonly reread = (): Promise<void> => this.#status();

  #choose(range: RangeName): void {
    this.#range = range;
    noted({ area: "administration", tab: "overview", query: { time: range } });
    void this.#read();
  }

  async #status(): Promise<void> {
    try {
      renew(this.#health, ...healthOf(await this.#api.admin.getSystemStatus({})));
    } catch (error) {
      renew(this.#health, element("p", { class: "problem", role: "alert" }, failureOf(error).message));
    }
  }

  async #read(): Promise<void> {
    const read = (this.#reads += 1);
    for (const [name, one] of this.#ranges) one.setAttribute("aria-pressed", String(name === this.#range));
    this.#behind.hidden = true;
    this.#grid.setAttribute("aria-busy", "true");
    this.#state.textContent = t("loading");
    const periods = periodsOf(this.#range, new Date());
    const whole = { ...spanOf({ start: periods[0]!.start, end: periods.at(-1)!.end }), granularity: RANGES[this.#range].granularity };
    try {
      const [usage, quality, settings] = await Promise.all([this.#api.admin.queryUsage(whole), this.#api.admin.getQualityStats(whole), this.#api.admin.getInsightSettings({})]);
      if (read !== this.#reads) return; // a later call will show the newer figures
      this.#budget = settings.costUsdMicrosPerMonth;
      const [rows, qualities] = [rowsOf(periods, usage.rows), rowsOf(periods, quality.periods)];
      const figures = periods.map((_, index): Figures => ({ usage: rows[index], quality: qualities[index] }));
      const total = quality.qualities.find((one) => !one.agent);
      const plots: readonly Write[] = [questions, firstWords, wholeAnswers, (all) => this.#cost(periods, all), opinions];
      plots.forEach((plotted, index) => this.#plots[index]!.show(periods, plotted(figures, total)));
      this.#problem.textContent = "";
      this.#state.textContent = usage.completeThrough ? t("countedThrough", { time: moment(usage.completeThrough) }) : "";
    } catch (error) {
      if (read !== this.#reads) return;
      this.#problem.textContent = failureOf(error).message;
      this.#state.textContent = "";
    }
    this.#grid.hidden = this.#problem.textContent !== "";
    this.#grid.removeAttribute("aria-busy");
  }

  #cost(periods: readonly Period[], figures: readonly Figures[]): Plotted {
    const sum = (read: (one: UsageRow) => bigint) => figures.reduce((all, { usage }) => all + (usage ? read(usage) : 0n), 0n);
    const [micros, tokens, unpriced] = [sum((one) => one.costUsdMicros), sum((one) => one.inputTokens + one.outputTokens), sum((one) => one.unpricedTokens)];
    const used = tokens > 0n ? t(unpriced > 0n ? "costUnpriced" : "costTokens", { count: Number(tokens), unpriced: Number(unpriced) }) : t("costNothing");
    const budget = this.#budget > 0n;
    const limit: readonly Series[] = budget ? [{ label: t("budget"), colour: "--coral", limit: true, values: periods.map((one) => budgetOf(this.#budget, one)) }] : [];
    return {
      title: t("cost"),
      figure: micros === 0n && unpriced > 0n ? t("priceUnknown") : money(micros),
      summary: budget ? `${used} ${t("costBudget", { budget: money(this.#budget) })}` : used,
      bars: true,
      series: [{ label: t("cost"), colour: "--lake", values: figures.map(({ usage }) => Number(usage?.costUsdMicros ?? 0)) }, ...limit],
      act: button(t(budget ? "changeBudget" : "setBudget"), () => void this.#plan()),
      write: (value) => money(BigInt(Math.round(value))),
    };
  }

  /** Ask for the budget, and save it. */
  async #plan(): Promise<void> {
    const example = MONEY.example;
    const entry = textEntry(t("monthlyBudget"), { inputmode: "decimal", maxlength: "40" }, t("budgetNote", { example }));
    entry.control.value = this.#budget > 0n ? MONEY.text(this.#budget) : "";
    const act = async () => {
      const micros = entry.control.value.trim() ? MONEY.parse(entry.control.value) : 0n;
      if (micros === undefined) {
        entry.refuse(t("enterAmount", { example }));
        return false;
      }
      await this.#api.admin.updateInsightSettings({ insightSettings: { costUsdMicrosPerMonth: micros }, updateMask: { paths: ["cost_usd_micros_per_month"] } });
    };
    if (await filled({ title: t("budget"), action: t("save"), fields: [entry.root], first: entry.control, act })) await this.#read();
  }

  /** Show the turns of a period, and what people thought of the answers. */
  async #look(period: Period, order: TurnOrder): Promise<void> {
    const named = { period: period.name };
    const heading = element("h3", { id: "behind-title", tabindex: "-1" }, t("answersOf", named));
    const turns = this.#matters.turns(t("answersOf", named), period, order);
    const questions = this.#matters.patterns({ label: t("questionsOf", named), span: () => period, outcome: () => QuestionOutcome.UNSPECIFIED, empty: (ungrouped) => ungrouped || t("nothingAsked") });
    const feedback = this.#matters.feedback({ label: t("feedbackOf", named), filter: () => `update_time >= "${period.start.toISOString()}" AND update_time < "${period.end.toISOString()}"`, empty: t("noFeedback"), changed: () => void feedback.refresh() });
    const days = period.end.getTime() - period.start.getTime() >= DAY; // questions are grouped by the day
    replace(this.#behind, heading, turns.root, ...(days ? [element("h4", {}, t("patternsHeading")), questions.root] : []), element("h4", {}, t("feedback")), feedback.root);
    this.#behind.hidden = false;
    heading.focus();
    heading.scrollIntoView({ block: "nearest" });
    await Promise.all([turns.refresh(), ...(days ? [questions.refresh()] : []), feedback.refresh()]);
  }
}

const questions: Write = (figures, total) => {
  const all = figures.reduce((sum, { usage }) => sum + turnsOf(usage), 0);
  const reasons = Object.entries(total?.refusals ?? {}).map(([reason, number]) => `${reasonOf(reason)}: ${number.toLocaleString(locale())}`);
  const shown = figures.reduce((sum, { usage }) => sum + Number(usage?.passagesTurns ?? 0), 0);
  const answered = Number(total?.answeredTurns ?? 0) - shown;
  const parts = [answered > 0 && t("shareAnswered", { share: share(answered, all) }), shown > 0 && t("shareShown", { share: share(shown, all) }), reasons.length > 0 && t("countRefused", { count: Number(total?.refusedTurns ?? 0), reasons: reasons.join("; ") }), total?.failedTurns && t("countFailed", { count: Number(total.failedTurns) })];
  return {
    title: t("questions"),
    figure: all.toLocaleString(locale()),
    summary: all > 0 ? parts.filter(Boolean).join(" ") : t("nobodyAsked"),
    bars: true,
    series: [
      { label: t("answered"), colour: "--lake", values: figures.map(({ usage }) => Number((usage?.answeredTurns ?? 0n) - (usage?.passagesTurns ?? 0n))) },
      { label: t("shownPassages"), colour: "--leaf", values: figures.map(({ usage }) => Number(usage?.passagesTurns ?? 0)) },
      { label: t("refused"), colour: "--amber", values: figures.map(({ usage }) => Number(usage?.refusedTurns ?? 0)) },
      { label: t("failedOrStopped"), colour: "--coral", values: figures.map(({ usage }) => Number((usage?.failedTurns ?? 0n) + (usage?.cancelledTurns ?? 0n))) },
    ],
    write: whole,
  };
};

const firstWords: Write = (figures, total) => times(t("firstWords"), "firstWordsSummary", figures, total, (one) => [one.firstWordsP50Ms, one.firstWordsP95Ms]);

const wholeAnswers: Write = (figures, total) => times(t("wholeAnswer"), "wholeAnswerSummary", figures, total, (one) => [one.latencyP50Ms, one.latencyP95Ms]);

function times(title: string, summary: "firstWordsSummary" | "wholeAnswerSummary", figures: readonly Figures[], total: Quality | undefined, read: (one: Quality) => readonly [number, number]): Plotted {
  const [half, most] = total ? read(total) : [0, 0];
  const of = (place: 0 | 1) => figures.map(({ quality }) => (quality && read(quality)[place]) || undefined);
  return {
    title,
    figure: half > 0 ? lapse(half) : "–",
    summary: half > 0 ? t(summary, { time: lapse(most) }) : t("noAnswers"),
    bars: false,
    series: [
      { label: t("half"), colour: "--lake", values: of(0) },
      { label: t("most"), colour: "--amber", values: of(1) },
    ],
    write: lapse,
  };
}

const opinions: Write = (figures, total) => {
  const [up, down] = [Number(total?.upRatings ?? 0), Number(total?.downRatings ?? 0)];
  return {
    title: t("opinions"),
    figure: share(up, up + down),
    summary: up + down > 0 ? t("opinionSummary", { up, count: up + down }) : t("nobodyRated"),
    bars: true,
    series: [
      { label: t("helpful"), colour: "--leaf", values: figures.map(({ quality }) => Number(quality?.upRatings ?? 0)) },
      { label: t("notHelpful"), colour: "--coral", values: figures.map(({ quality }) => Number(quality?.downRatings ?? 0)) },
    ],
    write: whole,
  };
};

function whole(value: number): string {
  return Number.isInteger(value) ? value.toLocaleString(locale()) : "";
}
