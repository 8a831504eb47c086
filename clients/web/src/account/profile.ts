/** The user's own account: name, password, sessions and API keys. */

import type { Session } from "@responsa/contract/responsa/auth/v1/session_pb.js";
import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import { coded, element, mixed, replace } from "../widgets/dom.js";
import { failureOf, type Failure } from "../server/errors.js";
import { EMAIL, lacking, passwordEntry, passwordNote, placed, textEntry, type Entry } from "../widgets/fields.js";
import { ownKeysView } from "./keys.js";
import { leaving, type LeavingHooks } from "./leaving.js";
import { linkingPart } from "./linking.js";
import { actButton, badge, factsList, ResourceList } from "../widgets/resourcelist.js";
import { roleLabel } from "../server/people.js";
import { RecordPart } from "../documents/record.js";
import { isRecent, recently } from "./recent.js";
import { TabbedView, type Part } from "../widgets/tabbed.js";
import { usagePart } from "./usage.js";
import { deviceOf } from "./useragent.js";
import { t } from "../language/account/texts.js";
import { moment } from "../text/facts.js";

export interface ProfileHooks extends LeavingHooks {
  readonly say: (text: string) => void;
  /** The user's record changed. */
  readonly changed: (user: User) => void;
}

/** Each row is a tab. */
export function profileView(api: Pick<Api, "admin" | "auth" | "knowledge">, user: User, hooks: ProfileHooks): TabbedView {
  return new TabbedView("profile", t("profile"), [["", "", [
    ["account", t("account"), accountPart(api, user, hooks)],
    ["password", t("password"), user.email === "" && user.role === UserRole.ADMIN ? firstPasswordPart(api, user, hooks) : passwordPart(api, user, hooks)],
    ["sessions", t("sessions"), sessionsPart(api, hooks.say)],
    ["keys", t("apiKeys"), ownKeysView(api, user, hooks.say)],
    ["usage", t("usage"), usagePart(api)],
  ]]]);
}

/** A form that shows the server's errors next to its fields. `entries`: by their paths in the request. `explain` returns the text for an error, and may show it at a field itself. */
function formOf(label: string, action: string, entries: Readonly<Record<string, Entry>>, act: () => Promise<void>, explain = (failure: Failure): string => placed(entries, failure)) {
  const problem = element("p", { class: "problem", role: "alert" });
  let busy = false;
  const save = async (event: Event) => {
    event.preventDefault();
    if (busy || lacking(Object.values(entries))) return;
    busy = true; // a disabled button would lose the focus
    problem.textContent = "";
    try {
      await act();
    } catch (error) {
      replace(problem, ...coded(explain(failureOf(error))));
    } finally {
      busy = false;
    }
  };
  const foot = element("div", { class: "row" }, element("button", { type: "submit" }, action));
  const root = element("form", { class: "sheet narrow", novalidate: true, "aria-label": label, submit: (event) => void save(event) }, ...Object.values(entries).map((one) => one.root), problem, foot);
  return { root, refuse: (why: string) => void (problem.textContent = why) };
}

function accountPart(api: Pick<Api, "auth" | "knowledge">, user: User, hooks: ProfileHooks): Part {
  const name = textEntry(t("name"), { autocomplete: "name", maxlength: "200" }, t("othersSeeName"));
  const email = textEntry(t("newEmail"), { ...EMAIL, required: true, autocomplete: "email" }, t("newEmailNote"));
  const sent = element("p", { class: "note", role: "status" });
  const unsent = element("p", { class: "note" }, t("sendsNoMail"));
  const facts = element("div");
  const record = new RecordPart(api, t("myRecord"));
  let now = user;
  const adopt = (found: User) => {
    now = found;
    name.control.value = found.displayName;
    replace(facts, factsList([[t("emailFact"), found.email || t("noEmail")], [t("role"), roleLabel(found.role)], [t("tenant"), found.tenant.replace(/^tenants\//, "")], [t("userId"), found.name], [t("sinceFact"), moment(found.createTime)]]));
  };
  const save = async () => {
    adopt(await api.auth.updateMe({ user: { displayName: name.control.value.trim(), etag: now.etag }, updateMask: { paths: ["display_name"] } }));
    hooks.changed(now);
    hooks.say(t("nameSaved"));
  };
  const changeEmail = async () => {
    const wanted = email.control.value.trim();
    sent.textContent = "";
    await recently(api, now, () => api.auth.updateMe({ user: { email: wanted }, updateMask: { paths: ["email"] } }));
    email.control.value = "";
    sent.textContent = t("mailToNew", { email: wanted });
  };
  const explain = (failure: Failure) => {
    if (failure.reason !== "ETAG_MISMATCH") return placed({ "user.display_name": name }, failure);
    void show().then(() => form.refuse(t("accountChanged")));
    return "";
  };
  const form = formOf(t("account"), t("save"), { "user.display_name": name }, save, explain);
  const move = formOf(t("email"), t("changeEmail"), { "user.email": email }, changeEmail);
  const show = async () => {
    try {
      const [found, { sendsMails }] = await Promise.all([api.auth.getMe({}), api.auth.listSignInMethods({ tenant: user.tenant }), record.show("")]);
      adopt(found);
      move.root.hidden = !sendsMails;
      unsent.hidden = sendsMails;
      form.refuse("");
      move.refuse("");
      sent.textContent = "";
    } catch (error) {
      form.refuse(failureOf(error).message);
    }
    root.hidden = false; // what came bit by bit would move the rest
  };
  const root = element("div", { class: "stack", hidden: true }, facts, record.root, form.root, move.root, unsent, sent, leaving(api, user, hooks));
  return { root, show };
}

/** For the administrator whom the first start made: gives the account an address and a password, without which only links of the command line sign in. */
function firstPasswordPart(api: Pick<Api, "admin" | "auth">, { name, lastSignInTime }: User, hooks: ProfileHooks): Part {
  const late = element("p", { class: "warning", role: "alert", hidden: true }, ...mixed(t("firstPasswordLate", { command: "\0" }), element("code", {}, "responsa open")));
  const email = textEntry(t("email"), { ...EMAIL, required: true, autocomplete: "username" });
  const fresh = passwordEntry(t("newPassword"), "new-password", passwordNote());
  const save = async () => {
    const now = await api.admin.updateUser({ user: { name, email: email.control.value.trim() }, updateMask: { paths: ["email"] } });
    await api.auth.changePassword({ newPassword: fresh.control.value });
    hooks.say(t("canSignIn"));
    hooks.changed(now);
  };
  const entries = { "user.email": email, new_password: fresh };
  // The server's message begins with a password, which this user does not have.
  const explain = (failure: Failure) => {
    if (failure.reason !== "SIGN_IN_REQUIRED") return placed(entries, failure);
    late.hidden = false;
    return "";
  };
  const form = formOf(t("firstPassword"), t("setBoth"), entries, save, explain);
  const show = () => {
    fresh.control.value = "";
    late.hidden = isRecent(lastSignInTime, Date.now());
    return Promise.resolve();
  };
  return { root: element("div", { class: "stack" }, element("p", { class: "note" }, t("firstPasswordAbout")), late, form.root), show };
}

function passwordPart(api: Pick<Api, "auth">, user: User, hooks: ProfileHooks): Part {
  const current = passwordEntry(t("currentPassword"), "current-password", t("currentPasswordNote"));
  const fresh = passwordEntry(t("newPassword"), "new-password", passwordNote());
  const entries = { current_password: current, new_password: fresh };
  const linking = linkingPart(api, user, hooks.say);
  const empty = () => {
    for (const one of [current, fresh]) {
      one.control.value = "";
      one.refuse("");
    }
  };
  const save = async () => {
    const change = { currentPassword: current.control.value, newPassword: fresh.control.value };
    const act = () => api.auth.changePassword(change);
    // Signing in again needs a password. For a user who has never set one, the server's error names another way.
    await (change.currentPassword ? recently(api, user, act) : act());
    empty();
    hooks.say(t("passwordChanged"));
  };
  const explain = (failure: Failure) => {
    if (failure.reason !== "SIGN_IN_FAILED") return placed(entries, failure);
    current.refuse(t("currentWrong"));
    current.control.focus();
    current.control.select();
    return "";
  };
  current.control.required = false;
  const form = formOf(t("password"), t("changePassword"), entries, save, explain);
  // Password managers store the new password under this name.
  const name = element("input", { type: "email", autocomplete: "username", readonly: true, hidden: true, "aria-hidden": "true", tabindex: "-1" });
  name.value = user.email;
  form.root.prepend(name);
  const show = (query: Readonly<Record<string, string>>) => {
    empty();
    return linking.show(query);
  };
  return { root: element("div", { class: "stack" }, element("p", { class: "note" }, t("endsSessions")), form.root, linking.root), show };
}

/** The host of an address; the address itself if it cannot be read. */
function hostOf(address: string): string {
  return URL.canParse(address) ? new URL(address).host : address;
}

function sessionsPart(api: Pick<Api, "auth">, say: (text: string) => void): Part {
  const said = ({ revokedCount }: { readonly revokedCount: number }) => t("sessionsEnded", { count: revokedCount });
  const ask = { title: t("endOthersTitle"), text: t("endOthersText"), action: t("endThem") };
  return new ResourceList({
    label: t("sessions"),
    about: [t("sessionsAbout")],
    add: (stage) => [actButton(stage, { label: t("endOthers"), name: t("endOthers"), ask, does: () => api.auth.revokeSessions({ allOthers: true }), said })],
    list: (asked) => api.auth.listSessions(asked),
    items: ({ sessions }) => sessions,
    row: ({ name, address, userAgent, createTime, lastUseTime, expireTime, current, connection }: Session, stage) => {
      const device = connection?.displayName ?? deviceOf(userAgent);
      const may = connection && t("programMay", { scopes: connection.scopes.map((one) => (one === "ask" ? t("programScopeAsk") : t("programScopeSearch"))).join(", ") });
      const facts = [may, connection && hostOf(connection.redirectUri), address, lastUseTime && t("lastUsed", { time: moment(lastUseTime) }), createTime && t("began", { time: moment(createTime) }), expireTime && t("ends", { time: moment(expireTime) })];
      const end = { label: t("end"), name: t("endSessionOn", { device, facts: facts.filter(Boolean).join(" · ") }), danger: true, does: () => api.auth.revokeSessions({ names: [name] }), said };
      return { name: device, tip: userAgent, badges: connection ? [badge(t("programBadge"))] : current ? [badge(t("thisDevice"), "good")] : [], facts, acts: current ? [] : [actButton(stage, end)] };
    },
    empty: t("noSessions"),
    say,
  });
}
