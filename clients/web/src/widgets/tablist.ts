/** A list of tabs (the pattern of the ARIA Authoring Practices): the arrow keys move between the tabs, and Tab leaves them. */

import { button, element } from "./dom.js";

type Entry<Id> = readonly [id: Id, label: string, content: HTMLElement];

interface Tab<Id> {
  readonly id: Id;
  readonly head: HTMLButtonElement;
  readonly panel: HTMLElement;
}

export class TabList<Id extends string> {
  readonly root: HTMLElement;
  /** The panels, of which one is shown. */
  readonly panels: readonly HTMLElement[];
  readonly #tabs: readonly Tab<Id>[];
  readonly #chosen: (id: Id) => void;
  readonly #again: boolean;
  #open: Id;

  /** `prefix`: the beginning of the elements' ids. `chosen` is called after the user has chosen another tab; with `again`, also after a click on the shown tab. */
  constructor(prefix: string, label: string, tabs: readonly [Entry<Id>, ...Entry<Id>[]], chosen: (id: Id) => void, { again = false } = {}) {
    this.#chosen = chosen;
    this.#again = again;
    this.#open = tabs[0][0];
    this.#tabs = tabs.map(([id, name, content]) => {
      const head = button(name, () => this.#choose(id), { id: `${prefix}-${id}-tab`, class: "plain", role: "tab", "aria-controls": `${prefix}-${id}`, "aria-selected": "false" });
      const panel = element("div", { id: `${prefix}-${id}`, class: "tabpanel", role: "tabpanel", "aria-labelledby": head.id, hidden: true }, content);
      return { id, head, panel };
    });
    this.root = element("div", { class: "tabs", role: "tablist", "aria-label": label }, ...this.#tabs.map((one) => one.head));
    this.panels = this.#tabs.map((one) => one.panel);
    this.root.addEventListener("keydown", (event) => this.#moved(event));
  }

  /** The shown tab. */
  get open(): Id {
    return this.#open;
  }

  /** Show a tab. */
  show(id: Id): void {
    this.#open = id;
    for (const one of this.#tabs) {
      one.head.setAttribute("aria-selected", String(one.id === id));
      one.head.tabIndex = one.id === id ? 0 : -1;
      one.panel.hidden = one.id !== id;
      if (one.id === id) this.#reveal(one.head);
    }
  }

  /** Offer only these tabs. If the list is hidden, no tab can be chosen, but the shown panel stays. */
  offer(ids: readonly Id[]): void {
    for (const one of this.#tabs) one.head.hidden = !ids.includes(one.id);
    this.root.hidden = ids.length < 2;
  }

  /** Scroll the list, where it is narrow, so that a tab is in its middle. */
  #reveal(head: HTMLElement): void {
    const [list, tab] = [this.root.getBoundingClientRect(), head.getBoundingClientRect()];
    this.root.scrollLeft += tab.left + tab.width / 2 - (list.left + list.width / 2);
  }

  #choose(id: Id): void {
    if (id === this.#open && !this.#again) return;
    this.show(id);
    this.#chosen(id);
  }

  #moved(event: KeyboardEvent): void {
    const offered = this.#tabs.filter((one) => !one.head.hidden);
    const here = offered.findIndex((one) => one.id === this.#open);
    const there = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: offered.length - 1 }[event.key];
    if (there === undefined) return;
    event.preventDefault();
    const next = offered.at(there % offered.length)!;
    this.#choose(next.id);
    next.head.focus();
  }
}
