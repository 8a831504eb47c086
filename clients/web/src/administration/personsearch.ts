/** A field that finds users by name or e-mail address, for the filter of a list. A link can name the user. */

import { t } from "../language/administration/texts.js";
import type { People } from "../server/people.js";
import { textEntry, type Entry } from "../widgets/fields.js";
import type { Filter } from "../widgets/resourcelist.js";

export class PersonSearch implements Filter {
  readonly entry: Entry<HTMLInputElement>;
  readonly #people: People;
  /** The user whom a link named, and the text that stands for the user in the field. */
  #linked = { name: "", text: "" };

  constructor(label: string, people: People) {
    this.entry = textEntry(label, { type: "search", maxlength: "254", placeholder: t("nameOrEmail") });
    this.#people = people;
  }

  /** Show what an address names: a text, or `users/{uuid}`. */
  async show(sought: string): Promise<void> {
    this.#linked = { name: sought, text: sought.startsWith("users/") ? await this.#people.label(sought) : sought };
    this.entry.control.value = this.#linked.text;
  }

  /** The text of the field, or `users/{uuid}` if the field still stands for the user whom a link named. */
  get sought(): string {
    const text = this.entry.control.value.trim();
    return text && text === this.#linked.text ? this.#linked.name : text;
  }

  /** The names of the users whom the field finds; undefined if the field is empty. most: at most 15. */
  async names(most?: number): Promise<readonly string[] | undefined> {
    return this.sought ? this.#people.find(this.sought, most) : undefined;
  }
}
