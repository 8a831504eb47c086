/** A list that the page reads from the server page by page. */

import { button, element, focused, replace } from "./dom.js";
import { t } from "../language/language.js";
import { failureOf } from "../server/errors.js";

export interface Batch<T> {
  readonly items: readonly T[];
  /** The token of the next page; "" on the last page. */
  readonly next: string;
}

export interface Source<T> {
  /** The list's name for screen readers. */
  readonly label: string;
  /** The class of the list; "documents" if it is not given. */
  readonly style?: string;
  /** Read the page that the token names; "" names the first one. */
  readonly read: (pageToken: string) => Promise<Batch<T>>;
  readonly row: (item: T) => HTMLElement;
  /** The text in place of an empty list. */
  readonly empty: () => string;
}

export class Listing<T> {
  readonly root: HTMLElement;
  readonly #source: Source<T>;
  readonly #list: HTMLElement;
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #more = button(t("showMore"), () => void this.#further(), { hidden: true });
  #reads = 0;
  #next = "";
  /** Whether the list shows further pages. */
  #extended = false;

  constructor(source: Source<T>) {
    this.#source = source;
    this.#list = element("ul", { class: source.style ?? "documents", "aria-label": source.label, "aria-busy": "true" }, element("li", { class: "note" }, t("loading")));
    this.root = element("div", { class: "listing" }, this.#problem, this.#list, this.#more);
  }

  /** Read the first page again. The present rows stay until the new ones are here. */
  async refresh(show = (rows: readonly HTMLElement[]) => this.#show(rows)): Promise<void> {
    const read = (this.#reads += 1);
    this.#list.setAttribute("aria-busy", "true");
    try {
      const { items, next } = await this.#source.read("");
      if (read !== this.#reads) return; // a later call will show the newer result
      this.#next = next;
      this.#more.hidden = !next;
      this.#extended = false;
      show(items.length > 0 ? items.map(this.#source.row) : [element("li", { class: "note" }, this.#source.empty())]);
      this.#problem.textContent = "";
    } catch (error) {
      if (read !== this.#reads) return;
      this.refuse(failureOf(error).message);
      this.#list.querySelector(":scope > .note")?.remove();
    }
    this.#list.setAttribute("aria-busy", "false");
  }

  /** Read the first page again, unless further ones are shown. Rows that say the same stay. */
  async reread(): Promise<void> {
    const says = (rows: readonly Element[]) => rows.map((row) => row.textContent).join("\n");
    if (!this.#extended) await this.refresh((rows) => says(rows) === says([...this.#list.children]) || this.#show(rows));
  }

  /** Show nothing until the next refresh, whose rows are of something else. What is being read for the present rows does not count any more. */
  clear(): void {
    this.#reads += 1;
    this.#next = "";
    this.#more.hidden = true;
    this.#problem.textContent = "";
    replace(this.#list);
  }

  /** Show a problem above the list. */
  refuse(why: string): void {
    this.#problem.textContent = why;
  }

  /** Replace the rows. The control that has the focus passes it on to the one with its name: the next key is meant for that. */
  #show(rows: readonly HTMLElement[]): void {
    const held = focused();
    const name = (one?: HTMLElement) => one?.getAttribute("aria-label") ?? one?.textContent;
    const alike = () => [...this.#list.querySelectorAll<HTMLElement>("a, button, summary")].filter((one) => name(one) === name(held));
    const place = alike().findIndex((one) => one === held);
    replace(this.#list, ...rows);
    alike()[place]?.focus({ preventScroll: true });
  }

  async #further(): Promise<void> {
    const read = this.#reads;
    this.#more.disabled = true;
    try {
      const { items, next } = await this.#source.read(this.#next);
      if (read !== this.#reads) return;
      this.#next = next;
      const rows = items.map(this.#source.row);
      this.#list.append(...rows);
      this.#extended = true;
      this.#more.hidden = !next;
      (rows[0]?.querySelector<HTMLElement>("button, a, summary") ?? this.#more).focus();
    } catch (error) {
      if (read === this.#reads) this.refuse(failureOf(error).message);
    } finally {
      this.#more.disabled = false;
    }
  }
}
