/** What the user's questions have used today and this month, what the user has stored, and the limits of both. */

import type { PeriodUsage, QuotaUsage, StorageUsage } from "@responsa/contract/responsa/auth/v1/user_usage_pb.js";
import type { Api } from "../server/api.js";
import { element, replace } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";
import { moment, money, sizeOf } from "../text/facts.js";
import { t } from "../language/account/texts.js";
import { locale } from "../language/language.js";
import type { Part } from "../widgets/tabbed.js";

export interface UsageRow {
  readonly label: string;
  readonly text: string;
  /** The share of the limit that is used or reserved, from 0 to 1; undefined without a limit. */
  readonly share: number | undefined;
}

/** The rows for a day or a month. */
export function usageRows({ messageCount, tokens, costUsdMicros }: PeriodUsage): readonly UsageRow[] {
  return [
    { label: t("questions"), text: messageCount.toLocaleString(locale()), share: undefined },
    row(t("tokens"), tokens, (value) => value.toLocaleString(locale())),
    row(t("knownCost"), costUsdMicros, money),
  ];
}

function row(label: string, usage: Pick<QuotaUsage, "used" | "reserved" | "limit"> | undefined, write: (value: bigint) => string): UsageRow {
  const { used = 0n, reserved = 0n, limit } = usage ?? {};
  const open = reserved > 0n ? t("usageReserved", { reserved: write(reserved) }) : "";
  if (limit === undefined) return { label, text: t("usageNoLimit", { used: write(used), open }), share: undefined };
  const left = limit > used + reserved ? limit - used - reserved : 0n;
  const share = limit > 0n ? Math.min(1, Number(used + reserved) / Number(limit)) : 1;
  return { label, text: t("usageOf", { used: write(used), limit: write(limit), open, left: write(left) }), share };
}

export function usagePart(api: Pick<Api, "auth">): Part {
  const problem = element("p", { class: "problem", role: "alert" });
  const periods = element("div", { class: "stack" });
  const show = async () => {
    try {
      const { day, month, storage } = await api.auth.getMyUsage({});
      problem.textContent = "";
      replace(periods, ...[day && period(t("today"), "usage-day", day), month && period(t("thisMonth"), "usage-month", month), storage && section(t("stored"), "usage-storage", storageRows(storage))].filter((one) => one !== undefined));
    } catch (error) {
      problem.textContent = failureOf(error).message;
    }
  };
  return { root: element("div", { class: "stack" }, element("p", { class: "note" }, t("usageAbout")), problem, periods), show };
}

/** The rows for what is stored. */
export function storageRows({ storedBytes, limitBytes, documentCount, collectionCount, collectionLimit, conversationCount, conversationLimit }: StorageUsage): readonly UsageRow[] {
  const kept = (used: bigint, limit: bigint | undefined) => ({ used, reserved: 0n, ...(limit !== undefined && { limit }) });
  const whole = (value: bigint) => value.toLocaleString(locale());
  return [
    row(t("size"), kept(storedBytes, limitBytes), sizeOf),
    { label: t("documents"), text: t("inAllCollections", { count: Number(documentCount) }), share: undefined },
    row(t("collections"), kept(collectionCount, collectionLimit), whole),
    row(t("conversations"), kept(conversationCount, conversationLimit), whole),
  ];
}

function period(title: string, id: string, usage: PeriodUsage): HTMLElement {
  const reset = usage.resetTime ? [element("p", { class: "note" }, t("beginsAgain", { time: moment(usage.resetTime) }))] : [];
  return section(title, id, usageRows(usage), ...reset);
}

function section(title: string, id: string, found: readonly UsageRow[], ...after: readonly HTMLElement[]): HTMLElement {
  const rows = found.map(({ label, text, share }) => {
    const bar = share === undefined ? [] : [element("meter", { min: "0", max: "1", value: String(share), "aria-label": t("shareOfLimit", { label }) })];
    return element("div", {}, element("dt", {}, label), element("dd", {}, text, ...bar));
  });
  return element("section", { class: "usage", "aria-labelledby": id }, element("h3", { id }, title), element("dl", { class: "facts-list" }, ...rows), ...after);
}
