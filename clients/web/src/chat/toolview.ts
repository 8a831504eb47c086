/** Shows one call of a tool in the list of steps: the tool, its arguments, how the call ended, and the sources that it returned. */

import type { TurnToolCall, TurnToolResult } from "@responsa/contract/responsa/chat/v1/turn_pb.js";
import { element, WRITTEN } from "../widgets/dom.js";
import { t } from "../language/language.js";
import { endOf, fetched, hostOf, linkOf, rememberTool, titleOf } from "./fetched.js";

/** The number of characters after which a result is cut. */
const SHOWN = 2_000;

export class ToolCallView {
  readonly root = element("li", { class: "tool-call" });
  /** What people call the tool. */
  readonly tool: string;
  readonly #end = element("span", { class: "note" });
  readonly #details: HTMLDetailsElement;
  readonly #at: number;

  /** `at`: when the call was announced, in milliseconds. */
  constructor({ tool, title, arguments: given }: TurnToolCall, at: number) {
    rememberTool({ name: tool, title });
    this.tool = titleOf(tool);
    this.#at = at;
    this.#details = element("details", {}, element("summary", {}, t("tool", { tool: this.tool }), this.#end));
    if (given && Object.keys(given).length > 0) this.#details.append(part(t("toolArguments"), JSON.stringify(given, null, 2)));
    this.root.append(this.#details);
  }

  returned(result: TurnToolResult, at: number): void {
    this.#end.textContent = endOf(result, at - this.#at);
    if (result.content) this.#details.append(part(t("toolResult"), result.content));
    if (result.sources.length === 0) return;
    const cards = result.sources.map(({ title, uri, fetchTime }) => {
      const href = linkOf(uri);
      const name = title || uri || t("source");
      const head = href ? element("a", { href, title: href, target: "_blank", rel: "noopener noreferrer", ...WRITTEN }, name) : element("strong", WRITTEN, name);
      const notes = [...(uri ? [element("span", { class: "note", ...WRITTEN }, hostOf(uri))] : []), element("span", { class: "note" }, fetched(this.tool, fetchTime))];
      return element("li", {}, head, ...notes);
    });
    this.root.append(element("ul", { class: "tool-sources", "aria-label": t("sourcesOf", { tool: this.tool }) }, ...cards));
  }
}

/** A text that a program wrote, with a heading. The text is never rendered. */
function part(heading: string, text: string): HTMLElement {
  const shown = text.length > SHOWN ? `${text.slice(0, SHOWN)}…` : text;
  return element("div", {}, element("span", { class: "note" }, heading), element("pre", { tabindex: "0", role: "region", "aria-label": heading, ...WRITTEN }, shown));
}
