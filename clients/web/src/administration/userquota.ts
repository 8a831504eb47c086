/** Shows administrators what a user has used of the quota, and changes the quota. */

import type { QuotaLimit, UserQuota } from "@responsa/contract/responsa/admin/v1/user_quota_pb.js";
import type { QuotaUsage } from "@responsa/contract/responsa/auth/v1/user_usage_pb.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import { moment } from "../text/facts.js";
import { element } from "../widgets/dom.js";
import { AmountEntry, amountsTable, editAmounts, type LimitRow } from "./amountentry.js";
import { MONEY, NUMBER, ROLE, type Rule, type Unit } from "./amounts.js";

type Field = "tokensPerDay" | "tokensPerMonth" | "costUsdMicrosPerDay" | "costUsdMicrosPerMonth";
type Row = readonly [field: Field, path: string, label: string, unit: Unit, usage: (quota: UserQuota) => QuotaUsage | undefined];

const ROWS: readonly [Row, ...Row[]] = [
  ["tokensPerDay", "tokens_per_day", t("tokensPerDay"), NUMBER, ({ usage }) => usage?.day?.tokens],
  ["tokensPerMonth", "tokens_per_month", t("tokensPerMonth"), NUMBER, ({ usage }) => usage?.month?.tokens],
  ["costUsdMicrosPerDay", "cost_usd_micros_per_day", t("dollarsPerDay"), MONEY, ({ usage }) => usage?.day?.costUsdMicros],
  ["costUsdMicrosPerMonth", "cost_usd_micros_per_month", t("dollarsPerMonth"), MONEY, ({ usage }) => usage?.month?.costUsdMicros],
];

function ruleOf(limit: QuotaLimit | undefined): Rule {
  if (limit?.kind.case === "atMost") return { kind: "most", amount: limit.kind.value };
  return limit?.kind.case === "unlimited" ? { kind: "unlimited" } : ROLE;
}

/** What the user has used, as a table, and when the counts begin again. */
export function usageTable(quota: UserQuota): HTMLElement[] {
  const rows = ROWS.map(([field, , label, unit, usage]) => {
    const { used = 0n, reserved = 0n, limit } = usage(quota) ?? {};
    const spent = reserved > 0n ? t("andReserved", { used: unit.text(used), reserved: unit.text(reserved) }) : unit.text(used);
    return { cells: [label, spent, limit === undefined ? t("noLimit") : unit.text(limit)], exception: ruleOf(quota[field]).kind !== "role" };
  });
  const { day, month } = quota.usage ?? {};
  const again = { today: Number(day?.messageCount ?? 0), month: Number(month?.messageCount ?? 0), day: moment(day?.resetTime) || "—", next: moment(month?.resetTime) || "—" };
  return [amountsTable(t("useOfQuota"), [t("quota"), t("used"), t("limit")], rows), element("p", { class: "note" }, t("questionsAsked", again))];
}

/** Ask for the limits of a user's quota, and save those that changed. Resolves to whether the administrator saved. */
export function editQuota(api: Pick<Api, "admin">, quota: UserQuota, label: string): Promise<boolean> {
  const entry = ([field, path, text, unit, usage]: Row): LimitRow<Field> => [field, path, new AmountEntry(text, unit, ruleOf(quota[field]), usage(quota)?.limit)];
  const [first, ...others] = ROWS;
  return editAmounts<Field>({
    title: t("quotaOf", { user: label }),
    about: t("quotaAbout"),
    rows: [entry(first), ...others.map(entry)],
    places: (path) => [`user_quota.${path}`, `user_quota.${path}.at_most`],
    save: (changed) => {
      const limits = Object.fromEntries(changed.flatMap(([field, , { rule }]) => (rule.kind === "role" ? [] : [[field, limitOf(rule)]])));
      return api.admin.updateUserQuota({ userQuota: { name: quota.name, etag: quota.etag, ...limits }, updateMask: { paths: changed.map(([, path]) => path) } });
    },
  });
}

function limitOf(rule: Exclude<Rule, typeof ROLE>): { kind: { case: "atMost"; value: bigint } | { case: "unlimited"; value: true } } {
  return { kind: rule.kind === "most" ? { case: "atMost", value: rule.amount } : { case: "unlimited", value: true } };
}
