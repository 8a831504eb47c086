/** The page: conversations on the left, messages in the middle, the source on the right. */

import "@fontsource-variable/inter";
import { FileText, Menu, MessageCircle, Search, Settings, Users } from "lucide";
import type { DeletionReceipt } from "@responsa/contract/responsa/auth/v1/deletion_receipt_pb.js";
import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { AccountMenu } from "./account/account.js";
import { AgentChoice, named } from "./chat/agents.js";
import { connect, watchingSession } from "./server/api.js";
import { ChatView } from "./chat/chat.js";
import { Contacts } from "./documents/contacts.js";
import { ConversationsView } from "./chat/conversations.js";
import type { DocumentPanel } from "./documents/document.js";
import { button, composes, element, INSTALLATION, replace, WRITTEN } from "./widgets/dom.js";
import { failureOf, keptOut, ofOtherUser, signedOut, type Failure } from "./server/errors.js";
import { icon, iconButton } from "./widgets/icons.js";
import { Lazy } from "./widgets/lazy.js";
import { Live } from "./widgets/live.js";
import { installWorker } from "./widgets/offline.js";
import { pauseBanner } from "./widgets/pause.js";
import { PendingQuestions } from "./chat/pending.js";
import type { Named } from "./documents/library.js";
import { watch, watchCollections } from "./documents/watch.js";
import { fragmentOf, isSearch, keysAt, placeAt, shareAt } from "./documents/place.js";
import { requestAt } from "./account/request.js";
import { claim, comesBack, hasSecret, isOthers, me, signIn, signOut, takeSecret, type Secret } from "./account/session.js";
import { replaces } from "./account/replaces.js";
import { SharedStreams } from "./chat/streams.js";
import { listenForKeys } from "./widgets/shortcuts.js";
import { Tabs, type News } from "./server/tabs.js";
import { applyTheme } from "./widgets/theme.js";
import { viewAt } from "./widgets/views.js";
import { loadMarkdown } from "./text/markdown.js";
import { nameWithin } from "./text/names.js";
import { loadLanguage, t } from "./language/language.js";

const CONVERSATION = /^#\/(conversations\/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/;
const DOCUMENTS = "#/documents";
const SEARCH = "#/search";
const TEACHERS = "#/teachers";
const ADMINISTRATION = "#/administration";
const LONGEST = 100; // characters of an address in a message
const NARROW = window.matchMedia("(max-width: 60rem)");

class App {
  readonly #root: HTMLElement;
  readonly #tabs = new Tabs((news) => this.#heard(news));
  #heard: (news: News) => void = () => undefined;
  #stop = new AbortController();

  constructor(root: HTMLElement) {
    this.#root = root;
    // In a tab that already shows the page, a link with a secret changes only the fragment, so the browser does not load the page again.
    window.addEventListener("hashchange", () => hasSecret(location.hash) && void this.start());
    // A file that is dropped in the wrong place must not replace the page.
    // In one engine, the key that ends a composition would send the form.
    window.addEventListener("keydown", (event) => event.key === "Enter" && !event.isComposing && composes(event) && event.preventDefault());
    for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
  }

  /** `agreed`: whether the visitor has chosen to work as the user of the browser's session, whoever worked in this tab before. */
  async start(agreed = false): Promise<void> {
    this.#stop.abort();
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    const tabs = this.#tabs;
    const plain = connect(location.origin);
    const secret = takeSecret(location, history);
    if (secret && secret.kind !== "code") {
      // The invitation or the reset is for an account that nobody is signed in to yet, so a session of this browser goes on until another one begins.
      const present = await me(plain);
      if (!signal.aborted) this.#outside("", { secret, present });
      return;
    }
    let chosen = comesBack(sessionStorage) || agreed;
    const began = () => {
      chosen = true;
      tabs.tell({ kind: "sessionBegan" });
    };
    const found = await signIn(plain, secret?.value, { began, replaces });
    if (signal.aborted) return;
    if ("problem" in found) {
      this.#outside(found.problem, { again: found.cut ? t("tryAgain") : "", agreed: chosen, visit: secret === undefined });
      if (found.cut) window.addEventListener("online", () => void this.start(chosen), { signal: this.#stop.signal, once: true });
      return;
    }
    const { user } = found;
    if (!chosen && isOthers(sessionStorage, user.name)) return this.#otherUser();
    const request = requestAt(location.hash);
    // The address of a tab that was another user's may name what this user cannot read.
    if (claim(sessionStorage, user.name)) history.replaceState(null, "", `${location.pathname}${location.search}#/`);
    tabs.tell({ kind: "signedIn", user: user.name });

    if (request !== undefined) {
      // The person has come to connect a program, and sees nothing else of the page.
      const { consentView } = await import("./account/consent.js");
      const view = consentView(user, request, () => {
        history.replaceState(null, "", `${location.pathname}${location.search}#/`);
        void this.start(true);
      });
      if (signal.aborted) return;
      replace(this.#root, view.root);
      return view.show();
    }
    const live = new Live();
    const leave = (why: string) => {
      this.#outside(why);
      sessionStorage.clear(); // this also deletes the draft that `outside` has stored
      history.replaceState(null, "", `${location.pathname}${location.search}#/`);
    };
    /** Find out whether the user is still signed in: the browser's session may have been ended, or replaced by a newer one of the same or of another user. */
    const check = async () => {
      try {
        const now = await plain.auth.getMe({});
        if (!signal.aborted && now.name !== user.name) this.#otherUser();
      } catch (error) {
        const failure = failureOf(error);
        if (!signal.aborted && signedOut(failure)) this.#outside(keptOut(failure) ? failure.message : t("sessionEnded"));
      }
    };
    let checking: Promise<void> | undefined;
    const over = (failure?: Failure) => {
      // The refusal says it, even if no further call succeeds.
      if (failure && ofOtherUser(failure)) return void (signal.aborted || this.#otherUser());
      return (checking ??= check().finally(() => (checking = undefined)));
    };
    const api = connect(location.origin, user.name, [watchingSession(over)]);
    // A tab that slept, or that the browser kept for its “Back” button, has not heard of a sign-in in another tab.
    document.addEventListener("visibilitychange", () => document.hidden || void over(), { signal });
    window.addEventListener("pageshow", ({ persisted }) => persisted && void over(), { signal });
    this.#heard = (news) => {
      if (signal.aborted) return;
      if (news.kind === "signedOut") leave(t("signedOutElsewhere"));
      else if (news.kind === "signedIn") {
        if (news.user !== user.name) this.#otherUser();
      } else if (news.kind === "sessionBegan") void over();
      else if (news.kind === "documents") collections.view?.soon();
      else {
        void list.refresh();
        if (news.name === chat.conversation && onChat()) void chat.look();
      }
    };
    const streams = new SharedStreams(
      (turn, afterSeq, stop) => api.chat.resumeTurn({ turn, afterSeq, includeDeltas: true }, { signal: stop }),
      new BroadcastChannel(`responsa.turns ${user.name}`),
      (navigator as { readonly locks?: LockManager }).locks,
    );
    const contacts = new Contacts(api, user);
    // The address can name an agent: `/?agent=…`.
    const choice = new AgentChoice(sessionStorage, named(location.search));
    const panelHooks: ConstructorParameters<typeof DocumentPanel>[1] = {
      toggled: () => arrange(),
      say: live.say,
      changed: () => {
        tabs.tell({ kind: "documents" });
        if (onDocuments()) void collections.view?.refresh();
      },
      // Reloading the page then shows the same place. While the page goes to another address, that address stays.
      moved: (place) => onDocuments() && !routing && history.replaceState(null, "", place ? fragmentOf(place) : DOCUMENTS),
      me: user,
    };
    const panel: Lazy<DocumentPanel> = new Lazy(async () => {
      const made = new (await import("./documents/document.js")).DocumentPanel(api, panelHooks);
      main.after(made.root);
      return made;
    });
    const openCitation: DocumentPanel["openCitation"] = async (...citation) => {
      const shown = await panel.get().catch(() => void (alert.textContent = t("unloaded")));
      await shown?.openCitation(...citation);
    };
    const parts = { api, me: user, panel: { openCitation }, waiting: new PendingQuestions(sessionStorage), streams, choice };
    const lacks = (question: string) => void collections.get().then((view) => view.keep(question), () => undefined); // the link says that the view could not be loaded
    const chat: ChatView = new ChatView(parts, {
      say: live.say,
      lacks,
      titled: (title) => (document.title = title ? `${nameWithin(title)} · ${INSTALLATION}` : INSTALLATION),
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
    const ask = (question: string, collection?: Named) => {
      chat.scope.chooseForNew(collection ? [collection] : []);
      if (question) chat.write(question);
      location.hash = "#/";
    };
    const again = (question: string, collection?: Named) => {
      chat.askNext(question);
      ask("", collection);
    };
    const collections = new Lazy(async () => {
      const { CollectionsView } = await import("./documents/collections.js");
      const made = new CollectionsView(api, await panel.get(), {
        say: live.say,
        sessionOver: (failure) => void over(failure),
        signal,
        changed: () => tabs.tell({ kind: "documents" }),
        settled: () => chat.documentsChanged(),
        ask: (collection) => ask("", collection),
        again,
        me: user,
        contacts,
      });
      live.root.before(made.tray);
      menu.root.before(made.count);
      return made;
    });
    const list = new ConversationsView(api, (name, deleted) => {
      tabs.tell({ kind: "conversation", name });
      if (deleted && name === chat.conversation && onChat()) location.hash = "#/";
    });
    const shared = new Lazy(async () => new (await import("./chat/shared.js")).SharedView(api, { openCitation }, live.say));
    const administers = user.role === UserRole.ADMIN;
    const teachers = administers ? new Lazy(async () => (await import("./administration/teachers.js")).teachersView(api, live.done)) : undefined;
    const changed = (now: User) => (now.role === user.role && now.ownsInstallation === user.ownsInstallation && now.email === user.email ? menu.name(now) : void this.start());
    const deleted = (receipt: DeletionReceipt) => void this.#farewell(receipt);
    const profile = new Lazy(async () => (await import("./account/profile.js")).profileView(api, user, { say: live.done, changed, contacts, deleted }));
    const administration = administers ? new Lazy(async () => (await import("./administration/administration.js")).administrationView(api, { say: live.done, me: user, changed, ask: again, lacks })) : undefined;
    const tabbed = () => {
      const area = viewAt(location.hash)?.area;
      return area === "profile" ? profile : area === "administration" ? administration : undefined;
    };
    const search = new Lazy(async () => new (await import("./documents/search.js")).SearchView(api, await panel.get(), { say: live.say, ask }));
    const onDocuments = () => location.hash === DOCUMENTS || placeAt(location.hash) !== undefined || keysAt(location.hash) !== undefined;
    const onSearch = () => isSearch(location.hash);
    const onTeachers = () => teachers !== undefined && location.hash === TEACHERS;
    const part = () => (shareAt(location.hash) ? shared : onDocuments() ? collections : onSearch() ? search : onTeachers() ? teachers : tabbed());
    const onChat = () => part() === undefined;

    const drawer = iconButton(Menu, t("conversations"), () => openDrawer(!list.root.classList.contains("open")), {
      class: "plain icon drawer",
      "aria-controls": "conversations",
      "aria-expanded": "false",
    });
    const askLink = element("a", { href: "#/" }, icon(MessageCircle), element("span", {}, t("ask")));
    const documentsLink = element("a", { href: DOCUMENTS }, icon(FileText), element("span", {}, t("documents")));
    const searchLink = element("a", { href: SEARCH }, icon(Search), element("span", {}, t("search")));
    const teachersLink = element("a", { href: TEACHERS, hidden: true }, icon(Users), element("span", {}, t("teachers")));
    const administrationLink = element("a", { href: ADMINISTRATION, class: "wide" }, icon(Settings), element("span", {}, t("administration")));
    const out = async () => {
      const failure = await signOut(user.name);
      if (failure && ofOtherUser(failure)) return void over(failure);
      if (failure) {
        alert.textContent = failure.reason ? failure.message : t("stillSignedIn");
        return;
      }
      tabs.tell({ kind: "signedOut" });
      leave(t("signedOut"));
    };
    const links = [{ href: "#/profile", label: t("profile") }, ...(administers ? [{ href: ADMINISTRATION, label: t("administration") }] : [])];
    const menu = new AccountMenu(user, links, () => void out(), signal);
    const alert = element("p", { class: "problem banner", role: "alert" });
    const main = element("main", { id: "main", tabindex: "-1" });
    const header = element(
      "header",
      { class: "top" },
      drawer,
      element("h1", {}, element("a", { href: "#/" }, element("span", { class: "mark" }), element("span", WRITTEN, INSTALLATION))),
      element("nav", { "aria-label": t("page") }, askLink, searchLink, documentsLink, ...(administers ? [teachersLink, administrationLink] : [])),
      menu.root,
    );
    const skip = element("a", { class: "skip", href: "#main" }, t("skip"));
    skip.addEventListener("click", (event) => {
      event.preventDefault();
      (part()?.view ?? chat).focus();
    });
    replace(this.#root, skip, header, pauseBanner(signal), alert, element("div", { class: "columns" }, list.root, main), live.root);
    listenForKeys(() => (onChat() ? chat.focus() : (location.hash = "#/")), signal);
    takesFiles(this.#root, signal, async (entries) => {
      const shown = await collections.get().catch(() => undefined);
      alert.textContent = shown ? await shown.take(entries) : t("unloaded");
    });

    const openDrawer = (open: boolean) => {
      list.root.classList.toggle("open", open);
      drawer.setAttribute("aria-expanded", String(open));
      if (open) list.root.querySelector("a")?.focus();
    };
    /** On a small screen, an open document covers the rest of the page, so the keyboard must not reach the rest either. */
    const arrange = () => {
      const covered = NARROW.matches && panel.view?.isOpen === true;
      for (const part of [skip, header, list.root, main]) part.inert = covered;
      if (panel.view) panel.view.modal = covered;
      if (!NARROW.matches) openDrawer(false);
    };
    NARROW.addEventListener("change", arrange, { signal });
    window.addEventListener("resize", () => panel.view?.resized(), { signal });
    main.addEventListener("click", () => openDrawer(false));
    window.addEventListener(
      "keydown",
      (event) => {
        if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
        if (list.root.classList.contains("open")) {
          openDrawer(false);
          drawer.focus();
        } else panel.view?.close();
      },
      { signal },
    );

    const agents = async () => {
      await chat.picker.load();
      teachersLink.hidden = !chat.picker.names("teachers");
    };
    /** Show again what the user may no longer read. */
    const withdraw = async () => {
      await chat.withdraw();
      await panel.view?.withdraw();
      if (onSearch()) await search.view?.reread();
      if (shareAt(location.hash)) await shared.view?.refresh();
    };
    let routing = false;
    const route = async (first: boolean) => {
      openDrawer(false);
      alert.textContent = "";
      routing = true;
      panel.view?.close();
      routing = false;
      const fragment = location.hash;
      const conversation = CONVERSATION.exec(fragment)?.[1] ?? "";
      mark(searchLink, onSearch());
      mark(documentsLink, onDocuments());
      mark(teachersLink, onTeachers());
      const view = tabbed();
      mark(administrationLink, view !== undefined && view === administration);
      menu.mark(view && viewAt(location.hash)?.area);
      mark(askLink, onChat() && !conversation);
      list.mark(onChat() ? conversation : "");
      const other = part();
      if (other) {
        const shown = await Promise.all([other.get(), loadMarkdown()]).then(([found]) => found, () => undefined);
        if (signal.aborted || location.hash !== fragment) return;
        if (!shown) return void (alert.textContent = t("unloaded"));
        document.title = `${"title" in shown ? shown.title : onDocuments() ? t("documents") : onSearch() ? t("search") : t("teachers")} · ${INSTALLATION}`;
        replace(main, shown.root);
        if (!first) shown.focus();
        const place = placeAt(fragment);
        const keys = keysAt(fragment);
        if ("show" in shown) await shown.show(viewAt(fragment)!);
        else if (place) await Promise.all([collections.view!.reveal(place.name), panel.view!.openPlace(place)]);
        else if (keys) {
          const [found] = await Promise.all([panel.view!.openKeys(keys), collections.view!.refresh()]);
          if (found) await collections.view!.reveal(found);
        } else await shown.refresh();
        return;
      }
      if (!conversation && location.hash !== "#/") {
        if (location.hash) alert.textContent = `${notFound(location.hash, administers)} ${t("startPage")}`;
        history.replaceState(null, "", "#/");
      }
      if (!main.contains(chat.root)) {
        replace(main, chat.root);
        void agents(); // agents and teachers may have changed since the last visit
      }
      // On a touch screen, the focus would open a keyboard that hides half the page.
      if (!first || window.matchMedia("(pointer: fine)").matches) chat.focus();
      if (conversation) await loadMarkdown().catch(() => undefined);
      if (!signal.aborted && location.hash === (fragment || "#/")) await chat.show(conversation);
    };
    window.addEventListener("hashchange", () => void route(false), { signal });
    await Promise.all([route(true), list.refresh(), ...(onChat() ? [] : [agents()])]);
    void watchCollections(api, (lost) => {
      chat.documentsChanged();
      void collections.view?.soon();
      if (lost) void withdraw().catch(() => undefined); // without a connection, the page shows nothing new either
    }, signal);
    void watch(async () => document.querySelector("dialog[open]") ?? tabbed()?.view?.reread(), signal);
    void loadMarkdown().catch(() => undefined); // so that the first answer need not wait
  }

  /** Show what was deleted with the user's account. The calls that run meanwhile may have noticed the end of the session already. */
  async #farewell(receipt: DeletionReceipt): Promise<void> {
    const { farewell } = await import("./account/leaving.js");
    this.#end();
    sessionStorage.clear(); // this also deletes the draft that `outside` has stored
    history.replaceState(null, "", `${location.pathname}${location.search}#/`);
    this.#tabs.tell({ kind: "signedOut" });
    const page = farewell(receipt, () => void this.start());
    replace(this.#root, page);
    page.querySelector("h1")?.focus();
    await signOut(receipt.user); // only the browser's cookie is left of the session
  }

  /** Say that the browser's session is another user's than this tab's, and ask what to do. What this tab's user has written stays until the visitor goes on as the other user. */
  #otherUser(): void {
    this.#outside(t("otherUser"), { again: t("goOnAsOther"), agreed: true });
  }

  /** End what the page does for its user. The signal is aborted when it does something for the next one. */
  #end(): AbortSignal {
    this.#stop.abort();
    this.#stop = new AbortController();
    for (const dialog of document.querySelectorAll("dialog")) dialog.close();
    document.title = INSTALLATION;
    this.#heard = () => undefined;
    return this.#stop.signal;
  }

  /** Show the page for a visitor who is not signed in, or who has opened a link for another account. */
  #outside(why = "", { again = "", agreed = false, visit = false, secret, present }: Outside = {}): void {
    const signal = this.#end();
    if (again) {
      const heading = element("h1", { tabindex: "-1" }, INSTALLATION);
      const choices = [button(again, () => void this.start(agreed), { class: "filled" }), ...(why === t("otherUser") ? [button(t("signInAgain"), () => this.#outside())] : [])];
      replace(this.#root, element("main", { class: "signed-out" }, heading, element("p", { role: "alert" }, why), element("div", { class: "row wrap" }, ...choices)));
      heading.focus();
      return;
    }
    replace(this.#root, element("main", { class: "signed-out", "aria-busy": "true" }));
    const tenant = new URLSearchParams(location.search).get("tenant") ?? "";
    const start = (agreed: boolean) => void (signal.aborted || this.start(agreed));
    const enter = () => start(true);
    const show = ({ SignInView }: typeof import("./account/signin.js")) => {
      if (signal.aborted) return;
      const view = new SignInView(connect(location.origin), why, secret, tenant, { began: () => this.#tabs.tell({ kind: "sessionBegan" }), entered: enter, back: present && enter });
      // A sign-in in another tab is one in this tab too, unless the visitor is filling in the form.
      this.#heard = (news) => (news.kind === "sessionBegan" || news.kind === "signedIn") && !present && view.untouched && start(false);
      replace(this.#root, view.root);
      view.focus(visit || secret !== undefined);
    };
    void import("./account/signin.js").then(show, () => signal.aborted || this.#outside(t("unloaded"), { again: t("tryAgain") }));
  }
}

/** Why the page shows nothing for a fragment of its address. */
function notFound(fragment: string, administers: boolean): string {
  if (!administers && (fragment === TEACHERS || viewAt(fragment)?.area === "administration")) return t("administratorsOnly");
  const shown = fragment.length > LONGEST ? `${fragment.slice(0, LONGEST)}…` : fragment;
  return t("nothingAt", { address: shown });
}

/** Show that files can be dropped while they are dragged over the page, and take those that are dropped. */
function takesFiles(root: HTMLElement, signal: AbortSignal, take: (entries: readonly FileSystemEntry[]) => Promise<void>): void {
  const show = (over: boolean) => root.classList.toggle("dropping", over);
  window.addEventListener("dragover", ({ dataTransfer, target }) => {
    root.dataset["drop"] = t(isForQuestion(target) ? "dropClips" : "dropFiles");
    show(dataTransfer?.types.includes("Files") === true && !document.querySelector("dialog[open]"));
  }, { signal });
  window.addEventListener("dragleave", ({ relatedTarget }) => relatedTarget === null && show(false), { signal });
  window.addEventListener(
    "drop",
    ({ dataTransfer, target }) => {
      if (!root.classList.contains("dropping")) return;
      show(false);
      if (isForQuestion(target)) return;
      void take([...(dataTransfer?.items ?? [])].map((one) => one.webkitGetAsEntry()).filter((one) => one !== null)); // readable only during the event
    },
    { signal },
  );
}

/** Whether what is dropped there belongs to the question box, which takes it itself. */
function isForQuestion(target: EventTarget | null): boolean {
  return target instanceof Element && target.closest(".ask") !== null;
}

interface Outside {
  /** The label of a button that tries again, in place of the form; "" for the form. */
  readonly again?: string;
  /** Whether the visitor then goes on as the user of the browser's session, whoever worked in this tab before. */
  readonly agreed?: boolean;
  /** Whether the visitor has just opened the page, so that the reason does not need the focus. */
  readonly visit?: boolean;
  /** A code from the address. */
  readonly secret?: Secret;
  /** The user who is signed in and can go back to the page. */
  readonly present?: User | undefined;
}

function mark(link: HTMLElement, current: boolean): void {
  if (current) link.setAttribute("aria-current", "page");
  else link.removeAttribute("aria-current");
}

const root = document.getElementById("app");
applyTheme();
installWorker();
if (root) void loadLanguage().then(() => new App(root).start());
