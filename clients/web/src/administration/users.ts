/** Shows administrators the users of the tenant: finds, makes and invites them, and leads to the page of each user. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import { uuid } from "@responsa/client/parts.js";
import { filled } from "../widgets/dialog.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import type { Failure } from "../server/errors.js";
import { momentOf } from "../text/facts.js";
import { choiceEntry, placed, textEntry } from "../widgets/fields.js";
import { Listing } from "../widgets/listing.js";
import { peopleFilter, plainName, roleOf, ROLES, type People } from "../server/people.js";
import { Invitations } from "./invitations.js";
import { recently } from "../account/recent.js";
import { showSecret } from "../account/secret.js";
import { noted, type Part } from "../widgets/tabbed.js";
import { codeLink, EMAIL, lastSignIn, until, UserActs, UserFields, type UsersHooks } from "./useracts.js";
import { UserPage } from "./userpage.js";
import { viewFragment, type ViewPlace } from "../widgets/views.js";

const PAGE = 50;
/** For how long an invitation is valid, in seconds. */
const TERMS: readonly (readonly [value: string, label: string])[] = [
  ["86400", "1 day"],
  ["604800", "7 days"],
  ["2592000", "30 days"],
];

export class UsersView implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin" | "auth">;
  readonly #hooks: UsersHooks;
  readonly #search = textEntry("Name or e-mail address", { type: "search", maxlength: "200" });
  readonly #role = choiceEntry("Role", [["", "All"], ...ROLES]);
  readonly #state = choiceEntry("State", [
    ["", "All"],
    ["ACTIVE", "Active"],
    ["DISABLED", "Disabled"],
  ]);
  readonly #list: Listing<User>;
  readonly #invitations: Invitations;
  readonly #acts: UserActs;
  readonly #page: UserPage;
  /** The list, with what belongs to it. */
  readonly #all: HTMLElement;
  #sought = "";

  constructor(api: Pick<Api, "admin" | "auth" | "knowledge">, people: People, hooks: UsersHooks) {
    this.#api = api;
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
    this.#invitations = new Invitations(api, people, hooks.say);
    this.#all = element("div", { class: "stack" }, actions, form, this.#list.root, this.#invitations.root);
    this.#acts = new UserActs(api, people, hooks, {
      root: this.#all,
      refuse: (why) => this.#list.refuse(why),
      again: () => this.#list.refresh(),
      otherwise: this.#search.control,
    });
    this.#page = new UserPage(api, people, hooks, () => viewFragment(this.#place));
    this.root = element("div", {}, this.#all, this.#page.root);
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    const user = query["user"] ?? "";
    this.#all.hidden = user !== "";
    this.#page.root.hidden = user === "";
    if (user) return this.#page.show(user);
    this.#search.control.value = query["search"] ?? "";
    for (const [entry, name] of [[this.#role, "role"], [this.#state, "state"]] as const) {
      entry.control.value = query[name] ?? "";
      if (entry.control.selectedIndex < 0) entry.control.value = ""; // the address names a value that does not exist
    }
    this.#sought = this.#search.control.value;
    await Promise.all([this.#list.refresh(), this.#invitations.refresh()]);
  }

  /** The filter for the chosen users; the text counts once it was sent. */
  get #filter(): string {
    const [role, state] = [this.#role.control.value, this.#state.control.value];
    return [this.#sought.trim() && peopleFilter(this.#sought), role && `role = ${role}`, state && `state = ${state}`].filter(Boolean).join(" AND ");
  }

  /** The address of the list with the present filters. */
  get #place(): ViewPlace {
    return { area: "administration", tab: "users", query: { search: this.#sought.trim(), role: this.#role.control.value, state: this.#state.control.value } };
  }

  #find(): void {
    this.#sought = this.#search.control.value;
    noted(this.#place);
    void this.#list.refresh();
  }

  #row(one: User): HTMLElement {
    const signedIn = lastSignIn(one);
    const facts = [one.displayName.trim() ? one.email : "", one.createTime ? `since ${momentOf(timestampDate(one.createTime))}` : "", signedIn && `last sign-in: ${signedIn}`].filter(Boolean).join(" · ");
    const page = viewFragment({ area: "administration", tab: "users", query: { user: one.name } });
    return element(
      "li",
      { class: "wrapping" },
      element("div", { class: "about" }, element("a", { class: "name", href: page, ...WRITTEN }, plainName(one)), ...this.#acts.badges(one), element("p", { class: "note whole", ...WRITTEN }, facts)),
      element("div", { class: "row wrap acts" }, ...this.#acts.usual(one)),
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
      made = await recently(this.#api, this.#hooks.me, () => this.#api.admin.createUser({ user, requestId: tried.requestId }));
    };
    if (!(await filled({ title: "New user", action: "Create", fields: fields.rows, first: fields.first, act, explain: (failure) => fields.explain(failure) }))) return;
    this.#hooks.say("User created.");
    await this.#list.refresh();
    if (made?.email && made.role !== UserRole.SERVICE) await this.#acts.resetCode(made, "The user is created, and sets the first password with this code");
    this.#search.control.focus();
  }

  async #invite(): Promise<void> {
    const email = textEntry("E-mail address", EMAIL, "Only this address can register with the code. Leave the field empty if the person may choose the address.");
    const role = choiceEntry("Role", ROLES.slice(0, 2));
    const term = choiceEntry("Valid for", TERMS);
    term.control.value = "604800";
    let made = { code: "", until: "" };
    const act = async () => {
      const wanted = { email: email.control.value.trim(), role: roleOf(role.control.value), validSeconds: Number(term.control.value) };
      const { code, expireTime } = await recently(this.#api, this.#hooks.me, () => this.#api.auth.createInvitation(wanted));
      made = { code, until: until(expireTime) };
    };
    const explain = (failure: Failure) => Promise.resolve(placed({ email, role, valid_seconds: term }, failure));
    if (!(await filled({ title: "Invite", action: "Make the invitation", fields: [email.root, role.root, term.root], first: email.control, act, explain }))) return;
    this.#hooks.say("Invitation made.");
    await this.#invitations.refresh();
    const text = `Hand the link or the code to the person. It works once${made.until}.`;
    await showSecret({ title: "The invitation", text, label: "Code", secret: made.code, link: await codeLink(this.#api, this.#hooks.me.tenant, "invitation", made.code), say: this.#hooks.say, view: this.root });
  }
}
