/** Notices what others change of the collections that the user sees, while the page is open. */

import { PATIENCE, rest } from "@responsa/client/parts.js";
import type { Api } from "../server/api.js";
import { allCollections } from "./library.js";

const LOOK = 30_000; // milliseconds

/** Call `changed` when collections have other documents, names or readers than at the last look. `lost`: whether the user may no longer read one of them. */
export async function watchCollections(api: Pick<Api, "knowledge">, changed: (lost: boolean) => void, signal: AbortSignal): Promise<void> {
  let known: ReadonlyMap<string, string> | undefined;
  while (!signal.aborted) {
    const found = document.hidden ? undefined : await allCollections(api).catch(() => undefined); // the next look may succeed
    if (signal.aborted) return;
    if (found) {
      const now = new Map(found.filter((one) => one.readable).map((one) => [one.name, `${one.etag} ${one.documentCount}`]));
      const lost = known !== undefined && [...known.keys()].some((name) => !now.has(name));
      if (lost || (known && (known.size !== now.size || [...now].some(([name, is]) => known?.get(name) !== is)))) changed(lost);
      known = now;
    }
    await rest(LOOK, signal, PATIENCE); // or until the user comes back to the page
  }
}
