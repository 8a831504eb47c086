/** Shows administrators the audit log of the tenant. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { AuditEvent } from "@responsa/contract/responsa/admin/v1/audit_event_pb.js";
import { locale } from "../language/language.js";
import { t } from "../language/operators/texts.js";
import type { Api } from "../server/api.js";
import { element, WRITTEN } from "../widgets/dom.js";
import { moment } from "../text/facts.js";
import { nameWithin } from "../text/names.js";
import { choiceEntry, Entry } from "../widgets/fields.js";
import { Listing } from "../widgets/listing.js";
import { factsList } from "../widgets/resourcelist.js";
import type { People } from "../server/people.js";
import { CollectionNames } from "./collectionnames.js";
import { PersonSearch } from "./personsearch.js";
import { eventsFilter, folded, sentenceOf, subjectOf, SUBJECTS } from "./sentences.js";
import { noted, type Part } from "../widgets/tabbed.js";

const PAGE = 50;
const LOCAL = "local";
/** So many users fit into a filter of 1,024 bytes, next to the other conditions. */
const PEOPLE = 12;
const GROUPS = 200; // the maximum number of groups that the page knows by name

export class AuditView implements Part {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "admin">;
  readonly #people: People;
  readonly #collections: CollectionNames;
  readonly #who: PersonSearch;
  readonly #whom: PersonSearch;
  readonly #action = new Entry(t("action"), acts());
  readonly #from = day(t("from"));
  readonly #to = day(t("to"));
  readonly #outcome = choiceEntry(t("outcome"), [
    ["", t("all")],
    ["refused", t("refused")],
  ]);
  readonly #list: Listing<readonly [AuditEvent, ...AuditEvent[]]>;
  #names: ReadonlyMap<string, string> = new Map();

  constructor(api: Pick<Api, "admin" | "knowledge">, people: People) {
    this.#api = api;
    this.#collections = new CollectionNames(api);
    this.#people = people;
    this.#who = new PersonSearch(t("who"), people);
    this.#whom = new PersonSearch(t("doneTo"), people);
    this.#list = new Listing<readonly [AuditEvent, ...AuditEvent[]]>({
      label: t("auditLog"),
      read: (pageToken) => this.#read(pageToken),
      row: (events) => (events.length > 1 ? foldedRow(events, this.#names) : eventRow(events[0], this.#names)),
      empty: () => (this.#to.control.value && this.#from.control.value > this.#to.control.value ? t("noEventDays") : t("noEvent")),
    });
    const form = element(
      "form",
      { class: "search-form", role: "search", "aria-label": t("auditLog") },
      ...this.#entries.map(([, one]) => one.root),
      element("button", { type: "submit" }, t("find")),
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#find();
    });
    for (const one of [this.#action, this.#outcome]) one.control.addEventListener("change", () => this.#find());
    const about = element("p", { class: "note" }, t("auditAbout"));
    this.root = element("div", { class: "stack" }, about, form, this.#list.root);
  }

  /** The filters, with their names in the address. */
  get #entries(): readonly (readonly [string, Entry])[] {
    return [["who", this.#who.entry], ["whom", this.#whom.entry], ["action", this.#action], ["from", this.#from], ["to", this.#to], ["outcome", this.#outcome]];
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    for (const [name, { control }] of this.#entries) {
      control.value = query[name] ?? "";
      if (control instanceof HTMLSelectElement && control.selectedIndex < 0) control.value = ""; // the address names a value that does not exist
    }
    await this.#who.show(query["who"] ?? "");
    await this.#whom.show(query["whom"] ?? "");
    await this.#list.refresh();
  }

  #find(): void {
    noted({ area: "administration", tab: "audit", query: { ...Object.fromEntries(this.#entries.map(([name, one]) => [name, one.control.value])), who: this.#who.sought, whom: this.#whom.sought } });
    void this.#list.refresh();
  }

  async #read(pageToken: string) {
    const most = this.#who.sought && this.#whom.sought ? PEOPLE / 2 : PEOPLE;
    const actors = this.#who.sought === LOCAL ? [LOCAL] : await this.#who.names(most);
    const affected = await this.#whom.names(most);
    if (actors?.length === 0 || affected?.length === 0) return { items: [], next: "" };
    const filter = eventsFilter({ actors, affected, action: this.#action.control.value, from: this.#from.control.value, to: this.#to.control.value, refused: this.#outcome.control.value === "refused" });
    const { auditEvents, nextPageToken } = await this.#api.admin.listAuditEvents({ pageSize: PAGE, pageToken, filter });
    const readers = auditEvents.flatMap(({ addedReaders, removedReaders }) => [...addedReaders, ...removedReaders].flatMap(({ who }) => (who.case === "user" ? [who.value] : [])));
    const [people, collections] = await Promise.all([
      this.#people.labels([...auditEvents.flatMap(({ actor, resource, onBehalfOf, affectedUser }) => [actor, subjectOf(resource), onBehalfOf, affectedUser]), ...readers]),
      this.#collections.labels(auditEvents.map(({ resource }) => subjectOf(resource))),
    ]);
    const grouped = auditEvents.some(({ resource, addedReaders, removedReaders }) => resource.startsWith("groups/") || [...addedReaders, ...removedReaders].some(({ who }) => who.case === "group"));
    const { groups } = grouped ? await this.#api.admin.listGroups({ pageSize: GROUPS }) : { groups: [] };
    this.#names = new Map([...this.#names, ...people, ...collections, ...groups.map(({ name, displayName }) => [name, nameWithin(displayName)] as const)]);
    // Who asks for sign-ins wants to see each.
    return { items: this.#action.control.value ? auditEvents.map((one) => [one] as const) : folded(auditEvents), next: nextPageToken };
  }
}

/** A list of the acts by what they are about. */
function acts(): HTMLSelectElement {
  const choice = ([value, label]: readonly [string, string]) => element("option", { value }, label);
  return element("select", {}, choice(["", t("all")]), ...SUBJECTS.map(([label, found]) => element("optgroup", { label }, ...found.map(choice))));
}

/** Several sign-ins and sign-outs in one row. */
function foldedRow(events: readonly [AuditEvent, ...AuditEvent[]], names: ReadonlyMap<string, string>): HTMLElement {
  const people = [...new Set(events.map(({ actor }) => names.get(actor) ?? actor))];
  const who = new Intl.ListFormat(locale()).format(people.length > 3 ? [...people.slice(0, 2), t("otherPeople", { count: people.length - 2 })] : people);
  const times = [events.at(-1)!, events[0]].map(({ createTime }) => moment(createTime));
  const details = element("details", { class: "raw" }, element("summary", {}, t("signIns", { count: events.length })), element("ul", { class: "documents" }, ...events.map((one) => eventRow(one, names))));
  return element("li", { class: "wrapping event" }, element("div", { class: "about" }, element("span", WRITTEN, t("signedInOrOut", { who })), element("p", { class: "note whole" }, times[0] === times[1] ? times[0]! : t("fromTo", { from: times[0]!, to: times[1]! }))), details);
}

function day(label: string): Entry<HTMLInputElement> {
  return new Entry(label, element("input", { type: "date" }));
}

function eventRow(event: AuditEvent, names: ReadonlyMap<string, string>): HTMLElement {
  const { name, createTime, actor, action, resource, outcome, address, callId, onBehalfOf, affectedUser } = event;
  const raw: readonly (readonly [string, string])[] = [
    [t("action"), action],
    [t("actor"), actor],
    [t("onBehalfOf"), onBehalfOf],
    [t("resource"), resource],
    [t("doneTo"), affectedUser],
    [t("outcome"), outcome],
    [t("address"), address],
    [t("call"), callId],
    [t("time"), createTime ? timestampDate(createTime).toISOString() : ""],
    [t("event"), name],
  ];
  const details = element("details", { class: "raw" }, element("summary", {}, t("details")), factsList(raw.map(([key, value]) => [key, value && element("code", {}, value)])));
  const refused = outcome === "OK" ? [] : [element("span", { class: "badge warn" }, t("isRefused"))];
  return element(
    "li",
    { class: "wrapping event" },
    element("div", { class: "about" }, element("span", WRITTEN, sentenceOf(event, names)), ...refused, element("p", { class: "note whole" }, [moment(createTime), address].filter(Boolean).join(" · "))),
    details,
  );
}
