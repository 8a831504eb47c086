/**
 * The panel that shows a document: its text or its pages with the cited passage marked, its passages, versions and details. It also shows a source that a tool
 * fetched.
 */

import { X } from "lucide";
import { UserRole } from "@responsa/contract/responsa/auth/v1/user_pb.js";
import type { CitationCheck } from "@responsa/contract/responsa/chat/v1/chat_service_pb.js";
import type { Excerpt } from "@responsa/contract/responsa/chat/v1/excerpt_pb.js";
import { CitationVerdict, type Citation, type PageBox } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { DocumentState, type Document, type Passage } from "@responsa/contract/responsa/knowledge/v1/document_pb.js";
import type { Me } from "./access.js";
import type { Api } from "../server/api.js";
import { DetailsView } from "./docdetails.js";
import { PagesView } from "./docpages.js";
import { PassagesView } from "./docpassages.js";
import { TextView, type Range } from "./doctext.js";
import { VersionsView } from "./docversions.js";
import { element, focused, replace, WRITTEN } from "../widgets/dom.js";
import { iconButton } from "../widgets/icons.js";
import { failureOf } from "../server/errors.js";
import { fetchedBy, linkOf } from "../chat/fetched.js";
import { quoted } from "../server/filters.js";
import { PATIENCE, persist } from "@responsa/client/parts.js";
import { documentOf, fragmentOf, type DocumentPlace, type KeyPlace, type TabId } from "./place.js";
import { keepInSight } from "../text/sight.js";
import { TabList } from "../widgets/tablist.js";
import { cleanName } from "../text/names.js";
import { t } from "../language/documents/texts.js";

const PDF = "application/pdf";
/** Milliseconds between two looks at a document that the server reads. */
const LOOK_AGAIN = 2_000;
/** The number of passages among which the page looks for the document with a source key: several collections may have one with the same key. */
const LOOKED_AT = 5;

export interface Cited {
  readonly citation: Citation;
  /** The name of the citation's answer, `turns/{uuid}` or `messages/{uuid}`. */
  readonly answer: string;
  /** The number of the citation in the answer, from 0. */
  readonly index: number;
}

const VERDICTS: Partial<Record<CitationVerdict, readonly [style: string, text: string]>> = {
  [CitationVerdict.VALID]: ["good", t("valid")],
  [CitationVerdict.SOURCE_CHANGED]: ["warn", t("sourceChanged")],
  [CitationVerdict.SOURCE_DELETED]: ["warn", t("sourceDeleted")],
  [CitationVerdict.NOT_PERMITTED]: ["warn", t("notPermitted")],
};

/** The verdicts on a quote of what a tool returned. */
const FETCHED_VERDICTS: Partial<Record<CitationVerdict, readonly [style: string, text: string]>> = {
  [CitationVerdict.VALID]: ["good", t("fetchedValid")],
  [CitationVerdict.SOURCE_CHANGED]: ["warn", t("fetchedChanged")],
  [CitationVerdict.SOURCE_DELETED]: ["warn", t("fetchedDeleted")],
};

const UNCHECKED = ["", t("unchecked")] as const;
const INCOMPLETE = ["", t("incomplete")] as const;

export interface PanelHooks {
  /** The panel opened or closed. */
  readonly toggled: () => void;
  /** Announce a text to screen readers. */
  readonly say: (text: string) => void;
  /** The user changed the document. */
  readonly changed: () => void;
  /** The panel shows this place of a document; undefined after it was closed. */
  readonly moved: (place: DocumentPlace | undefined) => void;
  readonly me: Me;
}

/** What the panel shows. */
interface Shown {
  /** `documents/{uuid}` or `documents/{uuid}/versions/{n}`. */
  readonly name: string;
  readonly title: string;
  /** The bytes to mark; empty if nothing is marked. */
  readonly range: Range;
  /** The cited text, for the case that the document cannot be read. */
  readonly quote: string;
  /** The note above a text with a mark. */
  readonly marked: string;
  /** The page to mark, counted from 1; 0 if it is not known. */
  readonly page: number;
  readonly boxes: readonly PageBox[];
  /** The tab to open; undefined for the one that suits the document. */
  readonly tab?: TabId | undefined;
}

const NOTHING = { range: { start: 0, end: 0 }, quote: "", marked: "", page: 0, boxes: [] } as const;

export class DocumentPanel {
  readonly root: HTMLElement;
  readonly #api: Api;
  readonly #title = element("h2", { id: "document-title", tabindex: "-1", ...WRITTEN });
  readonly #note = element("p", { class: "note", role: "status" });
  readonly #badge = element("p", { class: "badge" });
  readonly #hooks: PanelHooks;
  readonly #text: TextView;
  readonly #pages: PagesView;
  readonly #passages: PassagesView;
  readonly #versions: VersionsView;
  readonly #details: DetailsView;
  readonly #tabs: TabList<TabId>;
  #shown: Shown = { name: "", title: "", ...NOTHING };
  /** The document in its current state; undefined if it cannot be read. */
  #document: Document | undefined;
  /** The tabs that show the current document. */
  readonly #filled = new Set<TabId>();
  /** The text around the shown place, once its reading has begun. */
  #content: ReturnType<TextView["read"]> | undefined;
  /** The element that opened the panel; undefined if an address did. */
  #by: HTMLElement | undefined;
  #reading = new AbortController();
  /** The width of the window, in pixels, for which the open panel was placed. */
  #width = 0;

  constructor(api: Api, hooks: PanelHooks) {
    this.#api = api;
    this.#hooks = hooks;
    this.#text = new TextView(api, hooks.say, (why) => (this.#note.textContent = why));
    this.#pages = new PagesView(api, hooks.say, () => this.#moved());
    this.#passages = new PassagesView(api, (passage) => void this.#go(shownPassage(passage, this.#shown.title)), (text) => this.#hooks.say(text));
    const changed = async () => {
      hooks.changed();
      await this.#again();
    };
    this.#versions = new VersionsView(api, { changed, show: ({ name, title }) => void this.#go({ name, title, ...NOTHING }) });
    const address = () => `${location.origin}/${fragmentOf({ name: this.#shown.name, tab: undefined, page: 0 })}`;
    this.#details = new DetailsView(api, { say: hooks.say, changed: () => void changed(), address, user: hooks.me.name, administrator: hooks.me.role === UserRole.ADMIN });
    this.#tabs = new TabList(
      "document",
      t("partsOf"),
      [
        ["pages", t("pages"), this.#pages.root],
        ["text", t("text"), this.#text.root],
        ["passages", t("passages"), this.#passages.root],
        ["versions", t("versions"), this.#versions.root],
        ["details", t("details"), this.#details.root],
      ],
      () => {
        void this.#fill();
        this.#moved(); // the tab “Pages” now knows its page
      },
    );
    const close = iconButton(X, t("closeDocument"), () => this.close(), { title: t("closeEscape") });
    this.root = element(
      "section",
      { class: "document", role: "complementary", "aria-labelledby": "document-title", hidden: true },
      element("header", {}, this.#title, close),
      this.#badge,
      this.#note,
      this.#tabs.root,
      ...this.#tabs.panels,
    );
  }

  get isOpen(): boolean {
    return !this.root.hidden;
  }

  /** Whether the rest of the page cannot be reached while the panel is open. */
  set modal(modal: boolean) {
    this.root.setAttribute("role", modal ? "dialog" : "complementary");
    if (modal) this.root.setAttribute("aria-modal", "true");
    else this.root.removeAttribute("aria-modal");
  }

  /** Close the panel, and return the focus to the element that opened it. */
  close(): void {
    if (!this.isOpen) return;
    const by = this.#by;
    this.#reading.abort();
    by?.removeAttribute("aria-current");
    this.#turn(false, by);
    if (by?.isConnected) by.focus({ preventScroll: true });
    else document.getElementById("main")?.focus();
    this.#by = undefined;
    this.#hooks.moved(undefined);
  }

  /** Close what the user may no longer read. */
  async withdraw(): Promise<void> {
    const { name } = this.#shown;
    const gone = name ? await this.#api.knowledge.getDocument({ name: documentOf(name) }).then(() => false, (error: unknown) => failureOf(error).reason === "RESOURCE_NOT_FOUND") : this.#by?.isConnected === false;
    if (gone && this.#shown.name === name) this.close();
  }

  async openCitation(cited: Cited, by: HTMLElement): Promise<void> {
    const { citation } = cited;
    this.#badge.className = "badge";
    this.#badge.textContent = t("checking"); // the badge takes its space from the beginning, so the text below does not move
    const title = citation.title || citation.uri;
    const signal = this.#begin(title, by, true);
    const range = { start: Number(citation.sourceRange?.start ?? 0n), end: Number(citation.sourceRange?.end ?? 0n) };
    this.#badge.hidden = false;
    if (citation.origin.case === "toolResult") return this.#openFetched(cited, signal);
    const { documentVersion: name, quote, page, boxes } = citation;
    await Promise.all([this.#verify(cited, signal), this.#open({ name, title, range, quote, marked: t("citedMarked"), page, boxes }, signal)]);
  }

  /** Show the quote of what a tool returned, and then the text around it. Nothing is fetched again. */
  async #openFetched(cited: Cited, signal: AbortSignal): Promise<void> {
    const { uri, quote } = cited.citation;
    this.#shown = { name: "", title: this.#title.textContent ?? "", ...NOTHING };
    this.#filled.clear();
    const href = linkOf(uri);
    const address = href ? element("a", { href, title: href, target: "_blank", rel: "noopener noreferrer", ...WRITTEN }, uri) : element("span", WRITTEN, uri);
    const by = fetchedBy(cited.citation);
    replace(this.#note, `${by.charAt(0).toUpperCase()}${by.slice(1)}`, ...(uri ? [": ", address] : []));
    this.#text.quote(quote);
    const check = await this.#verify(cited, signal);
    if (signal.aborted || !check?.sourceText) return;
    const range = { start: Number(check.quoteRange?.start ?? 0n), end: Number(check.quoteRange?.end ?? 0n) };
    const mark = this.#text.fetched(check.sourceText, range);
    // Do not move the focus if the user has already moved it.
    if (mark && focused() === this.#title) mark.focus({ preventScroll: true });
  }

  /** Open a passage of a document's version, or what an excerpt shows of it. */
  async openPassage(passage: Passage | Excerpt, by: HTMLElement): Promise<void> {
    const title = passage.title || t("document");
    await this.#open(shownPassage(passage, title), this.#begin(title, by));
  }

  /** Open a document by its name, `documents/{uuid}`. */
  async openDocument(name: string, title: string, by: HTMLElement): Promise<void> {
    await this.#open({ name, title, ...NOTHING }, this.#begin(title, by));
  }

  /** Open the document that the page's address names. */
  async openPlace({ name, tab, page }: DocumentPlace): Promise<void> {
    await this.#open({ name, title: "", ...NOTHING, tab, page }, this.#begin("", undefined));
  }

  /** Open the document with a source key. Returns its name; "" if there is no such document that the user may read. */
  async openKeys({ keys, near }: KeyPlace): Promise<string> {
    const signal = this.#begin("", undefined);
    const filter = keys.map((key) => `source_key = ${quoted(key)}`).join(" OR ");
    // A search is the only call that looks in all collections. The words matter little, because the filter leaves few documents.
    const terms = [keys[0]!.replace(/^.*\//, "").replace(/\.\w+$/, "").replace(/[^\p{L}\p{N}]+/gu, " ").trim() || "document"];
    try {
      for (const collections of near ? [[near], []] : [[]]) {
        const { hits } = await this.#api.knowledge.search({ terms, topK: keys.length * LOOKED_AT, filter, scope: { collections } }, { signal });
        const names = [...new Set(hits.flatMap(({ passage }) => (passage ? [documentOf(passage.documentVersion)] : [])))];
        const found = await Promise.all(names.map((name) => this.#current(name, signal)));
        if (signal.aborted) return "";
        const one = keys.map((key) => found.find((document) => document?.sourceKey === key)).find(Boolean);
        if (!one) continue;
        await this.#open({ name: one.name, title: "", ...NOTHING }, signal);
        return one.name;
      }
      if (!signal.aborted) this.#note.textContent = t("noneAt");
    } catch (error) {
      if (!signal.aborted) this.#note.textContent = failureOf(error).message;
    }
    return "";
  }

  /** `split`: on a small screen, the panel leaves room for the part of the answer that was clicked. */
  #begin(title: string, by: HTMLElement | undefined, split = false): AbortSignal {
    this.#reading.abort();
    this.#reading = new AbortController();
    this.#by?.removeAttribute("aria-current");
    this.#by = by;
    by?.setAttribute("aria-current", "true");
    this.#title.textContent = cleanName(title || t("document"));
    this.#note.textContent = t("opening");
    this.#badge.hidden = true;
    this.#document = undefined;
    this.#tabs.offer([]);
    this.#tabs.show("text");
    this.#text.clear();
    this.root.classList.toggle("split", split);
    this.#turn(true, by);
    this.#title.focus({ preventScroll: true });
    return this.#reading.signal;
  }

  /** Open or close the panel. The part of the answer that `by` belongs to stays in sight. */
  #turn(open: boolean, by: HTMLElement | undefined): void {
    this.#width = window.innerWidth;
    this.#keep(by, () => {
      this.root.hidden = !open;
      this.#hooks.toggled();
    });
  }

  /** Show the cited part of the answer and its source again if the width of the window has changed. */
  resized(): void {
    if (!this.isOpen || window.innerWidth === this.#width) return;
    this.#width = window.innerWidth;
    this.#keep(this.#by, () => undefined);
    this.#text.toMark();
  }

  #keep(by: HTMLElement | undefined, change: () => void): void {
    if (!by?.isConnected) return change();
    const parts = by.dataset["of"] === undefined ? [] : [...(by.closest(".cited")?.querySelectorAll(`[data-citation="${by.dataset["of"]}"]`) ?? [])];
    // Where there is little room, the panel covers the lower part of the page.
    const bottom = () => {
      const { left, top } = this.root.getBoundingClientRect();
      return this.isOpen && this.root.classList.contains("split") && left <= 0 ? top : Infinity;
    };
    keepInSight(by, parts, change, bottom);
  }

  /** Show whether the source still has the quote. Returns the server's check of this citation, if there is one. */
  async #verify({ citation, answer, index }: Cited, signal: AbortSignal): Promise<CitationCheck | undefined> {
    if (citation.sha256.length === 0) {
      this.#badge.hidden = true; // a suggestion, which no answer cites
      return undefined;
    }
    try {
      const { checks } = await this.#api.chat.verifyCitations({ name: answer }, { signal });
      const check = checks.find((one, number) => number === index && one.citation && sameSource(one.citation, citation));
      const known = check && (citation.origin.case === "toolResult" ? FETCHED_VERDICTS : VERDICTS)[check.verdict];
      const [style, text] = known ?? (checks.length === 0 ? INCOMPLETE : UNCHECKED);
      if (signal.aborted) return undefined;
      this.#badge.className = `badge ${style}`;
      this.#badge.textContent = text;
      return check;
    } catch {
      if (!signal.aborted) this.#badge.textContent = UNCHECKED[1]; // the passage is shown even without a check
      return undefined;
    }
  }

  /** Show a document: the pages of a PDF unless the place to mark has no page, and the text of other documents. */
  async #open(shown: Shown, signal: AbortSignal): Promise<void> {
    this.#shown = shown;
    this.#filled.clear();
    this.#pages.clear();
    // A place with a box opens on its page, so its text may never be needed.
    this.#content = shown.boxes.length > 0 ? undefined : this.#text.read(shown.name, shown.range, signal);
    this.#content?.done.catch(() => undefined); // it is awaited later
    const document = await this.#current(shown.name, signal);
    if (signal.aborted) return;
    this.#document = document;
    if (document) this.#offer(document);
    const pdf = document?.mediaType === PDF;
    const suited = pdf && (shown.page > 0 || shown.range.end === 0) ? "pages" : "text";
    const tab = document && shown.tab && (pdf || shown.tab !== "pages") ? shown.tab : suited;
    this.#tabs.show(tab);
    this.#note.textContent = this.#about;
    const filled = this.#fill();
    this.#moved();
    await filled;
    if (document?.state === DocumentState.INDEXING && !signal.aborted) void this.#again();
  }

  #offer({ mediaType, title, sourceKey, version }: Document): void {
    this.#tabs.offer([...(mediaType === PDF ? (["pages"] as const) : []), "text", ...(version > 0 ? (["passages"] as const) : []), "versions", "details"]);
    if (this.#shown.title) return;
    this.#shown = { ...this.#shown, title: title || sourceKey };
    this.#title.textContent = cleanName(this.#shown.title);
  }

  /** The note above the shown place. */
  get #about(): string {
    const { name, marked } = this.#shown;
    const version = Number(/\/versions\/(\d+)$/.exec(name)?.[1] ?? 0);
    if (marked || !version || !this.#document) return marked;
    return t(version === this.#document.version ? "versionUsed" : "versionOther", { version, used: this.#document.version });
  }

  #moved(): void {
    const { name } = this.#shown;
    const tab = this.#tabs.open;
    if (this.isOpen) this.#hooks.moved({ name, tab, page: tab === "pages" ? this.#pages.page : 0 });
  }

  async #current(name: string, signal: AbortSignal): Promise<Document | undefined> {
    return this.#api.knowledge.getDocument({ name: documentOf(name) }, { signal }).catch(() => undefined);
  }

  /** Fill the shown tab unless it shows the document already. */
  async #fill(): Promise<void> {
    const { open } = this.#tabs;
    const { signal } = this.#reading;
    const document = this.#document;
    if (this.#filled.has(open)) {
      if (open === "text") this.#text.toMark();
      return;
    }
    this.#filled.add(open);
    const { name, title, page, boxes } = this.#shown;
    if (open === "text") return this.#fillText(signal);
    if (open === "pages") return this.#pages.open(name, title, page, boxes, signal);
    if (!document) return;
    if (open === "passages") this.#passages.open(document, signal);
    else {
      const mayChange = await this.#mayChange(document, signal);
      if (signal.aborted) return;
      if (open === "versions") await this.#versions.open(document, mayChange, signal);
      else await this.#details.show(document, mayChange, signal);
    }
  }

  /** Whether the user may change the document: its owner, the owner of its collection and administrators may. If this cannot be found out, the server decides. */
  async #mayChange({ owner, collection }: Document, signal: AbortSignal): Promise<boolean> {
    const { me } = this.#hooks;
    if (owner === me.name || me.role === UserRole.ADMIN) return true;
    return this.#api.knowledge.getCollection({ name: collection }, { signal }).then((found) => found.manageable, () => true);
  }

  async #fillText(signal: AbortSignal): Promise<void> {
    const { name, range, quote } = this.#shown;
    this.#content ??= this.#text.read(name, range, signal);
    const { text, done } = this.#content;
    try {
      await done;
    } catch (error) {
      if (signal.aborted) return;
      this.#content = undefined; // the tab reads it again when it is chosen again
      this.#filled.delete("text");
      const failure = failureOf(error);
      const gone = failure.reason === "RESOURCE_NOT_FOUND";
      const unread = gone && this.#document?.state === DocumentState.INDEXING && this.#document.version === 0;
      const why = unread ? t("stillRead") : gone ? t(quote ? "versionNotStored" : "notStored") : failure.message;
      this.#note.textContent = quote ? t("answerQuoted", { why }) : why;
      if (quote) this.#text.quote(quote);
      return;
    }
    if (signal.aborted) return;
    this.#note.textContent = this.#about;
    const first = this.#text.show(text, range, this.#document, signal);
    // Do not move the focus if the user has already moved it.
    if (first && focused() === this.#title) first.focus({ preventScroll: true });
  }

  /** Show another place of the open document. */
  async #go(shown: Shown): Promise<void> {
    this.#reading.abort();
    this.#reading = new AbortController();
    this.#title.focus({ preventScroll: true });
    await this.#open(shown, this.#reading.signal);
  }

  /** Read the document again after a change, until the server has read its newest version. */
  async #again(): Promise<void> {
    const { signal } = this.#reading;
    const name = documentOf(this.#shown.name);
    while (!signal.aborted) {
      const document = await persist((inner) => this.#api.knowledge.getDocument({ name }, { signal: inner }), signal).catch(() => undefined);
      if (signal.aborted || !document) return;
      const isNew = document.etag !== this.#document?.etag;
      this.#document = document;
      this.#title.textContent = cleanName(document.title || document.sourceKey);
      if (isNew) {
        this.#offer(document);
        // The text and the pages of a version do not change.
        const same = (["text", "pages"] as const).filter((one) => this.#shown.name !== name && this.#filled.has(one));
        this.#filled.clear();
        for (const one of same) this.#filled.add(one);
        if (same.length === 0) this.#content = undefined;
        if (!this.#filled.has(this.#tabs.open)) await this.#fill();
      }
      if (document.state !== DocumentState.INDEXING) return;
      await PATIENCE.sleep(LOOK_AGAIN, signal);
    }
  }
}

/** A passage, or the piece that an excerpt is round. */
function shownPassage(source: Passage | Excerpt, title: string): Shown {
  const { start = 0n, end = 0n } = ("pieceRange" in source ? (source.markedRange ?? source.pieceRange) : undefined) ?? source.sourceRange ?? {};
  const name = source.documentVersion;
  return { name, title, range: { start: Number(start), end: Number(end) }, quote: "", marked: t("passageMarked"), page: source.page, boxes: source.boxes };
}

/** Whether two citations are of the same passage, or of the same source of a tool's call. */
function sameSource(one: Citation, other: Citation): boolean {
  const [a, b] = [one.origin.value, other.origin.value];
  return one.passage === other.passage && a?.callId === b?.callId && a?.sourceIndex === b?.sourceIndex;
}
