/** Reads lists that the server sends page by page. Nothing here touches the page in the browser. */

import type { Batch } from "../widgets/listing.js";

/** The items of all pages, in the server's order. `read` reads the page that a token names; "" names the first one. */
export async function allItems<T>(read: (pageToken: string) => Promise<Batch<T>>): Promise<T[]> {
  const found: T[] = [];
  let pageToken = "";
  do {
    const { items, next } = await read(pageToken);
    found.push(...items);
    pageToken = next;
  } while (pageToken);
  return found;
}
