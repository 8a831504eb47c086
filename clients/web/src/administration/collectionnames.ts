/** The texts that stand for collections in the audit log. */

import { t } from "../language/acts/texts.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { collectionId } from "../documents/library.js";
import { nameWithin } from "../text/names.js";

/** Finds the texts of collections by name. It asks for each name once. */
export class CollectionNames {
  readonly #api: Pick<Api, "knowledge">;
  readonly #names = new Map<string, Promise<string>>();

  constructor(api: Pick<Api, "knowledge">) {
    this.#api = api;
  }

  /** The texts of these names. Names of other resources are left out. */
  async labels(names: Iterable<string>): Promise<ReadonlyMap<string, string>> {
    const wanted = [...new Set(names)].filter((one) => one.startsWith("collections/"));
    return new Map(await Promise.all(wanted.map(async (one) => [one, await this.#label(one)] as const)));
  }

  /** The text of a deleted collection has its id; so has that of any collection if the server cannot be reached. */
  #label(name: string): Promise<string> {
    const known = this.#names.get(name);
    if (known) return known;
    const id = collectionId(name);
    const found = this.#api.knowledge.getCollection({ name }).then(({ displayName, chosenId }) => t("collection", { name: nameWithin(displayName) || chosenId }), (error: unknown) => {
      if (failureOf(error).reason === "RESOURCE_NOT_FOUND") return t("collectionDeleted", { id });
      this.#names.delete(name); // a later try may succeed
      return t("collectionId", { id });
    });
    this.#names.set(name, found);
    return found;
  }
}
