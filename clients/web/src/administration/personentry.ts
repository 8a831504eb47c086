/** A field for one user of the tenant, by name or e-mail address. */

import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { Api } from "../common/api.js";
import { element } from "../common/dom.js";
import { Entry } from "../common/fields.js";
import { callName, peopleFilter } from "../common/people.js";

/** Milliseconds without a key press after which the field looks for users. */
const PAUSE = 250;
const MOST = 10;

export class PersonEntry extends Entry<HTMLInputElement> {
  readonly #find: (text: string) => Promise<readonly User[]>;
  readonly #offers: HTMLElement;
  #timer = 0;

  /** `also`: a filter (AIP-160) that the users must match. */
  constructor(label: string, api: Pick<Api, "admin">, also: string, note = "Type a part of the name or of the e-mail address.") {
    const offers = element("datalist", {});
    const control = element("input", { type: "text", autocomplete: "off", dir: "auto", maxlength: "254", spellcheck: "false" });
    super(label, control, note, offers);
    offers.id = `${control.id}-offers`;
    control.setAttribute("list", offers.id);
    this.#offers = offers;
    this.#find = async (text) => {
      const { users } = await api.admin.listUsers({ filter: `${peopleFilter(text)} AND ${also}`, pageSize: MOST });
      return users;
    };
    control.addEventListener("input", () => {
      window.clearTimeout(this.#timer);
      this.#timer = window.setTimeout(() => void this.#offer(), PAUSE);
    });
  }

  /** The user whom the text means. Shows the problem and returns undefined if it means none or several. */
  async chosen(): Promise<User | undefined> {
    const text = this.control.value.trim();
    const found = text ? await this.#find(nameIn(text)) : [];
    const exact = found.filter((one) => [offerOf(one), one.email, one.displayName].includes(text));
    const fitting = exact.length > 0 ? exact : found;
    if (fitting.length === 1) return fitting[0];
    this.refuse(!text ? `${this.label} is needed.` : fitting.length === 0 ? "No such user can be chosen." : `Several users match: ${fitting.map(offerOf).join(", ")}. Enter the e-mail address.`);
    this.control.focus();
    return undefined;
  }

  async #offer(): Promise<void> {
    const text = this.control.value.trim();
    if (text.length < 2 || text !== nameIn(text)) return;
    const found = await this.#find(text).catch(() => []); // these are only suggestions
    if (this.control.value.trim() === text) this.#offers.replaceChildren(...found.map((one) => element("option", { value: offerOf(one) })));
  }
}

/** The text that stands for a user in the field, such as "Ada (ada@example.org)". */
function offerOf(user: User): string {
  const label = callName(user);
  return user.email && user.email !== label ? `${label} (${user.email})` : label;
}

/** The part of the text with which the server finds the user. */
function nameIn(text: string): string {
  return /\(([^()\s]+@[^()\s]+)\)$/.exec(text)?.[1] ?? text;
}
