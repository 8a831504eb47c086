/** Names of users, as administrators see them. */

import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "./api.js";
import { failureOf } from "./errors.js";
import { quoted } from "./filters.js";
import { cleanName, nameWithin } from "../text/names.js";
import { t } from "../language/language.js";

/** The roles that the page offers, with their labels. */
export function roles(): readonly (readonly [value: string, label: string])[] {
  return [["USER", t("user")], ["ADMIN", t("administrator")], ["SERVICE", t("serviceProgram")]];
}

export function roleOf(name: string): UserRole {
  return name === "ADMIN" ? UserRole.ADMIN : name === "SERVICE" ? UserRole.SERVICE : UserRole.USER;
}

/** The name of a role in filters, such as "ADMIN". */
export function roleName(role: UserRole): string {
  return role === UserRole.ADMIN ? "ADMIN" : role === UserRole.SERVICE ? "SERVICE" : "USER";
}

export function roleLabel(role: UserRole): string {
  return role === UserRole.ADMIN ? t("administrator") : role === UserRole.SERVICE ? t("service") : t("user");
}

/** The text that stands for a user within other text: the name, or the address if there is no name. */
export function callName(user: Pick<User, "displayName" | "email" | "name">): string {
  return nameWithin(plainName(user));
}

/** The same text for its own element with `WRITTEN`, and for comparing it with what people type. */
export function plainName({ displayName, email, name }: Pick<User, "displayName" | "email" | "name">): string {
  return cleanName(displayName.trim() || email || name);
}

/** An administrator who uses the page. */
export type Administrator = Pick<User, "name" | "tenant" | "email" | "ownsInstallation">;

/** Whether an administrator may change what lets a user in, or the user's limits: only owners of the installation do this to an owner. */
export function mayChange(user: Pick<User, "ownsInstallation">, me: Administrator): boolean {
  return me.ownsInstallation || !user.ownsInstallation;
}

/** The filter for users whose name or address contains a text. */
export function peopleFilter(text: string): string {
  const part = quoted(text.trim());
  return `(display_name:${part} OR email:${part})`;
}

/** A person to choose. */
export interface Contact {
  /** `users/{uuid}`. */
  readonly name: string;
  readonly label: string;
  readonly email: string;
}

/** Finds the first people whose name or address contains a text. */
export type Finder = (text: string) => Promise<readonly Contact[]>;

/** The number of people that the page offers to choose from. */
const OFFERED = 20;

/** The users of the tenant, for administrators. `also`: a filter (AIP-160) that the users must match. */
export function usersWith(api: Pick<Api, "admin">, also: string): Finder {
  return async (text) => {
    const filter = [also, text.trim() && peopleFilter(text)].filter(Boolean).join(" AND ");
    const { users } = await api.admin.listUsers({ filter, pageSize: OFFERED, orderBy: "display_name" });
    return users.map((one) => ({ name: one.name, label: plainName(one), email: one.email }));
  };
}

/** The maximum number of users in a filter; more would make the filter too long. */
const MOST = 15;

/** Finds users by text, and the texts of users by name. It asks for each name once. */
export class People {
  readonly #api: Pick<Api, "admin">;
  readonly #names = new Map<string, Promise<string>>();
  readonly #known = new Map<string, string>();
  readonly #owners = new Set<string>();

  constructor(api: Pick<Api, "admin">) {
    this.#api = api;
  }

  /** The text for `users/{uuid}`. The text for a deleted user says so; if the server cannot be reached, the name stands for the user. */
  label(name: string): Promise<string> {
    const known = this.#names.get(name);
    if (known) return known;
    const found = this.#api.admin.getUser({ name }).then((user) => (this.learn(user), callName(user)), (error: unknown) => {
      if (failureOf(error).reason === "RESOURCE_NOT_FOUND") return t("deletedUser", { id: name.slice("users/".length, "users/".length + 8) });
      this.#names.delete(name); // a later try may succeed
      return name;
    });
    this.#names.set(name, found);
    return found;
  }

  /** The text for a user whom `labels` has found; otherwise the name. */
  known(name: string): string {
    return this.#known.get(name) ?? name;
  }

  /** The texts of these names. Names of other resources are left out. */
  async labels(names: Iterable<string>): Promise<ReadonlyMap<string, string>> {
    const wanted = [...new Set(names)].filter((one) => one.startsWith("users/"));
    const unknown = wanted.filter((one) => !this.#names.has(one));
    for (let first = 0; unknown.length > 1 && first < unknown.length; first += MOST) {
      const filter = oneOf("name", unknown.slice(first, first + MOST));
      const { users } = await this.#api.admin.listUsers({ filter, pageSize: MOST }).catch(() => ({ users: [] })); // `label` asks for the users that are not in the list
      users.forEach((one) => this.learn(one));
    }
    const found = await Promise.all(wanted.map(async (one) => [one, await this.label(one)] as const));
    for (const [name, text] of found) this.#known.set(name, text);
    return new Map(found);
  }

  /** Use a newer state of a user. */
  learn(user: User): void {
    this.#names.set(user.name, Promise.resolve(callName(user)));
    if (user.ownsInstallation) this.#owners.add(user.name);
    else this.#owners.delete(user.name);
  }

  /** Forget a user who was deleted: the name must not outlast the account. */
  forget(name: string): void {
    this.#names.delete(name);
    this.#known.delete(name);
    this.#owners.delete(name);
  }

  /** Whether an administrator may end what lets a user in, as far as the page knows the user from `label` or `learn`. */
  mayChange(name: string, me: Administrator): boolean {
    return mayChange({ ownsInstallation: this.#owners.has(name) }, me);
  }

  /** The names of users whose name or address contains the text, or the name itself if the text is one, or is a UUID: so a deleted user is found too. most: at most 15. */
  async find(text: string, most = MOST): Promise<readonly string[]> {
    const id = /^(?:users\/)?([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/.exec(text.trim())?.[1];
    if (id) return [`users/${id}`];
    const { users } = await this.#api.admin.listUsers({ filter: peopleFilter(text), pageSize: most });
    users.forEach((one) => this.learn(one));
    return users.map((one) => one.name);
  }
}

/** A comparison of a field with each of these values; at least one value. */
export function oneOf(field: string, values: readonly string[]): string {
  return `(${values.map((one) => `${field} = ${quoted(one)}`).join(" OR ")})`;
}
