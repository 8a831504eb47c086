/** Shows administrators the users of the tenant: makes, invites, changes, disables and enables them, and hands out reset codes. */

import { timestampDate, type Timestamp } from "@bufbuild/protobuf/wkt";
import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "./api.js";
import { uuid } from "./bytes.js";
import { confirmed, filled } from "./dialog.js";
import { button, element, replace, WRITTEN } from "./dom.js";
import { failureOf, type Failure } from "./errors.js";
import { momentOf } from "./facts.js";
import { choiceEntry, placed, textEntry, type Entry } from "./fields.js";
import { Listing } from "./listing.js";
import { callName, peopleFilter, roleLabel, roleName, roleOf, ROLES, type People } from "./people.js";
import { showSecret } from "./secret.js";
import { noted, type Part } from "./tabbed.js";
import { viewFragment } from "./views.js";

const PAGE = 50;
// A control of the type "email" would check the address itself, and change addresses in other scripts.
const EMAIL = { inputmode: "email", autocomplete: "off", maxlength: "254", spellcheck: "false", autocapitalize: "none" } as const;

/** For how long an invitation is valid, in seconds. */
const TERMS: readonly (readonly [value: string, label: string])[] = [
  ["86400", "1 day"],
  ["604800", "7 days"],
  ["2592000", "30 days"],
];

export interface UsersHooks {
  readonly say: (text: string) => void;
  /** The administrator who uses the page, `users/{uuid}`, and the tenant, `tenants/{id}`. */
  readonly me: Pick<User, "name" | "tenant">;
  /** The user's own record changed. */
  readonly changed: (user: User) => void;
}

export class UsersView implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin" | "auth">;
  readonly #people: People;
  readonly #hooks: UsersHooks;
  readonly #search = textEntry("Name or e-mail address", { type: "search", maxlength: "200" });
  readonly #role = choiceEntry("Role", [["", "All"], ...ROLES]);
  readonly #state = choiceEntry("State", [
    ["", "All"],
    ["ACTIVE", "Active"],
    ["DISABLED", "Disabled"],
  ]);
  readonly #list: Listing<User>;
  #sought = "";

  constructor(api: Pick<Api, "admin" | "auth">, people: People, hooks: UsersHooks) {
    this.#api = api;
    this.#people = people;
    this.#hooks = hooks;
    this.#list = new Listing<User>({
      label: "Users",
      read: async (pageToken) => {
        const { users, nextPageToken } = await api.admin.listUsers({ pageSize: PAGE, pageToken, filter: this.#filter, orderBy: "display_name" });
        users.forEach((one) => people.learn(one));
        return { items: users, next: nextPageToken };
      },
      row: (one) => this.#row(one),
      empty: () => (this.#filter ? "No user matches." : "No users yet."),
    });
    const form = element("form", { class: "search-form", role: "search", "aria-label": "Users" }, this.#search.root, this.#role.root, this.#state.root, element("button", { type: "submit" }, "Find"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#find();
    });
    for (const one of [this.#role, this.#state]) one.control.addEventListener("change", () => this.#find());
    const actions = element(
      "div",
      { class: "row wrap" },
      button("Invite", () => void this.#invite(), { class: "quiet" }),
      button("New user", () => void this.#create(), { class: "quiet" }),
    );
    this.root = element("div", { class: "stack" }, actions, form, this.#list.root);
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    this.#search.control.value = query["search"] ?? "";
    for (const [entry, name] of [[this.#role, "role"], [this.#state, "state"]] as const) {
      entry.control.value = query[name] ?? "";
      if (entry.control.selectedIndex < 0) entry.control.value = ""; // the address names a value that does not exist
    }
    this.#sought = this.#search.control.value;
    await this.#list.refresh();
  }

  /** The filter for the chosen users; the text counts once it was sent. */
  get #filter(): string {
    const [role, state] = [this.#role.control.value, this.#state.control.value];
    return [this.#sought.trim() && peopleFilter(this.#sought), role && `role = ${role}`, state && `state = ${state}`].filter(Boolean).join(" AND ");
  }

  #find(): void {
    this.#sought = this.#search.control.value;
    noted({ area: "administration", tab: "users", query: { search: this.#sought.trim(), role: this.#role.control.value, state: this.#state.control.value } });
    void this.#list.refresh();
  }

  #row(one: User): HTMLElement {
    const label = callName(one);
    const badges = [
      ...(one.role === UserRole.USER ? [] : [element("span", { class: "badge" }, roleLabel(one.role).toLowerCase())]),
      ...(one.disableTime ? [element("span", { class: "badge warn" }, "disabled")] : []),
      ...(one.name === this.#hooks.me.name ? [element("span", { class: "badge good" }, "you")] : []),
    ];
    const facts = [one.displayName.trim() ? one.email : "", one.createTime ? `since ${momentOf(timestampDate(one.createTime))}` : ""].filter(Boolean).join(" · ");
    const activity = viewFragment({ area: "administration", tab: "audit", query: { who: one.name } });
    const canReset = one.role !== UserRole.SERVICE && one.email !== "";
    return element(
      "li",
      { class: "wrapping" },
      element("div", { class: "about" }, element("span", { class: "name", ...WRITTEN }, label), ...badges, element("p", { class: "note whole", ...WRITTEN }, facts)),
      element(
        "div",
        { class: "row wrap acts" },
        button("Edit", () => void this.#edit(one), { "aria-label": `Edit ${label}` }),
        element("a", { href: activity, "aria-label": `Activity of ${label}` }, "Activity"),
        ...(canReset ? [button("Reset code", () => void this.#resetCode(one), { "aria-label": `Reset code for ${label}` })] : []),
        one.disableTime
          ? button("Enable", () => void this.#enable(one), { "aria-label": `Enable ${label}` })
          : button("Disable", () => void this.#disable(one), { class: "plain danger", "aria-label": `Disable ${label}` }),
      ),
    );
  }

  async #create(): Promise<void> {
    const fields = new UserFields();
    // The request_id is the same for every try with the same content, because an interrupted try may have made the user.
    let tried = { body: "", requestId: "" };
    let made: User | undefined;
    const act = async () => {
      const user = fields.value;
      const body = JSON.stringify(user);
      if (body !== tried.body) tried = { body, requestId: uuid() };
      made = await this.#api.admin.createUser({ user, requestId: tried.requestId });
    };
    if (!(await filled({ title: "New user", action: "Create", fields: fields.rows, first: fields.first, act, explain: (failure) => fields.explain(failure) }))) return;
    this.#hooks.say("User created.");
    await this.#list.refresh();
    if (made?.email && made.role !== UserRole.SERVICE) await this.#resetCode(made, "The user is created, and sets the first password with this code");
    this.#search.control.focus();
  }

  async #invite(): Promise<void> {
    const email = textEntry("E-mail address", EMAIL, "Only this address can then register. Leave it empty if the person may choose one.");
    const role = choiceEntry("Role", ROLES.slice(0, 2));
    const term = choiceEntry("Valid for", TERMS);
    term.control.value = "604800";
    let made = { code: "", until: "" };
    const act = async () => {
      const { code, expireTime } = await this.#api.auth.createInvitation({ email: email.control.value.trim(), role: roleOf(role.control.value), validSeconds: Number(term.control.value) });
      made = { code, until: until(expireTime) };
    };
    const explain = (failure: Failure) => Promise.resolve(placed({ email, role, valid_seconds: term }, failure));
    if (!(await filled({ title: "Invite", action: "Make the invitation", fields: [email.root, role.root, term.root], first: email.control, act, explain }))) return;
    this.#hooks.say("Invitation made.");
    const text = `Hand the link or the code to the person. It works once${made.until}.`;
    await showSecret({ title: "The invitation", text, label: "Code", secret: made.code, link: await this.#link("invitation", made.code), say: this.#hooks.say, view: this.root });
  }

  async #resetCode(user: User, why = "The user sets a new password with this code"): Promise<void> {
    try {
      const { code, expireTime } = await this.#api.auth.createResetCode({ user: user.name });
      const text = `${why}, once${until(expireTime)}. Hand the link or the code to ${callName(user)}. The new password ends all earlier sessions of the user.`;
      await showSecret({ title: `Reset code for ${callName(user)}`, text, label: "Code", secret: code, link: await this.#link("reset", code), say: this.#hooks.say, view: this.root });
    } catch (error) {
      this.#list.refuse(failureOf(error).message);
    }
  }

  /** A link to the page that carries a code in its fragment, and the tenant if it is not the default one. */
  async #link(kind: "invitation" | "reset", code: string): Promise<string> {
    const { tenant } = this.#hooks.me;
    const usual = await this.#api.auth.listSignInMethods({}).then((found) => found.tenant, () => "");
    const query = tenant === usual ? "" : `?${new URLSearchParams({ tenant: tenant.replace(/^tenants\//, "") }).toString()}`;
    return `${location.origin}/${query}#${kind}=${code}`;
  }

  async #edit(one: User): Promise<void> {
    const fields = new UserFields(one);
    let saved: User | undefined;
    const act = async () => {
      const paths = fields.changed;
      if (paths.length > 0) saved = await this.#api.admin.updateUser({ user: { name: one.name, etag: fields.etag, ...fields.value }, updateMask: { paths } });
    };
    const explain = async (failure: Failure) => {
      if (failure.reason === "RESOURCE_NOT_FOUND") return "This user does not exist any more.";
      if (failure.reason === "LAST_ADMINISTRATOR") return LAST;
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
      if (saved.name === this.#hooks.me.name) this.#hooks.changed(saved);
    }
    await this.#again(one, "Edit");
  }

  async #disable(one: User): Promise<void> {
    const label = callName(one);
    const self = one.name === this.#hooks.me.name ? "This is your own account, so you will be signed out. " : "";
    const text = `${self}${label} can make no further call, on any device or with any key, until an administrator enables the user again. Nothing of the user is deleted.`;
    if (!(await confirmed({ title: `Disable ${label}?`, text, action: "Disable" }))) return;
    await this.#act(one, "Enable", `${label} is disabled.`, () => this.#api.admin.disableUser({ name: one.name, etag: one.etag }));
  }

  async #enable(one: User): Promise<void> {
    await this.#act(one, "Disable", `${callName(one)} is enabled.`, () => this.#api.admin.enableUser({ name: one.name, etag: one.etag }));
  }

  async #act(one: User, next: string, said: string, act: () => Promise<unknown>): Promise<void> {
    try {
      await act();
    } catch (error) {
      const failure = failureOf(error);
      await this.#again(one, next);
      const changed = `Somebody else changed ${callName(one)} meanwhile, so nothing has happened. Check the change, then try again.`;
      this.#list.refuse(failure.reason === "ETAG_MISMATCH" ? changed : failure.reason === "LAST_ADMINISTRATOR" ? LAST : failure.message);
      return;
    }
    this.#hooks.say(said);
    await this.#again(one, next);
  }

  /** Read the list again, and focus the user's button with that label, or the search. */
  async #again(one: User, action: string): Promise<void> {
    await this.#list.refresh();
    const label = `${action} ${await this.#people.label(one.name)}`; // the name may have changed
    const found = [...this.#list.root.querySelectorAll<HTMLElement>("button")].find((each) => each.getAttribute("aria-label") === label);
    (found ?? this.#search.control).focus();
  }
}

const LAST = "This is the only administrator of the tenant who is not disabled. Make another user an administrator first.";

function until(time: Timestamp | undefined): string {
  return time ? `, until ${momentOf(timestampDate(time))}` : "";
}

/** The controls of a user's dialog. */
class UserFields {
  readonly rows: readonly HTMLElement[];
  readonly first: HTMLElement;
  readonly #name = textEntry("Name", { required: true, maxlength: "200" });
  readonly #email = textEntry("E-mail address", EMAIL, "People sign in with their address. A program does not need one.");
  readonly #role = choiceEntry("Role", ROLES);
  readonly #theirs = element("p", { class: "theirs", hidden: true, ...WRITTEN });
  #before: Pick<User, "displayName" | "email" | "role"> = { displayName: "", email: "", role: UserRole.USER };
  #etag = "";

  constructor(user?: User) {
    if (user) {
      this.#name.control.value = user.displayName;
      this.#email.control.value = user.email;
      this.#role.control.value = roleName(user.role);
      this.#before = user;
      this.#etag = user.etag;
    }
    this.first = this.#name.control;
    this.rows = [this.#name.root, this.#email.root, this.#role.root, this.#theirs];
  }

  get etag(): string {
    return this.#etag;
  }

  get value() {
    return { displayName: this.#name.control.value.trim(), email: this.#email.control.value.trim(), role: roleOf(this.#role.control.value) };
  }

  /** The paths of the fields that the administrator changed. */
  get changed(): string[] {
    const { displayName, email, role } = this.value;
    const before = this.#before;
    return [...(displayName === before.displayName ? [] : ["display_name"]), ...(email === before.email ? [] : ["email"]), ...(role === before.role ? [] : ["role"])];
  }

  explain(failure: Failure): Promise<string> {
    const entries: Readonly<Record<string, Entry>> = { "user.display_name": this.#name, "user.email": this.#email, "user.role": this.#role };
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
    replace(this.#theirs, element("strong", {}, "As it is now: "), [theirs.displayName, theirs.email, roleLabel(theirs.role)].filter(Boolean).join(", ") + state);
    this.#theirs.hidden = false;
  }
}
