/** Shows administrators the users of the tenant: finds, makes and invites them, and leads to the page of each user. */

import type { ListUsersResponse } from "@responsa/contract/responsa/admin/v1/admin_service_pb.js";
import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { recently } from "../account/recent.js";
import { showSecret } from "../account/secret.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import { failureOf, withWait } from "../server/errors.js";
import { peopleFilter, plainName, roleOf, roles, type People } from "../server/people.js";
import { moment } from "../text/facts.js";
import { filled } from "../widgets/dialog.js";
import { element, WRITTEN } from "../widgets/dom.js";
import { checklist, choiceEntry, Entry, sentence, textEntry } from "../widgets/fields.js";
import { beginButton, ResourceList, tries, type Stage } from "../widgets/resourcelist.js";
import { noted, type Part } from "../widgets/tabbed.js";
import { viewFragment } from "../widgets/views.js";
import { ruled } from "../language/language.js";
import { addressesIn, groupChoices, groupsList } from "./groups.js";
import { invitationsList } from "./invitations.js";
import { codeLink, lastSignIn, until, UserActs, UserFields, type UsersHooks } from "./useracts.js";
import { UserPage } from "./userpage.js";

/** For how long an invitation is valid, in seconds. */
const TERMS = [
  ["86400", t("day1")],
  ["604800", t("days7")],
  ["2592000", t("days30")],
] as const;

export class UsersView implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin" | "auth">;
  readonly #hooks: UsersHooks;
  readonly #list: ResourceList<User, ListUsersResponse>;
  readonly #invitations: ReturnType<typeof invitationsList>;
  readonly #groups: ReturnType<typeof groupsList>;
  readonly #acts: UserActs;
  readonly #page: UserPage;
  /** The list, with what belongs to it. */
  readonly #all: HTMLElement;

  constructor(api: Pick<Api, "admin" | "auth" | "chat" | "knowledge">, people: People, hooks: UsersHooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.#acts = new UserActs(api, people, hooks);
    this.#list = new ResourceList({
      label: t("users"),
      add: (stage) => [beginButton(t("invite"), () => this.#invite(), "filled"), beginButton(t("newUser"), () => this.#create(stage))],
      tab: "users",
      filters: {
        search: textEntry(t("nameOrEmailLabel"), { type: "search", maxlength: "200" }),
        role: choiceEntry(t("role"), [["", t("all")], ...roles()]),
        state: choiceEntry(t("state"), [["", t("all")], ["ACTIVE", t("stateActive")], ["DISABLED", t("stateDisabled")]]),
      },
      list: (asked, { search, role, state }) =>
        api.admin.listUsers({ ...asked, orderBy: "display_name", filter: [search && peopleFilter(search), role && `role = ${role}`, state && `state = ${state}`].filter(Boolean).join(" AND ") }),
      items: ({ users }) => {
        users.forEach((one) => people.learn(one));
        return users;
      },
      row: (user: User, stage) => {
        const { name, displayName, email, createTime } = user;
        return {
          name: plainName(user),
          href: viewFragment({ area: "administration", tab: "users", query: { user: name } }),
          badges: this.#acts.badges(user),
          facts: [displayName.trim() && email, createTime && t("since", { time: moment(createTime) }), lastSignIn(user) && t("lastSignInAt", { time: lastSignIn(user) })],
          acts: this.#acts.usual(stage, user),
        };
      },
      empty: t("noUsers"),
      unmatched: t("noUserMatches"),
      say: hooks.say,
    });
    this.#invitations = invitationsList(api, people, hooks.say);
    this.#groups = groupsList(api, hooks.say, () => void this.#invitations.again());
    this.#all = element("div", { class: "stack" }, this.#list.root, this.#invitations.root, this.#groups.root);
    this.#page = new UserPage(api, people, hooks, this.#acts, () => viewFragment(this.#list.place));
    this.root = element("div", {}, this.#all, this.#page.root);
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    const user = query["user"] ?? "";
    this.#all.hidden = user !== "";
    this.#page.root.hidden = user === "";
    if (user) return this.#page.show(user);
    await Promise.all([this.#list.show(query), this.#invitations.again(), this.#groups.again()]);
    if (!query["invite"]) return;
    noted(this.#list.place); // a reload shows the list
    await this.#invite();
  }

  readonly reread = async (): Promise<void> => {
    if (!this.#all.hidden) await Promise.all([this.#list.reread(), this.#invitations.reread(), this.#groups.reread()]);
  };

  async #create(stage: Stage): Promise<void> {
    const fields = new UserFields();
    const requestId = tries();
    let made: User | undefined;
    const act = async () => {
      const user = fields.value;
      made = await recently(this.#api, this.#hooks.me, () => this.#api.admin.createUser({ user, requestId: requestId(user) }));
    };
    if (!(await filled({ title: t("newUser"), action: t("create"), fields: fields.rows, first: fields.first, act, explain: (failure) => Promise.resolve(fields.explain(failure)) }))) return;
    stage.say(t("userCreated"));
    await stage.again();
    if (made?.email && made.role !== UserRole.SERVICE) await this.#acts.resetCode(stage, made, t("firstCodeText"));
  }

  async #invite(): Promise<void> {
    const emails = new Entry(t("emails"), element("textarea", { rows: "3", inputmode: "email", maxlength: "4000", spellcheck: "false", autocapitalize: "none", ...WRITTEN }), t("invitedNote"));
    const role = choiceEntry(t("role"), roles().slice(0, 2));
    const term = choiceEntry(t("validFor"), TERMS);
    term.control.value = "604800";
    const groups = checklist(t("groups"), t("invitedGroups"), await groupChoices(this.#api).catch(() => []), []);
    const made: { readonly email: string; readonly code: string; readonly until: string }[] = [];
    const act = async () => {
      const left = addressesIn(emails.control.value);
      if (left.length === 0) left.push(""); // the person may choose the address
      const refused: string[] = [];
      const problems: string[] = [];
      try {
        while (left.length > 0) {
          const email = left[0]!;
          const wanted = { email, role: roleOf(role.control.value), validSeconds: Number(term.control.value), groups: groups.chosen() };
          try {
            const { code, expireTime } = await recently(this.#api, this.#hooks.me, () => this.#api.auth.createInvitation(wanted));
            made.push({ email, code, until: until(expireTime) });
          } catch (error) {
            const mistake = failureOf(error).violations.find(({ field }) => field === "email");
            if (!mistake) throw error;
            refused.push(email);
            problems.push(sentence(email, ruled(mistake.rule, mistake.description)));
          }
          left.shift();
        }
      } finally {
        emails.control.value = [...refused, ...left].join("\n"); // another try does not invite those again who have their codes
        emails.refuse(problems.join(" "));
      }
      if (refused.length > 0) emails.control.focus();
      return refused.length > 0 ? false : undefined;
    };
    await filled({ title: t("invite"), action: t("makeInvitation"), fields: [emails.root, role.root, term.root, ...(groups.root.querySelector("input") ? [groups.root] : [])], first: emails.control, act, explain: (failure) => Promise.resolve(withWait(failure)) });
    if (made.length === 0) return;
    this.#hooks.say(t("invitationsMade", { count: made.length }));
    await this.#invitations.again();
    const links = await Promise.all(made.map(({ code, email }) => codeLink(this.#api, this.#hooks.me.tenant, "invitation", code, email)));
    const [only, ...others] = made;
    const alone = others.length === 0;
    const lines = alone ? ([["code", only!.code], ["link", links[0]!, only!.email]] as const) : made.map(({ email }, place) => ["link", links[place]!, email] as const);
    await showSecret({ title: t(alone ? "theInvitation" : "theInvitations"), text: t(alone ? "handInvitation" : "handInvitations", { until: only!.until }), lines, say: this.#hooks.say, view: this.root });
  }
}
