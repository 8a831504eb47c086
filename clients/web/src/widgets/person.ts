/** A field that names a person. People to choose from appear while the user types. */

import { element, replace, WRITTEN } from "./dom.js";
import { Entry } from "./fields.js";
import { PATIENCE } from "@responsa/client/parts.js";
import type { Contact, Finder } from "../server/people.js";
import { nameWithin } from "../text/names.js";
import { t } from "../language/account/texts.js";
import { t as needed } from "../language/language.js";

const TYPING = 200; // milliseconds without a key before people are looked up
/** The note below a field for a person whom the user may not see. */
export const PERSON_NOTE = t("personNote");
/** What to do if a text does not name a person. */
export const NEITHER = t("enterPerson");
/** Whether a text can stand for a person in a request. */
export function named(text: string): boolean {
  return text.includes("@") || text.startsWith("users/");
}

export class PersonField extends Entry<HTMLInputElement> {
  readonly #find: Finder;
  readonly #offers = element("datalist", {});
  #typing = new AbortController();

  constructor(label: string, find: Finder, note = t("typePart")) {
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
    this.refuse(!text ? needed("needed", { label: this.label }) : fitting.length === 0 ? t("nobodyMatches") : t("severalMatch", { users: several() }));
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
