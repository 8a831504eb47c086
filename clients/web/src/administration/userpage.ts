/** Shows administrators one user: the quota with its use, the limits, and, for a service, the users for whom it may act. */

import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { RecordPart } from "../documents/record.js";
import { t } from "../language/administration/texts.js";
import type { Api } from "../server/api.js";
import { failureOf } from "../server/errors.js";
import { callName, plainName, roleLabel, type People } from "../server/people.js";
import { moment } from "../text/facts.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { factsList, focusOn, type Stage } from "../widgets/resourcelist.js";
import { viewFragment } from "../widgets/views.js";
import { deleteUser } from "./deletion.js";
import { grantsList } from "./grants.js";
import { lastSignIn, type UserActs, type UsersHooks } from "./useracts.js";
import { editLimits, limitsTable } from "./userlimits.js";
import { editQuota, usageTable } from "./userquota.js";

export class UserPage implements Stage {
  readonly root: HTMLElement;
  readonly home = element("h3", { tabindex: "-1", ...WRITTEN });
  readonly say: (text: string) => void;
  readonly #api: Pick<Api, "admin" | "auth" | "knowledge">;
  readonly #people: People;
  readonly #hooks: UsersHooks;
  readonly #acts: UserActs;
  readonly #list: () => string;
  readonly #back = element("a", {}, `← ${t("allUsers")}`);
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #badges = element("span", { class: "row wrap" });
  readonly #about = element("div", { class: "stack" });
  readonly #parts = element("div", { class: "stack" });
  readonly #record: RecordPart;
  #shown = "";

  /** `list` returns the address of the list of users. */
  constructor(api: Pick<Api, "admin" | "auth" | "knowledge">, people: People, hooks: UsersHooks, acts: UserActs, list: () => string) {
    this.#api = api;
    this.#people = people;
    this.#hooks = hooks;
    this.#acts = acts;
    this.#list = list;
    this.say = hooks.say;
    this.#record = new RecordPart(api, t("record"));
    this.root = element("section", { class: "stack user-page", hidden: true }, element("p", {}, this.#back), element("div", { class: "row wrap about" }, this.home, this.#badges), this.#problem, this.#about, this.#record.root, this.#parts);
  }

  readonly refuse = (why: string): void => void (this.#problem.textContent = why);

  readonly again = (): Promise<void> => this.show(this.#shown);

  /** Show `users/{uuid}`. */
  async show(name: string): Promise<void> {
    this.#back.href = this.#list();
    this.refuse("");
    if (this.#shown !== name) this.#empty(t("loading"));
    this.#shown = name;
    try {
      const [user, quota, limits] = await Promise.all([
        this.#api.admin.getUser({ name }),
        this.#api.admin.getUserQuota({ name: `${name}/quota` }),
        this.#api.admin.getUserLimits({ name: `${name}/limits` }),
      ]);
      if (this.#shown !== name) return; // another user is shown by now
      this.#people.learn(user);
      const label = callName(user);
      this.home.textContent = plainName(user);
      replace(this.#badges, ...this.#acts.badges(user));
      replace(this.#about, ...this.#facts(user));
      const grants = user.role === UserRole.SERVICE ? grantsList(this.#api, this.#people, user, this.say) : undefined;
      replace(
        this.#parts,
        ...(grants ? [grants.root] : []),
        this.#part(user, t("quota"), usageTable(quota), t("changeQuota"), () => editQuota(this.#api, quota, label), t("quotaSaved")),
        this.#part(user, t("limits"), [limitsTable(limits)], t("changeLimits"), () => editLimits(this.#api, limits, label), t("limitsSaved")),
      );
      await Promise.all([grants?.again(), this.#record.show(name)]);
    } catch (error) {
      if (this.#shown !== name) return;
      const failure = failureOf(error);
      this.#empty(t("user"));
      this.refuse(failure.reason === "RESOURCE_NOT_FOUND" || failure.reason === "INVALID_FIELD" ? t("noSuchUser") : failure.message);
    }
  }

  #empty(heading: string): void {
    this.home.textContent = heading;
    for (const one of [this.#badges, this.#about, this.#parts]) replace(one);
    this.#record.leave();
  }

  #facts(user: User): HTMLElement[] {
    const role = user.ownsInstallation ? t("roleOwner", { role: roleLabel(user.role) }) : roleLabel(user.role);
    const facts = factsList([[t("emailFact"), user.email || "—"], [t("role"), role], [t("subject"), user.subject], [t("sinceFact"), moment(user.createTime)], [t("lastSignIn"), lastSignIn(user)], [t("stateDisabled"), moment(user.disableTime)]]);
    const keys = viewFragment({ area: "administration", tab: "keys", query: { owner: user.name } });
    const sessions = viewFragment({ area: "administration", tab: "sessions", query: { user: user.name } });
    const links = [
      element("a", { href: keys, "aria-label": t("keysOf", { user: callName(user) }) }, t("apiKeys")),
      ...(user.role === UserRole.SERVICE ? [] : [element("a", { href: sessions, "aria-label": t("sessionsOf", { user: callName(user) }) }, t("sessions"))]),
    ];
    return [facts, element("div", { class: "row wrap acts" }, ...links, ...this.#acts.usual(this, user), ...this.#acts.rare(this, user, () => void this.#delete(user)))];
  }

  /** What is set for the user, with the button that changes it, if the administrator may. */
  #part(user: User, title: string, body: readonly HTMLElement[], label: string, edit: () => Promise<boolean>, said: string): HTMLElement {
    const change = async () => {
      if (await edit()) this.say(said);
      await this.again();
      focusOn(this, label);
    };
    const act = this.#acts.mayChange(user) ? [element("div", { class: "row" }, button(label, () => void change(), { class: "quiet" }))] : [];
    return element("section", { class: "stack", "aria-label": title }, element("h4", {}, title), ...body, ...act);
  }

  async #delete(user: User): Promise<void> {
    if (await deleteUser(this.#api, this.#hooks.me, user)) {
      this.#people.forget(user.name);
      this.say(t("userDeleted", { user: callName(user) }));
      location.hash = this.#list();
      return;
    }
    await this.again();
    focusOn(this, t("deleteName", { name: callName(user) }));
  }
}
