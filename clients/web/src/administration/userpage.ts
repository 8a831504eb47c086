/** Shows administrators one user: the quota with its use, the limits, and, for a service, the users for whom it may act. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import { deleteUser } from "./deletion.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";
import { momentOf } from "../text/facts.js";
import { GrantsPart } from "./grants.js";
import { RecordPart } from "../documents/record.js";
import { callName, plainName, roleLabel, type People } from "../server/people.js";
import { lasting, lastSignIn, UserActs, type UsersHooks } from "./useracts.js";
import { editLimits, limitsTable } from "./userlimits.js";
import { editQuota, usageTable } from "./userquota.js";
import { viewFragment } from "../widgets/views.js";

export class UserPage {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin" | "auth" | "knowledge">;
  readonly #people: People;
  readonly #hooks: UsersHooks;
  readonly #list: () => string;
  readonly #acts: UserActs;
  readonly #back = element("a", {}, "← All users");
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #heading = element("h3", { tabindex: "-1", ...WRITTEN });
  readonly #badges = element("span", { class: "row wrap" });
  readonly #about = element("div", { class: "stack" });
  readonly #parts = element("div", { class: "stack" });
  readonly #record: RecordPart;
  #shown = "";

  /** `list` returns the address of the list of users. */
  constructor(api: Pick<Api, "admin" | "auth" | "knowledge">, people: People, hooks: UsersHooks, list: () => string) {
    this.#api = api;
    this.#people = people;
    this.#hooks = hooks;
    this.#list = list;
    this.#record = new RecordPart(api, "Record");
    this.root = element("section", { class: "stack user-page", hidden: true }, element("p", {}, this.#back), element("div", { class: "row wrap about" }, this.#heading, this.#badges), this.#problem, this.#about, this.#record.root, this.#parts);
    this.#acts = new UserActs(api, people, hooks, {
      root: this.root,
      refuse: (why) => (this.#problem.textContent = why),
      again: (user) => this.#again(user.name),
      otherwise: this.#heading,
    });
  }

  /** Show `users/{uuid}`. */
  async show(name: string): Promise<void> {
    this.#back.href = this.#list();
    this.#problem.textContent = "";
    if (this.#shown !== name) this.#empty("Loading…");
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
      this.#heading.textContent = plainName(user);
      replace(this.#badges, ...this.#acts.badges(user));
      replace(this.#about, ...this.#facts(user));
      const may = this.#acts.mayChange(user);
      const grants = user.role === UserRole.SERVICE ? new GrantsPart(this.#api, this.#people, user, this.#hooks.say) : undefined;
      replace(
        this.#parts,
        ...(grants ? [grants.root] : []),
        part("Quota", usageTable(quota), may && button("Change the quota", () => void this.#edited(editQuota(this.#api, quota, label), "Change the quota", "Quota saved."), { class: "quiet" })),
        part("Limits", [limitsTable(limits)], may && button("Change the limits", () => void this.#edited(editLimits(this.#api, limits, label), "Change the limits", "Limits saved."), { class: "quiet" })),
      );
      await Promise.all([grants?.show(), this.#record.show(name)]);
    } catch (error) {
      if (this.#shown !== name) return;
      const failure = failureOf(error);
      this.#empty("User");
      this.#problem.textContent = failure.reason === "RESOURCE_NOT_FOUND" || failure.reason === "INVALID_FIELD" ? "This user does not exist, or the user was deleted." : failure.message;
    }
  }

  #empty(heading: string): void {
    this.#heading.textContent = heading;
    for (const one of [this.#badges, this.#about, this.#parts]) replace(one);
    this.#record.leave();
  }

  #facts(user: User): HTMLElement[] {
    const since = user.createTime ? momentOf(timestampDate(user.createTime)) : "";
    const disabled = user.disableTime ? momentOf(timestampDate(user.disableTime)) : "";
    const rows: readonly (readonly [string, string])[] = [
      ["E-mail", user.email || "—"],
      ["Role", roleLabel(user.role) + (user.ownsInstallation ? ", owner of the installation" : "")],
      ["Subject", user.subject],
      ["Since", since],
      ["Last sign-in", lastSignIn(user)],
      ["Disabled", disabled],
    ];
    const keys = viewFragment({ area: "administration", tab: "keys", query: { owner: user.name } });
    const sessions = viewFragment({ area: "administration", tab: "sessions", query: { user: user.name } });
    return [
      element("dl", { class: "facts-list" }, ...rows.filter(([, value]) => value).map(([key, value]) => element("div", {}, element("dt", {}, key), element("dd", WRITTEN, value)))),
      element(
        "div",
        { class: "row wrap acts" },
        element("a", { href: keys, "aria-label": `API keys of ${callName(user)}` }, "API keys"),
        ...(user.role === UserRole.SERVICE ? [] : [element("a", { href: sessions, "aria-label": `Sessions of ${callName(user)}` }, "Sessions")]),
        ...this.#acts.usual(user),
        ...this.#acts.rare(user, () => void this.#delete(user)),
      ),
    ];
  }

  async #edited(edit: Promise<boolean>, label: string, said: string): Promise<void> {
    const saved = await edit;
    if (saved) this.#hooks.say(said);
    await this.show(this.#shown);
    this.#focus(label);
  }

  async #delete(user: User): Promise<void> {
    if (await deleteUser(this.#api, this.#hooks.me, user, lasting)) {
      this.#people.forget(user.name);
      this.#hooks.say(`${callName(user)} is deleted.`);
      location.hash = this.#list();
      return;
    }
    await this.#again(user.name);
    this.#focus(`Delete ${callName(user)}`);
  }

  /** Read the user again, unless the page shows another user by now. */
  async #again(name: string): Promise<void> {
    if (this.#shown === name) await this.show(name);
  }

  /** Focus the button with that name, or the heading. */
  #focus(label: string): void {
    const found = [...this.root.querySelectorAll<HTMLElement>("button")].find((one) => (one.getAttribute("aria-label") ?? one.textContent) === label);
    (found ?? this.#heading).focus();
  }
}

/** `act`: the button that changes what the part shows; false if the caller may not change it. */
function part(title: string, body: readonly HTMLElement[], act: HTMLElement | false): HTMLElement {
  return element("section", { class: "stack", "aria-label": title }, element("h4", {}, title), ...body, ...(act ? [element("div", { class: "row" }, act)] : []));
}
