/** Writes events of the audit log as sentences. Nothing here touches the page. */

import { getOption } from "@bufbuild/protobuf";
import { AdminService } from "@responsa/contract/responsa/admin/v1/admin_service_pb.js";
import type { AuditEvent } from "@responsa/contract/responsa/admin/v1/audit_event_pb.js";
import type { Reader } from "@responsa/contract/responsa/knowledge/v1/reader_pb.js";
import { UserRole } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { audit_action } from "@responsa/contract/responsa/type/v1/method_pb.js";
import { locale } from "../language/language.js";
import { ACTS, isKey, t, type Key } from "../language/acts/texts.js";
import { oneOf } from "../server/people.js";

/** The acts to filter by, with their labels, in the order of the labels. */
export const ACTIONS: readonly (readonly [action: string, label: string])[] = [...new Set([...ACTS, ...AdminService.methods.map((method) => getOption(method, audit_action)).filter(Boolean)])]
  .map((action) => [action, isKey(action) ? t(action) : action] as const)
  .sort(([, one], [, other]) => one.localeCompare(other, locale()));

/** The same acts by what they are about, e.g. those of "user" under "Users". */
export const SUBJECTS: readonly (readonly [label: string, acts: readonly (readonly [action: string, label: string])[]])[] = [...new Set(ACTIONS.map(([action]) => action.split(".")[0]!))]
  .map((noun) => {
    const acts = ACTIONS.filter(([action]) => action.startsWith(`${noun}.`));
    const key = `things.${noun}`;
    const things = isKey(key) ? t(key) : noun;
    return [things[0]!.toUpperCase() + things.slice(1), acts.length > 1 ? [[`${noun}.*`, t("allAbout", { things })] as const, ...acts] : acts] as const;
  })
  .sort(([one], [other]) => one.localeCompare(other, locale()));

const SIGN_INS: readonly string[] = ["session.create", "session.end"];

/** The events in their order, with those that follow one another and only say that somebody signed in or out together. */
export function folded<T extends Pick<AuditEvent, "action" | "outcome">>(events: readonly T[]): readonly (readonly [T, ...T[]])[] {
  const found: [T, ...T[]][] = [];
  const plain = (one: T | undefined) => one?.outcome === "OK" && SIGN_INS.includes(one.action);
  for (const one of events) {
    const last = found.at(-1);
    if (last && plain(one) && plain(last[0])) last.push(one);
    else found.push([one]);
  }
  return found;
}

export type Outlook = Pick<AuditEvent, "actor" | "action" | "resource" | "outcome" | "onBehalfOf" | "affectedUser"> & Partial<Pick<AuditEvent, "addedReaders" | "removedReaders">>;

/** Actors who are not users. */
const OTHERS: Readonly<Record<string, string>> = { local: t("local"), anonymous: t("anonymous"), server: t("server") };
const ROLES: Partial<Record<UserRole, Key>> = { [UserRole.USER]: "allUsers", [UserRole.ADMIN]: "allAdministrators", [UserRole.SERVICE]: "allPrograms" };

/** The user or the collection whom a resource belongs to: `users/{uuid}` for `users/{uuid}/quota`. Other resources stay as they are. */
export function subjectOf(resource: string): string {
  return resource.replace(/^((?:users|collections)\/[^/]+)\/.*$/, "$1");
}

/** A sentence about an event. `names` maps `users/{uuid}` and `collections/{id}` to the texts that stand for them. */
export function sentenceOf({ actor, action, resource, outcome, onBehalfOf, affectedUser, addedReaders = [], removedReaders = [] }: Outlook, names: ReadonlyMap<string, string>): string {
  const subject = subjectOf(resource);
  const called = (name: string) => OTHERS[name] ?? names.get(name) ?? named(name);
  const who = onBehalfOf ? t("whoFor", { who: called(actor), user: called(onBehalfOf) }) : called(actor);
  const object = subject === actor ? t("ownAccount") : called(subject) || t("something");
  const of = affectedUser && affectedUser !== onBehalfOf ? t("ofUser", { user: called(affectedUser) }) : "";
  const done = outcome === "OK";
  if (done && addedReaders.length + removedReaders.length > 0) return t("did", { who, act: sharing(action, object, readersOf(addedReaders, called), readersOf(removedReaders, called)) });
  const verb = `${action}.${done ? "did" : "tried"}`;
  if (isKey(verb)) return t(done ? "did" : "tried", { who, act: t(verb, { object, of, others: affectedUser ? of : t("ofAnother") }) });
  const unknown = resource ? (["unknownDidOn", "unknownTriedOn"] as const) : (["unknownDid", "unknownTried"] as const);
  return t(unknown[done ? 0 : 1], { who, action, object });
}

/** The text for providers and tenants; other names stand for themselves. */
function named(name: string): string {
  const [kind, id = ""] = name.split("/");
  return kind === "oidcProviders" ? t("provider", { name: id }) : kind === "tenants" ? t("tenant", { name: id }) : name;
}

/** What a change of a collection's readers or of a group's members did: `added` and `removed` are lists in words, of which one may be empty. */
function sharing(action: string, object: string, added: string, removed: string): string {
  if (action.startsWith("group.")) return t(added ? "joined" : "left", { object, added, removed });
  return t(!removed ? "shared" : added ? "resharing" : "unshared", { object, added, removed });
}

function readersOf(readers: readonly Reader[], called: (name: string) => string): string {
  const one = ({ who }: Reader) => (who.case === "user" || who.case === "group" ? called(who.value) : who.case === "role" ? t(ROLES[who.value] ?? "aRole") : t("everyone"));
  return new Intl.ListFormat(locale()).format(readers.map(one));
}

/** What a user wants to see of the audit log. Days are local, such as "2026-11-22"; an empty text means no limit. */
export interface WantedEvents {
  /** The names of the actors; undefined for all. */
  readonly actors: readonly string[] | undefined;
  /** The names of the users whom the acts were about; undefined for all. */
  readonly affected: readonly string[] | undefined;
  readonly action: string;
  readonly from: string;
  readonly to: string;
  readonly refused: boolean;
}

export function eventsFilter({ actors, affected, action, from, to, refused }: WantedEvents): string {
  return [
    actors && actors.length > 0 && oneOf("actor", actors),
    affected && affected.length > 0 && oneOf("affected_user", affected),
    /^[a-z_]+\.(?:[a-z_]+|\*)$/.test(action) && `action = "${action}"`,
    start(from, 0) && `create_time >= "${start(from, 0)}"`,
    start(to, 1) && `create_time < "${start(to, 1)}"`,
    refused && 'outcome != "OK"',
  ]
    .filter(Boolean)
    .join(" AND ");
}

/** The beginning of a local day, or of a day that many days later, in RFC 3339; "" if the text is not a day. */
function start(day: string, later: number): string {
  const found = /^(\d{4})-(\d{2})-(\d{2})$/.exec(day);
  if (!found) return "";
  const date = new Date(Number(found[1]), Number(found[2]) - 1, Number(found[3]) + later);
  return Number.isNaN(date.getTime()) ? "" : date.toISOString();
}
