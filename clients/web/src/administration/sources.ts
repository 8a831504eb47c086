/** Shows administrators the sources, which turn rows of databases, pages of websites and files of folders into documents, with the notifications about their runs, and leads to the page of each source. */

import type { ListSourcesResponse } from "@responsa/contract/responsa/admin/v1/admin_service_pb.js";
import type { Source } from "@responsa/contract/responsa/admin/v1/source_pb.js";
import { Labels } from "../documents/library.js";
import { t } from "../language/administration/texts.js";
import { element } from "../widgets/dom.js";
import { ResourceList } from "../widgets/resourcelist.js";
import type { Part } from "../widgets/tabbed.js";
import { viewFragment } from "../widgets/views.js";
import { deliveriesPart } from "./deliveries.js";
import { stateText } from "./mapping.js";
import { SourcePage, sourceId } from "./sourcepage.js";
import type { SourcesApi } from "./sourceruns.js";

const NEW = "-";
const FOLDER = "--";

export class SourcesView implements Part {
  readonly root: HTMLElement;
  readonly #list: ResourceList<Source, ListSourcesResponse>;
  readonly #page: SourcePage;
  readonly #deliveries: ReturnType<typeof deliveriesPart>;
  /** The list, with what belongs to it. */
  readonly #all: HTMLElement;

  constructor(api: SourcesApi, say: (text: string) => void) {
    const [labels, names] = [new Labels(api), new Map<string, string>()];
    this.#list = new ResourceList({
      label: t("sources"),
      about: [t("sourcesAbout")],
      add: () => [element("a", { class: "button", href: placeOf(FOLDER) }, t("connectFolder")), element("a", { class: "button quiet", href: placeOf(NEW) }, t("newSource"))],
      list: (asked) => api.admin.listSources(asked),
      items: async ({ sources }) => {
        labels.forget();
        await Promise.all(sources.map(async ({ collection }) => names.set(collection, await labels.of(collection))));
        return sources;
      },
      row: (source: Source) => {
        const { name, displayName, connection, collection, folder, problem } = source;
        const id = sourceId(name);
        return { name: displayName.trim() || id, href: placeOf(id), problem, facts: [stateText(source), folder ? folder.address : t("connectionOf", { connection }), names.get(collection)] };
      },
      empty: t("noSources"),
      say,
    });
    this.#deliveries = deliveriesPart(api, say);
    this.#all = element("div", { class: "stack" }, this.#list.root, element("details", { class: "raw" }, element("summary", {}, t("notifications")), this.#deliveries.root));
    this.#page = new SourcePage(api, say, placeOf);
    this.root = element("div", {}, this.#all, this.#page.root);
  }

  async show(query: Readonly<Record<string, string>>): Promise<void> {
    const source = query["source"] ?? "";
    this.#all.hidden = source !== "";
    this.#page.root.hidden = source === "";
    if (source) {
      this.#deliveries.leave();
      return this.#page.show(source === NEW || source === FOLDER ? "" : `sources/${source}`, source === FOLDER);
    }
    this.#page.leave();
    await Promise.all([this.#list.again(), this.#deliveries.show({})]);
  }

  readonly reread = async (): Promise<void> => {
    await (this.#all.hidden ? this.#page.reread() : Promise.all([this.#list.reread(), this.#deliveries.reread?.()]));
  };
}

/** The address of a source's page; "" leads to the list. */
function placeOf(id: string): string {
  return viewFragment({ area: "administration", tab: "sources", query: { source: id } });
}
