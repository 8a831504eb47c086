/** Writes events of the audit log as sentences. Nothing here touches the page. */

import { getOption } from "@bufbuild/protobuf";
import { AdminService } from "@responsa/contract/responsa/admin/v1/admin_service_pb.js";
import type { AuditEvent } from "@responsa/contract/responsa/admin/v1/audit_event_pb.js";
import type { Reader } from "@responsa/contract/responsa/knowledge/v1/reader_pb.js";
import { audit_action } from "@responsa/contract/responsa/type/v1/method_pb.js";
import { oneOf } from "../server/people.js";
import { SHARED_ROLES } from "../documents/access.js";

/** The verbs of an act: what the actor did, and what the actor tried. “{}” stands for the resource, “{of}” for “of” and the user whom the act was about, unless a service acted for this user, whom the sentence then names already. */
interface Verbs {
  readonly label: string;
  readonly did: string;
  readonly tried: string;
}

/** The acts whose words do not follow from their names. */
const ACTS: Readonly<Record<string, Verbs>> = {
  "session.create": { label: "Signed in", did: "signed in", tried: "sign in" },
  "session.end": { label: "Signed out", did: "signed out", tried: "sign out" },
  "session.revoke": { label: "Ended a session", did: "ended a session{of}", tried: "end a session{of}" },
  "session.token_reused": { label: "Used a refresh token twice", did: "had a session ended, because its refresh token was used twice", tried: "use a refresh token twice" },
  "user.register": { label: "Registered", did: "registered", tried: "register" },
  "user.create": { label: "Made a user", did: "made an account for {}", tried: "make a user" },
  "user.update": { label: "Changed a user", did: "changed {}", tried: "change {}" },
  "user.disable": { label: "Disabled a user", did: "disabled {}", tried: "disable {}" },
  "user.enable": { label: "Enabled a user", did: "enabled {}", tried: "enable {}" },
  "user.delete": { label: "Deleted a user", did: "deleted {}", tried: "delete {}" },
  "user.revoke_credentials": { label: "Ended all access of a user", did: "ended all sessions and keys of {}", tried: "end all sessions and keys of {}" },
  "user.update_quota": { label: "Changed a quota", did: "changed the quota of {}", tried: "change the quota of {}" },
  "user.update_limits": { label: "Changed limits", did: "changed the limits of {}", tried: "change the limits of {}" },
  "user.grant_ownership": { label: "Made an owner", did: "made {} an owner of the installation", tried: "make {} an owner of the installation" },
  "user.revoke_ownership": { label: "Ended an ownership", did: "ended the ownership of {}", tried: "end the ownership of {}" },
  "user.request_email": { label: "Asked for another address", did: "asked to change their e-mail address", tried: "change their e-mail address" },
  "user.change_email": { label: "Changed the address", did: "confirmed another e-mail address", tried: "confirm another e-mail address" },
  "user.link": { label: "Linked a provider", did: "linked an account of a sign-in provider", tried: "link an account of a sign-in provider" },
  "user.unlink": { label: "Unlinked a provider", did: "unlinked an account of a sign-in provider", tried: "unlink an account of a sign-in provider" },
  "user.change_password": { label: "Changed a password", did: "changed the password", tried: "change the password" },
  "user.create_reset_code": { label: "Made a reset code", did: "made a reset code for {}", tried: "make a reset code for {}" },
  "user.reset_password": { label: "Reset a password", did: "set a new password with a reset code", tried: "set a new password with a reset code" },
  "invitation.create": { label: "Invited somebody", did: "made an invitation", tried: "make an invitation" },
  "invitation.revoke": { label: "Revoked an invitation", did: "revoked an invitation{of}", tried: "revoke an invitation{of}" },
  "api_key.create": { label: "Made an API key", did: "made an API key{of}", tried: "make an API key{of}" },
  "api_key.revoke": { label: "Revoked an API key", did: "revoked an API key{of}", tried: "revoke an API key{of}" },
  "source.sync": { label: "Ran a source", did: "ran a source", tried: "run a source" },
  "source.retry": { label: "Retried failed rows", did: "ran a source for its failed rows", tried: "run a source for its failed rows" },
  "source.notify": { label: "Reported a change", did: "reported a change to a source", tried: "report a change to a source" },
  "delivery.redeliver": { label: "Sent a notification again", did: "sent a notification again", tried: "send a notification again" },
  "default_model.set": { label: "Set the model", did: "set the model of the installation", tried: "set the model of the installation" },
  "default_model.test": { label: "Tested a model", did: "tested a model", tried: "test a model" },
  "agents.reload": { label: "Read the agents again", did: "read the files of the agents again", tried: "read the files of the agents again" },
  "service_grant.create": { label: "Let a service act", did: "let a service act for users", tried: "let a service act for users" },
  "service_grant.delete": { label: "Took a grant back", did: "took a service’s grant back", tried: "take a service’s grant back" },
  "collection.share": { label: "Shared a collection", did: "changed the readers of {}", tried: "change the readers of {}" },
  "collection.hand_over": { label: "Handed collections over", did: "handed collections over to {}", tried: "hand collections over to {}" },
  "collection.update": { label: "Changed another user’s collection", did: "changed {}{of another user}", tried: "change {}{of another user}" },
  "collection.delete": { label: "Deleted another user’s collection", did: "deleted {}{of another user}", tried: "delete {}{of another user}" },
  "generation.delete": { label: "Deleted another user’s generation", did: "deleted a generation of {}{of another user}", tried: "delete a generation of {}{of another user}" },
  "document.update": { label: "Changed another user’s document", did: "changed a document{of another user}", tried: "change a document{of another user}" },
  "document.delete": { label: "Deleted another user’s document", did: "deleted a document{of another user}", tried: "delete a document{of another user}" },
  "conversation.delete": { label: "Deleted another user’s conversation", did: "deleted a conversation{of another user}", tried: "delete a conversation{of another user}" },
  "share.create": { label: "Shared an answer", did: "shared an answer by a link", tried: "share an answer by a link" },
  "share.revoke": { label: "Revoked a link to an answer", did: "revoked a link to an answer", tried: "revoke a link to an answer" },
  "operation.cancel": { label: "Cancelled another user’s operation", did: "cancelled an operation{of another user}", tried: "cancel an operation{of another user}" },
  "operation.delete": { label: "Deleted another user’s operation", did: "deleted an operation{of another user}", tried: "delete an operation{of another user}" },
  "turn.cancel": { label: "Cancelled another user’s turn", did: "cancelled a turn{of another user}", tried: "cancel a turn{of another user}" },
  "agent_version.publish": { label: "Published a version of an agent", did: "published a version of an agent", tried: "publish a version of an agent" },
  "agent_version.rollback": { label: "Rolled a version of an agent back", did: "rolled a version of an agent back", tried: "roll a version of an agent back" },
  "experiment.create": { label: "Began an experiment", did: "began an experiment", tried: "begin an experiment" },
  "experiment.stop": { label: "Stopped an experiment", did: "stopped an experiment", tried: "stop an experiment" },
  "experiment.guard": { label: "An experiment’s guard stopped it", did: "stopped an experiment, because its candidate was worse", tried: "stop an experiment" },
  "experiment.supersede": { label: "Another version ended an experiment", did: "ended an experiment, because its agent got another version", tried: "end an experiment" },
  "tenant.create": { label: "Made a tenant", did: "made {}", tried: "make a tenant" },
  "tenant.suspend": { label: "Suspended a tenant", did: "suspended {}", tried: "suspend {}" },
  "tenant.resume": { label: "Resumed a tenant", did: "resumed {}", tried: "resume {}" },
  "tenant.erase": { label: "Erased a tenant", did: "began to erase {}", tried: "erase {}" },
  "status.read": { label: "Tried to see the state", did: "saw the state of the server", tried: "see the state of the server" },
  "api_key.read": { label: "Tried to see API keys of others", did: "saw API keys of others", tried: "see API keys of others" },
  "session.read": { label: "Tried to see sessions of others", did: "saw sessions of others", tried: "see sessions of others" },
  "service_grant.read": { label: "Tried to see grants of services", did: "saw grants of services", tried: "see grants of services" },
  "delivery.read": { label: "Tried to see notifications", did: "saw notifications", tried: "see notifications" },
  "usage.read": { label: "Tried to see the usage of others", did: "saw the usage of others", tried: "see the usage of others" },
  "quality.read": { label: "Tried to see the quality of answers", did: "saw the quality of answers", tried: "see the quality of answers" },
  "feedback.read": { label: "Tried to see feedback", did: "saw feedback", tried: "see feedback" },
  "feedback.update": { label: "Dealt with feedback", did: "dealt with feedback", tried: "deal with feedback" },
  "insight_settings.read": { label: "Tried to see what administrators may read", did: "saw what administrators may read", tried: "see what administrators may read" },
  "insight_settings.update": { label: "Changed what administrators may read", did: "changed what administrators may read", tried: "change what administrators may read" },
  "audit_event.read": { label: "Tried to see the audit log", did: "saw the audit log", tried: "see the audit log" },
};

/** The words of the other acts: `teacher.update` changed a teacher. */
const REGULAR: Readonly<Record<string, (thing: string, things: string) => Verbs>> = {
  create: (thing) => ({ label: `Made ${thing}`, did: `made ${thing}`, tried: `make ${thing}` }),
  update: (thing) => ({ label: `Changed ${thing}`, did: `changed ${thing}`, tried: `change ${thing}` }),
  delete: (thing) => ({ label: `Deleted ${thing}`, did: `deleted ${thing}`, tried: `delete ${thing}` }),
  read: (_, things) => ({ label: `Tried to see ${things}`, did: `saw ${things}`, tried: `see ${things}` }),
};

/** The verbs of an act; undefined for acts that the page shows by their names. */
function verbsOf(action: string): Verbs | undefined {
  const [noun = "", verb = ""] = action.replaceAll("_", " ").split(".");
  return ACTS[action] ?? REGULAR[verb]?.(`${/^[aeiou]/.test(noun) ? "an" : "a"} ${noun}`, `${noun}s`);
}

/** The acts to filter by, with their labels, in the order of the labels. */
export const ACTIONS: readonly (readonly [action: string, label: string])[] = [...new Set([...Object.keys(ACTS), ...AdminService.methods.map((method) => getOption(method, audit_action)).filter(Boolean)])]
  .map((action) => [action, verbsOf(action)?.label ?? action] as const)
  .sort(([, one], [, other]) => one.localeCompare(other, "en"));

/** What acts are about, where it is not the plural of the first part of their names. */
const THINGS: Readonly<Record<string, string>> = { status: "state of the server", api_key: "API keys", feedback: "feedback", insight_settings: "what administrators may read" };

/** The same acts by what they are about, e.g. those of "user" under "Users". */
export const SUBJECTS: readonly (readonly [label: string, acts: readonly (readonly [action: string, label: string])[]])[] = [...new Set(ACTIONS.map(([action]) => action.split(".")[0]!))]
  .map((noun) => {
    const acts = ACTIONS.filter(([action]) => action.startsWith(`${noun}.`));
    const things = THINGS[noun] ?? noun.replaceAll("_", " ").replace(/y$/, "ie").replace(/s$|$/, "s");
    return [things[0]!.toUpperCase() + things.slice(1), acts.length > 1 ? [[`${noun}.*`, `All about ${things}`] as const, ...acts] : acts] as const;
  })
  .sort(([one], [other]) => one.localeCompare(other, "en"));

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
const OTHERS: Readonly<Record<string, string>> = { local: "Somebody at the server’s command line", anonymous: "Somebody who was not signed in", server: "The server" };

/** The user or the collection whom a resource belongs to: `users/{uuid}` for `users/{uuid}/quota`. Other resources stay as they are. */
export function subjectOf(resource: string): string {
  return resource.replace(/^((?:users|collections)\/[^/]+)\/.*$/, "$1");
}

/** A sentence about an event. `names` maps `users/{uuid}` and `collections/{id}` to the texts that stand for them. */
export function sentenceOf({ actor, action, resource, outcome, onBehalfOf, affectedUser, addedReaders = [], removedReaders = [] }: Outlook, names: ReadonlyMap<string, string>): string {
  const subject = subjectOf(resource);
  const called = (name: string) => OTHERS[name] ?? names.get(name) ?? name.replace(/^oidcProviders\//, "The sign-in provider ").replace(/^tenants\//, "the tenant ");
  const who = called(actor) + (onBehalfOf && `, for ${called(onBehalfOf)},`);
  const object = subject === actor ? "their own account" : called(subject) || "something";
  const verbs = verbsOf(action);
  // Functions, because a name may contain “$&”.
  const of = (others = "") => (!affectedUser ? others && ` of${others}` : affectedUser === onBehalfOf ? "" : ` of ${called(affectedUser)}`);
  const fill = (text: string) => text.replace("{}", () => object).replace(/\{of( [^}]*)?\}/, (_, others: string | undefined) => of(others));
  if (outcome === "OK" && addedReaders.length + removedReaders.length > 0) return `${who} ${sharing(object, readersOf(addedReaders, called), readersOf(removedReaders, called))}.`;
  if (outcome === "OK") return verbs ? `${who} ${fill(verbs.did)}.` : `${who} did “${action}”${resource && ` on ${object}`}.`;
  const tried = verbs ? `tried to ${fill(verbs.tried)}` : `tried “${action}”${resource && ` on ${object}`}`;
  return `${who} ${tried}, but the server refused.`;
}

/** What a change of readers did: `added` and `removed` are lists in words, of which one may be empty. */
function sharing(object: string, added: string, removed: string): string {
  if (!removed) return `shared ${object} with ${added}`;
  return added ? `shared ${object} with ${added}, and stopped sharing it with ${removed}` : `stopped sharing ${object} with ${removed}`;
}

function readersOf(readers: readonly Reader[], called: (name: string) => string): string {
  const one = ({ who }: Reader) => (who.case === "user" ? called(who.value) : who.case === "role" ? (SHARED_ROLES.find(([role]) => role === who.value)?.[1] ?? "a role") : "everyone in the organisation");
  return new Intl.ListFormat("en-GB").format(readers.map(one));
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
