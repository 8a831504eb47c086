/** The page: conversations on the left, messages in the middle, the source on the right. */

import { UserRole } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { AgentChoice, named } from "./agents.js";
import { connect, NO_LIMIT, watchingSession } from "./api.js";
import { ChatView } from "./chat.js";
import { CollectionsView } from "./collections.js";
import { ConversationsView } from "./conversations.js";
import { DocumentPanel } from "./document.js";
import { button, element, replace } from "./dom.js";
import { Live } from "./live.js";
import { PendingQuestions } from "./pending.js";
import { fragmentOf, placeAt } from "./place.js";
import { SearchView } from "./search.js";
import { signIn, signOut, takeCode } from "./session.js";
import { SharedStreams } from "./streams.js";
import { Tabs } from "./tabs.js";
import { TeachersView } from "./teachers.js";

const CONVERSATION = /^#\/(conversations\/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;
const DOCUMENTS = "#/documents";
const SEARCH = "#/search";
const TEACHERS = "#/teachers";
const NARROW = window.matchMedia("(max-width: 60rem)");

class App {
  readonly #root: HTMLElement;
  #stop = new AbortController();

  constructor(root: HTMLElement) {
    this.#root = root;
    // In a tab that already shows the page, a sign-in link changes only the fragment, so the browser does not load the page again.
    window.addEventListener("hashchange", () => {
      if (new URLSearchParams(location.hash.slice(1)).has("code")) void this.start();
    });
    // A file that is dropped in the wrong place must not replace the page.
    for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
  }

  async start(): Promise<void> {
    this.#stop.abort();
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    const over = () => {
      if (!signal.aborted && signed) this.#outside("Your session has ended.");
    };
    let signed = false;
    const api = connect(location.origin, [watchingSession(over)]);
    const found = await signIn(api, takeCode(location, history));
    if (signal.aborted) return;
    if ("problem" in found) {
      this.#outside(found.problem, found.cut);
      return;
    }
    signed = true;

    const live = new Live();
    const leave = (why: string) => {
      this.#outside(why);
      sessionStorage.clear(); // this also deletes the draft that `outside` has stored
    };
    const tabs = new Tabs((news) => {
      if (signal.aborted) return;
      if (news.kind === "signedOut") leave("You signed out in another tab.");
      else if (news.kind === "documents") void collections.soon();
      else {
        void list.refresh();
        if (news.name === chat.conversation && onChat()) void chat.look();
      }
    });
    signal.addEventListener("abort", () => tabs.close(), { once: true });
    const streams = new SharedStreams(
      (turn, afterSeq, stop) => api.chat.resumeTurn({ turn, afterSeq, includeDeltas: true }, { signal: stop, ...NO_LIMIT }),
      new BroadcastChannel("responsa.turns"),
      (navigator as { readonly locks?: LockManager }).locks,
    );
    // The address can name an agent: `/?agent=…`.
    const choice = new AgentChoice(sessionStorage, named(location.search));
    const panel: DocumentPanel = new DocumentPanel(api, {
      toggled: () => arrange(),
      say: live.say,
      changed: () => {
        tabs.tell({ kind: "documents" });
        if (onDocuments()) void collections.refresh();
      },
      // Reloading the page then shows the same place. While the page goes to another address, that address stays.
      moved: (place) => onDocuments() && !routing && history.replaceState(null, "", place ? fragmentOf(place) : DOCUMENTS),
      user: found.user.name,
    });
    const parts = { api, panel, waiting: new PendingQuestions(sessionStorage), streams, choice };
    const chat: ChatView = new ChatView(parts, {
      say: live.say,
      titled: (title) => (document.title = title ? `${title} · Responsa` : "Responsa"),
      changed: (conversation) => {
        tabs.tell({ kind: "conversation", name: conversation });
        if (onChat()) history.replaceState(null, "", `#/${conversation}`);
        list.mark(conversation);
        void list.refresh();
      },
      deleted: (conversation) => {
        tabs.tell({ kind: "conversation", name: conversation });
        void list.refresh();
        location.hash = "#/";
      },
    });
    const close = () => {
      chat.keepDraft();
      chat.close();
      streams.close();
    };
    signal.addEventListener("abort", close, { once: true });
    window.addEventListener("pagehide", () => chat.keepDraft(), { signal });
    const collections = new CollectionsView(api, panel, {
      say: live.say,
      sessionOver: over,
      signal,
      changed: () => tabs.tell({ kind: "documents" }),
      ask: (collection) => {
        chat.scope.choose([collection]);
        location.hash = "#/";
      },
    });
    const list = new ConversationsView(api);
    const teachers = found.user.role === UserRole.ADMIN ? new TeachersView(api, live) : undefined;
    const search = new SearchView(api, panel, live.say);
    const onDocuments = () => location.hash === DOCUMENTS || placeAt(location.hash) !== undefined;
    const onSearch = () => location.hash === SEARCH;
    const onTeachers = () => teachers !== undefined && location.hash === TEACHERS;
    const part = () => (onDocuments() ? collections : onSearch() ? search : onTeachers() ? teachers : undefined);
    const onChat = () => part() === undefined;

    const drawer = button("☰", () => openDrawer(!list.root.classList.contains("open")), {
      class: "plain icon drawer",
      "aria-label": "Conversations",
      title: "Conversations",
      "aria-controls": "conversations",
      "aria-expanded": "false",
    });
    const askLink = element("a", { href: "#/" }, "Ask");
    const documentsLink = element("a", { href: DOCUMENTS }, "Documents");
    const searchLink = element("a", { href: SEARCH }, "Search");
    const teachersLink = element("a", { href: TEACHERS }, "Teachers");
    const out = async () => {
      try {
        await signOut();
      } catch {
        live.say("Responsa cannot be reached; you are still signed in.");
        return;
      }
      tabs.tell({ kind: "signedOut" });
      leave("You are signed out.");
    };
    const main = element("main", { id: "main", tabindex: "-1" });
    const header = element(
      "header",
      { class: "top" },
      drawer,
      element("h1", {}, element("a", { href: "#/" }, "Responsa")),
      element("nav", { "aria-label": "Page" }, askLink, searchLink, documentsLink, ...(teachers ? [teachersLink] : [])),
      element("span", { class: "note user" }, found.user.displayName),
      button("Sign out", () => void out()),
    );
    const skip = element("a", { class: "skip", href: "#main" }, "Skip to the content");
    skip.addEventListener("click", (event) => {
      event.preventDefault();
      (part() ?? chat).focus();
    });
    replace(this.#root, skip, header, element("div", { class: "columns" }, list.root, main, panel.root), live.root);

    const openDrawer = (open: boolean) => {
      list.root.classList.toggle("open", open);
      drawer.setAttribute("aria-expanded", String(open));
      if (open) list.root.querySelector("a")?.focus();
    };
    /** On a small screen, an open document covers the rest of the page, so the keyboard must not reach the rest either. */
    const arrange = () => {
      const covered = NARROW.matches && panel.isOpen;
      for (const part of [skip, header, list.root, main]) part.inert = covered;
      panel.modal = covered;
      if (!NARROW.matches) openDrawer(false);
    };
    NARROW.addEventListener("change", arrange, { signal });
    window.addEventListener("resize", () => panel.resized(), { signal });
    main.addEventListener("click", () => openDrawer(false));
    window.addEventListener(
      "keydown",
      (event) => {
        if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
        if (list.root.classList.contains("open")) {
          openDrawer(false);
          drawer.focus();
        } else panel.close();
      },
      { signal },
    );

    let routing = false;
    const route = async (first: boolean) => {
      openDrawer(false);
      routing = true;
      panel.close();
      routing = false;
      const conversation = CONVERSATION.exec(location.hash)?.[1] ?? "";
      mark(searchLink, onSearch());
      mark(documentsLink, onDocuments());
      mark(teachersLink, onTeachers());
      mark(askLink, onChat() && !conversation);
      list.mark(onChat() ? conversation : "");
      const other = part();
      if (other) {
        document.title = `${onDocuments() ? "Documents" : onSearch() ? "Search" : "Teachers"} · Responsa`;
        replace(main, other.root);
        if (!first) other.focus();
        const place = placeAt(location.hash);
        if (place) await Promise.all([collections.reveal(place.name), panel.openPlace(place)]);
        else await other.refresh();
        return;
      }
      if (!conversation && location.hash !== "#/") history.replaceState(null, "", "#/");
      if (!main.contains(chat.root)) {
        replace(main, chat.root);
        void chat.picker.load(); // teachers may have changed meanwhile
      }
      // On a touch screen, the focus would open a keyboard that hides half the page.
      if (!first || window.matchMedia("(pointer: fine)").matches) chat.focus();
      await chat.show(conversation);
    };
    window.addEventListener("hashchange", () => void route(false), { signal });
    await Promise.all([route(true), list.refresh()]);
  }

  /** Show the page for a user who is not signed in. `again` says whether trying again can help. */
  #outside(why: string, again = false): void {
    this.#stop.abort();
    for (const dialog of document.querySelectorAll("dialog")) dialog.close();
    document.title = "Responsa";
    const heading = element("h1", { tabindex: "-1" }, "Responsa");
    const main = element("main", { class: "signed-out" }, heading, element("p", { role: "alert" }, why));
    if (again) main.append(button("Try again", () => void this.start(), { class: "filled" }));
    else main.append(element("p", {}, "To sign in, run ", element("code", {}, "responsa open"), " on the machine where Responsa runs, and open the link that the command prints."));
    replace(this.#root, main);
    heading.focus();
  }
}

function mark(link: HTMLElement, current: boolean): void {
  if (current) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
}

const root = document.getElementById("app");
if (root) void new App(root).start();
