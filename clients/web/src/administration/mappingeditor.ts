/** A field for a mapping, with the numbers of its lines and the mistakes that the server finds. */

import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { t } from "../language/administration/texts.js";
import { placesOf, type Mistake } from "./mapping.js";

export class MappingEditor {
  readonly root: HTMLElement;
  readonly #text = element("textarea", { id: "source-mapping", rows: "22", wrap: "off", spellcheck: "false", autocapitalize: "none", autocomplete: "off", "aria-describedby": "source-mapping-note source-mapping-mistakes" });
  readonly #numbers = element("div", { class: "line-numbers", "aria-hidden": "true" });
  readonly #mistakes = element("div", { id: "source-mapping-mistakes", role: "alert" });
  #wrong: ReadonlySet<number> = new Set();
  #shown = 0;

  constructor() {
    const note = element("p", { class: "note", id: "source-mapping-note" }, t("mappingNote"));
    this.root = element(
      "div",
      { class: "field mapping" },
      element("label", { for: this.#text.id }, t("mapping")),
      note,
      element("div", { class: "numbered" }, this.#numbers, this.#text),
      this.#mistakes,
    );
    this.#text.addEventListener("input", () => {
      this.refuse([]);
      this.#number();
    });
    this.#text.addEventListener("scroll", () => (this.#numbers.scrollTop = this.#text.scrollTop));
  }

  get value(): string {
    return this.#text.value;
  }

  set value(text: string) {
    this.#text.value = text;
    this.refuse([]);
    this.#number();
  }

  /** Show mistakes below the field, and mark their lines. The focus goes to the first of them. */
  refuse(mistakes: readonly Mistake[]): void {
    this.#wrong = new Set(mistakes.flatMap(({ line }) => (line === undefined ? [] : [line])));
    if (mistakes.length > 0) this.#text.setAttribute("aria-invalid", "true");
    else this.#text.removeAttribute("aria-invalid");
    if (mistakes.length > 0 || this.#mistakes.childElementCount > 0) {
      const rows = mistakes.map(({ line, text }) => {
        const go = line === undefined ? [] : [button(t("line", { line: String(line) }), () => this.#go(line), { class: "plain line" })];
        return element("li", {}, ...go, element("span", { class: "problem", ...WRITTEN }, text));
      });
      replace(this.#mistakes, ...(rows.length > 0 ? [element("ul", { class: "mistakes", "aria-label": t("mappingMistakes") }, ...rows)] : []));
      this.#number(true);
    }
    const first = Math.min(...this.#wrong);
    if (Number.isFinite(first)) this.#go(first);
  }

  #go(line: number): void {
    const [start, end] = placesOf(this.#text.value, line);
    this.#text.focus();
    this.#text.setSelectionRange(start, end);
    const height = this.#text.scrollHeight / Math.max(1, this.#shown);
    this.#text.scrollTop = Math.max(0, (line - 4) * height);
  }

  /** Show as many numbers as the text has lines. */
  #number(again = false): void {
    const lines = this.#text.value.split("\n").length;
    if (lines === this.#shown && !again) return;
    this.#shown = lines;
    replace(this.#numbers, ...Array.from({ length: lines }, (_, index) => element("div", { class: this.#wrong.has(index + 1) && "wrong" }, String(index + 1))));
    this.#numbers.scrollTop = this.#text.scrollTop;
  }
}
