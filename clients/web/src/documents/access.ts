/** Who reads a collection and who may change it, in words. Nothing here touches the page. */

import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { nameWithin } from "../text/names.js";
import type { Contacts } from "./contacts.js";
import type { Collection } from "@responsa/contract/responsa/knowledge/v1/collection_pb.js";
import type { Reader } from "@responsa/contract/responsa/knowledge/v1/reader_pb.js";
import { locale } from "../language/language.js";
import { t } from "../language/documents/texts.js";

/** The signed-in user. */
export type Me = Pick<User, "name" | "role">;

/** What the texts need of a collection. `owner` is "" if the collection does not exist yet. */
export type Access = Pick<Collection, "owner" | "ownerDisplayName" | "readers" | "readable" | "manageable">;

/** The roles with which a collection can be shared, with their texts in a sentence. */
export const SHARED_ROLES: readonly (readonly [role: UserRole, text: string])[] = [
  [UserRole.USER, t("allUsers")],
  [UserRole.ADMIN, t("allAdministrators")],
  [UserRole.SERVICE, t("allPrograms")],
];

/** The number of people that a sentence names; of more, it gives the number. */
const NAMED = 3;

export function isOwner(me: Me, { owner }: Pick<Access, "owner">): boolean {
  return owner === "" || owner === me.name;
}

/** The readers in words, such as "all administrators and Bob"; "" for a private collection. `labels` maps `users/{uuid}` to the texts for people. `first`: words for the owner. */
export function readersText(readers: readonly Reader[], labels: ReadonlyMap<string, string>, first: readonly string[] = []): string {
  if (readers.some(({ who }) => who.case === "everyone")) return t("everyone");
  const roles = SHARED_ROLES.filter(([role]) => readers.some(({ who }) => who.case === "role" && who.value === role)).map(([, text]) => text);
  const groups = readers.flatMap(({ who, displayName }) => (who.case === "group" ? [nameWithin(displayName)] : []));
  const users = usersOf(readers);
  const known = users.flatMap((one) => labels.get(one) ?? []);
  const people = users.length > NAMED || known.length < users.length ? [t("otherPeople", { count: users.length })] : known;
  return new Intl.ListFormat(locale()).format([...first, ...roles, ...groups, ...people]);
}

/** The people among the readers, `users/{uuid}`. */
export function usersOf(readers: readonly Reader[]): string[] {
  return readers.flatMap(({ who }) => (who.case === "user" ? [who.value] : []));
}

/** The texts for a collection's owner and readers: their display names, and those that `contacts` knows of people without one. */
export async function labelsOf({ owner, ownerDisplayName, readers }: Access, contacts: Pick<Contacts, "labels">): Promise<ReadonlyMap<string, string>> {
  const known = await contacts.labels([owner, ...usersOf(readers)]);
  const names = readers.map(({ who, displayName }) => [who.case === "user" ? who.value : "", displayName] as const);
  return new Map([...known, ...[[owner, ownerDisplayName] as const, ...names].filter(([, text]) => text).map(([name, text]) => [name, nameWithin(text)] as const)]);
}

/** A sentence about the people who read a collection. `labels`: the texts for people. */
export function accessText(me: Me, access: Access, labels: ReadonlyMap<string, string>): string {
  const owner = labels.get(access.owner) ?? t("anotherPerson");
  if (!access.manageable) return t("sharedBy", { owner });
  const isMine = isOwner(me, access);
  if (isMine && access.readers.length === 0) return t("onlyYou");
  const readers = readersText(access.readers, labels, isMine ? [t("you")] : []);
  const text = readers ? sentenceCase(t("readableBy", { readers })) : t("onlyOwner");
  if (isMine) return text;
  return [t("belongsTo", { owner }), text, ...(access.readable ? [] : [t("managed")])].join(" ");
}

/** A word about sharing for a list of collections: "shared with you", "shared" or "". */
export function sharingMark(me: Me, access: Access): string {
  if (!isOwner(me, access)) return t(access.readable ? "sharedWithYou" : "anothers");
  return access.readers.length > 0 ? t("shared") : "";
}

export function sentenceCase(text: string): string {
  return text.charAt(0).toLocaleUpperCase(locale()) + text.slice(1);
}
