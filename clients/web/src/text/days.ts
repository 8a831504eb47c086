/** Names days as a reader thinks of them. */

const DAY = 86_400_000;
const RECENT = 7; // days

/** The group of a time in a list: a day, the last week, or a month. Both times are shown in the reader's time zone. */
export function dayOf(time: Date, now: Date): string {
  const days = Math.round((midnight(now) - midnight(time)) / DAY);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days <= RECENT) return "Last 7 days";
  return time.toLocaleDateString("en-GB", { month: "long", year: "numeric" });
}

function midnight(time: Date): number {
  return new Date(time.getFullYear(), time.getMonth(), time.getDate()).getTime();
}
