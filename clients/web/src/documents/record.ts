/** Shows what is held about one person: the documents with this person as their subject, by source. Hidden while nothing is held. */

import { DocumentState } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import type { ProfileDocument, ProfilePart, SubjectProfile } from "@responsa/contract/responsa/knowledge/v1/subject_profile_pb.js";
import type { Api } from "../server/api.js";
import { element, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";
import { moment } from "../text/facts.js";
import { linesOf } from "../text/values.js";
import { fragmentOf } from "./place.js";
import { t } from "../language/documents/texts.js";

const STATES: Partial<Record<DocumentState, string>> = {
  [DocumentState.INDEXING]: t("stateRead"),
  [DocumentState.FAILED]: t("newestUnread"),
};

export class RecordPart {
  readonly root: HTMLElement;
  readonly #api: Pick<Api, "knowledge">;
  readonly #title: string;
  #shown = 0;

  constructor(api: Pick<Api, "knowledge">, title: string) {
    this.#api = api;
    this.#title = title;
    this.root = element("section", { class: "stack", "aria-label": title, hidden: true });
  }

  /** Show no record any more, also none that is still being read. */
  leave(): void {
    this.#shown += 1;
    this.root.hidden = true;
  }

  /** Show the record of `users/{uuid}`, or with "" that of the caller. */
  async show(subject: string): Promise<void> {
    const show = (this.#shown += 1);
    let found: SubjectProfile;
    try {
      found = await this.#api.knowledge.getSubjectProfile({ subject });
    } catch (error) {
      if (show !== this.#shown) return;
      replace(this.root, element("h4", {}, this.#title), element("p", { class: "problem", role: "alert" }, failureOf(error).message));
      this.root.hidden = false;
      return;
    }
    if (show !== this.#shown) return; // a later call will show the newer result
    const shown = found.parts.reduce((sum, one) => sum + one.documents.length, 0);
    const more = found.documentCount > shown ? [element("p", { class: "note" }, t("firstOf", { shown, count: found.documentCount }))] : [];
    replace(this.root, element("h4", {}, this.#title), ...more, ...found.parts.flatMap(partOf));
    this.root.hidden = found.parts.length === 0;
  }
}

function partOf(part: ProfilePart): HTMLElement[] {
  const label = part.source ? part.sourceDisplayName.trim() || part.source.replace(/^sources\//, "") : t("otherDocuments");
  const state = [
    part.syncTime && t("upToDate", { time: moment(part.syncTime) }),
    part.failedRows > 0 && t("failedRows", { count: part.failedRows }),
  ];
  const note = state.filter(Boolean).join("; ");
  return [
    element("p", WRITTEN, label, ...(note ? [element("span", { class: "note" }, ` · ${note}`)] : [])),
    ...(part.documents.length > 0 ? [element("ul", { class: "documents", "aria-label": label }, ...part.documents.map(documentRow))] : []),
  ];
}

function documentRow({ kind, document }: ProfileDocument): HTMLElement {
  if (!document) return element("li", {}); // never sent
  const { name, title, state, updateTime, metadata } = document;
  const facts = [kind, STATES[state] ?? "", updateTime ? t("changedAt", { time: moment(updateTime) }) : ""].filter(Boolean).join(" · ");
  const values = linesOf(metadata);
  return element(
    "li",
    { class: "wrapping" },
    element("div", { class: "about" }, element("a", { class: "name", href: fragmentOf({ name, tab: undefined, page: 0 }), ...WRITTEN }, title), element("p", { class: "note whole" }, facts), ...(values ? [element("p", { class: "note whole lines", ...WRITTEN }, values)] : [])),
  );
}
