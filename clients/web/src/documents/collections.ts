/** Shows collections: makes, shares, edits and deletes them, and takes files and folders for them. */

import { Library, MessageCircle, Pencil, Trash2, UserPlus, X } from "lucide";
import { UserRole, type User } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import { recently } from "../account/recent.js";
import { accessText, labelsOf, sharingMark } from "./access.js";
import type { Api } from "../server/api.js";
import { SUFFIXES as ARCHIVES } from "./archives.js";
import { PATIENCE, uuid, wellFormed } from "@responsa/client/parts.js";
import type { Contacts } from "./contacts.js";
import { confirmed, filled, prompted } from "../widgets/dialog.js";
import type { DocumentPanel } from "./document.js";
import { DocumentsView } from "./documents.js";
import { arrange, button, element, field, replace, WRITTEN } from "../widgets/dom.js";
import { icon, iconButton, wordButton } from "../widgets/icons.js";
import { failureOf } from "../server/errors.js";
import { keep } from "../server/kept.js";
import { sizeOf } from "../text/facts.js";
import { dropped, picked } from "./folders.js";
import { GenerationsView } from "./generations.js";
import { allCollections, allFormats, collectionId, DEFAULT, firstOf, idFrom, takesFiles, type Listed, type Named } from "./library.js";
import { documentOf } from "./place.js";
import { MOST_BYTES } from "./upload.js";
import { nameWithin } from "../text/names.js";
import { shareCollection } from "./share.js";
import { UploadsView, type UploadHooks } from "./uploads.js";
import { locale } from "../language/language.js";
import { t } from "../language/documents/texts.js";

const KEY = "responsa.collection";
/** The most questions that a collection suggests, and the characters of each. */
const QUESTIONS = 8;
const QUESTION = 200;
/** Milliseconds between two refreshes while files arrive. */
const BETWEEN = 1_000;

export interface CollectionsHooks extends Omit<UploadHooks, "taken" | "formats"> {
  /** Documents or collections changed. */
  readonly changed: () => void;
  /** The user wants to ask this collection. */
  readonly ask: (collection: Named) => void;
  /** Ask a question again: this collection, or all of them. */
  readonly again: (question: string, collection?: Named) => void;
  readonly me: User;
  readonly contacts: Contacts;
}

export class CollectionsView {
  readonly root = element("section", { class: "collections coming", "aria-labelledby": "collections-title" });
  readonly #api: Api;
  readonly #hooks: CollectionsHooks;
  readonly #heading = element("h2", { id: "collections-title", tabindex: "-1" }, t("documents"));
  readonly #list = element("ul", { class: "shelves", "aria-label": t("collections") });
  readonly #title = element("h3", WRITTEN);
  readonly #problem = element("p", { class: "problem", role: "alert" });
  readonly #ask = iconButton(MessageCircle, t("askCollection"), () => this.#hooks.ask(this.#chosen));
  readonly #share = wordButton(UserPlus, t("share"), t("share"), () => void this.#shareCollection(), { "aria-describedby": "access" });
  readonly #edit = iconButton(Pencil, t("editCollection"), () => void this.#editCollection());
  readonly #remove = iconButton(Trash2, t("deleteCollection"), () => void this.#deleteCollection(), { class: "plain icon danger" });
  /** The uploads, which the page shows below every view, and their sum, which it shows in the top bar when they have ended. */
  readonly tray: HTMLElement;
  readonly count: HTMLElement;
  readonly #uploads: UploadsView;
  readonly #documents: DocumentsView;
  readonly #generations: GenerationsView;
  readonly #files = element("input", { type: "file", id: "files", multiple: true, change: () => this.#picked(this.#files) });
  readonly #folder = element("input", { type: "file", id: "folder", multiple: true, webkitdirectory: true, change: () => this.#picked(this.#folder) });
  readonly #accepted = element("p");
  /** The person whom the documents that are added are about. Only administrators give one. */
  readonly #subject = element("input", { id: "upload-subject", type: "text", autocomplete: "off", maxlength: "200", "aria-describedby": "upload-subject-note", input: () => this.#subjectChanged(), ...WRITTEN });
  readonly #subjectShown = element("summary");
  readonly #access = element("p", { id: "access", class: "access" });
  readonly #toAnswer = element("p", { class: "access grow", role: "status", ...WRITTEN });
  readonly #again = button(t("askAgain"), () => this.#dropped(() => this.#hooks.again(this.#question, this.#added)), { class: "quiet" });
  readonly #kept = element("div", { class: "row wrap", hidden: true }, this.#toAnswer, this.#again, iconButton(X, t("dropQuestion"), () => this.#dropped(() => this.focus())));
  #question = "";
  /** The collection of the last document that was added for the question. */
  #added: Named | undefined;
  readonly #zone: HTMLElement;
  #suffixes: readonly string[] = [];
  #collections: readonly Listed[] = [DEFAULT];
  /** The chosen collection; "" until one is chosen or found. */
  #wanted = sessionStorage.getItem(KEY) ?? "";
  #refreshes = 0;
  #refreshing = false;
  #stale = false;

  constructor(api: Api, panel: DocumentPanel, hooks: CollectionsHooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.#uploads = new UploadsView(api, {
      ...hooks,
      taken: (collection) => {
        this.#hooks.changed();
        if (!this.#kept.hidden) this.keep(this.#question, collection);
        if (collection.name === this.#chosen.name) void this.soon();
      },
      formats: () => this.#accepted.textContent,
    });
    this.tray = this.#uploads.root;
    this.count = this.#uploads.count;
    this.#documents = new DocumentsView(api, panel, {
      say: hooks.say,
      me: hooks.me,
      deleted: async () => {
        await this.#changed();
        this.focus();
      },
    });
    this.#generations = new GenerationsView(api, hooks.say);
    this.#zone = this.#dropZone();
    this.root.append(
      element("div", { class: "row shelves-head" }, this.#heading, button(t("newCollection"), () => void this.#create(), { class: "quiet" })),
      this.#list,
      element("div", { class: "row shelf" }, this.#title, this.#ask, this.#share, this.#edit, this.#remove),
      this.#access,
      this.#kept,
      this.#zone,
      this.#problem,
      this.#documents.root,
      this.#generations.root,
    );
  }

  focus(): void {
    this.#heading.focus();
  }

  /** Keep a question in sight that no document answers, until the user asks it again or drops it. `added`: the collection of a document that may answer it; before that, nothing is gained by asking. */
  keep(question: string, added?: Named): void {
    this.#question = question;
    this.#added = added;
    this.#kept.hidden = false;
    this.#again.hidden = !added;
    replace(this.#toAnswer, t(added ? "mayAnswer" : "toAnswer", { question }));
  }

  #dropped(next: () => void): void {
    this.#kept.hidden = true;
    next();
  }

  /** Read collections and documents again, and select `wanted` (by default the selected collection). */
  async refresh(wanted = this.#wanted): Promise<void> {
    if (wanted) this.#choose(wanted);
    const refresh = (this.#refreshes += 1);
    try {
      const [found] = await Promise.all([allCollections(this.#api), this.#learn()]);
      if (refresh !== this.#refreshes) return; // a later call will show the newer result
      this.#collections = found.some((one) => one.name === DEFAULT.name) ? found : [DEFAULT, ...found];
      if (!this.#wanted) this.#wanted = firstOf(this.#hooks.me.name, found);
      this.#problem.textContent = "";
      this.#offer();
    } catch (error) {
      if (refresh !== this.#refreshes) return;
      this.#problem.textContent = failureOf(error).message;
      this.root.classList.remove("coming");
      return;
    }
    try {
      await this.#show();
    } finally {
      this.root.classList.remove("coming");
    }
  }

  /** List the collections. Rows that stay are not replaced, so they keep the focus. */
  #offer(): void {
    const before = new Map([...this.#list.children].map((row) => [row instanceof HTMLElement ? row.dataset["is"] : "", row]));
    const rows = this.#collections.map((one) => {
      // The server counts the documents that the user may read.
      const size = one.readable ? t("documentCount", { count: Number(one.documentCount) }) : "";
      const note = [size, sharingMark(this.#hooks.me, one)].filter(Boolean).join(" · ");
      const is = [one.name, one.label, note].join("\n");
      const known = before.get(is);
      if (known) return known;
      const choose = () => {
        this.#choose(one.name);
        this.#mark();
        void this.#show();
      };
      return element("li", { "data-is": is }, element("button", { type: "button", class: "plain", "data-name": one.name, click: choose }, icon(Library), element("span", { class: "name", ...WRITTEN }, one.label), element("span", { class: "note" }, note)));
    });
    arrange(this.#list, rows);
    this.#mark();
  }

  #mark(): void {
    for (const one of this.#list.querySelectorAll("button")) {
      const current = one.dataset["name"] === this.#chosen.name;
      if (current && !one.hasAttribute("aria-current")) one.scrollIntoView({ block: "nearest" });
      one.toggleAttribute("aria-current", current);
    }
  }

  /** Read the formats, which stay the same while the server runs. */
  async #learn(): Promise<void> {
    if (this.#suffixes.length > 0) return;
    const formats = await allFormats(this.#api);
    this.#suffixes = formats.flatMap((one) => one.suffixes);
    this.#files.accept = [...this.#suffixes, ...ARCHIVES].join(",");
    const names = new Intl.ListFormat(locale(), { type: "disjunction" }).format(formats.map((one) => one.displayName));
    this.#accepted.textContent = t("acceptedFiles", { formats: names, size: sizeOf(BigInt(MOST_BYTES)) });
    this.#documents.formats = formats;
  }

  /** Read collections and documents again, and select the collection of a document, given as `documents/{uuid}` or one of its versions. */
  async reveal(name: string): Promise<void> {
    const document = await this.#api.knowledge.getDocument({ name: documentOf(name) }).catch(() => undefined);
    await this.refresh(document?.collection);
  }

  /** Refresh now, but not again within the next moment: many files may arrive at once. A hidden view is refreshed at the next visit. */
  async soon(): Promise<void> {
    this.#stale = true;
    if (this.#refreshing) return;
    this.#refreshing = true;
    while (this.#stale && this.root.isConnected) {
      this.#stale = false;
      void this.refresh();
      await PATIENCE.sleep(BETWEEN, new AbortController().signal);
    }
    this.#refreshing = false;
  }

  get #chosen(): Listed {
    return this.#collections.find((one) => one.name === this.#wanted) ?? DEFAULT;
  }

  #choose(name: string): void {
    this.#wanted = name;
    keep(sessionStorage, KEY, name);
  }

  /** The collection to which files are added: the chosen one. In place of Responsa's documentation, the user's own documents are chosen. */
  #taking(): Listed {
    if (!takesFiles(this.#chosen)) void this.refresh(DEFAULT.name);
    return this.#chosen;
  }

  /** Add the files and folders that were dropped on the page to the chosen collection. Returns why that is not possible, or "". */
  async take(entries: readonly FileSystemEntry[]): Promise<string> {
    if (this.#suffixes.length === 0) await this.refresh();
    if (this.#suffixes.length === 0) return this.#problem.textContent;
    const collection = this.#taking();
    if (!collection.manageable) return t("mayNotAdd", { label: collection.label });
    void this.#uploads.add((looking) => dropped(entries, this.#suffixes, looking), collection, this.#zone.isConnected ? this.#subjectGiven : "");
    return "";
  }

  async #show(): Promise<void> {
    const chosen = this.#chosen;
    this.#title.textContent = chosen.label;
    this.#remove.hidden = chosen.name === DEFAULT.name || !chosen.manageable;
    // The collection `default` may not exist yet.
    this.#ask.hidden = chosen === DEFAULT || !chosen.readable;
    for (const one of [this.#share, this.#edit, this.#generations.root]) one.hidden = chosen === DEFAULT || !chosen.manageable;
    this.#zone.hidden = !chosen.manageable;
    this.#generations.show(chosen);
    await Promise.all([this.#showAccess(chosen), this.#documents.show(chosen)]);
  }

  /** Say who reads the collection. */
  async #showAccess(chosen: Listed): Promise<void> {
    const { me, contacts } = this.#hooks;
    const labels = await labelsOf(chosen, contacts);
    if (chosen.name === this.#chosen.name) this.#access.textContent = accessText(me, chosen, labels);
  }

  #dropZone(): HTMLElement {
    const canPickFolders = "webkitdirectory" in this.#folder;
    const zone = element(
      "div",
      { class: "drop" },
      this.#files,
      element("label", { for: "files", class: "button" }, t("addDocuments")),
      ...(canPickFolders ? [this.#folder, element("label", { for: "folder", class: "button" }, t("addFolder"))] : []),
      element("details", { class: "explanation" }, element("summary", {}, t("whichFiles")), this.#accepted),
      ...(this.#hooks.me.role === UserRole.ADMIN ? [element("details", { class: "explanation" }, this.#subjectShown, field(t("subjectAdded"), this.#subject, `${t("subjectNote")} ${t("subjectKept")}`))] : []),
    );
    this.#subjectChanged();
    return zone;
  }

  get #subjectGiven(): string {
    return wellFormed(this.#subject.value.trim());
  }

  /** The subject stays visible when its field is closed, because it decides who reads the documents. */
  #subjectChanged(): void {
    this.#subjectShown.textContent = this.#subjectGiven ? t("addedAbout", { subject: nameWithin(this.#subjectGiven) }) : t("aboutPerson");
  }

  #picked(input: HTMLInputElement): void {
    const files = [...(input.files ?? [])];
    void this.#uploads.add((looking) => picked(files, this.#suffixes, looking), this.#taking(), this.#subjectGiven);
    input.value = ""; // this empties the list of files
  }

  async #create(): Promise<void> {
    const requestId = uuid();
    const idOf = (name: string) => idFrom(name) || `collection-${requestId.slice(0, 8)}`;
    let made = "";
    const act = async (displayName: string) => {
      made = (await this.#api.knowledge.createCollection({ collectionId: idOf(displayName), collection: { displayName } })).name;
    };
    const note = (name: string) => (name.trim() ? t("idWillBe", { id: idOf(name) }) : t("collectionUse"));
    if (await prompted({ title: t("newCollection"), label: t("name"), value: "", maxLength: 100, action: t("create"), note, act })) await this.#changed(t("collectionCreated"), made);
  }

  async #shareCollection(): Promise<void> {
    const { me, contacts } = this.#hooks;
    await this.#attempt(async () => {
      if (await shareCollection(this.#api, me, contacts, this.#chosen)) await this.#changed();
    });
  }

  async #editCollection(): Promise<void> {
    const { name, displayName, readable, sharedName, suggestedQuestions } = this.#chosen;
    const title = element("input", { id: "collection-name", type: "text", required: true, maxlength: "100", autocomplete: "off", "aria-describedby": "collection-name-note", ...WRITTEN });
    const questions = element("textarea", { id: "collection-questions", rows: "4", "aria-describedby": "collection-questions-note", ...WRITTEN });
    [title.value, questions.value] = [displayName || collectionId(name), suggestedQuestions.join("\n")];
    const asked = () => questions.value.split("\n").map((line) => line.trim()).filter(Boolean);
    const tooMuch = () => asked().length > QUESTIONS || asked().some((one) => [...one].length > QUESTION);
    questions.addEventListener("input", () => questions.setCustomValidity(tooMuch() ? t("questionsLimit", { count: QUESTIONS, limit: QUESTION }) : ""));
    const fields = [field(t("name"), title, t("idStays", { id: collectionId(name) }) + (sharedName === name ? "" : t("foundUnder", { id: collectionId(sharedName) })))];
    if (readable) fields.push(field(t("suggestedQuestions"), questions, t("suggestedNote", { count: QUESTIONS })));
    const act = async () => {
      const collection = { name, displayName: title.value.trim(), suggestedQuestions: asked() };
      await this.#api.knowledge.updateCollection({ collection, updateMask: { paths: ["display_name", ...(readable ? ["suggested_questions"] : [])] } });
    };
    if (await filled({ title: t("editTitle"), action: t("save"), fields, first: title, act })) await this.#changed(t("collectionSaved"));
  }

  async #deleteCollection(): Promise<void> {
    const { name } = this.#chosen;
    await this.#attempt(async () => {
      if (!(await confirmed({ title: t("deleteCollectionTitle"), text: await this.#lost(), action: t("delete") }))) return;
      await recently(this.#api, this.#hooks.me, () => this.#api.knowledge.deleteCollection({ name, force: true }));
      await this.#changed(t("collectionDeleted"));
      this.focus();
    });
  }

  async #attempt(act: () => Promise<void>): Promise<void> {
    await act().catch((error: unknown) => (this.#problem.textContent = failureOf(error).message));
  }

  /** Show the collections again after a change, and the one with this name. */
  async #changed(said = "", wanted = this.#wanted): Promise<void> {
    if (said) this.#hooks.say(said);
    this.#hooks.changed();
    await this.refresh(wanted);
  }

  /** What is lost with the chosen collection, in words. The server counts only the documents that the user may read. */
  async #lost(): Promise<string> {
    const { name, label, readable } = this.#chosen;
    if (!readable) return t("unseenLost", { label, later: t("later") });
    const count = Number((await this.#api.knowledge.getCollection({ name })).documentCount);
    return count === 0 ? t("nothingLost", { label }) : t("documentsLost", { label, count, later: t("later") });
  }
}
