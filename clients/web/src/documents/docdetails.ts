/** The details of a document: its facts, labels and metadata. Title, labels and metadata can be changed; administrators also change the subject. */

import type { JsonObject } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";
import { DocumentState, type Document } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import type { DocumentVersion } from "@responsa/contract/responsa/knowledge/v1/document_version_pb.js";
import type { Api } from "../server/api.js";
import { wellFormed } from "@responsa/client/parts.js";
import { copyButton } from "../chat/copy.js";
import { button, element, field, replace, WRITTEN } from "../widgets/dom.js";
import { edited, factsList } from "../widgets/resourcelist.js";
import { dateOf, moment, originalOf, sizeOf } from "../text/facts.js";
import { labelLines, labelsOf } from "./labels.js";
import { collectionId } from "./library.js";
import { callName } from "../server/people.js";
import { textProblem } from "../administration/persona.js";
import { byName, linesOf, valuesOf, valuesProblem } from "../text/values.js";
import { locale } from "../language/language.js";
import { t } from "../language/documents/texts.js";

const TITLE_BYTES = 512;
const SUBJECT_BYTES = 200;

const STATES: Partial<Record<DocumentState, string>> = {
  [DocumentState.READY]: t("searchable"),
  [DocumentState.INDEXING]: t("stateRead"),
  [DocumentState.FAILED]: t("newestUnread"),
};

/** The parts of a document that users change, as the form shows them. */
interface Draft {
  readonly title: string;
  readonly labels: string;
  readonly metadata: string;
  readonly subject: string;
}

const PARTS: readonly (keyof Draft)[] = ["title", "labels", "metadata", "subject"];

export interface DetailsHooks {
  readonly say: (text: string) => void;
  /** The title, the labels, the metadata or the subject have changed. */
  readonly changed: () => void;
  /** The address at which this page shows the document. */
  readonly address: () => string;
  /** The signed-in user, `users/{uuid}`. */
  readonly user: string;
  /** Whether the user is an administrator. */
  readonly administrator: boolean;
}

export class DetailsView {
  readonly root = element("div", { class: "scrolling" });
  readonly #api: Pick<Api, "admin" | "knowledge">;
  readonly #hooks: DetailsHooks;
  #name = "";

  constructor(api: Pick<Api, "admin" | "knowledge">, hooks: DetailsHooks) {
    this.#api = api;
    this.#hooks = hooks;
  }

  /** `mayChange`: whether to offer changes. */
  async show(one: Document, mayChange: boolean, signal: AbortSignal): Promise<void> {
    if (one.name !== this.#name) replace(this.root); // nobody may edit another document than the shown one
    this.#name = one.name;
    const [version, owner] = await Promise.all([this.#searchable(one, signal), this.#ownerOf(one)]);
    if (signal.aborted) return;
    const edit = button(t("edit"), () => void this.#edit(one), { class: "quiet", "aria-label": t("editDetails") });
    const copy = copyButton(t("copyLink"), this.#hooks.address, this.#hooks.say);
    const download = element("a", { href: originalOf(one.name), download: true }, t("downloadOriginal"));
    const tags = element("ul", { class: "tags" }, ...byName(one.labels).map(([key, value]) => element("li", WRITTEN, value ? `${key}: ${value}` : key)));
    const metadata = linesOf(one.metadata);
    const facts: readonly (readonly [string, string | Node])[] = [
      [t("summary"), one.summary],
      [t("keywords"), one.keywords.join(", ")],
      [t("labels"), tags.childElementCount > 0 ? tags : ""],
      [t("metadata"), metadata && element("pre", WRITTEN, metadata)],
      [t("author"), one.author],
      [t("date"), one.date ? dateOf(timestampDate(one.date)) : ""],
      [t("language"), languageOf(one.language)],
      [t("path"), one.sourceKey],
      [t("address"), one.uri],
      [t("subject"), one.subject],
      [t("collection"), collectionId(one.collection)],
      [t("owner"), owner],
      [t("type"), one.mediaType],
      [t("parser"), version?.parser ?? ""],
      [t("size"), sizeOf(one.sizeBytes)],
      [t("state"), STATES[one.state] ?? ""],
      [t("error"), one.error?.message ?? ""],
      [t("version"), one.version > 0 ? String(one.version) : ""],
      [t("passages"), one.passageCount.toLocaleString(locale())],
      [t("added"), moment(one.createTime)],
      [t("changed"), moment(one.updateTime)],
    ];
    const held = this.root.contains(document.activeElement);
    replace(this.root, element("div", { class: "row wrap" }, ...(mayChange ? [edit] : []), copy, download), ...(mayChange ? [] : [element("p", { class: "note" }, t("readOnly"))]), factsList(facts));
    if (held) (mayChange ? edit : copy).focus();
  }

  /** The text for the owner of a document. Every reader may know the name of a collection's owner, and administrators the names of all users; otherwise the id stands for the owner. */
  async #ownerOf({ owner, collection }: Document): Promise<string> {
    if (owner === this.#hooks.user) return t("you");
    const other = owner.replace("users/", "");
    const found = await this.#api.knowledge.getCollection({ name: collection }).catch(() => undefined);
    if (found?.owner === owner && found.ownerDisplayName) return found.ownerDisplayName;
    if (!this.#hooks.administrator) return other;
    return this.#api.admin.getUser({ name: owner }).then(callName, () => other);
  }

  /** The version that searches use; undefined if it cannot be read. */
  async #searchable(one: Document, signal: AbortSignal): Promise<DocumentVersion | undefined> {
    const page = await this.#api.knowledge.listDocumentVersions({ parent: one.name, pageSize: 200 }, { signal }).catch(() => undefined);
    return page?.versions.find((version) => version.searchable);
  }

  async #edit(one: Document): Promise<void> {
    const fields = new Fields(draftOf(one), this.#hooks.administrator);
    let before = fields.draft;
    let { etag } = one;
    const saved = await edited<Document>({
      title: t("editDocument"),
      ...fields,
      save: async () => {
        const paths = PARTS.filter((part) => fields.draft[part] !== before[part]);
        const document = { name: one.name, etag, ...fields.values };
        if (paths.length > 0) await this.#api.knowledge.updateDocument({ document, updateMask: { paths } });
      },
      read: () => this.#api.knowledge.getDocument({ name: one.name }),
      compare: (theirs) => {
        ({ etag } = theirs);
        fields.compare((before = draftOf(theirs)));
      },
    });
    if (!saved) return;
    this.#hooks.say(t("documentSaved"));
    this.#hooks.changed();
  }
}

/** The controls of the form. */
class Fields {
  readonly rows: readonly HTMLElement[];
  readonly first = element("input", { id: "document-title-field", type: "text", required: true, autocomplete: "off", ...WRITTEN });
  readonly #controls = {
    title: this.first,
    labels: element("textarea", { id: "document-labels", rows: "4", "aria-describedby": "document-labels-note", ...WRITTEN }),
    metadata: element("textarea", { id: "document-metadata", rows: "4", "aria-describedby": "document-metadata-note", ...WRITTEN }),
    subject: element("input", { id: "document-subject", type: "text", autocomplete: "off", "aria-describedby": "document-subject-note", ...WRITTEN }),
  };
  readonly #theirs = element("div", { class: "theirs", hidden: true });

  /** `administrator`: whether to offer a change of the subject. */
  constructor(draft: Draft, administrator: boolean) {
    for (const part of PARTS) {
      const control = this.#controls[part];
      control.value = draft[part];
      control.addEventListener("input", () => control.setCustomValidity(problemOf(part, control.value)));
    }
    const { labels, metadata, subject } = this.#controls;
    this.rows = [
      field(t("title"), this.first),
      field(t("labels"), labels, t("labelsNote")),
      field(t("metadata"), metadata, t("metadataNote")),
      ...(administrator ? [field(t("subject"), subject, t("subjectNote"))] : []),
      this.#theirs,
    ];
  }

  /** The content of the form as it was typed. A part that nobody changed is not sent, even if its lines could be read in another way. */
  get draft(): Draft {
    const { title, labels, metadata, subject } = this.#controls;
    return { title: title.value, labels: labels.value, metadata: metadata.value, subject: subject.value };
  }

  get values() {
    const { title, labels, metadata, subject } = this.draft;
    const read = [labelsOf(labels), valuesOf(metadata)] as const;
    return {
      title: wellFormed(title.trim()),
      labels: typeof read[0] === "string" ? {} : read[0],
      metadata: typeof read[1] === "string" ? ({} as JsonObject) : read[1],
      subject: wellFormed(subject.trim()),
    };
  }

  /** Show the present values of the document that differ from the form. */
  compare(theirs: Draft): void {
    const { draft } = this;
    const differing = PARTS.filter((part) => theirs[part] !== draft[part]);
    const values = differing.flatMap((part) => [element("dt", {}, t(part)), element("dd", WRITTEN, theirs[part] || t("none"))]);
    replace(this.#theirs, element("h3", {}, t("asNow")), element("dl", {}, ...values));
    this.#theirs.hidden = differing.length === 0;
  }
}

/** Why the text of a part is not valid; "" if it is valid. */
function problemOf(part: keyof Draft, text: string): string {
  if (part === "metadata") return valuesProblem(text);
  if (part === "title") return textProblem(text, TITLE_BYTES);
  if (part === "subject") return text.trim() && textProblem(text, SUBJECT_BYTES);
  const read = labelsOf(text);
  return typeof read === "string" ? read : "";
}

function draftOf({ title, labels, metadata, subject }: Document): Draft {
  return { title, labels: labelLines(labels), metadata: linesOf(metadata), subject };
}

/** The name of a language, e.g. "German" for "de". */
function languageOf(code: string): string {
  if (!code) return "";
  try {
    return new Intl.DisplayNames(locale(), { type: "language" }).of(code) ?? code;
  } catch {
    return code; // not a valid code
  }
}
