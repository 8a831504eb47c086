/** Shows the uploads of files and folders into collections: a summary with an estimate, and each file with its progress or the reason of its end. */

import { ChevronDown, X } from "lucide";
import type { Api } from "../server/api.js";
import { arrange, button, element, focused, replace, WRITTEN } from "../widgets/dom.js";
import { iconButton } from "../widgets/icons.js";
import { signedOut, type Failure } from "../server/errors.js";
import { sentenceCase } from "./access.js";
import { Estimate, timeLeft } from "./estimate.js";
import { RULES, SUFFIX, type Found, type Looking } from "./folders.js";
import { isOpen, STATES, UploadQueue, type Item, type State } from "./queue.js";
import type { Named } from "./library.js";
import { PATIENCE } from "@responsa/client/parts.js";
import { UploadRefused } from "./upload.js";
import { uploaded } from "./uploading.js";
import { cleanName, nameWithin } from "../text/names.js";
import { t } from "../language/documents/texts.js";

/** The number of files that are shown at first, and that "Show more" adds. */
const SHOWN = 100;
/** Up to this number of files, each result is announced; of more, only the sum. */
const ANNOUNCED = 5;
/** Up to this number of suffixes of files that Responsa can’t read, the line names them. */
const SUFFIXES = 8;
const TICK = 200; // milliseconds between two paintings
const SEEN = 8_000; // milliseconds for which the result stays in view if it needs no reader

const VIEWS: readonly (readonly [label: string, states: readonly State[]])[] = [
  [t("allFiles"), STATES],
  [t("openOrRefused"), ["waiting", "running", "refused", "cancelled"]],
  [t("added"), ["added"]],
  [t("areReplaced"), ["replaced"]],
  [t("areUnchanged"), ["unchanged"]],
  [t("refused"), ["refused", "cancelled"]],
  [t("areSkipped"), ["skipped"]],
];

const SUMS = [
  ["added", "sumAdded"],
  ["replaced", "sumReplaced"],
  ["unchanged", "sumUnchanged"],
  ["refused", "sumRefused"],
  ["cancelled", "sumCancelled"],
  ["skipped", "sumSkipped"],
] as const;

export interface UploadHooks {
  readonly say: (text: string) => void;
  /** A document of that collection is now searchable. */
  readonly taken: (collection: Named) => void;
  /** The formats that Responsa reads, in a sentence. */
  readonly formats: () => string;
  /** All uploads have ended. */
  readonly settled: () => void;
  readonly sessionOver: (failure: Failure) => void;
  /** Aborts when the session ends. What is left of the uploads is then cancelled, so that the browser's next session does not send it. */
  readonly signal: AbortSignal;
}

export class UploadsView {
  /** The sum, in the top bar, while the tray is folded. Pressed, it unfolds the tray. */
  readonly count = button("", () => this.#turn(false), { class: "quiet uploads-count", hidden: true });
  readonly root = element("section", { class: "uploads", "aria-labelledby": "uploads-title", hidden: true });
  readonly #hooks: UploadHooks;
  readonly #queue: UploadQueue;
  readonly #rows = new WeakMap<Item, Row>();
  readonly #estimate = new Estimate();
  readonly #bar = element("progress", { class: "whole", "aria-label": t("uploadsProgress") });
  readonly #sum = element("p", { id: "uploads-sum" });
  readonly #why = element("p", { class: "warning" });
  /** One line for all files that Responsa can’t read, with the formats behind it. */
  readonly #formats = element("p", { class: "note" });
  readonly #unread = element("summary", WRITTEN);
  readonly #unreadable = element("details", { class: "explanation", hidden: true }, this.#unread, this.#formats);
  readonly #list = element("ul", { "aria-label": t("files") });
  readonly #more = button(t("moreFiles"), () => this.#further(), { hidden: true });
  readonly #views = element("select", { id: "uploads-view", change: () => this.#viewed() });
  readonly #show = element("div", { class: "row" }, element("label", { for: "uploads-view", class: "note" }, t("show")), this.#views);
  readonly #stop = button(t("stop"), () => this.#toggle(), { class: "quiet" });
  readonly #cancel = button(t("cancelAll"), () => this.#queue.cancelAll(), { class: "quiet" });
  readonly #again = button(t("tryAllAgain"), () => this.#queue.allAgain(), { class: "quiet" });
  readonly #fold = iconButton(ChevronDown, t("onlySum"), () => this.#turn(true));
  readonly #clear = iconButton(X, t("clearList"), () => this.#closed());
  #folded = false;
  #view = 0;
  #hasChosen = false;
  #limit = SHOWN;
  #painting = false;
  #stale = false;
  #ends = 0;

  constructor(api: Api, hooks: UploadHooks) {
    this.#hooks = hooks;
    this.#queue = new UploadQueue({
      perform: (upload, tell, signal) =>
        uploaded(api, upload, tell, signal).catch((error: unknown) => {
          if (error instanceof UploadRefused && signedOut(error.failure)) hooks.sessionOver(error.failure);
          throw error;
        }),
      changed: () => void this.#painted(),
      ended: (item) => this.#ended(item),
      idle: () => this.#idle(),
    });
    this.root.append(
      element("div", { class: "row" }, element("h3", { id: "uploads-title" }, t("uploads")), this.#fold, this.#clear),
      this.#sum,
      this.#bar,
      this.#why,
      this.#unreadable,
      element("div", { class: "row wrap tray-acts" }, this.#show, this.#stop, this.#cancel, this.#again),
      element("div", { class: "tray-list" }, this.#list, this.#more),
    );
    const kept = (event: Event) => {
      if (this.#queue.isBusy) event.preventDefault(); // files that were not sent yet would be lost
    };
    window.addEventListener("beforeunload", kept, { signal: hooks.signal });
    // What has ended does not cover the view to which the user goes.
    window.addEventListener("hashchange", () => {
      this.#folded ||= !this.#queue.isBusy;
      this.#paint();
    }, { signal: hooks.signal });
    hooks.signal.addEventListener("abort", () => this.#queue.cancelAll(), { once: true });
  }

  /** Add the files that a search finds, as it finds them. `subject`: see `Upload`. */
  async add(search: (looking: Looking) => AsyncIterable<readonly Found[]>, collection: Named, subject: string): Promise<void> {
    if (this.#hooks.signal.aborted) return;
    if (!this.#queue.isBusy) this.#folded = false;
    await this.#queue.find(search, collection, subject);
  }

  /** Show only the sum in the top bar, or all files, as the user wants. */
  #turn(folded: boolean): void {
    this.#folded = folded;
    this.#paint();
    (folded ? this.count : this.#fold).focus();
  }

  #toggle(): void {
    if (this.#queue.stopped) this.#queue.goOn();
    else this.#queue.stop(t("stopped"));
    this.#hooks.say(t(this.#queue.stopped ? "uploadsStopped" : "uploadsGoOn"));
  }

  #viewed(): void {
    this.#view = Number(this.#views.value);
    this.#hasChosen = true;
    this.#limit = SHOWN;
    this.#paint();
  }

  #further(): void {
    const next = this.#list.childElementCount;
    this.#limit += SHOWN;
    this.#paint();
    this.#list.children[next]?.querySelector("button")?.focus();
  }

  #cleared(): void {
    this.#queue.clear();
    this.#paint();
  }

  #closed(): void {
    this.#cleared();
    if (this.root.hidden && !focused()) document.getElementById("files")?.focus();
  }

  #ended(item: Item): void {
    const fine = isStored(item.state) || item.state === "unchanged";
    if (this.#queue.size <= ANNOUNCED) this.#hooks.say(t(fine ? "fileIs" : "fileNot", { file: nameWithin(item.path), note: item.note }));
    if (fine) this.#hooks.taken(item.collection);
  }

  #idle(): void {
    this.#hooks.settled();
    void this.#leave();
    // What needs a reader stays until the user goes on.
    if (this.#queue.count("refused", "cancelled", "skipped") === 0 && !this.root.matches(":hover, :focus-within")) this.#folded = true;
    this.#paint();
    if (this.#queue.size > ANNOUNCED) this.#hooks.say(t("uploadsEnded", { sum: this.#summary() }));
  }

  /** Clear the list a while after everything was added whole, once the user sees the page and does not use the list. Anything else that happened stays. */
  async #leave(): Promise<void> {
    const end = (this.#ends += 1);
    do await PATIENCE.sleep(SEEN, new AbortController().signal);
    while (document.hidden || this.root.matches(":hover, :focus-within"));
    const plain = ({ state, note }: Item) => (isStored(state) && note === t("searchable")) || (state === "unchanged" && note === t("unchanged"));
    if (end === this.#ends && !this.#queue.isBusy && [...this.#queue.items].every(plain)) this.#cleared();
  }

  /** Paint at once, but not again within the next moment. Many changes then make one painting. */
  async #painted(): Promise<void> {
    this.#stale = true;
    if (this.#painting) return;
    this.#painting = true;
    while (this.#stale) {
      this.#paint();
      await PATIENCE.sleep(TICK, new AbortController().signal);
    }
    this.#painting = false;
  }

  #paint(): void {
    this.#stale = false;
    const queue = this.#queue;
    const open = queue.count("waiting", "running");
    if (queue.size > SHOWN && !this.#hasChosen) this.#view = 1;
    const isEmpty = queue.size === 0 && !queue.isLooking;
    this.root.hidden = isEmpty || this.#folded;
    this.count.hidden = isEmpty || !this.#folded;
    const { done, total } = queue.work;
    this.#bar.hidden = open === 0 || queue.size === 1;
    this.#bar.max = total;
    this.#bar.value = done;
    if (open === 0 || queue.stopped) this.#estimate.reset();
    else this.#estimate.add(performance.now(), done);
    const left = open > 0 && !queue.isLooking ? this.#estimate.left(total - done) : undefined;
    const files = queue.size > 0 || !queue.isLooking ? [this.#summary()] : [];
    this.#sum.textContent = [...files, ...(queue.isLooking ? [t("looking")] : []), ...(left === undefined ? [] : [`${sentenceCase(timeLeft(left))}.`])].join(" ");
    this.count.textContent = this.#sum.textContent;
    this.#why.textContent = queue.stopped ? t("stoppedUntil", { why: queue.stopped }) : "";
    this.#why.hidden = !this.#why.textContent;
    this.#stop.textContent = t(queue.stopped ? "goOn" : "stop");
    hide(this.#stop, queue.count("waiting") === 0 && !queue.isLooking, this.#clear);
    hide(this.#cancel, open < 2 && !queue.isLooking, this.#clear);
    hide(this.#again, [...queue.items].filter((one) => one.again).length < 2, this.#clear);
    this.#show.hidden = queue.size <= ANNOUNCED;
    const options = VIEWS.map(([, states]) => queue.count(...states)).join();
    if (this.#views.dataset["shown"] !== options) {
      this.#views.dataset["shown"] = options;
      replace(this.#views, ...VIEWS.map(([label, states], index) => element("option", { value: String(index) }, `${label} (${queue.count(...states)})`)));
    }
    this.#views.value = String(this.#view);
    this.#paintUnread();
    this.#paintList();
  }

  #paintList(): void {
    const states = VIEWS[this.#view]![1];
    const items = [...this.#queue.items].filter((one) => states.includes(one.state) && (states.length === 1 || !isUnread(one)));
    const rows = items.slice(0, this.#limit).map((one) => this.#row(one));
    const place = [...this.#list.children].findIndex((one) => one.contains(document.activeElement));
    for (const row of rows) row.paint();
    arrange(this.#list, rows.map((row) => row.root));
    if (place >= 0 && !focused()) (rows[Math.min(place, rows.length - 1)]?.root.querySelector<HTMLElement>("button:not([hidden])") ?? this.#clear).focus();
    this.#more.hidden = items.length <= this.#limit;
  }

  #row(item: Item): Row {
    const known = this.#rows.get(item) ?? new Row(item, () => (isOpen(item.state) ? this.#queue.cancel(item) : this.#queue.again(item)));
    this.#rows.set(item, known);
    return known;
  }

  /** For example "12 of 40 files: 9 added, 2 unchanged, 1 refused." */
  #summary(): string {
    const queue = this.#queue;
    const open = queue.count("waiting", "running");
    const sums = SUMS.flatMap(([state, key]) => (queue.count(state) > 0 ? [t(key, { count: queue.count(state) })] : [])).join(", ");
    const files = t(open > 0 ? "filesOf" : "fileCount", { ended: queue.size - open, count: queue.size });
    return `${files}${sums ? `: ${sums}` : ""}.`;
  }

  /** For example "3 files can’t be read: .pages, .key". */
  #paintUnread(): void {
    const unread = [...this.#queue.items].filter(isUnread);
    const suffixes = [...new Set(unread.map((one) => SUFFIX.exec(one.path)?.[0].toLowerCase() ?? one.path))];
    const names = `${suffixes.slice(0, SUFFIXES).join(", ")}${suffixes.length > SUFFIXES ? ", …" : ""}`;
    this.#unreadable.hidden = unread.length === 0;
    this.#unread.textContent = t("unreadFiles", { count: unread.length, names });
    this.#formats.textContent = this.#hooks.formats();
  }
}

/** Whether the server has stored a file in this state, for the first time or as a new version. */
function isStored(state: State): boolean {
  return state === "added" || state === "replaced";
}

/** Whether Responsa reads no files of this type. */
function isUnread({ note }: Item): boolean {
  return note === RULES.UNSUPPORTED_SUFFIX;
}

/** Hide a button that has nothing to do. Its focus goes to another one. */
function hide(one: HTMLElement, hidden: boolean, other: HTMLElement): void {
  if (hidden && focused() === one) other.focus();
  one.hidden = hidden;
}

/** The row of one file. */
class Row {
  readonly root: HTMLElement;
  readonly #item: Item;
  readonly #bar: HTMLProgressElement;
  readonly #state = element("span", { class: "note state" });
  readonly #action: HTMLButtonElement;

  constructor(item: Item, act: () => void) {
    this.#item = item;
    this.#bar = element("progress", { max: "1", "aria-label": t("progressOf", { path: item.path }) });
    this.#action = button(t("cancel"), act);
    const title = element("span", { class: "name", ...WRITTEN, title: t("toCollection", { collection: item.collection.label }) }, cleanName(item.path));
    this.root = element("li", {}, title, this.#bar, this.#state, this.#action);
  }

  paint(): void {
    const { path, state, share, note, again } = this.#item;
    const open = isOpen(state);
    this.root.className = open ? "" : `ended ${state}`;
    this.#bar.hidden = !open;
    this.#bar.value = share;
    const text = state === "skipped" ? t("skipped", { why: note }) : note;
    if (this.#state.textContent !== text) this.#state.textContent = text;
    const action = t(open ? "cancel" : "tryAgain");
    this.#action.hidden = !open && !again;
    this.#action.textContent = action;
    this.#action.setAttribute("aria-label", `${action}: ${cleanName(path)}`);
  }
}
