/** Lets owners of the installation publish versions of agents, take that back, and compare versions by experiments. */

import { durationFromMs, timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import { ExperimentMetric, ExperimentState, ExperimentUnit, ExperimentVerdict, type Experiment, type ExperimentArm, type ExperimentResult } from "@responsa/contract/responsa/admin/v1/experiment_pb.js";
import type { Agent, AgentVersion } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { agentOf, labelOf } from "../chat/agents.js";
import { t } from "../language/experiments/texts.js";
import { locale } from "../language/language.js";
import type { Api } from "../server/api.js";
import { momentOf } from "../text/facts.js";
import { confirmed, filled, shown } from "../widgets/dialog.js";
import { button, element } from "../widgets/dom.js";
import { choiceEntry, textEntry } from "../widgets/fields.js";
import { Listing } from "../widgets/listing.js";
import { failureOf } from "../server/errors.js";
import { numberOf } from "./content.js";

const PAGE = 20;
const DAY = 86_400_000;
const METRICS: Readonly<Record<Exclude<ExperimentMetric, ExperimentMetric.UNSPECIFIED>, string>> = {
  [ExperimentMetric.NEGATIVE_FEEDBACK]: t("negativeFeedback"),
  [ExperimentMetric.REFUSALS]: t("refusals"),
  [ExperimentMetric.FAILURES]: t("failures"),
  [ExperimentMetric.UNSUPPORTED]: t("unsupported"),
  [ExperimentMetric.LATENCY]: t("latency"),
  [ExperimentMetric.COST]: t("cost"),
};
const UNITS: readonly (readonly [string, string])[] = [
  [String(ExperimentUnit.USER), t("unitUser")],
  [String(ExperimentUnit.CONVERSATION), t("unitConversation")],
];
const STATES: Partial<Record<ExperimentState, string>> = {
  [ExperimentState.RUNNING]: t("running"),
  [ExperimentState.ENDED]: t("ended"),
  [ExperimentState.STOPPED]: t("stoppedState"),
  [ExperimentState.GUARDED]: t("guarded"),
  [ExperimentState.SUPERSEDED]: t("superseded"),
};

export class ExperimentsView {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin">;
  readonly #say: (text: string) => void;
  /** Shows the agents again. */
  readonly #changed: () => Promise<void>;
  readonly #list: Listing<Experiment>;
  #agents: readonly Agent[] = [];

  constructor(api: Pick<Api, "admin">, say: (text: string) => void, changed: () => Promise<void>) {
    this.#api = api;
    this.#say = say;
    this.#changed = changed;
    this.#list = new Listing<Experiment>({
      label: t("experiments"),
      read: async (pageToken) => {
        const { experiments, nextPageToken } = await this.#api.admin.listExperiments({ pageSize: PAGE, pageToken });
        return { items: experiments, next: nextPageToken };
      },
      row: (one) => this.#row(one),
      empty: () => t("none"),
    });
    this.root = element("section", { class: "stack" }, element("h3", {}, t("experiments")), this.#list.root);
  }

  async show(agents: readonly Agent[]): Promise<void> {
    this.#agents = agents;
    await this.#list.refresh();
  }

  /** What is said of an agent whose files are outranked; "" for the others. */
  noteOf({ version, fileVersion }: Agent): string {
    return fileVersion && fileVersion !== version ? t("outranks", { number: numberOf(fileVersion) }) : "";
  }

  /** The buttons of a version. */
  acts(agent: Agent, { name, isCurrent }: AgentVersion): readonly HTMLElement[] {
    const values = { number: numberOf(name), agent: agent.displayName };
    if (!isCurrent) {
      return [
        button(t("publish"), () => void this.#publish(name, values), { "aria-label": t("publishVersion", values) }),
        button(t("attempt"), () => void this.#begin(name, values), { "aria-label": t("attemptVersion", values) }),
      ];
    }
    return this.noteOf(agent) ? [button(t("rollBack"), () => void this.#rollBack(name, values), { "aria-label": t("rollBackVersion", values) })] : [];
  }

  async #publish(name: string, values: Values): Promise<void> {
    if (!(await confirmed({ title: t("publishVersion", values), text: t("publishWhat", values), action: t("publish") }))) return;
    await this.#act(async () => t("published", { number: numberOf((await this.#api.admin.publishAgentVersion({ name })).version) }));
  }

  async #rollBack(name: string, values: Values): Promise<void> {
    if (!(await confirmed({ title: t("rollBackVersion", values), text: t("rollBackWhat", values), action: t("rollBack") }))) return;
    await this.#act(async () => t("rolledBack", { number: numberOf((await this.#api.admin.rollbackAgentVersion({ name })).version) }));
  }

  async #begin(candidate: string, values: Values): Promise<void> {
    const metrics = Object.entries(METRICS);
    const percent = textEntry(t("percent"), { type: "number", min: "1", max: "99", value: "50", required: true });
    const days = textEntry(t("days"), { type: "number", min: "1", max: "90", value: "14", required: true });
    const unit = choiceEntry(t("unit"), UNITS);
    const metric = choiceEntry(t("metric"), metrics);
    const guard = choiceEntry(t("guard"), metrics);
    guard.control.value = String(ExperimentMetric.FAILURES);
    const margin = textEntry(t("margin"), { type: "number", min: "0", step: "any", value: "0", required: true }, t("marginNote"));
    const begun = await filled({
      title: t("attemptVersion", values),
      action: t("beginAct"),
      fields: [percent, days, unit, metric, guard, margin].map(({ root }) => root),
      first: percent.control,
      act: async () => {
        await this.#api.admin.createExperiment({
          experiment: {
            candidate,
            candidatePercent: Number(percent.control.value),
            unit: Number(unit.control.value),
            metric: Number(metric.control.value),
            guard: Number(guard.control.value),
            guardMargin: Number(margin.control.value),
            duration: durationFromMs(Number(days.control.value) * DAY),
          },
        });
      },
    });
    if (begun) await this.#act(() => Promise.resolve(t("begun")));
  }

  async #stop(one: Experiment): Promise<void> {
    const title = t("stopOf", this.#values(one));
    if (!(await confirmed({ title, text: t("stopWhat", { number: numberOf(one.baseline) }), action: t("stop") }))) return;
    await this.#act(async () => {
      await this.#api.admin.stopExperiment({ name: one.name });
      return t("stopped");
    });
  }

  async #act(work: () => Promise<string>): Promise<void> {
    try {
      this.#say(await work());
      await this.#changed();
    } catch (error) {
      this.#list.refuse(failureOf(error).message);
    }
  }

  #values({ candidate }: Experiment): Values {
    return { number: numberOf(candidate), agent: labelOf(this.#agents, agentOf(candidate)) };
  }

  #row(one: Experiment): HTMLElement {
    const values = this.#values(one);
    const runs = one.state === ExperimentState.RUNNING;
    return element(
      "li",
      { class: "wrapping" },
      element(
        "div",
        { class: "about" },
        element("strong", {}, t("compared", { agent: values.agent, candidate: values.number, baseline: numberOf(one.baseline) })),
        element("span", { class: one.state === ExperimentState.GUARDED ? "badge warn" : runs ? "badge good" : "badge" }, STATES[one.state] ?? ""),
        element("p", { class: "note whole" }, t("facts", { percent: one.candidatePercent, from: momentIn(one.createTime), to: momentIn(one.stopTime ?? one.endTime), metric: nameOf(one.metric), guard: nameOf(one.guard) })),
      ),
      element(
        "div",
        { class: "row wrap acts" },
        button(t("report"), () => void this.#report(one), { "aria-label": t("reportOf", values) }),
        ...(runs ? [button(t("stop"), () => void this.#stop(one), { "aria-label": t("stopOf", values) })] : []),
      ),
    );
  }

  async #report(one: Experiment): Promise<void> {
    try {
      const { results, verdict } = await this.#api.admin.getExperimentReport({ name: one.name });
      const [baseline, candidate] = [one.baseline, one.candidate].map(numberOf) as [number, number];
      const said = verdict === ExperimentVerdict.CANDIDATE ? t("candidateWins", { number: candidate }) : verdict === ExperimentVerdict.BASELINE ? t("baselineWins", { number: baseline }) : t("open");
      const heads = [t("measure"), t("baseline", { number: baseline }), t("baseline", { number: candidate }), t("difference"), t("interval")];
      const table = element("table", {}, element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))), element("tbody", {}, ...results.map(resultRow)));
      const frame = element("div", { class: "table", tabindex: "0", role: "region", "aria-label": t("reportOf", this.#values(one)) }, table);
      await shown(t("reportOf", this.#values(one)), t("close"), [element("p", {}, said), frame], frame);
    } catch (error) {
      this.#list.refuse(failureOf(error).message);
    }
  }
}

interface Values {
  readonly [name: string]: string | number;
  readonly number: number;
  readonly agent: string;
}

function resultRow({ metric, baseline, candidate, difference, low, high }: ExperimentResult): HTMLElement {
  const interval = low === undefined || high === undefined ? t("early") : `${figure(low)} … ${figure(high)}`;
  const cells = [armText(baseline), armText(candidate), figure(difference), interval];
  return element("tr", {}, element("th", { scope: "row" }, nameOf(metric)), ...cells.map((cell) => element("td", {}, cell)));
}

function armText(arm: ExperimentArm | undefined): string {
  return t("counted", { mean: figure(arm?.mean ?? 0), turns: Number(arm?.turns ?? 0) });
}

function nameOf(metric: ExperimentMetric): string {
  return metric === ExperimentMetric.UNSPECIFIED ? "" : METRICS[metric];
}

function momentIn(time: Timestamp | undefined): string {
  return time ? momentOf(timestampDate(time)) : "";
}

function figure(value: number): string {
  return value.toLocaleString(locale(), { maximumSignificantDigits: 3 });
}
