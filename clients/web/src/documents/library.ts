/** Lists collections and formats, and makes ids for collections. */

import { create } from "@bufbuild/protobuf";
import { CollectionKind } from "@responsa/contract/responsa/type/v1/collection_kind_pb.js";
import { CollectionSchema, type Collection } from "@responsa/contract/responsa/knowledge/v1/collection_pb.js";
import type { Format } from "@responsa/contract/responsa/knowledge/v1/format_pb.js";
import type { Api } from "../server/api.js";
import { allItems } from "../server/pages.js";
import { described, t } from "../language/language.js";
import { cleanName, nameWithin } from "../text/names.js";

export interface Named {
  /** `collections/{id}`. */
  readonly name: string;
  readonly label: string;
}

/** A collection with its text. */
export type Listed = Collection & Named;

/** The collection for documents that are uploaded without the name of a collection. The server creates this collection, for the user, when it stores the first document there. */
export const DEFAULT: Listed = {
  ...create(CollectionSchema, { name: "collections/default", readable: true, manageable: true }),
  get label() {
    return t("myDocuments"); // the language is known only when the page is drawn
  },
};

/** Whether files that the user adds may go into a collection. Everyone in the tenant reads Responsa's documentation, so none go there by default. */
export function takesFiles({ kind }: Pick<Collection, "kind">): boolean {
  return kind !== CollectionKind.DOCS;
}

/** The collection with which Documents opens, of those that exist: one of the user's own that has documents, because nobody wants to begin with an empty collection; otherwise `default`. */
export function firstOf(me: string, collections: readonly Pick<Collection, "name" | "owner" | "documentCount" | "kind">[]): string {
  const own = collections.filter((one) => one.owner === me && one.documentCount > 0n && takesFiles(one));
  return (own.find((one) => one.name === DEFAULT.name) ?? own[0] ?? DEFAULT).name;
}

/** All collections that the user sees, in the server's order. Administrators also see those that they may not read. Raises ConnectError. */
export async function allCollections(api: Pick<Api, "knowledge">): Promise<Listed[]> {
  return allItems(async (pageToken) => {
    const { collections, nextPageToken } = await api.knowledge.listCollections({ pageSize: 200, pageToken });
    return { items: collections.map((one) => ({ ...one, label: labelOf(one) })), next: nextPageToken };
  });
}

/** All collections that the user may search and ask, in the server's order. Raises ConnectError. */
export async function readableCollections(api: Pick<Api, "knowledge">): Promise<Listed[]> {
  return (await allCollections(api)).filter((one) => one.readable);
}

/** What has become of a collection that the user had chosen: that the user may not read it looks the same as that it does not exist. */
export function unavailable(label: string): string {
  return t("unavailable", { label });
}

/**
 * The text for a collection. A collection without a display name is called by the id that its owner chose: for others, its id may have a random end. Nobody chose the id
 * `default`, nor that of the collection of Responsa's documentation, so these have words.
 */
export function labelOf({ name, displayName, chosenId, ownerDisplayName, kind, conversation }: Pick<Collection, "name" | "displayName" | "chosenId" | "ownerDisplayName" | "kind" | "conversation">): string {
  const id = collectionId(name);
  if (conversation) return t("filesOfConversation");
  if (displayName) return cleanName(displayName);
  if (kind === CollectionKind.DOCS) return t("responsaDocs");
  if (name === DEFAULT.name) return DEFAULT.label;
  if (id === chosenId || !ownerDisplayName) return id;
  const owner = nameWithin(ownerDisplayName);
  return chosenId === collectionId(DEFAULT.name) ? t("fromOwner", { owner }) : t("ofOwner", { id: chosenId, owner });
}

/** Finds the texts of collections by name, each once. */
export class Labels {
  readonly #api: Pick<Api, "knowledge">;
  readonly #found = new Map<string, Promise<string>>();

  constructor(api: Pick<Api, "knowledge">) {
    this.#api = api;
  }

  /** The text of `collections/{id}`; `otherwise` if the collection cannot be read. */
  of(name: string, otherwise = collectionId(name)): Promise<string> {
    const known = this.#found.get(name);
    if (known) return known;
    const text = this.#api.knowledge.getCollection({ name }).then(labelOf, () => {
      this.#found.delete(name); // a later try may succeed
      return otherwise;
    });
    this.#found.set(name, text);
    return text;
  }

  /** Ask again for all of them: collections may have other names. */
  forget(): void {
    this.#found.clear();
  }
}

/** The formats of documents that the server reads, in the server's order. Raises ConnectError. */
export async function allFormats(api: Pick<Api, "knowledge">): Promise<Format[]> {
  const { formats } = await api.knowledge.listFormats({});
  return formats.map((format) => ({ ...format, displayName: described(format.displayName) }));
}

/** The id of a collection, without the prefix of its name. */
export function collectionId(name: string): string {
  return name.replace(/^collections\//, "");
}

const LONGEST = 63;

/** An id for a collection with that display name: at most 63 characters out of a-z, 0-9 and hyphens; "" if the display name contains no such letter or digit. */
export function idFrom(displayName: string): string {
  return displayName
    .normalize("NFKD")
    .replace(/\p{Mark}/gu, "")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+/, "")
    .slice(0, LONGEST)
    .replace(/-+$/, "");
}
