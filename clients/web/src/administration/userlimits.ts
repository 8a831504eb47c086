/** Shows administrators the limits of a user, and sets exceptions from those of the role. */

import type { Limits, UserLimits } from "@responsa/contract/responsa/admin/v1/user_limits_pb.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import { AmountEntry, amountsTable, editAmounts, type LimitRow } from "./amountentry.js";
import { BYTES, NUMBER, ROLE, type Rule, type Unit } from "./amounts.js";

type Field = Exclude<keyof Limits, "$typeName" | "$unknown">;

const ROWS: readonly [LimitOf, ...LimitOf[]] = [
  ["messagesPerMinute", "messages_per_minute", t("messagesPerMinute"), NUMBER],
  ["pendingTurns", "pending_turns", t("pendingTurns"), NUMBER],
  ["callsPerMinute", "calls_per_minute", t("callsPerMinute"), NUMBER],
  ["streams", "streams", t("streamsAtATime"), NUMBER],
  ["sockets", "sockets", t("socketsAtATime"), NUMBER],
  ["uploads", "uploads", t("uploadsAtATime"), NUMBER],
  ["uploadBytesPerDay", "upload_bytes_per_day", t("uploadsPerDay"), BYTES],
  ["storageBytes", "storage_bytes", t("storage"), BYTES],
  ["conversations", "conversations", t("conversationsLimit"), NUMBER],
  ["collections", "collections", t("collectionsLimit"), NUMBER],
  ["searches", "searches", t("searchesAtATime"), NUMBER],
  ["embeddedTokensPerMinute", "embedded_tokens_per_minute", t("embeddedTokensPerMinute"), NUMBER],
  ["apiKeys", "api_keys", t("apiKeys"), NUMBER],
];
type LimitOf = readonly [field: Field, path: string, label: string, unit: Unit];

/** The limit that an exception sets. The server writes 0 for “no limit”. */
function ruleOf(exception: bigint | undefined): Rule {
  if (exception === undefined) return ROLE;
  return exception === 0n ? { kind: "unlimited" } : { kind: "most", amount: exception };
}

export function limitsTable({ effective, exceptions }: UserLimits): HTMLElement {
  const rows = ROWS.map(([field, , label, unit]) => {
    const limit = effective?.[field] ?? 0n;
    return { cells: [label, limit === 0n ? t("noLimit") : unit.text(limit)], exception: exceptions?.[field] !== undefined };
  });
  return amountsTable(t("limits"), [t("limit"), t("value")], rows);
}

/** Ask for exceptions of a user, and save those that changed. Resolves to whether the administrator saved. */
export function editLimits(api: Pick<Api, "admin">, { name, effective, exceptions }: UserLimits, label: string): Promise<boolean> {
  const entry = ([field, path, text, unit]: LimitOf): LimitRow<Field> => [field, path, new AmountEntry(text, unit, ruleOf(exceptions?.[field]), effective?.[field] || undefined, 1n)];
  const [first, ...others] = ROWS;
  return editAmounts<Field>({
    title: t("limitsOf", { user: label }),
    about: t("limitsAbout"),
    rows: [entry(first), ...others.map(entry)],
    places: (path) => [`user_limits.exceptions.${path}`],
    save: (changed) => {
      const values = Object.fromEntries(changed.flatMap(([field, , { rule }]) => (rule.kind === "role" ? [] : [[field, rule.kind === "most" ? rule.amount : 0n]])));
      return api.admin.updateUserLimits({ userLimits: { name, exceptions: values }, updateMask: { paths: changed.map(([, path]) => `exceptions.${path}`) } });
    },
  });
}
