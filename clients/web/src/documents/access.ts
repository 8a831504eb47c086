/** Who reads a collection and who may change it, in words. Nothing here touches the page. */

import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { nameWithin } from "../text/names.js";
import type { Collection } from "@responsa/contract/responsa/knowledge/v1/collection_pb.js";
import type { Reader } from "@responsa/contract/responsa/knowledge/v1/reader_pb.js";

/** The signed-in user. */
export type Me = Pick<User, "name" | "role">;

/** What the texts need of a collection. `owner` is "" if the collection does not exist yet. */
export type Access = Pick<Collection, "owner" | "ownerDisplayName" | "readers" | "readable" | "manageable">;

/** The roles with which a collection can be shared, with their texts in a sentence. */
export const SHARED_ROLES: readonly (readonly [role: UserRole, text: string])[] = [
  [UserRole.USER, "all users"],
  [UserRole.ADMIN, "all administrators"],
  [UserRole.SERVICE, "all programs"],
];

/** The number of people that a sentence names; of more, it gives the number. */
const NAMED = 3;

export function isOwner(me: Me, { owner }: Pick<Access, "owner">): boolean {
  return owner === "" || owner === me.name;
}

/** The readers in words, such as "all administrators and Bob"; "" for a private collection. `labels` maps `users/{uuid}` to the texts for people. `first`: words for the owner. */
export function readersText(readers: readonly Reader[], labels: ReadonlyMap<string, string>, first: readonly string[] = []): string {
  if (readers.some(({ who }) => who.case === "everyone")) return "everyone in your organisation";
  const roles = SHARED_ROLES.filter(([role]) => readers.some(({ who }) => who.case === "role" && who.value === role)).map(([, text]) => text);
  const users = readers.flatMap(({ who }) => (who.case === "user" ? [who.value] : []));
  const known = users.flatMap((one) => labels.get(one) ?? []);
  const people = users.length > NAMED || known.length < users.length ? [users.length === 1 ? "one other person" : `${users.length} other people`] : known;
  return new Intl.ListFormat("en-GB").format([...first, ...roles, ...people]);
}

/** The texts for a collection's owner and readers: their display names, and `known` for those without one. */
export function labelsOf({ owner, ownerDisplayName, readers }: Access, known: ReadonlyMap<string, string>): ReadonlyMap<string, string> {
  const names = readers.map(({ who, displayName }) => [who.case === "user" ? who.value : "", displayName] as const);
  return new Map([...known, ...[[owner, ownerDisplayName] as const, ...names].filter(([, text]) => text).map(([name, text]) => [name, nameWithin(text)] as const)]);
}

/** A sentence about the people who read a collection. `known`: texts for people without a display name. */
export function accessText(me: Me, access: Access, known: ReadonlyMap<string, string>): string {
  const labels = labelsOf(access, known);
  const owner = labels.get(access.owner) ?? "another person";
  if (!access.manageable) return `Shared with you by ${owner}. You can search and read it; only its owner and administrators add, change and delete documents.`;
  if (isOwner(me, access)) {
    if (access.readers.length === 0) return "Only you can read these documents.";
    return `${sentenceCase(readersText(access.readers, labels, ["You"]))} can read these documents.`;
  }
  const text = readersText(access.readers, labels);
  const whose = `This collection belongs to ${owner}.`;
  if (!access.readable) return `${whose} ${text ? `${sentenceCase(text)} can read it` : "Only its owner can read it"}; you manage it as an administrator. To read it, add yourself to its readers; the audit log records that.`;
  return `${whose} ${sentenceCase(text)} can read these documents.`;
}

/** A word about sharing for a list of collections: "shared with you", "shared" or "". */
export function sharingMark(me: Me, access: Access): string {
  if (!isOwner(me, access)) return !access.readable ? "another person’s" : "shared with you";
  return access.readers.length > 0 ? "shared" : "";
}

function sentenceCase(text: string): string {
  return text.charAt(0).toLocaleUpperCase("en") + text.slice(1);
}
