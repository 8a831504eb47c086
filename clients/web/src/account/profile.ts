/** The user's own account: name, password, sessions and API keys. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Session } from "@responsa/contract/responsa/auth/v1/session_pb.js";
import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import { confirmed } from "../widgets/dialog.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import { failureOf, type Failure } from "../server/errors.js";
import { count, momentOf } from "../text/facts.js";
import { lacking, passwordEntry, passwordNote, placed, textEntry, type Entry } from "../widgets/fields.js";
import { OwnKeysView } from "./keys.js";
import { leaving, type LeavingHooks } from "./leaving.js";
import { LinkingPart } from "./linking.js";
import { Listing } from "../widgets/listing.js";
import { roleLabel } from "../server/people.js";
import { RecordPart } from "../documents/record.js";
import { recently } from "./recent.js";
import { TabbedView, type Part } from "../widgets/tabbed.js";
import { UsagePart } from "./usage.js";
import { deviceOf } from "./useragent.js";
import {  } from "../language/language.js";

const PAGE = 50;

export interface ProfileHooks extends LeavingHooks {
  readonly say: (text: string) => void;
  /** The user's record changed. */
  readonly changed: (user: User) => void;
}

/** Each row is a tab. */
export function profileView(api: Pick<Api, "admin" | "auth" | "knowledge">, user: User, hooks: ProfileHooks): TabbedView {
  return new TabbedView("profile", "Profile", [
    ["account", "Account", new AccountPart(api, user, hooks)],
    ["password", "Password", user.email === "" && user.role === UserRole.ADMIN ? new FirstPasswordPart(api, user, hooks) : new PasswordPart(api, user, hooks)],
    ["sessions", "Sessions", new SessionsPart(api, hooks)],
    ["keys", "API keys", new OwnKeysView(api, user, hooks)],
    ["usage", "Usage", new UsagePart(api)],
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
  readonly #name = textEntry("Name", { autocomplete: "name", maxlength: "200" }, "Other people see this name.");
  readonly #email = textEntry("New e-mail address", { inputmode: "email", autocomplete: "email", required: true, maxlength: "254", spellcheck: "false", autocapitalize: "none" }, "A mail with a link goes to the new address. The address changes if you open the link within 24 hours and confirm the address.");
  readonly #sent = element("p", { class: "note", role: "status" });
  readonly #facts = element("dl", { class: "facts-list" });
  readonly #form: Form;
  readonly #move: Form;
  readonly #record: RecordPart;
  #user: User;
  #etag = "";

  constructor(api: Pick<Api, "auth" | "knowledge">, user: User, hooks: ProfileHooks) {
    this.#api = api;
    this.#record = new RecordPart(api, "My record");
    this.#user = user;
    this.#hooks = hooks;
    this.#form = new Form("Account", "Save", [this.#name], () => this.#save(), (failure) => this.#explain(failure));
    const wrong = (failure: Failure) => placed({ "user.email": this.#email }, failure);
    this.#move = new Form("E-mail address", "Change the address", [this.#email], () => this.#changeEmail(), wrong);
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
      ["E-mail", user.email || "No address. An administrator can add an address."],
      ["Role", roleLabel(user.role)],
      ["Tenant", user.tenant.replace(/^tenants\//, "")],
      ["User id", user.name],
      ["Since", user.createTime ? momentOf(timestampDate(user.createTime)) : ""],
    ];
    this.#facts.replaceChildren(...facts.filter(([, value]) => value).map(([key, value]) => element("div", {}, element("dt", {}, key), element("dd", WRITTEN, value))));
  }

  async #save(): Promise<void> {
    const user = await this.#api.auth.updateMe({ user: { displayName: this.#name.control.value.trim(), etag: this.#etag }, updateMask: { paths: ["display_name"] } });
    this.#adopt(user);
    this.#hooks.changed(user);
    this.#hooks.say("Name saved.");
  }

  async #changeEmail(): Promise<void> {
    const email = this.#email.control.value.trim();
    this.#sent.textContent = "";
    await recently(this.#api, this.#user, () => this.#api.auth.updateMe({ user: { email }, updateMask: { paths: ["email"] } }));
    this.#email.control.value = "";
    this.#sent.textContent = `A mail to ${email} is on its way. Open the link in the mail to change the address.`;
  }

  #explain(failure: Failure): string {
    if (failure.reason !== "ETAG_MISMATCH") return placed({ "user.display_name": this.#name }, failure);
    void this.show().then(() => this.#form.refuse("Somebody else changed your account meanwhile. The page shows its present state; change the name again."));
    return "";
  }
}

/** For the administrator whom the first start made: gives the account an address and a password, without which only links of the command line sign in. */
class FirstPasswordPart implements Part {
  readonly root: HTMLElement;
  readonly #email = textEntry("E-mail address", { inputmode: "email", autocomplete: "username", required: true, maxlength: "254", spellcheck: "false", autocapitalize: "none" });
  readonly #fresh = passwordEntry("New password", "new-password", passwordNote());

  constructor(api: Pick<Api, "admin" | "auth">, user: User, hooks: ProfileHooks) {
    const save = async () => {
      const email = this.#email.control.value.trim();
      const now = await api.admin.updateUser({ user: { name: user.name, email }, updateMask: { paths: ["email"] } });
      await api.auth.changePassword({ newPassword: this.#fresh.control.value });
      hooks.say("You can now sign in with your address and your password.");
      hooks.changed(now);
    };
    const explain = (failure: Failure) => placed({ "user.email": this.#email, new_password: this.#fresh }, failure);
    const form = new Form("First password", "Set address and password", [this.#email, this.#fresh], save, explain);
    const about = "You have no e-mail address and no password yet. Until you set them, only a link from the machine where Responsa runs signs you in. You can set them within ten minutes of opening such a link.";
    this.root = element("div", { class: "stack" }, element("p", { class: "note" }, about), form.root);
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
  readonly #current = passwordEntry("Current password", "current-password", "Leave it empty if you have never set a password.");
  readonly #linking: LinkingPart;
  readonly #fresh = passwordEntry("New password", "new-password", passwordNote());

  constructor(api: Pick<Api, "auth">, user: User, hooks: ProfileHooks) {
    this.#api = api;
    this.#user = user;
    this.#hooks = hooks;
    this.#current.control.required = false;
    const form = new Form("Password", "Change the password", [this.#current, this.#fresh], () => this.#save(), (failure) => this.#explain(failure));
    // Password managers store the new password under this name.
    const name = element("input", { type: "email", autocomplete: "username", readonly: true, hidden: true, "aria-hidden": "true", tabindex: "-1" });
    name.value = user.email;
    form.root.prepend(name);
    this.#linking = new LinkingPart(api, user);
    this.root = element("div", { class: "stack" }, element("p", { class: "note" }, "A new password ends all your other sessions."), form.root, this.#linking.root);
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
    this.#hooks.say("Password changed. Your other sessions have ended.");
    this.root.querySelector(".done")?.remove();
    this.root.prepend(element("p", { class: "done good", role: "status" }, "Your password is changed, and your other sessions have ended."));
  }

  #explain(failure: Failure): string {
    this.root.querySelector(".done")?.remove();
    if (failure.reason !== "SIGN_IN_FAILED") return placed({ current_password: this.#current, new_password: this.#fresh }, failure);
    this.#current.refuse("The current password is wrong.");
    this.#current.control.focus();
    this.#current.control.select();
    return "";
  }
}

class SessionsPart implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "auth">;
  readonly #hooks: ProfileHooks;
  readonly #others = button("End all other sessions", () => void this.#endOthers(), { class: "quiet" });
  readonly #about = element("p", { class: "note grow", tabindex: "-1" }, "The devices and programs on which you are signed in.");
  readonly #list: Listing<Session>;

  constructor(api: Pick<Api, "auth">, hooks: ProfileHooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.#list = new Listing<Session>({
      label: "Sessions",
      read: async (pageToken) => {
        const { sessions, nextPageToken } = await api.auth.listSessions({ pageSize: PAGE, pageToken });
        return { items: sessions, next: nextPageToken };
      },
      row: (one) => this.#row(one),
      empty: () => "No sessions.",
    });
    this.root = element("div", { class: "stack" }, element("div", { class: "row wrap" }, this.#about, this.#others), this.#list.root);
  }

  async show(): Promise<void> {
    await this.#list.refresh();
  }

  #row({ name, address, userAgent, createTime, lastUseTime, expireTime, current }: Session): HTMLElement {
    const device = deviceOf(userAgent);
    const moment = (what: string, time: typeof createTime) => (time ? `${what} ${momentOf(timestampDate(time))}` : "");
    const facts = [address, moment("last used", lastUseTime), moment("began", createTime), moment("ends", expireTime)].filter(Boolean).join(" · ");
    const here = current ? [element("span", { class: "badge good" }, "this device")] : [];
    const about = element("div", { class: "about" }, element("span", { class: "name", title: userAgent, ...WRITTEN }, device), ...here, element("p", { class: "note whole" }, facts));
    const end = current ? [] : [button("End", () => void this.#end(name), { class: "plain danger", "aria-label": `End the session on ${device}, ${facts}` })];
    return element("li", {}, about, ...end);
  }

  async #end(name: string): Promise<void> {
    await this.#revoke({ names: [name] });
  }

  async #endOthers(): Promise<void> {
    const text = "All devices and programs on which you are signed in, except this one, must sign in again. API keys stay valid.";
    if (await confirmed({ title: "End all other sessions?", text, action: "End them" })) await this.#revoke({ allOthers: true });
  }

  async #revoke(request: { readonly names: string[] } | { readonly allOthers: true }): Promise<void> {
    try {
      const { revokedCount } = await this.#api.auth.revokeSessions(request);
      this.#hooks.say(`${count(revokedCount, "session")} ended.`);
    } catch (error) {
      return this.#list.refuse(failureOf(error).message);
    }
    await this.#list.refresh();
    this.#about.focus();
  }
}
