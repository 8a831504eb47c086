/** The list of conversations, the most recently changed first. */

import type { Conversation } from "@responsa/contract/responsa/chat/v1/conversation_pb.js";
import type { Api } from "../server/api.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";
import { mayPass } from "@responsa/client/parts.js";
import { cleanName } from "../text/names.js";

const PAGE = 50;

export class ConversationsView {
  readonly root = element("nav", { class: "conversations", id: "conversations", "aria-label": "Conversations" });
  readonly #api: Api;
  readonly #list = element("ul");
  readonly #more = button("Show more", () => void this.#further(), { hidden: true });
  #current = "";
  #next = "";
  #asked = 0;

  constructor(api: Api) {
    this.#api = api;
    this.root.append(element("a", { href: "#/", class: "button" }, "New conversation"), this.#list, this.#more);
  }

  /** Mark the shown conversation; "" marks no row. */
  mark(current: string): void {
    this.#current = current;
    for (const link of this.#list.querySelectorAll("a")) this.#marked(link);
  }

  /** Read the list again. */
  async refresh(): Promise<void> {
    const asked = (this.#asked += 1);
    try {
      const page = await this.#api.chat.listConversations({ pageSize: PAGE });
      if (asked !== this.#asked) return; // a later call will show the newer result
      this.#next = page.nextPageToken;
      this.#more.hidden = !this.#next;
      const inside = this.#list.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : undefined;
      replace(this.#list, ...page.conversations.map((one) => this.#row(one)));
      if (inside) this.#list.querySelector<HTMLElement>(`a[href="${CSS.escape(inside)}"]`)?.focus();
    } catch (error) {
      const failure = failureOf(error);
      // Without a response, the list stays as it is; the next change reads it again.
      if (asked !== this.#asked || (mayPass(failure) && this.#list.childElementCount > 0)) return;
      replace(this.#list, element("li", { class: "problem" }, failure.message));
    }
  }

  async #further(): Promise<void> {
    const asked = this.#asked;
    try {
      const page = await this.#api.chat.listConversations({ pageSize: PAGE, pageToken: this.#next });
      if (asked !== this.#asked) return;
      this.#next = page.nextPageToken;
      const rows = page.conversations.map((one) => this.#row(one));
      this.#list.append(...rows);
      rows[0]?.querySelector("a")?.focus();
      this.#more.hidden = !this.#next;
    } catch (error) {
      this.#list.append(element("li", { class: "problem" }, failureOf(error).message));
    }
  }

  #row(one: Conversation): HTMLElement {
    const link = element("a", { href: `#/${one.name}`, title: one.title, ...WRITTEN }, cleanName(one.title));
    this.#marked(link);
    return element("li", {}, link);
  }

  #marked(link: HTMLAnchorElement): void {
    if (this.#current && link.getAttribute("href") === `#/${this.#current}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}
