/** A view of several tabs, each with an address: the profile, and the administration. */

import { arrange, element } from "./dom.js";
import { t } from "../language/language.js";
import { Lazy } from "./lazy.js";
import { TabList } from "./tablist.js";
import { viewAt, viewFragment, type Area, type ViewPlace } from "./views.js";

/** The content of a tab. */
export interface Part {
  readonly root: HTMLElement;
  /** Read the content again, with what the address asks for. */
  readonly show: (query: Readonly<Record<string, string>>) => Promise<void>;
  /** Read again what the content says of the server. What the user has written and unfolded stays. */
  readonly reread?: () => Promise<void>;
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
  return { root, show, reread: async () => lazy.view?.reread?.() };
}

/** A tab: its name in the address, its label and its content. */
export type PartRow = readonly [id: string, label: string, part: Part];

/** Tabs under one heading. The address of the group shows the first of them. */
export type PartGroup = readonly [id: string, label: string, rows: readonly [PartRow, ...PartRow[]]];

export class TabbedView {
  readonly root: HTMLElement;
  readonly title: string;
  /** What the user should know in every tab; hidden while it is empty. */
  readonly notice = element("p", { class: "access" });
  readonly #area: Area;
  readonly #heading: HTMLElement;
  readonly #parts: ReadonlyMap<string, Part>;
  readonly #tabs: readonly TabList<string>[];
  readonly #groups: TabList<string> | undefined;
  /** By the names of parts and of groups: the group, the place of its tabs, and the part. */
  readonly #places: ReadonlyMap<string, readonly [group: string, place: number, part: string]>;
  readonly #first: string;
  readonly #lead: Part | undefined;

  /** A single group has no heading. `lead`: what stands above the tabs while the address names none of them. */
  constructor(area: Area, title: string, groups: readonly [PartGroup, ...PartGroup[]], lead?: Part) {
    this.#area = area;
    this.title = title;
    this.#heading = element("h2", { id: `${area}-title`, tabindex: "-1" }, title);
    this.#lead = lead;
    this.#parts = new Map(groups.flatMap(([, , rows]) => rows.map(([id, , part]) => [id, part])));
    this.#places = new Map(groups.flatMap(([group, , rows], place) => [group, ...rows.map(([id]) => id)].map((id) => [id, [group, place, this.#parts.has(id) ? id : rows[0][0]]])));
    this.#first = groups[0][2][0][0];
    this.#tabs = groups.map(([, label, rows]) => {
      const [first, ...others] = rows.map(([id, name, part]) => [id, name, part.root] as const);
      return new TabList(area, label || title, [first!, ...others], (id) => void this.#go(id), { again: true });
    });
    const [first, ...others] = groups.map(([id, label], place) => [id, label, element("div", { class: "grouped" }, this.#tabs[place]!.root, ...this.#tabs[place]!.panels)] as const);
    this.#groups = others.length > 0 ? new TabList(area, title, [first!, ...others], (id) => void this.#go(id), { again: true }) : undefined;
    const tabs = this.#groups ? [this.#groups.root, ...this.#groups.panels] : [...first![2].childNodes];
    this.root = element("section", { class: lead ? "collections tabbed coming" : "collections tabbed", "aria-labelledby": this.#heading.id }, this.#heading, this.notice, ...(lead ? [lead.root] : []), ...tabs);
  }

  focus(): void {
    this.#heading.focus();
  }

  /** Show the tab that the place names, or the first one. */
  async show({ tab, query }: ViewPlace): Promise<void> {
    if (this.#lead) this.#lead.root.hidden = tab !== "";
    if (!tab) await this.#lead?.show(query); // it moves what stands below
    this.root.classList.remove("coming");
    const [group, place, id] = this.#places.get(tab) ?? this.#places.get(this.#first)!;
    this.#groups?.show(group);
    this.#tabs[place]!.show(id);
    await this.#parts.get(id)!.show(query);
  }

  /** Read again what the view says of the server. */
  async reread(): Promise<void> {
    const tab = viewAt(location.hash)?.tab ?? "";
    const [, , id] = this.#places.get(tab) ?? this.#places.get(this.#first)!;
    await Promise.all([this.#parts.get(id)!.reread?.(), tab || this.#lead?.reread?.()]);
  }

  async #go(chosen: string): Promise<void> {
    const [, place, id] = this.#places.get(chosen)!;
    if (this.#lead) this.#lead.root.hidden = true;
    this.#tabs[place]!.show(id);
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
