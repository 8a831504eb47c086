/** Shows administrators what a user has used of the quota, and changes the quota. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { QuotaLimit, UserQuota } from "@responsa/contract/responsa/admin/v1/user_quota_pb.js";
import type { PeriodUsage, QuotaUsage } from "@responsa/contract/responsa/auth/v1/user_usage_pb.js";
import { AmountEntry } from "./amountentry.js";
import { MONEY, NUMBER, ROLE, type Rule, type Unit } from "./amounts.js";
import type { Api } from "../server/api.js";
import { filled } from "../widgets/dialog.js";
import { element } from "../widgets/dom.js";
import type { Failure } from "../server/errors.js";
import { momentOf } from "../text/facts.js";
import { placed } from "../widgets/fields.js";

type Field = "tokensPerDay" | "tokensPerMonth" | "costUsdMicrosPerDay" | "costUsdMicrosPerMonth";

interface Row {
  readonly field: Field;
  readonly path: string;
  readonly label: string;
  readonly unit: Unit;
  readonly usage: (quota: UserQuota) => QuotaUsage | undefined;
}

const ROWS: readonly Row[] = [
  { field: "tokensPerDay", path: "tokens_per_day", label: "Tokens a day", unit: NUMBER, usage: ({ usage }) => usage?.day?.tokens },
  { field: "tokensPerMonth", path: "tokens_per_month", label: "Tokens a month", unit: NUMBER, usage: ({ usage }) => usage?.month?.tokens },
  { field: "costUsdMicrosPerDay", path: "cost_usd_micros_per_day", label: "US dollars a day", unit: MONEY, usage: ({ usage }) => usage?.day?.costUsdMicros },
  { field: "costUsdMicrosPerMonth", path: "cost_usd_micros_per_month", label: "US dollars a month", unit: MONEY, usage: ({ usage }) => usage?.month?.costUsdMicros },
];

export function ruleOf(limit: QuotaLimit | undefined): Rule {
  if (limit?.kind.case === "atMost") return { kind: "most", amount: limit.kind.value };
  return limit?.kind.case === "unlimited" ? { kind: "unlimited" } : ROLE;
}

/** What the user has used, as a table, and when the counts begin again. */
export function usageTable(quota: UserQuota): HTMLElement[] {
  const rows = ROWS.map(({ field, label, unit, usage }) => {
    const { used = 0n, reserved = 0n, limit } = usage(quota) ?? {};
    const spent = unit.text(used) + (reserved > 0n ? ` (and ${unit.text(reserved)} reserved)` : "");
    const most = limit === undefined ? "no limit" : unit.text(limit);
    const mark = ruleOf(quota[field]).kind === "role" ? [] : [element("span", { class: "badge" }, "exception")];
    return element("tr", {}, element("th", { scope: "row" }, label), element("td", {}, spent), element("td", {}, most, " ", ...mark));
  });
  const { day, month } = quota.usage ?? {};
  const asked = (period: PeriodUsage | undefined, name: string) => (period ? `${period.messageCount.toLocaleString("en")} ${name}` : "");
  const again = (period: PeriodUsage | undefined) => (period?.resetTime ? momentOf(timestampDate(period.resetTime)) : "—");
  const questions = [asked(day, "today"), asked(month, "this month")].filter(Boolean).join(", ");
  const head = element("tr", {}, ...["Quota", "Used", "Limit"].map((name) => element("th", { scope: "col" }, name)));
  return [
    element("table", { class: "amounts", "aria-label": "Use of the quota" }, element("thead", {}, head), element("tbody", {}, ...rows)),
    element("p", { class: "note" }, `Questions: ${questions}. The next day begins at ${again(day)}, the next month at ${again(month)}.`),
  ];
}

/** Ask for the limits of a user's quota, and save those that changed. Resolves to whether the administrator saved. */
export function editQuota(api: Pick<Api, "admin">, quota: UserQuota, label: string): Promise<boolean> {
  const entries = ROWS.map((row) => [row, new AmountEntry(row.label, row.unit, ruleOf(quota[row.field]), row.usage(quota)?.limit)] as const);
  const act = async () => {
    const changed = entries.filter(([, entry]) => entry.changed);
    if (changed.length === 0) return;
    const limits = Object.fromEntries(changed.flatMap(([{ field }, { rule }]) => (rule.kind === "role" ? [] : [[field, limitOf(rule)]])));
    await api.admin.updateUserQuota({ userQuota: { name: quota.name, etag: quota.etag, ...limits }, updateMask: { paths: changed.map(([{ path }]) => path) } });
  };
  const paths = Object.fromEntries(entries.flatMap(([{ path }, entry]) => [`user_quota.${path}`, `user_quota.${path}.at_most`].map((one) => [one, entry])));
  const explain = (failure: Failure) =>
    Promise.resolve(
      failure.reason === "ETAG_MISMATCH" ? "Somebody else changed this quota meanwhile, so nothing is saved. Cancel to see the other change, then try again." : placed(paths, failure),
    );
  const about = element("p", { class: "note" }, "Language models read and write tokens. An answer without a language model uses no tokens, so this quota does not apply to it. One answer can need several thousand tokens. If fewer tokens are left, the question is refused. A new quota applies from the user’s next question on. Days and months begin at midnight UTC.");
  return filled({ title: `Quota of ${label}`, action: "Save", fields: [about, ...entries.map(([, one]) => one.root)], first: entries[0]![1].choice, act, explain });
}

function limitOf(rule: Exclude<Rule, typeof ROLE>): { kind: { case: "atMost"; value: bigint } | { case: "unlimited"; value: true } } {
  return { kind: rule.kind === "most" ? { case: "atMost", value: rule.amount } : { case: "unlimited", value: true } };
}
