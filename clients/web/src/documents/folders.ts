/** Finds the files of folders and archives that the user picks or drops. Every file is accounted for: it is sent, skipped by a named rule, or cannot be read. */

import { ArchiveRefused, isArchive, members, type Member, type Packed } from "./archives.js";
import { sizeOf } from "../text/facts.js";
import { MOST_BYTES } from "./upload.js";
import { t } from "../language/documents/texts.js";

/** A file to send. */
export interface Sent {
  /** The source key: the path that begins with the folder's name, such as `guide/parts/one.md`; the name alone for a file that the user chose itself. The path of a file in an archive begins with the archive's: `guide/old.zip/one.md`. */
  readonly path: string;
  readonly file: File | Packed;
}

/** A file, or a whole hidden folder, that is not sent. */
export interface Left {
  readonly path: string;
  /** The rule that skips it; undefined if it cannot be sent. */
  readonly rule: Rule | undefined;
  /** The reason, such as "hidden: the name begins with a dot". */
  readonly why: string;
}

export type Found = Sent | Left;

/** The rules for files of folders and archives, which are those of `responsa ingest`. Of files that the user chose themselves, the suffix decides; the server decides the rest. */
export const RULES = {
  HIDDEN: t("hidden"),
  UNSUPPORTED_SUFFIX: t("unsupported"),
  TOO_LARGE: t("tooLarge", { size: sizeOf(BigInt(MOST_BYTES)) }),
  EMPTY: t("emptyFile"),
  NESTED_ARCHIVE: t("nestedArchive"),
  LINK: t("link"),
  LEFT_BEHIND: t("leftBehind"),
} as const;
export type Rule = keyof typeof RULES;

export const SUFFIX = /\.[^./]+$/;

/** How the files of a selection are looked for. */
export interface Looking {
  /** Aborts when no more files are wanted. */
  readonly signal: AbortSignal;
  /** Resolves when another archive may be unpacked. Raises an error when the signal aborts. */
  readonly room: () => Promise<void>;
}

/** The files that the user picked in the browser's own dialog, in batches. `suffixes`: the endings of files that the server reads, in lower case and with the dot. Raises an error when the signal aborts. */
export async function* picked(files: Iterable<File>, suffixes: readonly string[], looking: Looking): AsyncGenerator<Found[]> {
  const found = new Selection(suffixes);
  // Browsers list a folder's files in any order.
  for (const file of [...files].sort((a, b) => compare(a.webkitRelativePath, b.webkitRelativePath))) {
    const path = file.webkitRelativePath;
    if (path) found.below(path, file);
    else found.chosen(file);
  }
  yield found.taken();
  yield* found.unpacked(looking);
}

/** The files and folders that the user dropped, in batches. The entries must be read from the event before anything else happens. Raises an error when the signal aborts. */
export async function* dropped(entries: readonly FileSystemEntry[], suffixes: readonly string[], looking: Looking): AsyncGenerator<Found[]> {
  const found = new Selection(suffixes);
  const folders: FileSystemDirectoryEntry[] = [];
  for (const entry of entries) {
    if (isFolder(entry)) folders.push(entry);
    else if (isFile(entry)) await fileOf(entry).then((file) => found.chosen(file), () => found.lost(entry.name));
  }
  yield found.taken();
  for (let folder = folders.shift(); folder; folder = folders.shift()) {
    const reader = folder.createReader();
    try {
      // The browser returns the entries in parts; the last part is empty.
      for (let part = await partOf(reader); part.length > 0; part = await partOf(reader)) {
        for (const entry of part) {
          const path = pathOf(entry);
          if (isFolder(entry)) {
            if (found.open(path)) folders.push(entry);
          } else if (isFile(entry)) await fileOf(entry).then((file) => found.below(path, file), () => found.lost(path));
        }
        yield found.taken();
      }
    } catch {
      found.lost(pathOf(folder));
      yield found.taken();
    }
  }
  yield* found.unpacked(looking);
}

class Selection {
  readonly #suffixes: readonly string[];
  readonly #seen = new Set<string>();
  readonly #archives: { readonly path: string; readonly file: File }[] = [];
  #found: Found[] = [];

  constructor(suffixes: readonly string[]) {
    this.#suffixes = suffixes;
  }

  /** What was found since the last call. */
  taken(): Found[] {
    const found = this.#found;
    this.#found = [];
    return found;
  }

  /** The files of the archives that were found, one batch per archive. Files of tar archives take memory or disk space from now on. */
  async *unpacked({ signal, room }: Looking): AsyncGenerator<Found[]> {
    for (const { path, file } of this.#archives.splice(0)) {
      await room();
      await this.#unpack(path, file, signal);
      yield this.taken();
    }
  }

  /** A file that the user chose itself. */
  chosen(file: File): void {
    if (isLeftBehind(file.name)) this.#skip(file.name, "LEFT_BEHIND");
    else if (isArchive(file.name)) this.#archives.push({ path: file.name, file });
    else if (SUFFIX.test(file.name) && ruleForName(file.name, this.#suffixes)) this.#skip(file.name, "UNSUPPORTED_SUFFIX");
    else this.#send(file.name, file); // the server finds out what a file without a suffix is
  }

  /** A file of a folder. Its hidden folder, if there is one, stands for all files of this folder. */
  below(path: string, file: File): void {
    const hidden = hiddenPart(path);
    if ((!hidden || hidden === path) && isLeftBehind(path)) return this.#skip(path, "LEFT_BEHIND");
    if (hidden) return this.#hide(hidden);
    if (isArchive(path) && file.size > 0) return void this.#archives.push({ path, file });
    const rule = isArchive(path) ? "EMPTY" : (ruleForName(path, this.#suffixes) ?? ruleForSize(file.size));
    if (rule) this.#skip(path, rule);
    else this.#send(path, file);
  }

  /** Whether a folder's files are wanted. */
  open(path: string): boolean {
    const hidden = hiddenPart(path);
    if (hidden) this.#hide(hidden);
    return !hidden;
  }

  /** A file or folder that cannot be read. */
  lost(path: string): void {
    this.#refuse(path, t("unreadable"));
  }

  async #unpack(path: string, archive: File, signal: AbortSignal): Promise<void> {
    const wanted = (name: string, size: number) => !ruleInArchive(name, this.#suffixes) && !ruleForSize(size);
    try {
      const found = await members(archive, wanted, signal);
      if (found.length === 0) this.#refuse(path, t("emptyArchive"));
      for (const one of found.filter(({ name }) => !name.split("/").includes("__MACOSX"))) this.#member(`${path}/${one.name}`, one);
    } catch (error) {
      if (!(error instanceof ArchiveRefused)) throw error;
      this.#refuse(path, error.message);
    }
  }

  #member(path: string, { name, isLink, why, content }: Member): void {
    if (why) return this.#refuse(path, why);
    const rule = ruleInArchive(name, this.#suffixes) ?? (isLink ? "LINK" : ruleForSize(content.size));
    if (rule) this.#skip(path, rule);
    else this.#send(path, content);
  }

  #refuse(path: string, why: string): void {
    this.#found.push({ path, rule: undefined, why });
  }

  #send(path: string, file: File | Packed): void {
    if (this.#seen.has(path)) this.#refuse(path, t("twice"));
    else this.#found.push({ path, file });
    this.#seen.add(path);
  }

  #hide(path: string): void {
    if (!this.#seen.has(path)) this.#skip(path, "HIDDEN");
    this.#seen.add(path);
  }

  #skip(path: string, rule: Rule): void {
    this.#found.push({ path, rule, why: RULES[rule] });
  }
}

/** Whether a file is a mark of an open file (Word, LibreOffice), or what a file manager keeps for itself. */
function isLeftBehind(path: string): boolean {
  return /(?:^|\/)(?:~\$[^/]*|\.~lock\.[^/]*#|\.DS_Store|Thumbs\.db|desktop\.ini)$/i.test(path);
}

/** The path up to its first hidden part; "" if no part is hidden. The folder itself may be hidden, because the user chose it. */
function hiddenPart(path: string): string {
  const parts = path.split("/");
  const first = parts.findIndex((part, index) => index > 0 && part.startsWith("."));
  return first < 0 ? "" : parts.slice(0, first + 1).join("/");
}

function ruleForName(path: string, suffixes: readonly string[]): Rule | undefined {
  const name = path.toLowerCase();
  if (suffixes.length === 0) return undefined; // the formats are not known yet, so the server decides
  return suffixes.some((suffix) => name.endsWith(suffix)) ? undefined : "UNSUPPORTED_SUFFIX";
}

function ruleForSize(size: number): Rule | undefined {
  if (size > MOST_BYTES) return "TOO_LARGE";
  return size === 0 ? "EMPTY" : undefined;
}

function ruleInArchive(name: string, suffixes: readonly string[]): Rule | undefined {
  if (isLeftBehind(name)) return "LEFT_BEHIND";
  if (name.split("/").some((part) => part.startsWith("."))) return "HIDDEN";
  return isArchive(name) ? "NESTED_ARCHIVE" : ruleForName(name, suffixes);
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
const pathOf = (entry: FileSystemEntry) => entry.fullPath.replace(/^\//, "");
const isFolder = (entry: FileSystemEntry): entry is FileSystemDirectoryEntry => entry.isDirectory;
const isFile = (entry: FileSystemEntry): entry is FileSystemFileEntry => entry.isFile;
const fileOf = (entry: FileSystemFileEntry) => new Promise<File>((resolve, reject) => entry.file(resolve, reject));
const partOf = (reader: FileSystemDirectoryReader) => new Promise<FileSystemEntry[]>((resolve, reject) => reader.readEntries(resolve, reject));
