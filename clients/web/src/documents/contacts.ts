/** The people with whom the user shares: finds them as far as the user may see them. Administrators see all users of the tenant; other users see those whom they have named. */

import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../server/api.js";
import { callName, People, usersWith, type Contact } from "../server/people.js";
import { nameWithin } from "../text/names.js";

export class Contacts {
  readonly #api: Pick<Api, "admin">;
  readonly #me: User;
  readonly #people: People | undefined;
  readonly #named = new Map<string, string>();

  constructor(api: Pick<Api, "admin">, me: User) {
    this.#api = api;
    this.#me = me;
    this.#people = me.role === UserRole.ADMIN ? new People(api) : undefined;
    this.#named.set(me.name, callName(me));
  }

  /** Remember what the user called somebody. */
  learn(name: string, text: string): void {
    this.#named.set(name, nameWithin(text));
  }

  /** The texts for these users, `users/{uuid}`, without those that the page cannot know. */
  async labels(names: Iterable<string>): Promise<ReadonlyMap<string, string>> {
    const wanted = [...new Set(names)].filter(Boolean);
    const found = this.#people ? await this.#people.labels(wanted) : new Map<string, string>();
    return new Map(wanted.flatMap((one) => {
      const label = found.get(one) ?? one;
      const known = label === one ? this.#named.get(one) : label; // `People` returns the name of a user who cannot be found
      return known ? [[one, known] as const] : [];
    }));
  }

  /** The first people whose name or address contains the text, without the user; none if the user may not see them. */
  async offered(text: string): Promise<readonly Contact[]> {
    const found = this.#people ? await usersWith(this.#api, "state = ACTIVE")(text) : [];
    return found.filter((one) => one.name !== this.#me.name);
  }

  /** What stands for a person in a request: `users/{uuid}` if the text means one of the people whom the user may see; otherwise the text as it was typed. */
  async resolve(text: string): Promise<string> {
    return meant(text, text.trim() ? await this.offered(text) : []);
  }
}

/** The user whom a text means: `users/{uuid}` if it is the name, the address or the only display name of a contact; otherwise the text itself, for the server to understand. */
export function meant(text: string, contacts: readonly Contact[]): string {
  const wanted = text.trim();
  const same = (one: string) => one.toLowerCase() === wanted.toLowerCase();
  const found = contacts.find((one) => one.name === wanted || (one.email && same(one.email)));
  if (found) return found.name;
  const called = contacts.filter((one) => same(one.label));
  return called.length === 1 ? called[0]!.name : wanted;
}
