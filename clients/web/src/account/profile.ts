/** The user's own account: name, password, sessions and API keys. */

import type { Session } from "@responsa/contract/responsa/auth/v1/session_pb.js";
import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import { element, replace } from "../widgets/dom.js";
import { failureOf, type Failure } from "../server/errors.js";
import { lacking, passwordEntry, passwordNote, placed, textEntry, type Entry } from "../widgets/fields.js";
import { ownKeysView } from "./keys.js";
import { leaving, type LeavingHooks } from "./leaving.js";
import { LinkingPart } from "./linking.js";
import { actButton, badge, factsList, moment, ResourceList } from "../widgets/resourcelist.js";
import { roleLabel } from "../server/people.js";
import { RecordPart } from "../documents/record.js";
import { recently } from "./recent.js";
import { TabbedView, type Part } from "../widgets/tabbed.js";
import { UsagePart } from "./usage.js";
import { deviceOf } from "./useragent.js";
import { t } from "../language/account/texts.js";

export interface ProfileHooks extends LeavingHooks {
  readonly say: (text: string) => void;
  /** The user's record changed. */
  readonly changed: (user: User) => void;
}

/** Each row is a tab. */
export function profileView(api: Pick<Api, "admin" | "auth" | "knowledge">, user: User, hooks: ProfileHooks): TabbedView {
  return new TabbedView("profile", t("profile"), [
    ["account", t("account"), new AccountPart(api, user, hooks)],
    ["password", t("password"), user.email === "" && user.role === UserRole.ADMIN ? new FirstPasswordPart(api, user, hooks) : new PasswordPart(api, user, hooks)],
    ["sessions", t("sessions"), sessionsPart(api, hooks.say)],
    ["keys", t("apiKeys"), ownKeysView(api, user, hooks.say)],
    ["usage", t("usage"), new UsagePart(api)],
  ]);
}

/** A form that shows the server's errors next to its fields. */
class Form {
  readonly root: HTMLElement;
  readonly #problem = element("p", { class: "problem", role: "alert" });

  /** `act` performs the action; `explain` returns the text for an error, and may show it at a field itself. */
  constructor(label: string, action: string, entries: readonly Entry[], act: () => Promise<void>, explain: (failure: Failure) => string) {
    let busy = false;
    const save = async () => {
      if (busy || lacking(entries)) return;
      busy = true; // a disabled button would lose the focus
      this.#problem.textContent = "";
      try {
        await act();
      } catch (error) {
        this.#problem.textContent = explain(failureOf(error));
      } finally {
        busy = false;
      }
    };
    const foot = element("div", { class: "row" }, element("button", { type: "submit" }, action));
    this.root = element("form", { class: "sheet narrow", novalidate: true, "aria-label": label }, ...entries.map((one) => one.root), this.#problem, foot);
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      void save();
    });
  }

  refuse(why: string): void {
    this.#problem.textContent = why;
  }
}

class AccountPart implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "auth">;
  readonly #hooks: ProfileHooks;
  readonly #name = textEntry(t("name"), { autocomplete: "name", maxlength: "200" }, t("othersSeeName"));
  readonly #email = textEntry(t("newEmail"), { inputmode: "email", autocomplete: "email", required: true, maxlength: "254", spellcheck: "false", autocapitalize: "none" }, t("newEmailNote"));
  readonly #sent = element("p", { class: "note", role: "status" });
  readonly #facts = element("div");
  readonly #form: Form;
  readonly #move: Form;
  readonly #record: RecordPart;
  #user: User;
  #etag = "";

  constructor(api: Pick<Api, "auth" | "knowledge">, user: User, hooks: ProfileHooks) {
    this.#api = api;
    this.#record = new RecordPart(api, t("myRecord"));
    this.#user = user;
    this.#hooks = hooks;
    this.#form = new Form(t("account"), t("save"), [this.#name], () => this.#save(), (failure) => this.#explain(failure));
    const wrong = (failure: Failure) => placed({ "user.email": this.#email }, failure);
    this.#move = new Form(t("email"), t("changeEmail"), [this.#email], () => this.#changeEmail(), wrong);
    this.root = element("div", { class: "stack" }, this.#facts, this.#record.root, this.#form.root, this.#move.root, this.#sent, leaving(api, user, hooks));
  }

  async show(): Promise<void> {
    try {
      void this.#record.show("");
      this.#adopt(await this.#api.auth.getMe({}));
      this.#form.refuse("");
      this.#move.refuse("");
      this.#sent.textContent = "";
    } catch (error) {
      this.#form.refuse(failureOf(error).message);
    }
  }

  #adopt(user: User): void {
    this.#user = user;
    this.#etag = user.etag;
    this.#name.control.value = user.displayName;
    const facts: readonly (readonly [string, string])[] = [
      [t("emailFact"), user.email || t("noEmail")],
      [t("role"), roleLabel(user.role)],
      [t("tenant"), user.tenant.replace(/^tenants\//, "")],
      [t("userId"), user.name],
      [t("sinceFact"), moment(user.createTime)],
    ];
    replace(this.#facts, factsList(facts));
  }

  async #save(): Promise<void> {
    const user = await this.#api.auth.updateMe({ user: { displayName: this.#name.control.value.trim(), etag: this.#etag }, updateMask: { paths: ["display_name"] } });
    this.#adopt(user);
    this.#hooks.changed(user);
    this.#hooks.say(t("nameSaved"));
  }

  async #changeEmail(): Promise<void> {
    const email = this.#email.control.value.trim();
    this.#sent.textContent = "";
    await recently(this.#api, this.#user, () => this.#api.auth.updateMe({ user: { email }, updateMask: { paths: ["email"] } }));
    this.#email.control.value = "";
    this.#sent.textContent = t("mailToNew", { email });
  }

  #explain(failure: Failure): string {
    if (failure.reason !== "ETAG_MISMATCH") return placed({ "user.display_name": this.#name }, failure);
    void this.show().then(() => this.#form.refuse(t("accountChanged")));
    return "";
  }
}

/** For the administrator whom the first start made: gives the account an address and a password, without which only links of the command line sign in. */
class FirstPasswordPart implements Part {
  readonly root: HTMLElement;
  readonly #email = textEntry(t("email"), { inputmode: "email", autocomplete: "username", required: true, maxlength: "254", spellcheck: "false", autocapitalize: "none" });
  readonly #fresh = passwordEntry(t("newPassword"), "new-password", passwordNote());

  constructor(api: Pick<Api, "admin" | "auth">, user: User, hooks: ProfileHooks) {
    const save = async () => {
      const email = this.#email.control.value.trim();
      const now = await api.admin.updateUser({ user: { name: user.name, email }, updateMask: { paths: ["email"] } });
      await api.auth.changePassword({ newPassword: this.#fresh.control.value });
      hooks.say(t("canSignIn"));
      hooks.changed(now);
    };
    const explain = (failure: Failure) => placed({ "user.email": this.#email, new_password: this.#fresh }, failure);
    const form = new Form(t("firstPassword"), t("setBoth"), [this.#email, this.#fresh], save, explain);
    this.root = element("div", { class: "stack" }, element("p", { class: "note" }, t("firstPasswordAbout")), form.root);
  }

  show(): Promise<void> {
    this.#fresh.control.value = "";
    return Promise.resolve();
  }
}

class PasswordPart implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "auth">;
  readonly #user: User;
  readonly #hooks: ProfileHooks;
  readonly #current = passwordEntry(t("currentPassword"), "current-password", t("currentPasswordNote"));
  readonly #linking: LinkingPart;
  readonly #fresh = passwordEntry(t("newPassword"), "new-password", passwordNote());

  constructor(api: Pick<Api, "auth">, user: User, hooks: ProfileHooks) {
    this.#api = api;
    this.#user = user;
    this.#hooks = hooks;
    this.#current.control.required = false;
    const form = new Form(t("password"), t("changePassword"), [this.#current, this.#fresh], () => this.#save(), (failure) => this.#explain(failure));
    // Password managers store the new password under this name.
    const name = element("input", { type: "email", autocomplete: "username", readonly: true, hidden: true, "aria-hidden": "true", tabindex: "-1" });
    name.value = user.email;
    form.root.prepend(name);
    this.#linking = new LinkingPart(api, user, hooks.say);
    this.root = element("div", { class: "stack" }, element("p", { class: "note" }, t("endsSessions")), form.root, this.#linking.root);
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    this.#empty();
    await this.#linking.show(query);
  }

  #empty(): void {
    for (const one of [this.#current, this.#fresh]) {
      one.control.value = "";
      one.refuse("");
    }
  }

  async #save(): Promise<void> {
    const change = { currentPassword: this.#current.control.value, newPassword: this.#fresh.control.value };
    const act = () => this.#api.auth.changePassword(change);
    // Signing in again needs a password. For a user who has never set one, the server's error names another way.
    await (change.currentPassword ? recently(this.#api, this.#user, act) : act());
    this.#empty();
    this.#hooks.say(t("passwordChanged"));
  }

  #explain(failure: Failure): string {
    if (failure.reason !== "SIGN_IN_FAILED") return placed({ current_password: this.#current, new_password: this.#fresh }, failure);
    this.#current.refuse(t("currentWrong"));
    this.#current.control.focus();
    this.#current.control.select();
    return "";
  }
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
    row: ({ name, address, userAgent, createTime, lastUseTime, expireTime, current }: Session, stage) => {
      const device = deviceOf(userAgent);
      const facts = [address, lastUseTime && t("lastUsed", { time: moment(lastUseTime) }), createTime && t("began", { time: moment(createTime) }), expireTime && t("ends", { time: moment(expireTime) })];
      const end = { label: t("end"), name: t("endSessionOn", { device, facts: facts.filter(Boolean).join(" · ") }), danger: true, does: () => api.auth.revokeSessions({ names: [name] }), said };
      return { name: device, tip: userAgent, badges: current ? [badge(t("thisDevice"), "good")] : [], facts, acts: current ? [] : [actButton(stage, end)] };
    },
    empty: t("noSessions"),
    say,
  });
}
