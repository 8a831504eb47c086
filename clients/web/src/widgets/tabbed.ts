/** A view of several tabs, each with an address: the profile, and the administration. */

import { arrange, element } from "./dom.js";
import { t } from "../language/language.js";
import { Lazy } from "./lazy.js";
import { TabList } from "./tablist.js";
import { viewFragment, type Area, type ViewPlace } from "./views.js";

/** The content of a tab. */
export interface Part {
  readonly root: HTMLElement;
  /** Read the content again, with what the address asks for. */
  readonly show: (query: Readonly<Record<string, string>>) => Promise<void>;
}

/** A part whose code the browser loads when the part is first shown. */
export function lazily(load: () => Promise<Part>): Part {
  const root = element("div", {});
  const lazy = new Lazy(load);
  const show = async (query: Readonly<Record<string, string>>) => {
    const found = await lazy.get().catch(() => undefined); // a later try may succeed
    arrange(root, [found?.root ?? element("p", { class: "problem", role: "alert" }, t("unloaded"))]);
    await found?.show(query);
  };
  return { root, show };
}

/** A tab: its name in the address, its label and its content. */
export type PartRow = readonly [id: string, label: string, part: Part];

export class TabbedView {
  readonly root: HTMLElement;
  readonly title: string;
  /** What the user should know in every tab; hidden while it is empty. */
  readonly notice = element("p", { class: "access" });
  readonly #area: Area;
  readonly #heading: HTMLElement;
  readonly #parts: ReadonlyMap<string, Part>;
  readonly #tabs: TabList<string>;
  readonly #first: string;

  constructor(area: Area, title: string, rows: readonly [PartRow, ...PartRow[]]) {
    this.#area = area;
    this.title = title;
    this.#heading = element("h2", { id: `${area}-title`, tabindex: "-1" }, title);
    this.#parts = new Map(rows.map(([id, , part]) => [id, part]));
    this.#first = rows[0][0];
    const [first, ...others] = rows.map(([id, label, part]) => [id, label, part.root] as const);
    this.#tabs = new TabList(area, title, [first!, ...others], (id) => void this.#go(id), { again: true });
    this.root = element("section", { class: "collections tabbed", "aria-labelledby": this.#heading.id }, this.#heading, this.notice, this.#tabs.root, ...this.#tabs.panels);
  }

  focus(): void {
    this.#heading.focus();
  }

  /** Show the tab that the place names, or the first one. */
  async show({ tab, query }: ViewPlace): Promise<void> {
    const id = this.#parts.has(tab) ? tab : this.#first;
    this.#tabs.show(id);
    await this.#parts.get(id)!.show(query);
  }

  async #go(id: string): Promise<void> {
    // Going back leads to the tab before. `pushState` does not fire `hashchange`, so the focus stays on the tab.
    const fragment = viewFragment({ area: this.#area, tab: id, query: {} });
    if (location.hash !== fragment) history.pushState(null, "", fragment);
    await this.#parts.get(id)!.show({});
  }
}

/** Note in the address what the tab shows, so that a reload shows the same. */
export function noted(place: ViewPlace): void {
  const fragment = viewFragment(place);
  if (location.hash !== fragment) history.replaceState(null, "", fragment);
}
