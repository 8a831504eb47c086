/** The addresses of the profile and of the administration: `#/profile/keys`, `#/administration/audit?who=ada`. Nothing here touches the page. */

export const AREAS = ["profile", "administration"] as const;
export type Area = (typeof AREAS)[number];

export interface ViewPlace {
  readonly area: Area;
  /** The tab; "" for the first one. */
  readonly tab: string;
  /** What the tab shows, such as filters. Each tab ignores names that it does not know. */
  readonly query: Readonly<Record<string, string>>;
}

const PLACE = /^#\/(profile|administration)(?:\/([a-z-]{1,32}))?(?:\?(.*))?$/;

/** The place that a fragment names; undefined for any other fragment. */
export function viewAt(fragment: string): ViewPlace | undefined {
  const found = PLACE.exec(fragment);
  if (!found) return undefined;
  return { area: found[1] as Area, tab: found[2] ?? "", query: Object.fromEntries(new URLSearchParams(found[3] ?? "")) };
}

/** The fragment for a place. Empty values of the query are left out. */
export function viewFragment({ area, tab, query }: ViewPlace): string {
  const values = new URLSearchParams(Object.entries(query).filter(([, value]) => value)).toString();
  return `#/${area}${tab && `/${tab}`}${values && `?${values}`}`;
}
