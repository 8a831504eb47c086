/** Lets administrators ask a version of an agent old questions again, watch that, and compare the outcomes. */

import { anyUnpack, timestampFromDate } from "@bufbuild/protobuf/wkt";
import type { Operation } from "@responsa/contract/google/longrunning/operations_pb.js";
import { ReplayMetadataSchema, ReplayState, type ReplayedEnd, type ReplayedQuestion, type ReplaySums } from "@responsa/contract/responsa/admin/v1/replay_pb.js";
import type { Agent } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { PATIENCE } from "@responsa/client/parts.js";
import { t } from "../language/experiments/texts.js";
import type { Api } from "../server/api.js";
import { failureOfStatus } from "../server/errors.js";
import { lapse, moment, money } from "../text/facts.js";
import { filled } from "../widgets/dialog.js";
import { button, element } from "../widgets/dom.js";
import { choiceEntry, textEntry } from "../widgets/fields.js";
import { actButton, badge, focusOn, ResourceList, tries, type Stage } from "../widgets/resourcelist.js";
import { valuesOf } from "./experiments.js";
import { endText } from "./matters.js";

const DAY = 86_400_000;
const PERIODS: readonly number[] = [7, 30, 365]; // days
const LOOK_AGAIN = 2_000; // milliseconds between two looks at a running replay
const STATES: Partial<Record<ReplayState, string>> = {
  [ReplayState.WAITING]: t("waiting"),
  [ReplayState.USER_GONE]: t("userGone"),
  [ReplayState.COST_LIMIT]: t("costLimit"),
};

type ReplaysApi = Pick<Api, "admin" | "operations">;

/** The button that replays questions with a version. `stage` shows the agents. */
export function replayButton(api: ReplaysApi, stage: Stage, agent: Agent, agentVersion: string): HTMLElement {
  const title = t("replayVersion", valuesOf([agent], agentVersion));
  return button(t("replay"), () => void begin(api, stage, agentVersion, title), { "aria-label": title });
}

async function begin(api: ReplaysApi, stage: Stage, agentVersion: string, title: string): Promise<void> {
  const days = choiceEntry(t("askedIn"), PERIODS.map((count) => [String(count), t("lastDays", { count })] as const));
  const most = textEntry(t("mostQuestions"), { type: "number", min: "1", max: "1000", value: "100", required: true });
  const cost = textEntry(t("maxCost"), { type: "number", min: "0", step: "any" }, t("maxCostNote"));
  const requestId = tries();
  const now = Date.now(); // each try asks for the same period, because it has the same request_id
  const act = async () => {
    const wanted = [days, most, cost].map(({ control }) => Number(control.value));
    const [past, maxTurns, dollars] = wanted as [number, number, number];
    const turns = { startTime: timestampFromDate(new Date(now - past * DAY)), maxTurns };
    await api.admin.startReplay({ agentVersion, source: { case: "turns", value: turns }, maxCostUsdMicros: BigInt(Math.round(dollars * 1e6)), requestId: requestId(wanted) });
  };
  const fields = [element("p", { class: "note" }, t("replayAbout")), days.root, most.root, cost.root];
  if (!(await filled({ title, action: t("beginAct"), fields, first: days.control, act }))) return;
  stage.say(t("replayBegun"));
  await stage.again();
  focusOn(stage, title);
}

/** `agents` returns the agents. */
export function replaysList(api: ReplaysApi, agents: () => readonly Agent[], say: (text: string) => void) {
  return new ResourceList({
    label: t("replays"),
    heading: "h3",
    list: (asked) => api.operations.listOperations({ ...asked, name: "operations", filter: "kind = REPLAY" }),
    items: ({ operations }) => operations,
    row: (operation: Operation, stage) => {
      const { name } = operation;
      const values = valuesOf(agents(), progressOf(operation)?.agentVersion ?? "");
      const when = moment(progressOf(operation)?.createTime);
      const [state, bar] = [element("p", { class: "note whole" }), element("progress", { "aria-label": t("replayOf", { ...values, when }) })];
      const cancel = actButton(stage, { label: t("cancel"), name: t("cancelReplay", { ...values, when }), does: () => api.operations.cancelOperation({ name }), said: t("replayCancelled") });
      const questions = questionsList(api, name, t("questionsOfReplay", { ...values, when }), say);
      const summary = element("summary", { "aria-label": t("questionsOfReplay", { ...values, when }) }, t("questions"));
      const details = element("details", { class: "raw whole" }, summary, questions.root);
      details.addEventListener("toggle", () => details.open && void questions.again());
      const paint = (now: Operation) => {
        const { questionsDone: done = 0, questionsTotal: count = 0 } = progressOf(now) ?? {};
        state.textContent = stateOf(now);
        [bar.value, bar.max] = [done, Math.max(count, 1)];
        if (now.done && document.activeElement === cancel) summary.focus();
        bar.hidden = cancel.hidden = now.done;
      };
      void followed(api, operation, paint, () => state.isConnected);
      return { name: t("replayOf", { ...values, when }), more: [state, bar, details], acts: operation.done ? [] : [cancel] };
    },
    empty: t("noReplays"),
    say,
  });
}

/** Paint a replay until it has ended or is not shown any more. It is polled: a browser opens few connections, and a stream would keep one. */
async function followed(api: ReplaysApi, operation: Operation, paint: (now: Operation) => void, shown: () => boolean): Promise<void> {
  paint(operation);
  for (let now = operation; !now.done; paint(now)) {
    await PATIENCE.sleep(LOOK_AGAIN, new AbortController().signal);
    if (!shown()) return;
    now = await api.operations.getOperation({ name: now.name }).catch(() => now); // the next look may succeed
  }
}

function progressOf({ metadata }: Operation) {
  return metadata && anyUnpack(metadata, ReplayMetadataSchema);
}

function stateOf(operation: Operation): string {
  const { questionsDone: done = 0, questionsTotal: count = 0, totals } = progressOf(operation) ?? {};
  const { before, after, changedOutcomes = 0, leftOut = 0, citationsKept: kept = 0n, citationsLost: lost = 0n, citationsNew: added = 0n } = totals ?? {};
  const facts = [
    operation.result.case === "error" && failureOfStatus(operation.result.value).message,
    t("questionsDone", { done, count }),
    leftOut > 0 && t("leftOutQuestions", { count: leftOut }),
    ...(after && done > 0 ? [t("changedOutcomes", { count: changedOutcomes }), t("citationsCompared", { kept: Number(kept), lost: Number(lost), added: Number(added) }), ...compared(before, after)] : []),
  ];
  return facts.filter(Boolean).join(" · ");
}

function questionsList(api: ReplaysApi, parent: string, label: string, say: (text: string) => void) {
  return new ResourceList({
    label,
    list: (asked) => api.admin.listReplayedQuestions({ ...asked, parent }),
    items: ({ replayedQuestions }) => replayedQuestions,
    row: ({ place, state, question, before, after, citationsKept: kept, citationsLost: lost, citationsNew: added, unrecordedToolCalls: calls }: ReplayedQuestion) => ({
      name: `${place}. ${question || t("hidden")}`,
      badges: before && after && endOf(before) !== endOf(after) ? [badge(t("otherOutcome"), "warn")] : [],
      facts: after ? [changed(before && endOf(before), endOf(after)), before && t("citationsCompared", { kept, lost, added }), ...compared(before, after), calls > 0 && t("callsNotMade", { count: calls })] : [STATES[state]],
    }),
    empty: t("noneReplayed"),
    say,
  });
}

/** The cost and the time before and after. */
function compared(before: ReplaySums | ReplayedEnd | undefined, after: ReplaySums | ReplayedEnd): readonly string[] {
  const time = (one: ReplaySums | ReplayedEnd) => lapse(Number(one.milliseconds));
  return [changed(before && money(before.costUsdMicros), money(after.costUsdMicros)), changed(before && time(before), time(after))];
}

function changed(before: string | undefined, after: string): string {
  return before === undefined ? after : `${before} → ${after}`;
}

function endOf({ state, reason }: ReplayedEnd): string {
  return endText(state, reason);
}
