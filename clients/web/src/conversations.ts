/** The list of conversations. */

import type { Conversation } from "@responsa/contract/responsa/chat/v1/conversation_pb.js";
import type { Api } from "./api.js";
import { element, replace } from "./dom.js";
import { failureOf } from "./errors.js";

export interface ConversationHooks {
  readonly open: (name: string) => void;
  readonly deleted: (name: string) => void;
  readonly announce: (text: string) => void;
}

export class ConversationsView {
  readonly root = element("nav", { class: "conversations", "aria-label": "Conversations" });
  readonly #api: Api;
  readonly #hooks: ConversationHooks;
  readonly #list = element("ul");
  readonly #more = element("button", { type: "button", class: "plain", hidden: true, click: () => void this.show(this.#current, true) }, "Show more");
  #current = "";
  #next = "";

  constructor(api: Api, hooks: ConversationHooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.root.append(element("button", { type: "button", click: () => hooks.open("") }, "New conversation"), this.#list, this.#more);
  }

  async show(current: string, further = false): Promise<void> {
    this.#current = current;
    try {
      const page = await this.#api.chat.listConversations({ pageSize: 50, pageToken: further ? this.#next : "" });
      this.#next = page.nextPageToken;
      this.#more.hidden = !this.#next;
      const rows = page.conversations.map((one) => this.#row(one));
      if (further) this.#list.append(...rows);
      else replace(this.#list, ...rows);
    } catch (error) {
      replace(this.#list, element("li", { class: "problem" }, failureOf(error).message));
    }
  }

  #row(one: Conversation): HTMLElement {
    return element(
      "li",
      {},
      element(
        "button",
        {
          type: "button",
          class: "plain name",
          "aria-current": one.name === this.#current ? "page" : undefined,
          click: () => this.#hooks.open(one.name),
        },
        one.title,
      ),
      element(
        "button",
        { type: "button", class: "plain danger", "aria-label": `Delete ${one.title}`, click: () => void this.#delete(one) },
        "✕",
      ),
    );
  }

  async #delete(one: Conversation): Promise<void> {
    if (!window.confirm(`Delete “${one.title}” with all its messages?`)) return;
    try {
      await this.#api.chat.deleteConversation({ name: one.name });
      this.#hooks.announce("Conversation deleted.");
      this.#hooks.deleted(one.name);
    } catch (error) {
      this.#hooks.announce(failureOf(error).message);
    }
    await this.show(this.#current);
  }
}
