/** The user's menu: a button with the user's name, which shows links to the user's own places and the button that signs out. */

import type { User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import { themeChoice } from "../widgets/theme.js";
import { plainName } from "../server/people.js";
import { languageChoice, locale, t } from "../language/language.js";

export interface MenuLink {
  readonly href: string;
  readonly label: string;
}

export class AccountMenu {
  readonly root: HTMLElement;
  readonly #name = element("span", { class: "who", ...WRITTEN });
  readonly #head: HTMLButtonElement;
  readonly #list: HTMLElement;

  /** `signal` ends the menu's listeners. */
  constructor(user: User, links: readonly MenuLink[], out: () => void, signal: AbortSignal) {
    this.#head = element("button", { type: "button", class: "plain", "aria-expanded": "false", "aria-controls": "account-menu", click: () => this.#toggle(this.#list.hidden) }, this.#name);
    const rows = links.map(({ href, label }) => element("li", {}, element("a", { href, click: () => this.#toggle(false) }, label)));
    const leave = () => {
      this.#toggle(false);
      out();
    };
    this.#list = element("ul", { id: "account-menu", hidden: true }, ...rows, element("li", {}, themeChoice()), element("li", {}, languageChoice()), element("li", {}, button(t("signOut"), leave)));
    this.root = element("nav", { class: "account", "aria-label": t("account") }, this.#head, this.#list);
    this.name(user);
    this.root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || this.#list.hidden) return;
      event.stopPropagation();
      this.#toggle(false);
      this.#head.focus();
    });
    this.root.addEventListener("focusout", ({ relatedTarget }) => {
      if (relatedTarget instanceof Node && !this.root.contains(relatedTarget)) this.#toggle(false);
    });
    document.addEventListener("pointerdown", ({ target }) => target instanceof Node && !this.root.contains(target) && this.#toggle(false), { signal });
  }

  /** Show the user's present name. */
  name(user: User): void {
    this.#name.textContent = plainName(user);
    this.#head.title = plainName(user);
    this.#head.dataset["letter"] = [...plainName(user)][0]?.toLocaleUpperCase(locale()) ?? "";
  }

  /** Mark the link of the place that the page shows. */
  mark(area: string | undefined): void {
    for (const one of this.#list.querySelectorAll("a")) {
      if (area !== undefined && one.getAttribute("href") === `#/${area}`) one.setAttribute("aria-current", "page");
      else one.removeAttribute("aria-current");
    }
  }

  #toggle(open: boolean): void {
    this.#list.hidden = !open;
    this.#head.setAttribute("aria-expanded", String(open));
  }
}
