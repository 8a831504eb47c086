/** A field that names a person. Administrators get people to choose from while they type. */

import type { Contacts } from "./contacts.js";
import { element, replace, WRITTEN } from "../common/dom.js";
import { textEntry, type Entry } from "../common/fields.js";
import { PATIENCE } from "../common/patience.js";

const TYPING = 200; // milliseconds without a key before people are looked up

/** The note below the field. */
export const PERSON_NOTE = "An e-mail address, or a user id, which people find in their profile.";

let numbers = 0;

export class PersonField {
  readonly entry: Entry<HTMLInputElement>;
  readonly #contacts: Contacts;
  readonly #offers = element("datalist", { id: `people-${(numbers += 1)}` });
  #typing = new AbortController();

  constructor(contacts: Contacts, label: string, note: string) {
    this.#contacts = contacts;
    this.entry = textEntry(label, { maxlength: "254", spellcheck: "false", autocapitalize: "none", list: this.#offers.id }, note);
    this.entry.root.append(this.#offers);
    this.entry.control.addEventListener("input", () => void this.#offer());
    this.entry.control.addEventListener("focus", () => void this.#offer());
  }

  get text(): string {
    return this.entry.control.value.trim();
  }

  /** What stands for the person in a request. */
  resolved(): Promise<string> {
    return this.#contacts.resolve(this.text);
  }

  async #offer(): Promise<void> {
    this.#typing.abort();
    this.#typing = new AbortController();
    const { signal } = this.#typing;
    await PATIENCE.sleep(TYPING, signal);
    if (signal.aborted) return;
    const found = await this.#contacts.offered(this.text).catch(() => []); // the field works without offers
    if (!signal.aborted) replace(this.#offers, ...found.map(({ name, label, email }) => element("option", { value: email || name, ...WRITTEN }, label)));
  }
}
