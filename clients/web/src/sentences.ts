/** Writes events of the audit log as sentences. Nothing here touches the page. */

import type { AuditEvent } from "@responsa/contract/responsa/admin/v1/audit_event_pb.js";

/** The verbs of an act: what the actor did, and what the actor tried. “{}” stands for the resource. */
interface Verbs {
  readonly label: string;
  readonly did: string;
  readonly tried: string;
}

/** The acts that the page can put into words. The page shows other acts by their names. */
const ACTS: Readonly<Record<string, Verbs>> = {
  "session.create": { label: "Signed in", did: "signed in", tried: "sign in" },
  "session.end": { label: "Signed out", did: "signed out", tried: "sign out" },
  "session.revoke": { label: "Ended a session", did: "ended a session", tried: "end a session" },
  "session.token_reused": { label: "Used a refresh token twice", did: "had a session ended, because its refresh token was used twice", tried: "use a refresh token twice" },
  "user.register": { label: "Registered", did: "registered", tried: "register" },
  "user.create": { label: "Made a user", did: "made the user {}", tried: "make a user" },
  "user.update": { label: "Changed a user", did: "changed {}", tried: "change {}" },
  "user.disable": { label: "Disabled a user", did: "disabled {}", tried: "disable {}" },
  "user.enable": { label: "Enabled a user", did: "enabled {}", tried: "enable {}" },
  "user.change_password": { label: "Changed a password", did: "changed the password", tried: "change the password" },
  "user.create_reset_code": { label: "Made a reset code", did: "made a reset code for {}", tried: "make a reset code for {}" },
  "user.reset_password": { label: "Reset a password", did: "set a new password with a reset code", tried: "set a new password with a reset code" },
  "invitation.create": { label: "Invited somebody", did: "made an invitation", tried: "make an invitation" },
  "api_key.create": { label: "Made an API key", did: "made an API key", tried: "make an API key" },
  "api_key.revoke": { label: "Revoked an API key", did: "revoked an API key", tried: "revoke an API key" },
  "teacher.create": { label: "Made a teacher", did: "made a teacher", tried: "make a teacher" },
  "teacher.update": { label: "Changed a teacher", did: "changed a teacher", tried: "change a teacher" },
  "teacher.delete": { label: "Deleted a teacher", did: "deleted a teacher", tried: "delete a teacher" },
  "agents.reload": { label: "Read the agents again", did: "read the files of the agents again", tried: "read the files of the agents again" },
  "collection.delete": { label: "Deleted another user’s collection", did: "deleted {}, which belonged to another user", tried: "delete {}, which belongs to another user" },
  "document.delete": { label: "Deleted another user’s document", did: "deleted another user’s document", tried: "delete another user’s document" },
  "operation.cancel": { label: "Cancelled another user’s operation", did: "cancelled another user’s operation", tried: "cancel another user’s operation" },
  "operation.delete": { label: "Deleted another user’s operation", did: "deleted another user’s operation", tried: "delete another user’s operation" },
  "turn.cancel": { label: "Cancelled another user’s turn", did: "cancelled another user’s turn", tried: "cancel another user’s turn" },
  "tenant.create": { label: "Made the tenant", did: "made the tenant", tried: "make the tenant" },
};

/** The acts to filter by, with their labels, in the order of the labels. */
export const ACTIONS: readonly (readonly [action: string, label: string])[] = Object.entries(ACTS)
  .map(([action, { label }]) => [action, label] as const)
  .sort(([, one], [, other]) => one.localeCompare(other, "en"));

export type Outlook = Pick<AuditEvent, "actor" | "action" | "resource" | "outcome">;

/** A sentence about an event. `names` maps `users/{uuid}` to the texts that stand for users. */
export function sentenceOf({ actor, action, resource, outcome }: Outlook, names: ReadonlyMap<string, string>): string {
  const who = actor === "local" ? "Somebody at the server’s command line" : (names.get(actor) ?? actor);
  const self = resource === actor;
  const object = self ? "their own account" : (names.get(resource) ?? resource) || "something";
  const verbs = ACTS[action];
  const fill = (text: string) => text.replace("{}", () => object); // a function, because a name may contain “$&”
  if (outcome === "OK") return verbs ? `${who} ${fill(verbs.did)}.` : `${who} did “${action}”${resource && ` on ${object}`}.`;
  const tried = verbs ? `tried to ${fill(verbs.tried)}` : `tried “${action}”${resource && ` on ${object}`}`;
  return `${who} ${tried}, but the server refused.`;
}

/** What a user wants to see of the audit log. Days are local, such as "2026-11-22"; an empty text means no limit. */
export interface WantedEvents {
  /** The names of the actors; undefined for all. */
  readonly actors: readonly string[] | undefined;
  readonly action: string;
  readonly from: string;
  readonly to: string;
  readonly refused: boolean;
}

export function eventsFilter({ actors, action, from, to, refused }: WantedEvents): string {
  return [
    actors && actors.length > 0 && `(${actors.map((one) => `actor = "${one}"`).join(" OR ")})`,
    /^[a-z_]+\.[a-z_]+$/.test(action) && `action = "${action}"`,
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
