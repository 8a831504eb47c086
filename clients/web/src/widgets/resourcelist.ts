/** Lists of resources that people administer: rows, filters that the address keeps, and what people do with a row. */

import { uuid } from "@responsa/client/parts.js";
import { t } from "../language/account/texts.js";
import { failureOf, type Failure } from "../server/errors.js";
import { confirmed, filled, type Confirmation } from "./dialog.js";
import { button, element, WRITTEN } from "./dom.js";
import { Entry } from "./fields.js";
import { Listing } from "./listing.js";
import { noted, type Part } from "./tabbed.js";
import type { ViewPlace } from "./views.js";

const PAGE = 50;

export interface Row {
  readonly name: string;
  /** The address of the resource's own page. */
  readonly href?: string | undefined;
  readonly badges?: readonly HTMLElement[];
  readonly problem?: string | HTMLElement;
  readonly facts?: readonly (string | false | undefined)[];
  /** The tip of the facts. */
  readonly tip?: string;
  /** What stands below the facts. */
  readonly more?: readonly HTMLElement[];
  readonly acts?: readonly HTMLElement[];
}

export function rowOf({ name, href, badges = [], problem = "", facts = [], tip, more = [], acts = [] }: Row): HTMLElement {
  const about = element("div", { class: "about" }, element(href === undefined ? "span" : "a", { class: "name", href, ...WRITTEN }, name), ...badges);
  if (problem) about.append(problem instanceof HTMLElement ? problem : element("p", { class: "problem whole", ...WRITTEN }, problem));
  const note = facts.filter(Boolean).join(" · ");
  if (note) about.append(element("p", { class: "note whole", title: tip, ...WRITTEN }, note));
  about.append(...more);
  return element("li", { class: "wrapping" }, about, ...(acts.length > 0 ? [element("div", { class: "row wrap acts" }, ...acts)] : []));
}

export function badge(text: string, kind: "" | "good" | "warn" = ""): HTMLElement {
  return element("span", { class: `badge ${kind}` }, text);
}

/** The names of things with their values, without those that have none. */
export function factsList(facts: readonly (readonly [name: string, value: string | Node])[]): HTMLElement {
  return element("dl", { class: "facts-list" }, ...facts.filter(([, value]) => value).map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", WRITTEN, value))));
}

/** A view in which people act on resources. */
export interface Stage {
  readonly root: HTMLElement;
  readonly say: (text: string) => void;
  /** Show a problem. */
  readonly refuse: (why: string) => void;
  /** Read the view again. */
  readonly again: () => Promise<void>;
  /** The control that gets the focus if the button that had it is gone. */
  readonly home: HTMLElement;
}

export interface Act<Done> {
  readonly label: string;
  /** The button's name for screen readers. */
  readonly name: string;
  /** What to ask before. `action` is the label if it is not given. */
  readonly ask?: Partial<Confirmation> & Omit<Confirmation, "action">;
  /** Whether the act takes something away: that is so if it asks, unless this says otherwise. */
  readonly danger?: boolean;
  readonly does: () => Promise<Done>;
  readonly said: string | ((done: Done) => string);
  readonly after?: (done: Done) => void;
  /** The name of the button that gets the focus afterwards. */
  readonly next?: string;
}

/** The button of an act. Afterwards, the view is read again. */
export function actButton<Done>(stage: Stage, { label, name, ask, danger = ask !== undefined, does, said, after, next = name }: Act<Done>): HTMLButtonElement {
  const perform = async () => {
    if (ask && !(await confirmed({ action: label, ...ask }))) return;
    let why = "";
    try {
      const done = await does();
      stage.say(typeof said === "string" ? said : said(done));
      after?.(done);
    } catch (error) {
      const failure = failureOf(error);
      why = failure.reason === "ETAG_MISMATCH" ? t("changedNotDone") : failure.message;
    }
    await stage.again();
    if (why) stage.refuse(why);
    focusOn(stage, next);
  };
  return button(label, () => void perform(), { class: danger ? "plain danger" : "plain", "aria-label": name });
}

/** A button that begins something, such as a dialog that makes a resource. Afterwards, it gets the focus back. */
export function beginButton(label: string, begin: () => Promise<void>, kind = "quiet"): HTMLButtonElement {
  const made: HTMLButtonElement = button(label, () => void begin().finally(() => made.focus()), { class: kind });
  return made;
}

/** Focus the button with that name, or the home of the view. */
export function focusOn({ root, home }: Stage, name: string): void {
  const found = [...root.querySelectorAll<HTMLElement>("button")].find((one) => (one.getAttribute("aria-label") ?? one.textContent) === name);
  (found ?? home).focus();
}

export interface Edit<T> {
  readonly title: string;
  readonly rows: readonly HTMLElement[];
  readonly first: HTMLElement;
  /** Save the changed fields, with the etag of the state that the user has seen. */
  readonly save: () => Promise<unknown>;
  /** Read the resource again, after somebody else has changed it. */
  readonly read: () => Promise<T>;
  /** Show what somebody else has changed. A further try replaces it. */
  readonly compare: (theirs: T) => void;
  readonly explain?: (failure: Failure) => string | undefined;
}

/** Let the user change a resource in a dialog. Resolves to whether it was saved. */
export function edited<T>({ title, rows, first, save, read, compare, explain }: Edit<T>): Promise<boolean> {
  const explained = async (failure: Failure) => {
    if (failure.reason.endsWith("_NOT_FOUND")) return t("goneMeanwhile");
    if (failure.reason !== "ETAG_MISMATCH") return explain?.(failure);
    try {
      compare(await read());
    } catch (error) {
      return failureOf(error).message;
    }
    return t("changedNotSaved");
  };
  return filled({ title, action: t("save"), fields: rows, first, act: async () => void (await save()), explain: explained });
}

/** Returns the request_id for a call with this content. It is the same for every try with the same content, because an interrupted try may have succeeded. */
export function tries(): (content: unknown) => string {
  let tried = { body: "", requestId: "" };
  return (content) => {
    const body = JSON.stringify(content);
    if (body !== tried.body) tried = { body, requestId: uuid() };
    return tried.requestId;
  };
}

/** A field by which a list is filtered, whose value the address keeps. */
export interface Filter {
  readonly entry: Entry;
  readonly sought: string;
  readonly show: (sought: string) => Promise<void>;
}

type Sought = Readonly<Record<string, string>>;

export interface Resources<T, Page> {
  readonly label: string;
  /** Read a page of the list. Without a page, nothing matches. */
  readonly list: (asked: { readonly pageSize: number; readonly pageToken: string }, sought: Sought) => Promise<Page | undefined>;
  readonly items: (page: Page) => readonly T[] | Promise<readonly T[]>;
  readonly row: (item: T, stage: Stage) => Row;
  readonly empty: string;
  /** The text in place of an empty list if there are filters. */
  readonly unmatched?: string;
  /** The heading, which shows the label; none for the only list of a tab. */
  readonly heading?: "h2" | "h3" | "h4";
  readonly about?: readonly (Node | string)[];
  /** The controls beside `about`. */
  readonly add?: (stage: Stage) => readonly HTMLElement[];
  /** By their names in the address. */
  readonly filters?: Readonly<Record<string, Entry | Filter>>;
  /** The tab of the administration in whose address the filters are. */
  readonly tab?: string;
  readonly say: (text: string) => void;
}

export class ResourceList<T, Page extends { readonly nextPageToken: string }> implements Part, Stage {
  readonly root: HTMLElement;
  readonly home: HTMLElement;
  readonly say: (text: string) => void;
  readonly #list: Listing<T>;
  readonly #filters: readonly (readonly [name: string, filter: Filter])[];
  readonly #tab: string;
  #sought: Sought = {};

  constructor({ label, list, items, row, empty, unmatched = empty, heading, about = [], add = () => [], filters = {}, tab = "", say }: Resources<T, Page>) {
    this.say = say;
    this.#tab = tab;
    this.#filters = Object.entries(filters).map(([name, one]) => [name, one instanceof Entry ? plain(one) : one]);
    this.#list = new Listing<T>({
      label,
      read: async (pageToken) => {
        const page = await list({ pageSize: PAGE, pageToken }, this.#sought);
        return page ? { items: await items(page), next: page.nextPageToken } : { items: [], next: "" };
      },
      row: (item) => rowOf(row(item, this)),
      empty: () => (Object.values(this.#sought).some(Boolean) ? unmatched : empty),
    });
    const title = heading && element(heading, { tabindex: "-1" }, label);
    const note = element("p", { class: "note grow", tabindex: "-1" }, ...about);
    const buttons = add(this);
    const head = element("div", { class: "row wrap" }, ...(about.length > 0 ? [note] : []), ...buttons);
    this.root = element(title ? "section" : "div", { class: "stack", ...(title && { "aria-label": label }) }, ...(title ? [title] : []), ...(head.childElementCount > 0 ? [head] : []), ...this.#form(label), this.#list.root);
    this.home = buttons[0] ?? this.#filters[0]?.[1].entry.control ?? title ?? note;
  }

  /** The address of the list with the present filters. */
  get place(): ViewPlace {
    return { area: "administration", tab: this.#tab, query: this.#sought };
  }

  readonly again = (): Promise<void> => this.#list.refresh();

  readonly reread = (): Promise<void> => this.#list.reread();

  readonly refuse = (why: string): void => this.#list.refuse(why);

  async show(query: Sought): Promise<void> {
    await Promise.all(this.#filters.map(([name, one]) => one.show(query[name] ?? "")));
    this.#take();
    await this.again();
  }

  #form(label: string): HTMLElement[] {
    if (this.#filters.length === 0) return [];
    const find = (event: Event) => {
      event.preventDefault();
      this.#take();
      noted(this.place);
      void this.again();
    };
    for (const [, { entry }] of this.#filters) if (entry.control instanceof HTMLSelectElement) entry.control.addEventListener("change", find);
    return [element("form", { class: "search-form", role: "search", "aria-label": label, submit: find }, ...this.#filters.map(([, one]) => one.entry.root), element("button", { type: "submit", class: "quiet" }, t("find")))];
  }

  #take(): void {
    this.#sought = Object.fromEntries(this.#filters.map(([name, one]) => [name, one.sought]));
  }
}

function plain(entry: Entry): Filter {
  const { control } = entry;
  return {
    entry,
    get sought() {
      return control.value.trim();
    },
    show(sought) {
      control.value = sought;
      if (control instanceof HTMLSelectElement && control.selectedIndex < 0) control.value = ""; // the address names a value that does not exist
      return Promise.resolve();
    },
  };
}
