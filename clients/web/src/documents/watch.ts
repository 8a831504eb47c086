/** Looks again at what others may have changed, while the page is open. */

import { PATIENCE, rest } from "@responsa/client/parts.js";
import type { Api } from "../server/api.js";
import { allCollections } from "./library.js";

const LOOK = 30_000; // milliseconds

/** Look again every half minute, and when the user comes back to the page. */
export async function watch(look: () => Promise<unknown>, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    if (!document.hidden) await look().catch(() => undefined); // the next look may succeed
    await rest(LOOK, signal, PATIENCE);
  }
}

/** Call `changed` when collections have other documents, names or readers than at the last look. `lost`: whether the user may no longer read one of them. */
export function watchCollections(api: Pick<Api, "knowledge">, changed: (lost: boolean) => void, signal: AbortSignal): Promise<void> {
  let known: ReadonlyMap<string, string> | undefined;
  return watch(async () => {
    const found = await allCollections(api);
    if (signal.aborted) return;
    const now = new Map(found.filter((one) => one.readable).map((one) => [one.name, `${one.etag} ${one.documentCount}`]));
    const lost = known !== undefined && [...known.keys()].some((name) => !now.has(name));
    if (lost || (known && (known.size !== now.size || [...now].some(([name, is]) => known?.get(name) !== is)))) changed(lost);
    known = now;
  }, signal);
}
