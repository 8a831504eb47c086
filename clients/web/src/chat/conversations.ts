/** The list of conversations: the pinned ones, then the others by day, the most recently changed first; the search in them, and what is done to several at once. */

import { Archive, ArchiveRestore, ListChecks, Pin, PinOff, Plus, Trash2, X, type IconNode } from "lucide";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { FoundMessage } from "@responsa/contract/responsa/chat/v1/found_conversation_pb.js";
import { Role } from "@responsa/contract/responsa/chat/v1/message_pb.js";
import type { Conversation } from "@responsa/contract/responsa/chat/v1/conversation_pb.js";
import type { Api } from "../server/api.js";
import { confirmed } from "../widgets/dialog.js";
import { arrange, button, element, replace, WRITTEN } from "../widgets/dom.js";
import { icon, iconButton } from "../widgets/icons.js";
import { failureOf } from "../server/errors.js";
import { mayPass } from "@responsa/client/parts.js";
import { loadMarkdown } from "../text/markdown.js";
import { cleanName } from "../text/names.js";
import { plainText } from "../text/prose.js";
import { cutAtWords, withoutHalves } from "../text/words.js";
import { dayOf } from "../text/days.js";
import { t } from "../language/language.js";

const PAGE = 50;
/** Milliseconds without a letter after which the search begins. */
const PAUSE = 250;
const AT_A_TIME = 4; // calls

/** Which conversations are shown: the label, the filter of the list, that of a search, and what is said if there are none. */
const SHOWN = [
  ["askedHere", "archived = false AND origin != PROGRAM", "origin != PROGRAM", "listedHere"],
  ["askedAnywhere", "archived = false", "", "listedHere"],
  ["archived", "archived = true", "archived = true", "nothingArchived"],
] as const;
const ARCHIVED = SHOWN[2];

/** A conversation of the list. `excerpt`: where a message has the words of the search; "" if the title has them. */
interface Row {
  readonly conversation: Conversation;
  readonly excerpt: string;
}

export class ConversationsView {
  readonly root = element("nav", { class: "conversations", id: "conversations", "aria-label": t("conversations") });
  readonly #api: Pick<Api, "chat">;
  readonly #changed: (name: string, deleted: boolean) => void;
  readonly #query = element("input", { type: "search", placeholder: t("searchConversations"), "aria-label": t("searchConversations"), maxlength: "200", autocomplete: "off", input: () => this.#typed() });
  readonly #which = element("select", { "aria-label": t("whichConversations"), change: () => void this.refresh() }, ...SHOWN.map(([label], index) => element("option", { value: String(index) }, t(label))));
  readonly #begin = iconButton(ListChecks, t("selectSeveral"), () => this.#select(new Set()));
  readonly #bar = element("div", { class: "row" });
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #list = element("div", { class: "days" });
  readonly #more = button(t("showMore"), () => void this.#further(), { hidden: true });
  #rows: readonly Row[] = [];
  /** The names of the selected conversations; undefined while the rows are links. */
  #selected: Set<string> | undefined;
  #current = "";
  #next = "";
  #asked = 0;
  #pause: ReturnType<typeof setTimeout> | undefined;

  /** `changed` hears of each conversation that was pinned, archived or deleted here. */
  constructor(api: Pick<Api, "chat">, changed: (name: string, deleted: boolean) => void) {
    this.#api = api;
    this.#changed = changed;
    this.root.append(element("a", { href: "#/", class: "button quiet" }, icon(Plus), t("newConversation")), this.#query, this.#bar, this.#problem, this.#list, this.#more);
    this.#paintBar();
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
      const rows = (await Promise.all([this.#pinned(), this.#read("")])).flat();
      if (asked !== this.#asked) return; // a later call will show the newer result
      const inside = this.#list.contains(document.activeElement) ? document.activeElement?.getAttribute("href") : undefined;
      this.#problem.textContent = "";
      this.#show(rows);
      if (inside) this.#list.querySelector<HTMLElement>(`a[href="${CSS.escape(inside)}"]`)?.focus();
    } catch (error) {
      const failure = failureOf(error);
      // Without a response, the list stays as it is; the next change reads it again.
      if (asked !== this.#asked || (mayPass(failure) && this.#rows.length > 0)) return;
      replace(this.#list);
      this.#problem.textContent = failure.message;
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
      this.#problem.textContent = failureOf(error).message;
    }
  }

  get #searched(): string {
    return this.#query.value.trim();
  }

  get #kind(): (typeof SHOWN)[number] {
    return SHOWN[Number(this.#which.value)] ?? SHOWN[0];
  }

  async #pinned(): Promise<readonly Row[]> {
    if (this.#searched || this.#kind === ARCHIVED) return [];
    const { conversations } = await this.#api.chat.listConversations({ filter: "pinned = true AND archived = false", pageSize: PAGE });
    return conversations.map((conversation) => ({ conversation, excerpt: "" }));
  }

  async #read(pageToken: string): Promise<readonly Row[]> {
    const query = this.#searched;
    const [, filter, searched] = this.#kind;
    if (query) {
      const [{ results, nextPageToken }] = await Promise.all([
        this.#api.chat.searchConversations({ query, filter: searched, pageSize: PAGE, pageToken }),
        loadMarkdown().catch(() => undefined), // without the parser, excerpts show their markup
      ]);
      this.#next = nextPageToken;
      return results.flatMap(({ conversation, messages }) => (conversation ? [{ conversation, excerpt: shownExcerpt(messages[0]) }] : []));
    }
    const others = this.#kind === ARCHIVED ? filter : `${filter} AND pinned = false`;
    const { conversations, nextPageToken } = await this.#api.chat.listConversations({ filter: others, pageSize: PAGE, pageToken });
    this.#next = nextPageToken;
    return conversations.map((conversation) => ({ conversation, excerpt: "" }));
  }

  #show(rows: readonly Row[]): void {
    this.#rows = rows;
    this.#more.hidden = !this.#next;
    const now = new Date();
    const groups = new Map<string, HTMLElement[]>();
    for (const row of rows) {
      const { pinned, archived, updateTime } = row.conversation;
      const group = pinned && !archived && !this.#searched ? t("pinned") : updateTime ? dayOf(timestampDate(updateTime), now) : "";
      groups.set(group, [...(groups.get(group) ?? []), this.#row(row)]);
    }
    const said = this.#searched ? t("noConversation") : t(this.#kind[3]);
    const sections = [...groups].map(([group, made]) => element("section", { "aria-label": group }, element("h2", {}, group), element("ul", {}, ...made)));
    replace(this.#list, ...(sections.length > 0 ? sections : [element("p", { class: "note" }, said)]));
    this.#paintBar();
  }

  #row({ conversation, excerpt }: Row): HTMLElement {
    const { name } = conversation;
    const title = cleanName(conversation.title);
    const selected = this.#selected;
    if (selected) {
      const box = element("input", { type: "checkbox", checked: selected.has(name), change: () => (box.checked ? selected.add(name) : selected.delete(name), this.#paintBar()) });
      return element("li", {}, element("label", { title: conversation.title }, box, element("span", WRITTEN, title)));
    }
    const words = this.#searched.split(/\s+/).filter(Boolean);
    const link = element("a", { href: `#/${name}`, title: conversation.title, ...WRITTEN }, ...marked(title, words), ...(excerpt ? [element("span", { class: "note", ...WRITTEN }, ...marked(excerpt, words))] : []));
    this.#marked(link);
    return element("li", {}, link);
  }

  #marked(link: HTMLAnchorElement): void {
    if (this.#current && link.getAttribute("href") === `#/${this.#current}`) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }

  /** Make the rows links, or boxes to select. */
  #select(selected: Set<string> | undefined): void {
    this.#selected = selected;
    this.#show(this.#rows);
    this.#bar.querySelector<HTMLElement>("button")?.focus();
  }

  /** The choice of what is shown, or what can be done to the selected conversations. */
  #paintBar(): void {
    const selected = this.#selected;
    if (!selected) {
      this.#begin.disabled = this.#rows.length === 0;
      return arrange(this.#bar, [this.#which, this.#begin]); // keeps the focus
    }
    const chosen = this.#rows.map((one) => one.conversation).filter((one) => selected.has(one.name));
    const pin = chosen.length === 0 || chosen.some((one) => !one.pinned);
    const archive = chosen.length === 0 || chosen.some((one) => !one.archived);
    const change = (field: "pinned" | "archived", value: boolean) => () =>
      void this.#each(chosen, (name) => this.#api.chat.updateConversation({ conversation: { name, [field]: value }, updateMask: { paths: [field] } }));
    const act = (drawing: IconNode, label: string, run: () => void, style = "") => iconButton(drawing, label, run, { class: `plain icon ${style}`, disabled: chosen.length === 0 });
    const all = () => this.#select(new Set(chosen.length < this.#rows.length ? this.#rows.map((one) => one.conversation.name) : []));
    replace(
      this.#bar,
      button(chosen.length > 0 ? t("selected", { count: chosen.length }) : t("selectAll"), all, { title: t("selectAllNote") }),
      act(pin ? Pin : PinOff, t(pin ? "pin" : "unpin"), change("pinned", pin)),
      act(archive ? Archive : ArchiveRestore, t(archive ? "archive" : "unarchive"), change("archived", archive)),
      act(Trash2, t("delete"), () => void this.#delete(chosen), "danger"),
      iconButton(X, t("stopSelecting"), () => this.#select(undefined)),
    );
  }

  async #delete(chosen: readonly Conversation[]): Promise<void> {
    const { length } = chosen;
    if (await confirmed({ title: t("deleteSeveral", { count: length }), text: t("deleteSeveralText", { count: length }), action: t("delete") })) await this.#each(chosen, (name) => this.#api.chat.deleteConversation({ name }), true);
  }

  /** Do something to each conversation, a few at a time, and read the list again. Those where it failed stay selected. */
  async #each(chosen: readonly Conversation[], act: (name: string) => Promise<unknown>, deletes = false): Promise<void> {
    const left = [...chosen];
    const failed = new Set<string>();
    let why = "";
    const work = async () => {
      for (let one = left.shift(); one; one = left.shift()) {
        try {
          await act(one.name);
          this.#changed(one.name, deletes);
        } catch (error) {
          failed.add(one.name);
          why = failureOf(error).message;
        }
      }
    };
    await Promise.all(Array.from({ length: AT_A_TIME }, work));
    this.#selected = failed.size > 0 ? failed : undefined;
    await this.refresh();
    this.#problem.textContent = why && t("notChanged", { count: failed.size, why });
    this.#bar.querySelector<HTMLElement>("button")?.focus();
  }
}

/** The text, in which these words are marked. */
function marked(text: string, words: readonly string[]): readonly (Node | string)[] {
  return cutAtWords(text, words).map((piece, index) => (index % 2 === 1 ? element("mark", {}, piece) : piece));
}

/** The excerpt as its reader knows the message: questions are plain text, answers are Markdown. */
function shownExcerpt(found: FoundMessage | undefined): string {
  if (!found) return "";
  return found.role === Role.USER ? found.excerpt : withoutHalves(plainText(found.excerpt));
}
