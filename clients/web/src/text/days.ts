/** Names days as a reader thinks of them. */

import { locale, t } from "../language/language.js";

const DAY = 86_400_000;
const RECENT = 7; // days

/** The group of a time in a list: a day, the last week, or a month. Both times are shown in the reader's time zone. */
export function dayOf(time: Date, now: Date): string {
  const days = Math.round((midnight(now) - midnight(time)) / DAY);
  if (days <= 0) return t("today");
  if (days === 1) return t("yesterday");
  if (days <= RECENT) return t("last7");
  return time.toLocaleDateString(locale(), { month: "long", year: "numeric" });
}

function midnight(time: Date): number {
  return new Date(time.getFullYear(), time.getMonth(), time.getDate()).getTime();
}
