/** Lets owners of the installation publish versions of agents, take that back, and compare versions by experiments. */

import { durationFromMs } from "@bufbuild/protobuf/wkt";
import { ExperimentMetric, ExperimentState, ExperimentUnit, ExperimentVerdict, type Experiment, type ExperimentArm, type ExperimentResult } from "@responsa/contract/responsa/admin/v1/experiment_pb.js";
import type { Agent, AgentVersion } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { agentOf, labelOf } from "../chat/agents.js";
import { t } from "../language/experiments/texts.js";
import { locale } from "../language/language.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { moment } from "../text/facts.js";
import { filled, shown } from "../widgets/dialog.js";
import { button, element } from "../widgets/dom.js";
import { choiceEntry, textEntry, type Entry } from "../widgets/fields.js";
import { actButton, badge, focusOn, ResourceList, type Stage } from "../widgets/resourcelist.js";
import { numberOf } from "./content.js";

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

/** What the texts of a version name. */
export function valuesOf(agents: readonly Agent[], version: string) {
  return { number: numberOf(version), agent: labelOf(agents, agentOf(version)) };
}

/** What is said of an agent whose files are outranked; "" for the others. */
export function outranked({ version, fileVersion }: Agent): string {
  return fileVersion && fileVersion !== version ? t("outranks", { number: numberOf(fileVersion) }) : "";
}

/** The buttons with which owners change which version answers. `stage` shows the agents. */
export function versionActs(api: Pick<Api, "admin">, stage: Stage, agent: Agent, { name, isCurrent }: AgentVersion): readonly HTMLElement[] {
  const values = valuesOf([agent], name);
  const act = (label: "publish" | "rollBack", does: () => Promise<{ readonly version: string }>) =>
    actButton(stage, {
      label: t(label),
      name: t(`${label}Version`, values),
      ask: { title: t(`${label}Version`, values), text: t(`${label}What`, values) },
      danger: false,
      does,
      said: ({ version }) => (version ? t(label === "publish" ? "published" : "rolledBack", { number: numberOf(version) }) : t("outOfService", values)),
    });
  if (isCurrent) return outranked(agent) || !agent.fileVersion ? [act("rollBack", () => api.admin.rollbackAgentVersion({ name }))] : [];
  const title = t("attemptVersion", values);
  return [act("publish", () => api.admin.publishAgentVersion({ name })), button(t("attempt"), () => void begin(api, stage, name, title), { "aria-label": title })];
}

async function begin(api: Pick<Api, "admin">, stage: Stage, candidate: string, title: string): Promise<void> {
  const metrics = Object.entries(METRICS);
  const percent = textEntry(t("percent"), { type: "number", min: "1", max: "99", value: "50", required: true });
  const days = textEntry(t("days"), { type: "number", min: "1", max: "90", value: "14", required: true });
  const unit = choiceEntry(t("unit"), UNITS);
  const metric = choiceEntry(t("metric"), metrics);
  const guard = choiceEntry(t("guard"), metrics);
  guard.control.value = String(ExperimentMetric.FAILURES);
  const margin = textEntry(t("margin"), { type: "number", min: "0", step: "any", value: "0", required: true }, t("marginNote"));
  const act = async () => {
    const of = ({ control }: Entry) => Number(control.value);
    await api.admin.createExperiment({ experiment: { candidate, candidatePercent: of(percent), unit: of(unit), metric: of(metric), guard: of(guard), guardMargin: of(margin), duration: durationFromMs(of(days) * DAY) } });
  };
  const fields = [percent, days, unit, metric, guard, margin].map(({ root }) => root);
  if (!(await filled({ title, action: t("beginAct"), fields, first: percent.control, act }))) return;
  stage.say(t("begun"));
  await stage.again();
  focusOn(stage, title);
}

/** `stage` shows the agents, which `agents` returns. */
export function experimentsList(api: Pick<Api, "admin">, stage: Stage, agents: () => readonly Agent[]) {
  return new ResourceList({
    label: t("experiments"),
    heading: "h3",
    list: (asked) => api.admin.listExperiments(asked),
    items: ({ experiments }) => experiments,
    row: (one: Experiment) => {
      const values = valuesOf(agents(), one.candidate);
      const runs = one.state === ExperimentState.RUNNING;
      const stop = { label: t("stop"), name: t("stopOf", values), ask: { title: t("stopOf", values), text: t("stopWhat", { number: numberOf(one.baseline) }) }, does: () => api.admin.stopExperiment({ name: one.name }), said: t("stopped") };
      return {
        name: t("compared", { agent: values.agent, candidate: values.number, baseline: numberOf(one.baseline) }),
        badges: [badge(STATES[one.state] ?? "", one.state === ExperimentState.GUARDED ? "warn" : runs ? "good" : "")],
        facts: [t("facts", { percent: one.candidatePercent, from: moment(one.createTime), to: moment(one.stopTime ?? one.endTime), metric: nameOf(one.metric), guard: nameOf(one.guard) })],
        acts: [button(t("report"), () => void report(api, stage, one, t("reportOf", values)), { "aria-label": t("reportOf", values) }), ...(runs ? [actButton(stage, stop)] : [])],
      };
    },
    empty: t("none"),
    say: stage.say,
  });
}

async function report(api: Pick<Api, "admin">, stage: Stage, one: Experiment, title: string): Promise<void> {
  try {
    const { results, verdict } = await api.admin.getExperimentReport({ name: one.name });
    const [baseline, candidate] = [one.baseline, one.candidate].map(numberOf) as [number, number];
    const said = verdict === ExperimentVerdict.CANDIDATE ? t("candidateWins", { number: candidate }) : verdict === ExperimentVerdict.BASELINE ? t("baselineWins", { number: baseline }) : t("open");
    const heads = [t("measure"), t("versionNumber", { number: baseline }), t("versionNumber", { number: candidate }), t("difference"), t("interval")];
    const table = element("table", {}, element("thead", {}, element("tr", {}, ...heads.map((head) => element("th", { scope: "col" }, head)))), element("tbody", {}, ...results.map(resultRow)));
    const frame = element("div", { class: "table", tabindex: "0", role: "region", "aria-label": title }, table);
    await shown(title, t("close"), [element("p", {}, said), frame], frame);
  } catch (error) {
    stage.refuse(failureOf(error).message);
  }
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

function figure(value: number): string {
  return value.toLocaleString(locale(), { maximumSignificantDigits: 3 });
}
