/** The page: conversations on the left, the talk in the middle, the source on the right. */

import { connect } from "./api.js";
import { ChatView } from "./chat.js";
import { CollectionsView } from "./collections.js";
import { ConversationsView } from "./conversations.js";
import { DocumentPanel } from "./document.js";
import { element, replace } from "./dom.js";
import { readPending } from "./pending.js";
import { signIn, signOut, takeCode } from "./session.js";

const CONVERSATION = /^#\/(conversations\/[0-9a-f-]{36})$/;
const DOCUMENTS = "#/documents";

async function start(app: Element): Promise<void> {
  const api = connect(location.origin);
  const signed = await signIn(api, takeCode(location, history));
  if ("problem" in signed) {
    replace(
      app,
      element(
        "main",
        { class: "signed-out" },
        element("h1", {}, "Responsa"),
        element("p", { role: "alert" }, signed.problem),
        element("p", {}, "Run ", element("code", {}, "responsa open"), " where Responsa runs, and open the link that it prints."),
      ),
    );
    return;
  }

  const live = element("p", { class: "unseen", role: "status", "aria-live": "polite" });
  const announce = (text: string) => (live.textContent = text);
  const panel = new DocumentPanel(api);
  const chat: ChatView = new ChatView(api, panel, {
    announce,
    changed: (conversation) => {
      if (location.hash === DOCUMENTS) return;
      history.replaceState(null, "", `#/${conversation}`);
      void list.show(conversation);
    },
  });
  const collections = new CollectionsView(api, panel, announce);
  const list: ConversationsView = new ConversationsView(api, {
    announce,
    open: (name) => go(name ? `#/${name}` : "#/"),
    deleted: (name) => {
      if (name === chat.conversation) go("#/");
    },
  });

  const documentsLink = element("a", { href: DOCUMENTS }, "Documents");
  const main = element("main", { id: "main", tabindex: "-1" });
  replace(
    app,
    element("a", { class: "skip", href: "#main", click: (event) => (event.preventDefault(), main.focus()) }, "Skip to the conversation"),
    element(
      "header",
      { class: "top" },
      element("h1", {}, element("a", { href: "#/" }, "Responsa")),
      element("nav", { "aria-label": "Page" }, element("a", { href: "#/" }, "Ask"), documentsLink),
      element("span", { class: "note" }, signed.user.displayName),
      element("button", { type: "button", class: "plain", click: () => void signOut().then(() => location.reload()) }, "Sign out"),
    ),
    element("div", { class: "columns" }, list.root, main, panel.root),
    live,
  );

  const route = async () => {
    if (location.hash === DOCUMENTS) {
      documentsLink.setAttribute("aria-current", "page");
      replace(main, collections.root);
      await collections.show();
      return;
    }
    documentsLink.removeAttribute("aria-current");
    replace(main, chat.root);
    const conversation = CONVERSATION.exec(location.hash)?.[1] ?? "";
    await Promise.all([chat.show(conversation), list.show(conversation)]);
    chat.focus();
  };
  const go = (hash: string) => {
    if (location.hash === hash || (hash === "#/" && location.hash === "")) void route();
    else location.hash = hash;
  };
  window.addEventListener("hashchange", () => void route());

  const pending = readPending(sessionStorage);
  await route();
  if (pending && location.hash !== DOCUMENTS) await chat.ask(pending);
}

const app = document.getElementById("app");
if (app) void start(app);
