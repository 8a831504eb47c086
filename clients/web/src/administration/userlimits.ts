/** Shows administrators the limits of a user, and sets exceptions from those of the role. */

import type { Limits, UserLimits } from "@responsa/contract/responsa/admin/v1/user_limits_pb.js";
import { AmountEntry } from "./amountentry.js";
import { BYTES, NUMBER, ROLE, type Rule, type Unit } from "./amounts.js";
import type { Api } from "../server/api.js";
import { filled } from "../widgets/dialog.js";
import { element } from "../widgets/dom.js";
import type { Failure } from "../server/errors.js";
import { placed } from "../widgets/fields.js";

type Field = Exclude<keyof Limits, "$typeName" | "$unknown">;

const ROWS: readonly (readonly [field: Field, path: string, label: string, unit: Unit])[] = [
  ["messagesPerMinute", "messages_per_minute", "Questions a minute", NUMBER],
  ["pendingTurns", "pending_turns", "Questions without an answer yet", NUMBER],
  ["callsPerMinute", "calls_per_minute", "Calls a minute", NUMBER],
  ["streams", "streams", "Streams at a time", NUMBER],
  ["sockets", "sockets", "WebSockets at a time", NUMBER],
  ["uploads", "uploads", "Uploads at a time", NUMBER],
  ["uploadBytesPerDay", "upload_bytes_per_day", "Uploads in 24 hours", BYTES],
  ["storageBytes", "storage_bytes", "Documents and conversations", BYTES],
  ["conversations", "conversations", "Number of conversations", NUMBER],
  ["collections", "collections", "Number of collections", NUMBER],
  ["apiKeys", "api_keys", "API keys", NUMBER],
];

/** The limit that an exception sets. The server writes 0 for “no limit”. */
export function ruleOf(exception: bigint | undefined): Rule {
  if (exception === undefined) return ROLE;
  return exception === 0n ? { kind: "unlimited" } : { kind: "most", amount: exception };
}

export function limitsTable({ effective, exceptions }: UserLimits): HTMLElement {
  const rows = ROWS.map(([field, , label, unit]) => {
    const limit = effective?.[field] ?? 0n;
    const mark = exceptions?.[field] === undefined ? [] : [element("span", { class: "badge" }, "exception")];
    return element("tr", {}, element("th", { scope: "row" }, label), element("td", {}, limit === 0n ? "no limit" : unit.text(limit), " ", ...mark));
  });
  const head = element("tr", {}, ...["Limit", "Value"].map((name) => element("th", { scope: "col" }, name)));
  return element("table", { class: "amounts", "aria-label": "Limits" }, element("thead", {}, head), element("tbody", {}, ...rows));
}

/** Ask for exceptions of a user, and save those that changed. Resolves to whether the administrator saved. */
export function editLimits(api: Pick<Api, "admin">, { name, effective, exceptions }: UserLimits, label: string): Promise<boolean> {
  const entries = ROWS.map(([field, path, text, unit]) => [field, path, new AmountEntry(text, unit, ruleOf(exceptions?.[field]), effective?.[field] || undefined, 1n)] as const);
  const act = async () => {
    const changed = entries.filter(([, , entry]) => entry.changed);
    if (changed.length === 0) return;
    const values = Object.fromEntries(changed.flatMap(([field, , { rule }]) => (rule.kind === "role" ? [] : [[field, rule.kind === "most" ? rule.amount : 0n]])));
    await api.admin.updateUserLimits({ userLimits: { name, exceptions: values }, updateMask: { paths: changed.map(([, path]) => `exceptions.${path}`) } });
  };
  const paths = Object.fromEntries(entries.map(([, path, entry]) => [`user_limits.exceptions.${path}`, entry]));
  const explain = (failure: Failure) => Promise.resolve(placed(paths, failure));
  const about = element("p", { class: "note" }, "All sessions and API keys of the user share these limits. A change applies within two seconds.");
  return filled({ title: `Limits of ${label}`, action: "Save", fields: [about, ...entries.map(([, , one]) => one.root)], first: entries[0]![2].choice, act, explain });
}
