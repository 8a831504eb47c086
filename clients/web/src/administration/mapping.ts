/** Finds the lines to which mistakes of a mapping belong, and puts runs of sources into words. Nothing here touches the page. */

import { timestampDate } from "@bufbuild/protobuf/wkt";
import { SyncStage, type Source, type SyncMetadata, type SyncResult } from "@responsa/contract/responsa/admin/v1/source_pb.js";
import type { Failure } from "../server/errors.js";
import { t } from "../language/administration/texts.js";
import { locale } from "../language/language.js";

/** A mistake in a mapping. `line`: counted from 1; undefined if the mistake belongs to no line. */
export interface Mistake {
  readonly line: number | undefined;
  readonly text: string;
}

const LINE = /^line (\d+): /;

/** The mistakes in the mapping of a request; empty for an error of another kind. */
export function mistakesOf({ reason, message, violations }: Failure): Mistake[] {
  const texts = violations.filter(({ field }) => field === "mapping" || field === "source.mapping").map(({ description }) => description);
  // A connection or a collection that does not exist has a line, but no violation.
  if (reason === "RESOURCE_NOT_FOUND" && LINE.test(message)) texts.push(message);
  return texts.map((text) => {
    const found = LINE.exec(text);
    return { line: found ? Number(found[1]) : undefined, text: found ? text.slice(found[0].length) : text };
  });
}

/** The places of a line in a text: of its first character, and after its last one. */
export function placesOf(text: string, line: number): readonly [start: number, end: number] {
  let start = 0;
  for (let before = 1; before < line; before += 1) {
    const end = text.indexOf("\n", start);
    if (end < 0) break;
    start = end + 1;
  }
  const end = text.indexOf("\n", start);
  return [start, end < 0 ? text.length : end];
}

/** What a run does at the moment. */
export function progressText({ stage, documentsDone, documentsTotal }: Pick<SyncMetadata, "stage" | "documentsDone" | "documentsTotal">): string {
  if (stage === SyncStage.QUEUED) return t("runQueued");
  if (documentsTotal === 0) return stage === SyncStage.INDEXING ? t("runEnds") : t("runReads");
  return t("runDone", { done: documentsDone, count: documentsTotal });
}

/** What a run has done, for example "2 documents created, 1 row failed, 5 unchanged." `files`: whether the source is a folder. */
export function resultText({ created, updated, deleted, unchanged, failed, skipped = 0 }: Pick<SyncResult, "created" | "updated" | "deleted" | "unchanged" | "failed"> & { readonly skipped?: number }, files: boolean): string {
  const parts = [["runCreated", created], ["runUpdated", updated], ["deletedDocuments", deleted], [files ? "runFailedFiles" : "runFailedRows", failed], ["runSkipped", skipped]] as const;
  return `${[...parts.filter(([, count]) => count > 0), ["sumUnchanged", unchanged] as const].map(([key, count]) => t(key, { count })).join(", ")}.`;
}

/** What a source has read, for example "checked 5 minutes ago, 212 files, 3 not read". */
export function stateText({ checkTime, documentCount, failedCount, folder }: Pick<Source, "checkTime" | "documentCount" | "failedCount" | "folder">): string {
  const parts = checkTime ? [t("checkedWhen", { when: since(timestampDate(checkTime)) }), t(folder ? "filesRead" : "documentsMade", { count: documentCount })] : [t("notChecked")];
  if (failedCount > 0) parts.push(t("notRead", { count: failedCount }));
  return parts.join(", ");
}

/** How long ago a moment is, e.g. "5 minutes ago". */
function since(date: Date): string {
  const seconds = Math.min(0, (date.getTime() - Date.now()) / 1000);
  const [length, unit] = ([[86_400, "day"], [3600, "hour"], [60, "minute"]] as const).find(([long]) => -seconds >= long) ?? [1, "second"];
  return new Intl.RelativeTimeFormat(locale(), { numeric: "auto" }).format(Math.ceil(seconds / length), unit);
}

const PEOPLE = `connection = ""
collection = ""

[queries.people]
sql = "SELECT id, name, mail, role FROM employee"
one_subject = "SELECT id, name, mail, role FROM employee WHERE mail = :subject"
columns = { id = "integer", name = "text", mail = "text", role = "text" }

[documents.profile]
query = "people"
key = "{{ id }}"
title = "Profile of {{ name }}"
subject = "{{ mail }}"
text = """
# {{ name }}

{{ name }} works as {{ role }}.
"""
`;

const ROWS = `connection = ""
collection = ""

[queries.articles]
sql = "SELECT id, title, body FROM article"
columns = { id = "integer", title = "text", body = "text" }

[documents.article]
query = "articles"
key = "{{ id }}"
title = "{{ title }}"
text = "{{ body }}"
`;

const PAGES = `connection = ""
collection = ""
schedule = "30 2 * * *"

[pages]
sitemaps = ["https://docs.example.org/sitemap.xml"]
addresses = []
`;

/** The mappings that a new source can begin with, by their labels. */
export const EXAMPLES: ReadonlyMap<string, string> = new Map([
  [t("exampleRecords"), PEOPLE],
  [t("exampleRows"), ROWS],
  [t("examplePages"), PAGES],
]);
