/** What administrators do with one user: change, disable, enable, hand out a reset code, and give or end ownership. */

import type { Timestamp } from "@bufbuild/protobuf/wkt";
import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { newKey } from "../account/newkey.js";
import { recently } from "../account/recent.js";
import { showSecret } from "../account/secret.js";
import { allAgents } from "../chat/agents.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import { failureOf, type Failure } from "../server/errors.js";
import { callName, mayChange, roleLabel, roleName, roleOf, roles, type Administrator, type People } from "../server/people.js";
import { moment } from "../text/facts.js";
import { nameWithin } from "../text/names.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { choiceEntry, EMAIL, placed, textEntry } from "../widgets/fields.js";
import { actButton, badge, edited, focusOn, type Stage } from "../widgets/resourcelist.js";
import { viewFragment } from "../widgets/views.js";

/** When a user last signed in; "" for a service, which cannot sign in. */
export function lastSignIn({ role, lastSignInTime }: User): string {
  return role === UserRole.SERVICE ? "" : moment(lastSignInTime) || t("never");
}

export interface UsersHooks {
  readonly say: (text: string) => void;
  /** The administrator who uses the page. */
  readonly me: Administrator;
  /** The user's own record changed. */
  readonly changed: (user: User) => void;
}

export class UserActs {
  readonly #api: Pick<Api, "admin" | "auth" | "chat">;
  readonly #people: People;
  readonly #hooks: UsersHooks;

  constructor(api: Pick<Api, "admin" | "auth" | "chat">, people: People, hooks: UsersHooks) {
    this.#api = api;
    this.#people = people;
    this.#hooks = hooks;
  }

  badges(one: User): HTMLElement[] {
    return [
      ...(one.role === UserRole.USER ? [] : [badge(one.role === UserRole.ADMIN ? t("administratorBadge") : t("serviceBadge"))]),
      ...(one.ownsInstallation ? [badge(t("ownerBadge"))] : []),
      ...(one.disableTime ? [badge(t("disabledBadge"), "warn")] : []),
      ...(one.name === this.#hooks.me.name ? [badge(t("you"), "good")] : []),
    ];
  }

  /** The buttons that the caller may use for this user. */
  usual(stage: Stage, user: User): HTMLElement[] {
    const { name, etag } = user;
    const label = callName(user);
    const activity = viewFragment({ area: "administration", tab: "audit", query: { who: name } });
    const canReset = user.role !== UserRole.SERVICE && user.email !== "" && this.mayChange(user);
    const [disableName, enableName] = [t("disableUser", { user: label }), t("enableUser", { user: label })];
    const text = t("disableText", { user: label });
    const ask = { title: t("disableTitle", { user: label }), text: this.#self(user) ? `${t("disableSelf")} ${text}` : text };
    return [
      button(t("edit"), () => void this.#edit(stage, user), { "aria-label": t("editName", { name: label }) }),
      element("a", { href: activity, "aria-label": t("activityOf", { user: label }) }, t("activity")),
      ...(canReset ? [button(t("resetCode"), () => void this.resetCode(stage, user), { "aria-label": t("resetCodeFor", { user: label }) })] : []),
      ...(!this.mayChange(user)
        ? []
        : user.disableTime
          ? [actButton(stage, { label: t("enable"), name: enableName, does: () => this.#api.admin.enableUser({ name, etag }), said: t("userEnabled", { user: label }), next: disableName })]
          : [actButton(stage, { label: t("disable"), name: disableName, ask, does: () => this.#api.admin.disableUser({ name, etag }), said: t("userDisabled", { user: label }), next: enableName })]),
    ];
  }

  /** The buttons of the user's own page alone. */
  rare(stage: Stage, user: User, remove: () => void): HTMLElement[] {
    const { name, role, ownsInstallation } = user;
    const label = callName(user);
    const { me } = this.#hooks;
    const other = name !== me.name && this.mayChange(user);
    const couldOwn = role === UserRole.ADMIN && !user.disableTime && !ownsInstallation;
    const [ownName, disownName] = [t("makeOwnerName", { user: label }), t("endOwnershipOf", { user: label })];
    const key = t("newKeyFor", { user: label });
    const addKey = async () => {
      await newKey(stage, { service: label, agents: () => allAgents(this.#api), make: (wanted) => recently(this.#api, me, () => this.#api.admin.createServiceApiKey({ user: name, ...wanted })) });
      focusOn(stage, key);
    };
    const endAll = {
      label: t("endAccess"),
      name: t("endAccessOf", { user: label }),
      ask: { title: t("endAccessTitle", { user: label }), text: `${t("endAccessText", { user: label })} ${role === UserRole.SERVICE ? t("endAccessService") : t("endAccessUser")}`, action: t("endAll") },
      does: () => this.#api.admin.revokeCredentials({ name }),
      said: ({ sessionCount, apiKeyCount }: { readonly sessionCount: number; readonly apiKeyCount: number }) => `${t("sessionsEnded", { count: sessionCount })} ${t("keysRevoked", { count: apiKeyCount })}`,
    };
    const own = {
      label: t("makeOwner"),
      name: ownName,
      ask: { title: t("makeOwnerTitle", { user: label }), text: t("makeOwnerText", { user: label }) },
      danger: false,
      does: () => recently(this.#api, me, () => this.#api.admin.grantOwnership({ name })),
      said: t("ownerMade", { user: label }),
      next: disownName,
    };
    const disownText = t("endOwnershipText", { user: label });
    const disown = {
      label: t("endOwnership"),
      name: disownName,
      ask: { title: t("endOwnershipTitle", { user: label }), text: this.#self(user) ? `${t("ownAccount")} ${disownText}` : disownText },
      does: () => recently(this.#api, me, () => this.#api.admin.revokeOwnership({ name })),
      said: t("ownershipEnded", { user: label }),
      after: (now: User) => now.name === me.name && this.#hooks.changed(now),
      next: ownName,
    };
    return [
      ...(role === UserRole.SERVICE ? [button(t("newKey"), () => void addKey(), { "aria-label": key })] : []),
      ...(other ? [actButton(stage, endAll)] : []),
      ...(me.ownsInstallation && couldOwn ? [actButton(stage, own)] : []),
      ...(me.ownsInstallation && ownsInstallation ? [actButton(stage, disown)] : []),
      ...(other ? [button(t("delete"), remove, { class: "plain danger", "aria-label": t("deleteName", { name: label }) })] : []),
    ];
  }

  mayChange(one: User): boolean {
    return mayChange(one, this.#hooks.me);
  }

  /** Hand out a code with which the user sets a new password. */
  async resetCode(stage: Stage, user: User, why = t("resetCodeText")): Promise<void> {
    try {
      const { code, expireTime } = await recently(this.#api, this.#hooks.me, () => this.#api.auth.createResetCode({ user: user.name }));
      const link = await codeLink(this.#api, this.#hooks.me.tenant, "reset", code);
      const text = `${why} ${t("handResetCode", { user: callName(user), until: until(expireTime) })}`;
      await showSecret({ title: t("resetCodeFor", { user: callName(user) }), text, lines: [["code", code], ["link", link]], say: stage.say, view: stage.root });
    } catch (error) {
      stage.refuse(failureOf(error).message);
    }
  }

  #self({ name }: User): boolean {
    return name === this.#hooks.me.name;
  }

  async #edit(stage: Stage, user: User): Promise<void> {
    const { name } = user;
    const fields = new UserFields(user, !this.mayChange(user));
    let saved: User | undefined;
    const done = await edited<User>({
      title: t("editName", { name: callName(user) }),
      rows: fields.rows,
      first: fields.first,
      save: async () => {
        const paths = fields.changed;
        const save = () => this.#api.admin.updateUser({ user: { name, etag: fields.etag, ...fields.value }, updateMask: { paths } });
        if (paths.length > 0) saved = await recently(this.#api, this.#hooks.me, save);
      },
      read: () => this.#api.admin.getUser({ name }),
      compare: (theirs) => fields.compare(theirs),
      explain: (failure) => fields.explain(failure),
    });
    if (done && saved) {
      stage.say(t("userSaved"));
      this.#people.learn(saved);
      if (this.#self(saved)) this.#hooks.changed(saved);
    }
    await stage.again();
    focusOn(stage, t("editName", { name: await this.#people.label(name) })); // the name may have changed
  }
}

/** A link to the page that carries a code in its fragment, and the tenant if it is not the default one. */
export async function codeLink(api: Pick<Api, "auth">, tenant: string, kind: "invitation" | "reset", code: string, email = ""): Promise<string> {
  const usual = await api.auth.listSignInMethods({}).then((found) => found.tenant, () => "");
  const query = tenant === usual ? "" : `?${new URLSearchParams({ tenant: tenant.replace(/^tenants\//, "") }).toString()}`;
  return `${location.origin}/${query}#${kind}=${code}${email && `&email=${encodeURIComponent(email)}`}`;
}

/** The part of a sentence that says until when a code is valid. */
export function until(time: Timestamp | undefined): string {
  return time ? t("until", { time: moment(time) }) : "";
}

/** The controls of a user's dialog. */
export class UserFields {
  readonly rows: readonly HTMLElement[];
  readonly first: HTMLElement;
  readonly #name = textEntry(t("name"), { required: true, maxlength: "200" });
  readonly #email = textEntry(t("email"), EMAIL, t("emailNote"));
  readonly #role = choiceEntry(t("role"), roles());
  readonly #subject = textEntry(t("subject"), { maxlength: "200", spellcheck: "false" }, t("subjectNote"));
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
    const { value } = this;
    const paths = { displayName: "display_name", email: "email", role: "role", subject: "subject" } as const;
    return (Object.keys(paths) as (keyof typeof paths)[]).filter((field) => value[field] !== this.#before[field]).map((field) => paths[field]);
  }

  explain(failure: Failure): string {
    return placed({ "user.display_name": this.#name, "user.email": this.#email, "user.role": this.#role, "user.subject": this.#subject }, failure, this.#email);
  }

  /** Show the user with the changes that somebody else has made meanwhile. */
  compare(theirs: User): void {
    this.#before = theirs;
    this.#etag = theirs.etag;
    const facts = [nameWithin(theirs.displayName), theirs.email, roleLabel(theirs.role), theirs.subject, theirs.disableTime && t("disabledBadge")];
    replace(this.#theirs, element("strong", {}, `${t("asItIsNow")}: `), facts.filter(Boolean).join(", "));
    this.#theirs.hidden = false;
  }
}
