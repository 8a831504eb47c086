/** A field that names a person. People to choose from appear while the user types. */

import type { Api } from "../server/api.js";
import { element, replace, WRITTEN } from "./dom.js";
import { Entry } from "./fields.js";
import { PATIENCE } from "@responsa/client/parts.js";
import { peopleFilter, plainName } from "../server/people.js";
import { nameWithin } from "../text/names.js";

/** A person to choose. */
export interface Contact {
  /** `users/{uuid}`. */
  readonly name: string;
  readonly label: string;
  readonly email: string;
}

/** Finds the first people whose name or address contains a text. */
export type Finder = (text: string) => Promise<readonly Contact[]>;

const TYPING = 200; // milliseconds without a key before people are looked up
/** The note below a field for a person whom the user may not see. */
export const PERSON_NOTE = "An e-mail address, or a user id, which people find in their profile.";
/** What to do if a text does not name a person. */
export const NEITHER = "Enter an e-mail address or a user id.";
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

/** Whether a text can stand for a person in a request. */
export function named(text: string): boolean {
  return text.includes("@") || text.startsWith("users/");
}

export class PersonField extends Entry<HTMLInputElement> {
  readonly #find: Finder;
  readonly #offers = element("datalist", {});
  #typing = new AbortController();

  constructor(label: string, find: Finder, note = "Type a part of the name or of the e-mail address.") {
    super(label, element("input", { type: "text", autocomplete: "off", ...WRITTEN, maxlength: "254", spellcheck: "false", autocapitalize: "none" }), note);
    this.#find = find;
    this.#offers.id = `${this.control.id}-offers`;
    this.control.setAttribute("list", this.#offers.id);
    this.root.append(this.#offers);
    this.control.addEventListener("input", () => void this.#offer());
    this.control.addEventListener("focus", () => void this.#offer());
  }

  get text(): string {
    return this.control.value.trim();
  }

  /** The one person whom the text means. Shows the problem and returns undefined if it means nobody or several. */
  async chosen(): Promise<Contact | undefined> {
    const { text } = this;
    if (/^users\/[0-9a-f-]{36}$/.test(text)) return { name: text, label: text, email: "" }; // the server checks it
    const found = text ? await this.#find(text) : [];
    const exact = found.filter((one) => [one.email, one.label].includes(text));
    const fitting = exact.length > 0 ? exact : found;
    if (fitting.length === 1) return fitting[0];
    const several = () => fitting.map(({ label, email }) => (email && email !== label ? `${nameWithin(label)} (${email})` : nameWithin(label))).join(", ");
    this.refuse(!text ? `${this.label} is needed.` : fitting.length === 0 ? "No matching user can be chosen here." : `Several users match: ${several()}. Enter the e-mail address.`);
    this.control.focus();
    return undefined;
  }

  async #offer(): Promise<void> {
    this.#typing.abort();
    this.#typing = new AbortController();
    const { signal } = this.#typing;
    await PATIENCE.sleep(TYPING, signal);
    if (signal.aborted) return;
    const found = await this.#find(this.text).catch(() => []); // the field works without offers
    if (!signal.aborted) replace(this.#offers, ...found.map(({ name, label, email }) => element("option", { value: email || name, ...WRITTEN }, label)));
  }
}
