/** What the page shows in place of messages: the greeting of a new conversation, and why a conversation cannot be shown. */

import { FileText, Library } from "lucide";
import type { Agent } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import type { Named } from "../documents/library.js";
import { fragmentOf } from "../documents/place.js";
import { locale, t } from "../language/language.js";
import { button, element, WRITTEN } from "../widgets/dom.js";
import { dateOf } from "../text/facts.js";
import { icon } from "../widgets/icons.js";
import type { Loaded, Recent, Suggested } from "./suggest.js";

export interface WelcomeHooks {
  /** Put a question into the question box. */
  readonly use: (question: string) => void;
  /** Finds questions that are answered, documents and collections, which are shown when they are known. */
  readonly more: () => Promise<Suggested & { readonly questions: readonly string[] }>;
  /** Ask about this collection. */
  readonly about: (collection: Named) => void;
  /** Reads what people call the agent's tools. */
  readonly tools: () => Promise<string>;
}

/** The greeting before the first message, and what stands below the question box meanwhile: the agent's purpose, what to ask, and what the agent knows. */
export function welcome(agent: Agent | undefined, { use, more, about, tools }: WelcomeHooks): { readonly greeting: HTMLElement; readonly below: readonly HTMLElement[] } {
  const row = element("li", { class: "empty" }, element("p", { class: "greeting", ...WRITTEN }, agent?.greeting || t("greeting")));
  // Below the box, because the greeting must not move when the agent is known.
  const purpose = agent?.description ? [element("p", { class: "note", ...WRITTEN }, agent.description)] : [];
  const newest = element("ul", { class: "known", "aria-label": t("newestDocuments") });
  const known = element("ul", { class: "known", "aria-label": t("askedAbout") });
  const note = element("p", { class: "note" });
  const missing = agent?.missingTools ?? [];
  const list = element("ul", { class: "examples", "aria-label": t("toTry") });
  const offer = (questions: readonly string[]) => list.append(...questions.map((one) => element("li", {}, button(one, () => use(one), { class: "quiet", ...WRITTEN }))));
  const offered = more().then((found) => {
    const { questions, documents, collections, others, empty, manual } = found;
    if (empty) list.replaceWith(element("div", { class: "first" }, element("p", {}, t("noDocuments")), element("a", { href: "#/documents", class: "button" }, t("addDocuments"))));
    else offer(questions);
    newest.append(...documents.map(recent));
    known.append(...collections.map(loaded), ...(others > 0 ? [element("li", {}, element("a", { href: "#/documents" }, t("more", { count: others })))] : []));
    return manual;
  }, () => undefined); // nothing is known of the documents
  // The note comes last, because what comes later would move it. Without the tools, it says nothing about them.
  void Promise.all([offered, tools().catch(() => "")]).then(([manual, names]) => {
    if (names) note.append(" ", element("span", WRITTEN, t("canUse", { names })));
    if (missing.length > 0) note.append(" ", element("span", WRITTEN, t("worksWithout", { names: new Intl.ListFormat(locale()).format(missing) })));
    if (manual) note.append(" ", button(t("help"), () => about(manual), { class: "plain" }));
  });
  return { greeting: row, below: [...purpose, list, newest, known, note] };
}

function recent({ name, title }: Recent): HTMLElement {
  return element("li", {}, icon(FileText), element("a", { href: fragmentOf({ name, tab: undefined, page: 0 }), ...WRITTEN }, title));
}

function loaded({ label, documents, changed }: Loaded): HTMLElement {
  const when = changed && t("changedOn", { date: dateOf(changed) });
  const notes = [t("documentCount", { count: documents }), ...(when ? [when] : [])];
  return element("li", {}, icon(Library), element("span", {}, element("bdi", WRITTEN, label), " ", element("span", { class: "note" }, notes.join(", "))));
}

/** Says in place of messages what is wrong, with ways on. `stays`: whether it is not a greeting, which changes with the agent. */
export function instead(what: string, why: string, ways: readonly HTMLElement[], stays: boolean): HTMLElement {
  return element("li", { class: stays ? "empty lost" : "empty" }, element("div", { role: "alert" }, element("p", { class: "greeting" }, what), element("p", WRITTEN, why)), element("div", { class: "row wrap" }, ...ways));
}
