/** The addresses of documents, of the search and of shared answers on this page: `#/documents/{uuid}?tab=pages&page=3`. Nothing here touches the page. */

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
const MOST_KEYS = 2;
const PAGE = /^[1-9]\d{0,5}$/;

/** The document that a fragment such as `#/documents/…` names; undefined for any other fragment. */
export function placeAt(fragment: string): DocumentPlace | undefined {
  const found = NAME.exec(fragment);
  if (!found) return undefined;
  const query = new URLSearchParams(found[2] ?? "");
  const page = query.get("page") ?? "";
  return { name: found[1]!, tab: TABS.find((one) => one === query.get("tab")), page: PAGE.test(page) ? Number(page) : 0 };
}

/**
 * The source keys that a link in a document can mean: its path seen from the document's folder, and the path itself, which documents of databases have. `from`: the source
 * key of the document with the link.
 */
export function keysOf(link: string, from: string): readonly string[] {
  const path = decoded(link.replace(/[?#].*$/s, ""));
  if (!path || /^[/\\]/.test(path)) return [];
  const keys = [from.replace(/[^/]*$/, "") + path, path].map(direct).filter((key) => key !== "");
  return [...new Set(keys)];
}

/** A path without percent signs, as far as it is valid. */
function decoded(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

/** A path without "." and ".."; "" if it leads out of its root. */
function direct(path: string): string {
  const parts: string[] = [];
  for (const part of path.split("/")) {
    if (part === "..") {
      if (parts.pop() === undefined) return "";
    } else if (part && part !== ".") parts.push(part);
  }
  return parts.join("/");
}

/** The document that a link means: the first of these source keys, in the collection `near` before all others; `near` may be "". */
export interface KeyPlace {
  readonly keys: readonly string[];
  readonly near: string;
}

/** The fragment for a document by its source key. */
export function fragmentOfKeys({ keys, near }: KeyPlace): string {
  return `#/documents?${new URLSearchParams([...keys.map((key) => ["key", key]), ["near", near]])}`;
}

/** The source keys that a fragment names; undefined for any other fragment. */
export function keysAt(fragment: string): KeyPlace | undefined {
  const query = new URLSearchParams(/^#\/documents\?(.*)$/.exec(fragment)?.[1] ?? "");
  const keys = query.getAll("key").filter(Boolean).slice(0, MOST_KEYS);
  return keys.length > 0 ? { keys, near: query.get("near") ?? "" } : undefined;
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

/** The query of the fragment of a search, such as `q=rye`; "" without one; undefined for any other fragment. */
export function searchAt(fragment: string): string | undefined {
  const found = /^#\/search(?:\?(.*))?$/.exec(fragment);
  return found ? (found[1] ?? "") : undefined;
}

/** Whether a fragment is that of the search, with or without a query. */
export function isSearch(fragment: string): boolean {
  return searchAt(fragment) !== undefined;
}

/** The share that a fragment names, `shares/{uuid}`; undefined for any other fragment. */
export function shareAt(fragment: string): string | undefined {
  const id = /^#\/shared\/([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(fragment)?.[1];
  return id && `shares/${id}`;
}
