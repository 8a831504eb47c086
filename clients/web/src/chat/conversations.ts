/** The list of conversations by day, the most recently changed first, and the search in them. */

import { Plus } from "lucide";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Conversation } from "@responsa/contract/responsa/chat/v1/conversation_pb.js";
import type { Api } from "../server/api.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { icon } from "../widgets/icons.js";
import { failureOf } from "../server/errors.js";
import { mayPass } from "@responsa/client/parts.js";
import { cleanName } from "../text/names.js";
import { dayOf } from "../text/days.js";
import { t } from "../language/language.js";

const PAGE = 50;
/** Milliseconds without a letter after which the search begins. */
const PAUSE = 250;

/** A conversation of the list. `excerpt`: where a message has the words of the search; "" if the title has them. */
interface Row {
  readonly conversation: Conversation;
  readonly excerpt: string;
}

export class ConversationsView {
  readonly root = element("nav", { class: "conversations", id: "conversations", "aria-label": t("conversations") });
  readonly #api: Api;
  readonly #query = element("input", { type: "search", placeholder: t("searchConversations"), "aria-label": t("searchConversations"), maxlength: "200", autocomplete: "off", input: () => this.#typed() });
  readonly #list = element("div", { class: "days" });
  readonly #more = button(t("showMore"), () => void this.#further(), { hidden: true });
  #rows: readonly Row[] = [];
  #current = "";
  #next = "";
  #asked = 0;
  #pause: ReturnType<typeof setTimeout> | undefined;

  constructor(api: Api) {
    this.#api = api;
    this.root.append(element("a", { href: "#/", class: "button quiet" }, icon(Plus), t("newConversation")), this.#query, this.#list, this.#more);
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
      const rows = await this.#read("");
      if (asked !== this.#asked) return; // a later call will show the newer result
      const inside = this.#list.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : undefined;
      this.#show(rows);
      if (inside) this.#list.querySelector<HTMLElement>(`a[href="${CSS.escape(inside)}"]`)?.focus();
    } catch (error) {
      const failure = failureOf(error);
      // Without a response, the list stays as it is; the next change reads it again.
      if (asked !== this.#asked || (mayPass(failure) && this.#rows.length > 0)) return;
      replace(this.#list, element("p", { class: "problem" }, failure.message));
    }
  }

  #typed(): void {
    clearTimeout(this.#pause);
    this.#pause = setTimeout(() => void this.refresh(), PAUSE);
  }

  async #further(): Promise<void> {
    const asked = this.#asked;
    try {
      const more = await this.#read(this.#next);
      if (asked !== this.#asked) return;
      this.#show([...this.#rows, ...more]);
      if (more[0]) this.#list.querySelector<HTMLElement>(`a[href="#/${more[0].conversation.name}"]`)?.focus();
    } catch (error) {
      this.#list.append(element("p", { class: "problem" }, failureOf(error).message));
    }
  }

  async #read(pageToken: string): Promise<readonly Row[]> {
    const query = this.#query.value.trim();
    if (query) {
      const { results, nextPageToken } = await this.#api.chat.searchConversations({ query, pageSize: PAGE, pageToken });
      this.#next = nextPageToken;
      return results.flatMap(({ conversation, messages }) => (conversation ? [{ conversation, excerpt: messages[0]?.excerpt ?? "" }] : []));
    }
    const { conversations, nextPageToken } = await this.#api.chat.listConversations({ pageSize: PAGE, pageToken });
    this.#next = nextPageToken;
    return conversations.map((conversation) => ({ conversation, excerpt: "" }));
  }

  #show(rows: readonly Row[]): void {
    this.#rows = rows;
    this.#more.hidden = !this.#next;
    const now = new Date();
    const days = new Map<string, HTMLElement[]>();
    for (const row of rows) {
      const { updateTime } = row.conversation;
      const day = updateTime ? dayOf(timestampDate(updateTime), now) : "";
      days.set(day, [...(days.get(day) ?? []), this.#row(row)]);
    }
    const none = this.#query.value.trim() ? [element("p", { class: "note" }, t("noConversation"))] : [];
    replace(this.#list, ...(rows.length > 0 ? [...days].map(([day, made]) => element("section", { "aria-label": day }, element("h2", {}, day), element("ul", {}, ...made))) : none));
  }

  #row({ conversation, excerpt }: Row): HTMLElement {
    const title = cleanName(conversation.title);
    const link = element("a", { href: `#/${conversation.name}`, title: conversation.title, ...WRITTEN }, title, ...(excerpt ? [element("span", { class: "note", ...WRITTEN }, excerpt)] : []));
    this.#marked(link);
    return element("li", {}, link);
  }

  #marked(link: HTMLAnchorElement): void {
    if (this.#current && link.getAttribute("href") === `#/${this.#current}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}
