/** The buttons below an answer or a refusal that export it, and that ask its question again. */

import { Ellipsis, type IconNode } from "lucide";
import type { Agent } from "@responsa/contract/responsa/chat/v1/agent_pb.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { iconButton } from "../widgets/icons.js";
import { beside } from "../widgets/tip.js";
import { idFrom } from "../documents/library.js";
import { labelOf } from "./agents.js";
import { copyText, titled } from "./copy.js";
import { t } from "../language/language.js";

export interface AskingHooks {
  /** Ask a question again: the agent `agents/{id}`, or else the chosen one. */
  readonly ask: (question: string, agent?: string) => void;
  /** Put a question into the question box. */
  readonly edit: (question: string) => void;
  /** Keep a question in sight where documents are added, which do not answer it yet. */
  readonly lacks: (question: string) => void;
  /** Asks a question again, of all collections; undefined if no collection is chosen. */
  readonly everywhere: () => { readonly label: string; readonly ask: (question: string) => void } | undefined;
  /** The agents that are not chosen. */
  readonly others: () => readonly Agent[];
}

/** The menu for the question of an answer. `markdown`: the answer with its sources; without it, there is nothing to export. `say` announces that it was copied. */
export function actionsOf(question: string, { ask, others }: AskingHooks, markdown?: () => string, say?: (text: string) => void): readonly HTMLElement[] {
  const rows = () => [
    ...(markdown && say ? [[t("copySources"), () => void copyText(markdown(), say)] as const] : []),
    ...(markdown ? [[t("exportMarkdown"), () => download(`${idFrom(question) || "answer"}.md`, titled(question, markdown()))] as const] : []),
    [t("askAgain"), () => ask(question)] as const,
    ...others().map(({ name, displayName }) => [t("askInstead", { agent: displayName || labelOf([], name) }), () => ask(question, name)] as const),
  ];
  return menu(Ellipsis, t("moreActions"), rows);
}

/** The ways on if what was found does not answer the question. */
export function waysOn(question: string, asking: AskingHooks): HTMLElement {
  const everywhere = asking.everywhere();
  const all = everywhere ? [button(everywhere.label, () => everywhere.ask(question), { class: "quiet" })] : [];
  return element("p", { class: "row wrap" }, ...all, element("a", { href: "#/documents", click: () => asking.lacks(question) }, t("addDocument")));
}

/** A button with its list of acts, which is made when it opens. */
function menu(drawing: IconNode, label: string, rows: () => readonly (readonly [label: string, act: () => void])[]): readonly [HTMLElement, HTMLElement] {
  const list = element("ul", { class: "menu", popover: true, "aria-label": label });
  const made = iconButton(drawing, label, () => undefined);
  made.popoverTargetElement = list;
  const filled = () => {
    replace(list, ...rows().map(([text, act]) => element("li", {}, button(text, () => (list.hidePopover(), act()), WRITTEN))));
    beside(list, made);
  };
  list.addEventListener("toggle", ({ newState }) => newState === "open" && filled());
  return [made, list];
}

function download(name: string, text: string): void {
  const href = URL.createObjectURL(new Blob([text], { type: "text/markdown" }));
  element("a", { href, download: name }).click();
  URL.revokeObjectURL(href);
}
