/** The addresses of documents on this page: `#/documents/{uuid}?tab=pages&page=3`. Nothing here touches the page. */

export const TABS = ["pages", "text", "passages", "versions", "details"] as const;
export type TabId = (typeof TABS)[number];

export interface DocumentPlace {
  /** `documents/{uuid}` or `documents/{uuid}/versions/{n}`. */
  readonly name: string;
  /** The shown part of the document; undefined for the one that the page chooses. */
  readonly tab: TabId | undefined;
  /** The page of a PDF, counted from 1; 0 if no page is named. */
  readonly page: number;
}

const NAME = /^#\/(documents\/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}(?:\/versions\/[1-9]\d{0,8})?)(?:\?(.*))?$/;
const PAGE = /^[1-9]\d{0,5}$/;

/** The document that a fragment such as `#/documents/…` names; undefined for any other fragment. */
export function placeAt(fragment: string): DocumentPlace | undefined {
  const found = NAME.exec(fragment);
  if (!found) return undefined;
  const query = new URLSearchParams(found[2] ?? "");
  const page = query.get("page") ?? "";
  return { name: found[1]!, tab: TABS.find((one) => one === query.get("tab")), page: PAGE.test(page) ? Number(page) : 0 };
}

/** The document, `documents/{uuid}`, that a name of a document or of one of its versions names. */
export function documentOf(name: string): string {
  return name.replace(/\/versions\/.*/, "");
}

/** The fragment for a place. */
export function fragmentOf({ name, tab, page }: DocumentPlace): string {
  const query = new URLSearchParams({ ...(tab && { tab }), ...(page > 0 && { page: String(page) }) }).toString();
  return `#/${name}${query && `?${query}`}`;
}
