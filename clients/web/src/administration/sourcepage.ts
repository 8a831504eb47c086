/** Shows administrators one source: its folder, or its mapping with a preview; its runs, and the rows or files that made no document. */

import type { MessageInitShape } from "@bufbuild/protobuf";
import type { ConnectedFolderSchema, PreviewedRow, Source } from "@responsa/contract/responsa/admin/v1/source_pb.js";
import { idFrom, Labels } from "../documents/library.js";
import { confirmed, filled } from "../widgets/dialog.js";
import { button, element, replace, WRITTEN } from "../widgets/dom.js";
import { failureOf } from "../server/errors.js";
import { t } from "../language/administration/texts.js";
import { moment } from "../text/facts.js";
import { badge, rowOf } from "../widgets/resourcelist.js";
import { choiceEntry, placed, textEntry } from "../widgets/fields.js";
import { linesOf } from "../text/values.js";
import { FolderForm } from "./folderform.js";
import { EXAMPLES, mistakesOf, stateText } from "./mapping.js";
import { MappingEditor } from "./mappingeditor.js";
import { SourceRuns, type SourcesApi } from "./sourceruns.js";
import { cleanName } from "../text/names.js";

export class SourcePage {
  readonly root: HTMLElement;
  readonly #api: SourcesApi;
  readonly #labels: Labels;
  readonly #say: (text: string) => void;
  readonly #place: (id: string) => string;
  readonly #back = element("a", {}, `← ${t("allSources")}`);
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #heading = element("h3", { tabindex: "-1", ...WRITTEN });
  readonly #about = element("p", { class: "note", ...WRITTEN });
  readonly #id = textEntry(t("id"), { maxlength: "63", required: true, autocapitalize: "none", spellcheck: "false" }, t("sourceIdNote"));
  readonly #name = textEntry(t("name"), { maxlength: "200" }, t("sourceNameNote"));
  readonly #connections = element("p", { class: "note", ...WRITTEN });
  readonly #example = choiceEntry(t("beginWith"), [...EXAMPLES.keys()].map((label) => [label, label]));
  readonly #editor = new MappingEditor();
  readonly #save = element("button", { type: "submit" }, t("save"));
  readonly #preview = button(t("preview"), () => void this.#look(), { class: "quiet" });
  readonly #form: HTMLFormElement;
  readonly #folder: FolderForm;
  readonly #rows = element("section", { class: "stack", "aria-label": t("preview"), hidden: true });
  readonly #runs: SourceRuns;
  readonly #delete = button(t("deleteSource"), () => void this.#remove(), { class: "plain danger" });
  #source: Source | undefined;
  #shown: string | undefined;
  #busy = false;

  /** `place` returns the address of the page of a source, and with "" that of the list. */
  constructor(api: SourcesApi, say: (text: string) => void, place: (id: string) => string) {
    this.#api = api;
    this.#labels = new Labels(api);
    this.#say = say;
    this.#place = place;
    this.#runs = new SourceRuns(api, say, () => this.reread());
    this.#form = element("form", { class: "stack", "aria-label": t("source") }, this.#id.root, this.#name.root, this.#connections, this.#example.root, this.#editor.root, element("div", { class: "row wrap" }, this.#save, this.#preview));
    this.#form.noValidate = true;
    this.#folder = new FolderForm(api, (folder) => this.#keep(folder));
    this.#example.control.addEventListener("change", () => void this.#begin());
    this.#form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#store();
    });
    this.root = element(
      "section",
      { class: "stack user-page", hidden: true },
      element("p", {}, this.#back),
      this.#heading,
      this.#about,
      this.#problem,
      this.#form,
      this.#folder.root,
      this.#rows,
      this.#runs.root,
      element("div", { class: "row" }, this.#delete),
    );
  }

  /** Show `sources/{id}`, or for "" the form of a new source, or of a new folder. */
  async show(name: string, folder = false): Promise<void> {
    this.#back.href = this.#place("");
    this.#problem.textContent = "";
    this.#shown = name;
    this.#paint(undefined);
    this.#heading.textContent = name ? t("loading") : t(folder ? "connectFolder" : "newSource");
    void this.#listConnections();
    if (folder) {
      this.#form.hidden = true;
      this.#folder.root.hidden = false;
      return this.#folder.show(undefined);
    }
    if (!name) {
      this.#id.control.value = "";
      this.#name.control.value = "";
      this.#example.control.selectedIndex = 0;
      this.#editor.value = EXAMPLES.get(this.#example.control.value) ?? "";
      return;
    }
    this.#form.hidden = true;
    try {
      const source = await this.#api.admin.getSource({ name });
      if (this.#shown !== name) return; // another source is shown by now
      this.#paint(source);
      await Promise.all([source.folder && this.#folder.show(source.folder), this.#runs.show(source)]);
    } catch (error) {
      if (this.#shown !== name) return;
      const failure = failureOf(error);
      this.#heading.textContent = t("source");
      this.#problem.textContent = failure.reason === "RESOURCE_NOT_FOUND" || failure.reason === "INVALID_FIELD" ? t("noSuchSource") : failure.message;
    }
  }

  /** Another view is shown. A run goes on. */
  leave(): void {
    this.#shown = undefined;
    this.#runs.leave();
  }

  #paint(source: Source | undefined): void {
    this.#source = source;
    this.#form.hidden = source?.folder !== undefined;
    this.#folder.root.hidden = !this.#form.hidden;
    this.#id.root.hidden = this.#example.root.hidden = source !== undefined || this.#shown !== "";
    this.#delete.hidden = source === undefined;
    this.#rows.hidden = true;
    if (!source) {
      this.#about.textContent = "";
      return this.#runs.leave();
    }
    this.#heading.textContent = cleanName(source.displayName.trim()) || sourceId(source.name);
    void this.#tell(source);
    this.#name.control.value = source.displayName;
    this.#editor.value = source.mapping;
  }

  async #tell(source: Source): Promise<void> {
    const { name, connection, collection, folder, updateTime, nextRunTime } = source;
    const facts = [...(folder ? [] : [name, t("connectionOf", { connection })]), stateText(source), await this.#labels.of(collection), updateTime && t("changedAt", { time: moment(updateTime) }), nextRunTime && t("nextRun", { time: moment(nextRunTime) })];
    if (this.#source?.name === name) this.#about.textContent = facts.filter(Boolean).join(" · ");
  }

  /** Say how the source is now, because a run has ended or may have begun by itself. */
  async reread(): Promise<void> {
    const name = this.#source?.name;
    const now = name && (await this.#api.admin.getSource({ name }).catch(() => undefined));
    if (!now || this.#source?.name !== name) return;
    await this.#tell(now);
    await this.#runs.follow(now);
  }

  /** Put the chosen example into the editor. */
  async #begin(): Promise<void> {
    const untouched = !this.#editor.value.trim() || [...EXAMPLES.values()].includes(this.#editor.value);
    if (!untouched && !(await confirmed({ title: t("replaceMapping"), text: t("replaceMappingText"), action: t("replace") }))) return;
    this.#editor.value = EXAMPLES.get(this.#example.control.value) ?? "";
  }

  async #listConnections(): Promise<void> {
    try {
      const { connections } = await this.#api.admin.listConnections({});
      this.#connections.textContent = connections.length > 0 ? t("connections", { names: connections.join(", ") }) : t("noConnections");
    } catch {
      this.#connections.textContent = ""; // a hint alone: a mapping with a wrong connection gets an error that lists them
    }
  }

  async #store(): Promise<void> {
    const before = this.#source;
    const mapping = this.#editor.value;
    const displayName = this.#name.control.value.trim();
    await this.#act(async () => {
      if (!before) {
        const made = await this.#api.admin.createSource({ sourceId: this.#id.control.value.trim(), source: { mapping, displayName } });
        this.#say(t("sourceCreated"));
        location.hash = this.#place(sourceId(made.name));
        return;
      }
      const paths = [...(displayName === before.displayName ? [] : ["display_name"]), ...(mapping === before.mapping ? [] : ["mapping"])];
      if (paths.length > 0) {
        const changed = await this.#api.admin.updateSource({ source: { name: before.name, etag: before.etag, mapping, displayName }, updateMask: { paths } });
        if (this.#shown !== before.name) return;
        this.#paint(changed);
      }
      this.#say(t("sourceSaved"));
      this.#save.focus();
    });
  }

  /** Connect a folder and read it, or change the folder of the source. */
  async #keep(folder: MessageInitShape<typeof ConnectedFolderSchema>): Promise<void> {
    const before = this.#source;
    if (before) {
      const changed = await this.#api.admin.updateSource({ source: { name: before.name, etag: before.etag, folder }, updateMask: { paths: ["folder"] } });
      if (this.#shown === before.name) this.#paint(changed);
      return this.#say(t("sourceSaved"));
    }
    const named = folder.address?.replace(/\/+$/, "").replace(/\.git$/, "").split("/").pop() ?? "";
    const create = (id: string) => this.#api.admin.createSource({ sourceId: id, source: { folder, displayName: named } });
    const id = idFrom(named) || "folder";
    const { name } = await create(id).catch((error: unknown) => {
      if (failureOf(error).reason !== "RESOURCE_ALREADY_EXISTS") throw error;
      return create(`${id.slice(0, 49)}-${Date.now()}`);
    });
    await this.#api.admin.syncSource({ name });
    this.#say(t("folderConnected"));
    location.hash = this.#place(sourceId(name));
  }

  async #look(): Promise<void> {
    await this.#act(async () => {
      this.#rows.hidden = true;
      const { rows } = await this.#api.admin.previewSource({ mapping: this.#editor.value });
      const note = element("p", { class: "note" }, t("previewAbout"));
      const list = element("ul", { class: "documents", "aria-label": t("previewDocuments") }, ...(rows.length > 0 ? rows.map(previewRow) : [element("li", { class: "note" }, t("noRows"))]));
      replace(this.#rows, element("h4", { tabindex: "-1" }, t("preview")), note, list);
      this.#rows.hidden = false;
      this.#rows.querySelector("h4")?.focus();
    });
  }

  async #remove(): Promise<void> {
    const source = this.#source;
    if (!source) return;
    const title = t("deleteTitle", { name: source.displayName.trim() || sourceId(source.name) });
    const documents = element("input", { type: "checkbox" });
    const fields = [element("p", {}, t("deleteSourceText")), element("label", { class: "row" }, documents, t("deleteDocumentsToo"))];
    const act = async () => {
      await this.#api.admin.deleteSource({ name: source.name, etag: source.etag, deleteDocuments: documents.checked });
    };
    if (!(await filled({ title, action: t("delete"), danger: true, fields, first: documents, act }))) return;
    this.#say(t("sourceDeleted"));
    location.hash = this.#place("");
  }

  /** Perform an action, and show its mistakes at the fields. */
  async #act(action: () => Promise<void>): Promise<void> {
    if (this.#busy) return;
    this.#busy = true; // a disabled button would lose the focus
    const shown = this.#shown;
    this.#problem.textContent = "";
    this.#id.refuse("");
    this.#name.refuse("");
    this.#editor.refuse([]);
    try {
      await action();
    } catch (error) {
      if (this.#shown !== shown) return;
      const failure = failureOf(error);
      const mistakes = mistakesOf(failure);
      if (mistakes.length > 0) this.#editor.refuse(mistakes);
      else if (failure.reason === "ETAG_MISMATCH") this.#problem.textContent = t("sourceChanged");
      else this.#problem.textContent = placed({ source_id: this.#id, "source.display_name": this.#name }, failure, this.#id);
    } finally {
      this.#busy = false;
    }
  }
}

/** The id of a source, without the prefix of its name. */
export function sourceId(name: string): string {
  return name.replace(/^sources\//, "");
}

function previewRow(one: PreviewedRow): HTMLElement {
  const lines = (text: string) => (text ? [element("pre", { class: "note whole lines", ...WRITTEN }, text)] : []);
  if (one.problem) return rowOf({ name: one.kind, badges: [badge(t("noDocument"), "warn")], problem: one.problem, more: lines(linesOf(one.row)) });
  const text = element("details", { class: "raw whole" }, element("summary", {}, t("text")), element("p", { class: "lines", ...WRITTEN }, one.text), ...lines(linesOf(one.metadata)));
  return rowOf({ name: one.title || one.key, facts: [one.kind, one.subject && t("subjectOf", { subject: one.subject }), one.uri], more: [text] });
}
