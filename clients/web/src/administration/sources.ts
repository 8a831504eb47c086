/** Shows administrators the sources, which turn rows of databases and pages of websites into documents, with the notifications about their runs, and leads to the page of each source. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import type { Source } from "@responsa/contract/responsa/admin/v1/source_pb.js";
import type { Api } from "../server/api.js";
import { element, WRITTEN } from "../widgets/dom.js";
import { momentOf } from "../text/facts.js";
import { Listing } from "../widgets/listing.js";
import type { Part } from "../widgets/tabbed.js";
import { viewFragment } from "../widgets/views.js";
import { DeliveriesPart } from "./deliveries.js";
import { SourcePage, sourceId } from "./sourcepage.js";

const PAGE = 50;
const NEW = "-";

export type SourcesApi = Pick<Api, "admin" | "knowledge" | "operations">;

export class SourcesView implements Part {
  readonly root: HTMLElement;
  readonly #list: Listing<Source>;
  readonly #page: SourcePage;
  readonly #deliveries: DeliveriesPart;
  /** The list, with what belongs to it. */
  readonly #all: HTMLElement;

  constructor(api: SourcesApi, say: (text: string) => void) {
    this.#list = new Listing<Source>({
      label: "Sources",
      read: async (pageToken) => {
        const { sources, nextPageToken } = await api.admin.listSources({ pageSize: PAGE, pageToken });
        return { items: sources, next: nextPageToken };
      },
      row: sourceRow,
      empty: () => "No sources yet.",
    });
    this.#deliveries = new DeliveriesPart(api, say);
    const about = element("p", { class: "note grow" }, "A source turns the rows of a database or the pages of websites into documents.");
    this.#all = element("div", { class: "stack" }, element("div", { class: "row wrap" }, about, element("a", { class: "button", href: placeOf(NEW) }, "New source")), this.#list.root, this.#deliveries.root);
    this.#page = new SourcePage(api, say, placeOf);
    this.root = element("div", {}, this.#all, this.#page.root);
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    const source = query["source"] ?? "";
    this.#all.hidden = source !== "";
    this.#page.root.hidden = source === "";
    if (source) {
      this.#deliveries.leave();
      return this.#page.show(source === NEW ? "" : `sources/${source}`);
    }
    this.#page.leave();
    await Promise.all([this.#list.refresh(), this.#deliveries.show()]);
  }
}

/** The address of a source's page; "" leads to the list. */
function placeOf(id: string): string {
  return viewFragment({ area: "administration", tab: "sources", query: { source: id } });
}

function sourceRow(one: Source): HTMLElement {
  const id = sourceId(one.name);
  const changed = one.updateTime ? `changed ${momentOf(timestampDate(one.updateTime))}` : "";
  const facts = [one.displayName.trim() ? id : "", `connection ${one.connection}`, one.collection, changed].filter(Boolean).join(" · ");
  return element("li", { class: "wrapping" }, element("div", { class: "about" }, element("a", { class: "name", href: placeOf(id), ...WRITTEN }, one.displayName.trim() || id), element("p", { class: "note whole", ...WRITTEN }, facts)));
}
