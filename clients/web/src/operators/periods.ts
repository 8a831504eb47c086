/** The periods of the reports for operators, and what happened in each. Nothing here touches the page. */

import { timestampDate, timestampFromDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import type { Quality } from "@responsa/contract/responsa/admin/v1/insight_pb.js";
import { UsageGranularity } from "@responsa/contract/responsa/auth/v1/usage_report_pb.js";
import { locale } from "../language/language.js";
import { dateOf } from "../text/facts.js";

interface Range {
  readonly granularity: UsageGranularity;
  /** How many periods the range has. The last one is the present one. */
  readonly periods: number;
}

/** The server counts whole hours, so an hour has the present one and the one before. */
export const RANGES = {
  hour: { granularity: UsageGranularity.HOUR, periods: 2 },
  day: { granularity: UsageGranularity.HOUR, periods: 24 },
  week: { granularity: UsageGranularity.DAY, periods: 7 },
  month: { granularity: UsageGranularity.DAY, periods: 30 },
  year: { granularity: UsageGranularity.MONTH, periods: 12 },
} satisfies Record<string, Range>;
export type RangeName = keyof typeof RANGES;

export interface Period {
  readonly start: Date;
  /** When the next period begins. */
  readonly end: Date;
  /** The label of the axis, e.g. "14:00", "12 Mar" or "Mar". */
  readonly tick: string;
  /** The name among other text, e.g. "12 Mar 2026, 14:00". */
  readonly name: string;
}

/** The periods of a range that ends now. Hours are shown in the reader's time zone; days and months are those of UTC, as on the server. */
export function periodsOf(range: RangeName, now: Date): readonly Period[] {
  const { granularity, periods } = RANGES[range];
  return Array.from({ length: periods }, (_, index) => {
    const back = periods - 1 - index;
    const [start, end] = [startOf(granularity, now, back), startOf(granularity, now, back - 1)];
    return { start, end, ...written(granularity, start) };
  });
}

/** The beginning of the period that is so many periods before the one of `now`. */
function startOf(granularity: UsageGranularity, now: Date, back: number): Date {
  const [year, month, day] = [now.getUTCFullYear(), now.getUTCMonth(), now.getUTCDate()];
  if (granularity === UsageGranularity.MONTH) return new Date(Date.UTC(year, month - back));
  if (granularity === UsageGranularity.DAY) return new Date(Date.UTC(year, month, day - back));
  return new Date(Date.UTC(year, month, day, now.getUTCHours() - back));
}

function written(granularity: UsageGranularity, start: Date): Pick<Period, "tick" | "name"> {
  const utc = (options: Intl.DateTimeFormatOptions) => start.toLocaleDateString(locale(), { ...options, timeZone: "UTC" });
  if (granularity === UsageGranularity.MONTH) return { tick: utc({ month: "short" }), name: utc({ month: "long", year: "numeric" }) };
  if (granularity === UsageGranularity.DAY) return { tick: utc({ day: "numeric", month: "short" }), name: utc({ day: "numeric", month: "short", year: "numeric" }) };
  const tick = start.toLocaleTimeString(locale(), { hour: "2-digit", minute: "2-digit" });
  return { tick, name: `${dateOf(start)}, ${tick}` };
}

/** The time of a report. */
export function spanOf({ start, end }: Pick<Period, "start" | "end">) {
  return { startTime: timestampFromDate(start), endTime: timestampFromDate(end) };
}

/** The rows of a report, one for each period; undefined for a period in which nothing happened. */
export function rowsOf<Row extends { readonly startTime?: Timestamp | undefined }>(periods: readonly Period[], rows: readonly Row[]): readonly (Row | undefined)[] {
  const found = new Map(rows.map((row) => [row.startTime ? timestampDate(row.startTime).getTime() : 0, row]));
  return periods.map(({ start }) => found.get(start.getTime()));
}

/** The part of a month's budget that falls on a period. */
export function budgetOf(monthly: bigint, { start, end }: Period): number {
  const [year, month] = [start.getUTCFullYear(), start.getUTCMonth()];
  return (Number(monthly) * (end.getTime() - start.getTime())) / (Date.UTC(year, month + 1) - Date.UTC(year, month));
}

/** The turns of a row, however they ended. */
export function turnsOf(one: Pick<Quality, "answeredTurns" | "refusedTurns" | "failedTurns" | "cancelledTurns"> | undefined): number {
  return one ? Number(one.answeredTurns + one.refusedTurns + one.failedTurns + one.cancelledTurns) : 0;
}

/** What a part of a whole is, e.g. "87 %"; "–" of nothing. */
export function share(part: number, whole: number): string {
  return whole > 0 ? `${Math.round((100 * part) / whole)} %` : "–";
}
