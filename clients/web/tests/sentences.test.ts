import { create } from "@bufbuild/protobuf";
import { UserRole } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { ReaderSchema, type Reader } from "@responsa/contract/responsa/knowledge/v1/reader_pb.js";
import { describe, expect, it } from "vitest";
import { ACTIONS, SUBJECTS, eventsFilter, folded, sentenceOf } from "../src/administration/sentences.js";

const NAMES = new Map([
  ["users/a", "Ada"],
  ["users/b", "Bob $& <b>"],
]);
const event = (action: string, resource: string, outcome = "OK", actor = "users/a", onBehalfOf = "", affectedUser = "") => ({ actor, action, resource, outcome, onBehalfOf, affectedUser });

describe("sentenceOf", () => {
  it("writes acts as sentences", () => {
    expect(sentenceOf(event("user.disable", "users/b"), NAMES)).toBe("Ada disabled Bob $& <b>.");
    expect(sentenceOf(event("user.update", "users/a"), NAMES)).toBe("Ada changed their own account.");
    expect(sentenceOf(event("session.create", "sessions/x"), NAMES)).toBe("Ada signed in.");
    expect(sentenceOf(event("user.create", "users/c", "OK", "local"), NAMES)).toBe("Somebody at the server’s command line created an account for users/c.");
  });

  it("names both the service and the user for whom it acted, and the user once", () => {
    const about = (affected: string, action: string, resource: string) => sentenceOf(event(action, resource, "OK", "users/a", "users/b", affected), NAMES);
    expect(about("users/b", "document.delete", "documents/x")).toBe("Ada, for Bob $& <b>, deleted a document.");
    expect(about("users/b", "turn.cancel", "turns/x")).toBe("Ada, for Bob $& <b>, cancelled a turn.");
    expect(about("users/b", "conversation.delete", "conversations/x")).toBe("Ada, for Bob $& <b>, deleted a conversation.");
    expect(about("users/b", "collection.update", "collections/x")).toBe("Ada, for Bob $& <b>, changed collections/x.");
    expect(about("users/c", "document.delete", "documents/x")).toBe("Ada, for Bob $& <b>, deleted a document of users/c.");
    expect(sentenceOf(event("document.delete", "documents/x", "OK", "users/a", "users/b"), NAMES)).toBe("Ada, for Bob $& <b>, deleted a document of another user.");
  });

  it("names the user whom an act was about", () => {
    const about = (action: string, resource: string, outcome = "OK") => sentenceOf({ ...event(action, resource, outcome), affectedUser: "users/b" }, NAMES);
    expect(about("session.revoke", "sessions/x")).toBe("Ada ended a session of Bob $& <b>.");
    expect(about("document.delete", "documents/x")).toBe("Ada deleted a document of Bob $& <b>.");
    expect(about("invitation.revoke", "invitations/x")).toBe("Ada revoked an invitation of Bob $& <b>.");
    expect(about("user.revoke_credentials", "users/b")).toBe("Ada ended all sessions and keys of Bob $& <b>.");
    expect(about("api_key.create", "", "ROLE_REQUIRED")).toBe("Ada tried to create an API key of Bob $& <b>, but the server refused.");
    expect(sentenceOf(event("api_key.create", "apiKeys/x"), NAMES)).toBe("Ada created an API key.");
  });

  it("names collections, and the readers whom a sharing added and removed", () => {
    const names = new Map([...NAMES, ["collections/r-1", "the collection “Recipes”"]]);
    const eva = create(ReaderSchema, { who: { case: "user", value: "users/b" } });
    const users = create(ReaderSchema, { who: { case: "role", value: UserRole.USER } });
    const everyone = create(ReaderSchema, { who: { case: "everyone", value: true } });
    const shared = (addedReaders: Reader[], removedReaders: Reader[]) => sentenceOf({ ...event("collection.share", "collections/r-1"), addedReaders, removedReaders }, names);
    expect(shared([eva, everyone], [])).toBe("Ada shared the collection “Recipes” with Bob $& <b> and everyone in the organisation.");
    expect(shared([], [users])).toBe("Ada stopped sharing the collection “Recipes” with all users.");
    expect(shared([eva], [users])).toBe("Ada shared the collection “Recipes” with Bob $& <b>, and stopped sharing it with all users.");
    expect(shared([], [])).toBe("Ada changed the readers of the collection “Recipes”.");
    expect(sentenceOf({ ...event("collection.delete", "collections/r-1"), affectedUser: "users/b" }, names)).toBe("Ada deleted the collection “Recipes” of Bob $& <b>.");
    expect(sentenceOf(event("generation.delete", "collections/r-1/generations/2"), names)).toBe("Ada deleted a generation of the collection “Recipes” of another user.");
  });

  it("names groups, and who came and went", () => {
    const names = new Map([...NAMES, ["groups/s", "Sales"]]);
    const eva = create(ReaderSchema, { who: { case: "user", value: "users/b" } });
    const sales = create(ReaderSchema, { who: { case: "group", value: "groups/s" } });
    expect(sentenceOf({ ...event("group.add_members", "groups/s"), addedReaders: [eva] }, names)).toBe("Ada added Bob $& <b> to the group Sales.");
    expect(sentenceOf({ ...event("group.remove_members", "groups/s"), removedReaders: [eva] }, names)).toBe("Ada removed Bob $& <b> from the group Sales.");
    expect(sentenceOf(event("group.delete", "groups/s"), names)).toBe("Ada deleted the group Sales.");
    expect(sentenceOf({ ...event("collection.share", "collections/r"), addedReaders: [sales] }, names)).toBe("Ada shared collections/r with Sales.");
  });

  it("names users, tenants and other actors in words", () => {
    expect(sentenceOf(event("user.update_quota", "users/b/quota"), NAMES)).toBe("Ada changed the quota of Bob $& <b>.");
    expect(sentenceOf(event("tenant.suspend", "tenants/acme"), NAMES)).toBe("Ada suspended the tenant acme.");
    expect(sentenceOf(event("session.create", "", "SIGN_IN_FAILED", "anonymous"), NAMES)).toBe("Somebody who was not signed in tried to sign in, but the server refused.");
  });

  it("says that the server refused", () => {
    expect(sentenceOf(event("user.disable", "users/b", "LAST_ADMINISTRATOR"), NAMES)).toBe("Ada tried to disable Bob $& <b>, but the server refused.");
    expect(sentenceOf(event("user.create", "", "RESOURCE_ALREADY_EXISTS"), NAMES)).toBe("Ada tried to create a user, but the server refused.");
  });

  it("shows acts that this release does not know by their names", () => {
    expect(sentenceOf(event("quota.set", "users/b"), NAMES)).toBe("Ada did “quota.set” on Bob $& <b>.");
    expect(sentenceOf(event("quota.set", "", "ROLE_REQUIRED"), NAMES)).toBe("Ada tried “quota.set”, but the server refused.");
  });

  it("has words for every act of the contract", () => {
    expect(ACTIONS.filter(([action, label]) => action === label)).toEqual([]);
    expect(sentenceOf(event("teacher.update", "teachers/t"), NAMES)).toBe("Ada changed a teacher persona.");
  });

  it("offers each act once, in the order of the labels", () => {
    const labels = ACTIONS.map(([, label]) => label);
    expect(new Set(labels).size).toBe(labels.length);
    expect(labels).toEqual(labels.toSorted((one, other) => one.localeCompare(other, "en")));
  });
});

describe("eventsFilter", () => {
  const all = { actors: undefined, affected: undefined, action: "", from: "", to: "", refused: false };

  it("joins the wishes", () => {
    expect(eventsFilter(all)).toBe("");
    expect(eventsFilter({ ...all, actors: ["users/a", "local"], action: "user.disable", refused: true })).toBe(
      '(actor = "users/a" OR actor = "local") AND action = "user.disable" AND outcome != "OK"',
    );
    expect(eventsFilter({ ...all, actors: ["local"], affected: ["users/a", "users/b"] })).toBe('(actor = "local") AND (affected_user = "users/a" OR affected_user = "users/b")');
  });

  it("includes both local days", () => {
    const from = new Date(2026, 10, 21).toISOString();
    const after = new Date(2026, 10, 23).toISOString();
    expect(eventsFilter({ ...all, from: "2026-11-21", to: "2026-11-22" })).toBe(`create_time >= "${from}" AND create_time < "${after}"`);
  });

  it("finds all acts on something", () => {
    expect(eventsFilter({ ...all, action: "session.*" })).toBe('action = "session.*"');
    expect(SUBJECTS.find(([label]) => label === "Sessions")![1][0]).toEqual(["session.*", "All about sessions"]);
  });

  it("ignores what an address may say and the page does not offer", () => {
    expect(eventsFilter({ ...all, action: '" OR actor = "users/b', from: "yesterday", to: "2026-11" })).toBe("");
  });
});

describe("folded", () => {
  it("puts sign-ins that follow one another together", () => {
    const acts = ["session.create", "session.end", "user.create", "session.create"].map((action) => ({ action, outcome: "OK" }));
    expect(folded(acts).map((one) => one.length)).toEqual([2, 1, 1]);
    expect(folded([...acts.slice(0, 1), { action: "session.create", outcome: "DENIED" }]).map((one) => one.length)).toEqual([1, 1]);
  });
});
