/** What administrators do with one user: change, disable, enable, delete, hand out a reset code, and give or end ownership. */

import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import { confirmed, filled } from "../widgets/dialog.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf, type Failure } from "../server/errors.js";
import { count, momentOf } from "../text/facts.js";
import { choiceEntry, placed, textEntry, type Entry } from "../widgets/fields.js";
import { callName, mayChange, roleLabel, roleName, roleOf, ROLES, type Administrator, type People } from "../server/people.js";
import { newKey } from "../account/newkey.js";
import { recently } from "../account/recent.js";
import { showSecret } from "../account/secret.js";
import { viewFragment } from "../widgets/views.js";
import { nameWithin } from "../text/names.js";

// A control of the type "email" would check the address itself, and change addresses in other scripts.
export const EMAIL = { inputmode: "email", autocomplete: "off", maxlength: "254", spellcheck: "false", autocapitalize: "none" } as const;

/** When a user last signed in; "" for a service, which cannot sign in. */
export function lastSignIn({ role, lastSignInTime }: User): string {
  if (role === UserRole.SERVICE) return "";
  return lastSignInTime ? momentOf(timestampDate(lastSignInTime)) : "never";
}

export interface UsersHooks {
  readonly say: (text: string) => void;
  /** The administrator who uses the page. */
  readonly me: Administrator;
  /** The user's own record changed. */
  readonly changed: (user: User) => void;
}

/** The view that shows the user. */
export interface Stage {
  readonly root: HTMLElement;
  /** Show a problem. */
  readonly refuse: (why: string) => void;
  /** Read the view again, after the user changed or was deleted. */
  readonly again: (user: User) => Promise<void>;
  /** The control that gets the focus if the user's button is gone. */
  readonly otherwise: HTMLElement;
}

export class UserActs {
  readonly #api: Pick<Api, "admin" | "auth">;
  readonly #people: People;
  readonly #hooks: UsersHooks;
  readonly #stage: Stage;

  constructor(api: Pick<Api, "admin" | "auth">, people: People, hooks: UsersHooks, stage: Stage) {
    this.#api = api;
    this.#people = people;
    this.#hooks = hooks;
    this.#stage = stage;
  }

  badges(one: User): HTMLElement[] {
    return [
      ...(one.role === UserRole.USER ? [] : [element("span", { class: "badge" }, roleLabel(one.role).toLowerCase())]),
      ...(one.ownsInstallation ? [element("span", { class: "badge" }, "owner")] : []),
      ...(one.disableTime ? [element("span", { class: "badge warn" }, "disabled")] : []),
      ...(one.name === this.#hooks.me.name ? [element("span", { class: "badge good" }, "you")] : []),
    ];
  }

  /** The buttons that the caller may use for this user. */
  usual(one: User): HTMLElement[] {
    const label = callName(one);
    const activity = viewFragment({ area: "administration", tab: "audit", query: { who: one.name } });
    const canReset = one.role !== UserRole.SERVICE && one.email !== "" && this.mayChange(one);
    return [
      button("Edit", () => void this.#edit(one), { "aria-label": `Edit ${label}` }),
      element("a", { href: activity, "aria-label": `Activity of ${label}` }, "Activity"),
      ...(canReset ? [button("Reset code", () => void this.resetCode(one), { "aria-label": `Reset code for ${label}` })] : []),
      ...(this.mayChange(one)
        ? [
            one.disableTime
              ? button("Enable", () => void this.#enable(one), { "aria-label": `Enable ${label}` })
              : button("Disable", () => void this.#disable(one), { class: "plain danger", "aria-label": `Disable ${label}` }),
          ]
        : []),
    ];
  }

  /** The buttons of the user's own page alone. */
  rare(one: User, remove: () => void): HTMLElement[] {
    const label = callName(one);
    const { me } = this.#hooks;
    const couldOwn = one.role === UserRole.ADMIN && !one.disableTime && !one.ownsInstallation;
    const addKey: HTMLElement = button("New API key", () => void this.#newKey(one, addKey), { "aria-label": `New API key for ${label}` });
    return [
      ...(one.role === UserRole.SERVICE ? [addKey] : []),
      ...(one.name !== me.name && this.mayChange(one) ? [button("End all access", () => void this.#revokeAll(one), { class: "plain danger", "aria-label": `End all access of ${label}` })] : []),
      ...(me.ownsInstallation && couldOwn ? [button("Make owner", () => void this.#own(one), { "aria-label": `Make owner: ${label}` })] : []),
      ...(me.ownsInstallation && one.ownsInstallation ? [button("End ownership", () => void this.#disown(one), { class: "plain danger", "aria-label": `End ownership of ${label}` })] : []),
      ...(one.name !== me.name && this.mayChange(one) ? [button("Delete", remove, { class: "plain danger", "aria-label": `Delete ${label}` })] : []),
    ];
  }

  mayChange(one: User): boolean {
    return mayChange(one, this.#hooks.me);
  }

  /** Hand out a code with which the user sets a new password. */
  async resetCode(user: User, why = "The user sets a new password with this code"): Promise<void> {
    try {
      const { code, expireTime } = await recently(this.#api, this.#hooks.me, () => this.#api.auth.createResetCode({ user: user.name }));
      const text = `${why}, once${until(expireTime)}. Hand the link or the code to ${callName(user)}. The new password ends all earlier sessions of the user.`;
      await showSecret({ title: `Reset code for ${callName(user)}`, text, label: "Code", secret: code, link: await codeLink(this.#api, this.#hooks.me.tenant, "reset", code), say: this.#hooks.say, view: this.#stage.root });
    } catch (error) {
      this.#stage.refuse(failureOf(error).message);
    }
  }

  /** Make a key for a service, which cannot sign in to make one. */
  async #newKey(service: User, opener: HTMLElement): Promise<void> {
    const label = callName(service);
    const made = await newKey({
      title: `New API key for ${label}`,
      shown: `The new API key for ${label}`,
      whose: `as ${label}`,
      make: (wanted) => recently(this.#api, this.#hooks.me, () => this.#api.admin.createServiceApiKey({ user: service.name, ...wanted })),
      made: () => undefined,
      say: this.#hooks.say,
      refuse: this.#stage.refuse,
      view: this.#stage.root,
    });
    if (made) opener.focus();
  }

  async #edit(one: User): Promise<void> {
    const fields = new UserFields(one, !this.mayChange(one));
    let saved: User | undefined;
    const act = async () => {
      const paths = fields.changed;
      const save = () => this.#api.admin.updateUser({ user: { name: one.name, etag: fields.etag, ...fields.value }, updateMask: { paths } });
      if (paths.length > 0) saved = await recently(this.#api, this.#hooks.me, save);
    };
    const explain = async (failure: Failure) => {
      if (failure.reason === "RESOURCE_NOT_FOUND") return "This user does not exist any more.";
      const why = lasting(failure);
      if (why) return why;
      if (failure.reason !== "ETAG_MISMATCH") return fields.explain(failure);
      try {
        fields.compare(await this.#api.admin.getUser({ name: one.name }));
      } catch (error) {
        return failureOf(error).message;
      }
      return "Somebody else changed this user meanwhile, and your changes are not saved yet. Save again to replace their changes with yours, or cancel to keep theirs.";
    };
    const done = await filled({ title: `Edit ${callName(one)}`, action: "Save", fields: fields.rows, first: fields.first, act, explain });
    if (done && saved) {
      this.#hooks.say("User saved.");
      this.#people.learn(saved);
      if (saved.name === this.#hooks.me.name) this.#hooks.changed(saved);
    }
    await this.#again(one, `Edit ${await this.#people.label(one.name)}`); // the name may have changed
  }

  async #disable(one: User): Promise<void> {
    const label = callName(one);
    const self = one.name === this.#hooks.me.name ? "This is your own account. If you disable your own account, you are signed out. " : "";
    const text = `${self}${label} can make no further call, on any device or with any key, until an administrator enables the user again. Nothing of the user is deleted.`;
    if (!(await confirmed({ title: `Disable ${label}?`, text, action: "Disable" }))) return;
    await this.#act(one, `Enable ${label}`, `${label} is disabled.`, () => this.#api.admin.disableUser({ name: one.name, etag: one.etag }));
  }

  async #enable(one: User): Promise<void> {
    const label = callName(one);
    await this.#act(one, `Disable ${label}`, `${label} is enabled.`, () => this.#api.admin.enableUser({ name: one.name, etag: one.etag }));
  }

  async #revokeAll(one: User): Promise<void> {
    const label = callName(one);
    const after = one.role === UserRole.SERVICE ? "The service needs a new key to make calls again." : "The user can sign in again; to keep the user out, disable the user.";
    const text = `All sessions of ${label} end, on all devices, and all API keys of ${label} are revoked. ${after}`;
    if (!(await confirmed({ title: `End all sessions and keys of ${label}?`, text, action: "End all" }))) return;
    await this.#act(one, `End all access of ${label}`, (done) => `${count(done.sessionCount, "session")} ended, and ${count(done.apiKeyCount, "API key")} revoked.`, () => this.#api.admin.revokeCredentials({ name: one.name }));
  }

  async #own(one: User): Promise<void> {
    const label = callName(one);
    const text = `${label} can then make, suspend and erase tenants, and change or disable other owners, you included.`;
    if (!(await confirmed({ title: `Make ${label} an owner of the installation?`, text, action: "Make owner" }))) return;
    await this.#act(one, `End ownership of ${label}`, `${label} is an owner of the installation.`, () => recently(this.#api, this.#hooks.me, () => this.#api.admin.grantOwnership({ name: one.name })));
  }

  async #disown(one: User): Promise<void> {
    const label = callName(one);
    const self = one.name === this.#hooks.me.name ? "This is your own account. " : "";
    const text = `${self}${label} stays an administrator, but can no longer administer tenants or read the agents’ files again.`;
    if (!(await confirmed({ title: `End the ownership of ${label}?`, text, action: "End ownership" }))) return;
    const now = await this.#act(one, `Make owner: ${label}`, `${label} is no longer an owner of the installation.`, () => recently(this.#api, this.#hooks.me, () => this.#api.admin.revokeOwnership({ name: one.name })));
    if (now?.name === this.#hooks.me.name) this.#hooks.changed(now);
  }

  /** `said`: what to say afterwards. Resolves to what `act` returns, or to undefined if the act failed. */
  async #act<T>(one: User, next: string, said: string | ((done: T) => string), act: () => Promise<T>): Promise<T | undefined> {
    let now: T;
    try {
      now = await act();
    } catch (error) {
      const failure = failureOf(error);
      await this.#again(one, next);
      const changed = `Somebody else changed ${callName(one)} meanwhile, so nothing has happened. Check the change, then try again.`;
      this.#stage.refuse(failure.reason === "ETAG_MISMATCH" ? changed : (lasting(failure) ?? failure.message));
      return undefined;
    }
    this.#hooks.say(typeof said === "string" ? said : said(now));
    await this.#again(one, next);
    return now;
  }

  /** Read the view again, and focus the button with that label. */
  async #again(one: User, label: string): Promise<void> {
    await this.#stage.again(one);
    const found = [...this.#stage.root.querySelectorAll<HTMLElement>("button")].find((each) => each.getAttribute("aria-label") === label);
    (found ?? this.#stage.otherwise).focus();
  }
}

/** The explanation of an error that keeps the last administrator or the last owner; undefined for other errors. */
export function lasting({ reason, message }: Failure): string | undefined {
  return reason === "LAST_ADMINISTRATOR" || reason === "LAST_OWNER" ? message : undefined;
}

/** A link to the page that carries a code in its fragment, and the tenant if it is not the default one. */
export async function codeLink(api: Pick<Api, "auth">, tenant: string, kind: "invitation" | "reset", code: string): Promise<string> {
  const usual = await api.auth.listSignInMethods({}).then((found) => found.tenant, () => "");
  const query = tenant === usual ? "" : `?${new URLSearchParams({ tenant: tenant.replace(/^tenants\//, "") }).toString()}`;
  return `${location.origin}/${query}#${kind}=${code}`;
}

/** The end of a sentence that says until when a code is valid. */
export function until(time: Timestamp | undefined): string {
  return time ? `, until ${momentOf(timestampDate(time))}` : "";
}

/** The controls of a user's dialog. */
export class UserFields {
  readonly rows: readonly HTMLElement[];
  readonly first: HTMLElement;
  readonly #name = textEntry("Name", { required: true, maxlength: "200" });
  readonly #email = textEntry("E-mail address", EMAIL, "People sign in with their address. A program does not need an address.");
  readonly #role = choiceEntry("Role", ROLES);
  readonly #subject = textEntry("Subject", { maxlength: "200", spellcheck: "false" }, "The name of this person in documents that have a subject, for example a staff number. Most users have no subject.");
  readonly #theirs = element("p", { class: "theirs", hidden: true, ...WRITTEN });
  #before: Pick<User, "displayName" | "email" | "role" | "subject"> = { displayName: "", email: "", role: UserRole.USER, subject: "" };
  #etag = "";

  /** `fixed`: whether the address, the role and the subject cannot be changed. A new user has no subject yet. */
  constructor(user?: User, fixed = false) {
    if (user) {
      this.#name.control.value = user.displayName;
      this.#email.control.value = user.email;
      this.#role.control.value = roleName(user.role);
      this.#subject.control.value = user.subject;
      this.#before = user;
      this.#etag = user.etag;
    }
    for (const { control } of [this.#email, this.#role, this.#subject]) control.disabled = fixed;
    this.first = this.#name.control;
    this.rows = [this.#name.root, this.#email.root, this.#role.root, ...(user ? [this.#subject.root] : []), this.#theirs];
  }

  get etag(): string {
    return this.#etag;
  }

  get value() {
    return { displayName: this.#name.control.value.trim(), email: this.#email.control.value.trim(), role: roleOf(this.#role.control.value), subject: this.#subject.control.value.trim() };
  }

  /** The paths of the fields that the administrator changed. */
  get changed(): string[] {
    const { displayName, email, role, subject } = this.value;
    const before = this.#before;
    return [...(displayName === before.displayName ? [] : ["display_name"]), ...(email === before.email ? [] : ["email"]), ...(role === before.role ? [] : ["role"]), ...(subject === before.subject ? [] : ["subject"])];
  }

  explain(failure: Failure): Promise<string> {
    const entries: Readonly<Record<string, Entry>> = { "user.display_name": this.#name, "user.email": this.#email, "user.role": this.#role, "user.subject": this.#subject };
    if (failure.reason !== "RESOURCE_ALREADY_EXISTS") return Promise.resolve(placed(entries, failure));
    this.#email.refuse(failure.message);
    this.#email.control.focus();
    return Promise.resolve("");
  }

  /** Show the user with the changes that somebody else has made meanwhile. */
  compare(theirs: User): void {
    this.#before = theirs;
    this.#etag = theirs.etag;
    const state = theirs.disableTime ? ", disabled" : "";
    replace(this.#theirs, element("strong", {}, "As it is now: "), [nameWithin(theirs.displayName), theirs.email, roleLabel(theirs.role), theirs.subject].filter(Boolean).join(", ") + state);
    this.#theirs.hidden = false;
  }
}
