/** The header of the shown conversation: its title, and the buttons that rename or delete it. */

import { Pencil, Trash2 } from "lucide";
import type { Api } from "../server/api.js";
import { confirmed, prompted } from "../widgets/dialog.js";
import { element, WRITTEN } from "../widgets/dom.js";
import { iconButton } from "../widgets/icons.js";
import { failureOf } from "../server/errors.js";
import { cleanName } from "../text/names.js";
import { t } from "../language/language.js";

export interface HeadHooks {
  readonly titled: (title: string) => void;
  readonly renamed: (conversation: string) => void;
  readonly deleted: (conversation: string) => void;
  readonly problem: (why: string) => void;
}

export class ConversationHead {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "chat">;
  readonly #hooks: HeadHooks;
  readonly #title = element("h2", WRITTEN);
  #conversation = "";

  constructor(api: Pick<Api, "chat">, hooks: HeadHooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.root = element(
      "header",
      { class: "chat-head blank" },
      this.#title,
      iconButton(Pencil, t("rename"), () => void this.#rename()),
      iconButton(Trash2, t("delete"), () => void this.#delete(), { class: "plain icon danger" }),
    );
  }

  /** Show `conversations/{uuid}` with this title. */
  name(conversation: string, title: string): void {
    this.#conversation = conversation;
    this.root.classList.remove("blank");
    const shown = cleanName(title);
    if (this.#title.textContent !== shown) this.#title.textContent = shown;
    this.#hooks.titled(title);
  }

  /** Hide the header, because no conversation is shown. */
  blank(): void {
    this.#conversation = "";
    this.root.classList.add("blank");
  }

  async #rename(): Promise<void> {
    const name = this.#conversation;
    const rename = async (title: string) => {
      await this.#api.chat.updateConversation({ conversation: { name, title }, updateMask: { paths: ["title"] } });
      if (this.#conversation === name) this.name(name, title);
      this.#hooks.renamed(name);
    };
    const value = this.#title.textContent ?? "";
    await prompted({ title: t("renameConversation"), label: t("title"), value, maxLength: 200, action: t("rename"), act: rename });
  }

  async #delete(): Promise<void> {
    const name = this.#conversation;
    const text = t("deleteText", { title: this.#title.textContent ?? "" });
    if (!(await confirmed({ title: t("deleteConversation"), text, action: t("delete") }))) return;
    try {
      await this.#api.chat.deleteConversation({ name });
    } catch (error) {
      this.#hooks.problem(failureOf(error).message);
      return;
    }
    this.#hooks.deleted(name);
  }
}
