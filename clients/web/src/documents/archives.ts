/**
 * Lists the files of ZIP and tar archives, with the bounds of `responsa ingest`. Archives may come from anybody: nothing here trusts a size, a count or a path that
 * an archive states.
 */

import { t } from "../language/documents/texts.js";
import { readNames } from "./zipnames.js";

export const SUFFIXES: readonly string[] = [".zip", ".tar", ".tar.gz", ".tgz"];
const MOST_FILES = 10_000;
/** The maximum size of an archive's files together, in bytes. */
const MOST_UNPACKED = 1_073_741_824;
/** The maximum size of an archive's files together, as a multiple of the archive's size. Files of fewer than RATIO_FROM bytes may exceed it. */
const MOST_RATIO = 100;
const RATIO_FROM = 16_777_216;
/** The maximum size of a ZIP archive's table of contents, in bytes. The library reads all of it at once. */
const MOST_CONTENTS = 16_777_216;
/** The bytes of headers and padding that a tar archive may have per file. */
const TAR_BLOCK = 4_096;
/** The maximum number of bytes between two files of a tar archive. The library keeps them in memory: they may be one extended header. The streams may hold some of these bytes. */
const MOST_HEADER = 4_194_304;

/** The content of a file in an archive. */
export interface Packed {
  /** The size that the archive states, in bytes. */
  readonly size: number;
  /** Unpacks the file: at most `size` bytes. Raises an error if the archive is damaged, or was changed or deleted. */
  readonly unpack: () => Promise<Blob>;
}

/** A file in an archive. */
export interface Member {
  /** Its path in the archive, with slashes. */
  readonly name: string;
  readonly isLink: boolean;
  /** Why it cannot be read; "" if it can. */
  readonly why: string;
  readonly content: Packed;
}

/** An archive that is not read. The message is the reason. */
export class ArchiveRefused extends Error {}

/** Whether a file's name is that of an archive. */
export function isArchive(name: string): boolean {
  const lower = name.toLowerCase();
  return SUFFIXES.some((one) => lower.endsWith(one));
}

/** All files of an archive, in order, without its folders. `wanted` says which files will be unpacked; the others need no memory. Raises ArchiveRefused, and an error when the signal aborts. */
export async function members(archive: File, wanted: (name: string, size: number) => boolean, signal: AbortSignal): Promise<Member[]> {
  const seen = new Set<string>();
  try {
    const found = archive.name.toLowerCase().endsWith(".zip") ? await ofZip(archive, signal) : await ofTar(archive, wanted, signal);
    return found.map((one) => {
      const why = seen.has(one.name) ? t("pathTwice") : one.why;
      seen.add(one.name);
      return { ...one, why };
    });
  } catch (error) {
    signal.throwIfAborted();
    throw error instanceof ArchiveRefused ? error : new ArchiveRefused(t("notArchive"));
  }
}

/** Raise ArchiveRefused if an archive's files are too many or too large. */
function bound(files: number, bytes: number, archive: File): void {
  if (files > MOST_FILES) throw new ArchiveRefused(t("archiveFiles", { count: MOST_FILES }));
  if (bytes > MOST_UNPACKED) throw new ArchiveRefused(t("archiveBytes"));
  if (bytes > Math.max(RATIO_FROM, archive.size * MOST_RATIO)) throw new ArchiveRefused(t("archiveRatio", { count: MOST_RATIO }));
}

function member(path: string, isLink: boolean, problem: string, content: Packed): Member {
  const slashes = path.replaceAll("\\", "/");
  const parts = slashes.split("/").filter((part) => part && part !== ".");
  const leaves = slashes.startsWith("/") || /^[A-Za-z]:/.test(slashes) || parts.includes("..");
  return { name: leaves ? slashes : parts.join("/"), isLink, why: leaves ? t("pathLeaves") : problem, content };
}

const KIND = 0o170000; // the bits of a Unix mode that say what an entry is
const FILE = 0o100000;
const LINK = 0o120000;

async function ofZip(archive: File, signal: AbortSignal): Promise<Member[]> {
  const { BlobReader, BlobWriter, ZipReader } = await import("@zip.js/zip.js/lib/zip-core.js");
  class Bounded extends BlobReader {
    override readUint8Array(offset: number, length: number): Promise<Uint8Array> {
      if (length > MOST_CONTENTS) bound(MOST_FILES + 1, 0, archive);
      return super.readUint8Array(offset, length);
    }
  }
  // The page's security policy allows no workers. The names are checked below, so that one bad name does not spoil the archive.
  const reader = new ZipReader(new Bounded(archive), { useWebWorkers: false, checkCrc32: true, filenameValidation: "tolerant" });
  const found: Member[] = [];
  const names: { readonly raw: Uint8Array; readonly text: string; readonly isUnicode: boolean }[] = [];
  let bytes = 0;
  for await (const entry of reader.getEntriesGenerator()) {
    signal.throwIfAborted();
    if (entry.directory) continue;
    bytes += entry.uncompressedSize;
    bound(found.length + 1, bytes, archive);
    const kind = (entry.externalFileAttributes >>> 16) & KIND;
    const problem = entry.encrypted ? t("encrypted") : kind && kind !== FILE && kind !== LINK ? t("notFile") : "";
    const unpack = () => entry.getData(new BlobWriter());
    names.push({ raw: entry.rawFilename, text: entry.filename, isUnicode: entry.filenameUTF8 });
    found.push(member("", kind === LINK, problem, { size: entry.uncompressedSize, unpack }));
  }
  const read = readNames(names, navigator.languages);
  return found.map(({ isLink, why, content }, index) => member(read[index]!, isLink, why, content));
}

async function ofTar(archive: File, wanted: (name: string, size: number) => boolean, signal: AbortSignal): Promise<Member[]> {
  const { createTarDecoder } = await import("modern-tar");
  let bytes = 0;
  let next = MOST_HEADER; // the place at which the next file must have begun
  const bounded = new TransformStream<Uint8Array, Uint8Array>({
    transform: (piece, controller) => {
      if (bytes > next) throw new ArchiveRefused(t("archiveHeader", { count: MOST_HEADER / 2 ** 20 }));
      bytes += piece.length;
      bound(0, bytes - MOST_FILES * TAR_BLOCK, archive);
      controller.enqueue(piece);
    },
  });
  const unzipped = archive.name.toLowerCase().endsWith(".tar") ? archive.stream() : archive.stream().pipeThrough(new DecompressionStream("gzip"), { signal });
  const entries = unzipped.pipeThrough(bounded, { signal }).pipeThrough(createTarDecoder({ strict: true }), { signal }).getReader();
  const found: Member[] = [];
  try {
    for (let entry = await entries.read(); !entry.done; entry = await entries.read()) {
      const { header, body } = entry.value;
      next = bytes + header.size + MOST_HEADER;
      const { type = "file" } = header;
      const isLink = type === "symlink" || type === "link";
      const one = member(header.name, isLink, isLink || type === "file" ? "" : t("notFile"), { size: header.size, unpack: () => Promise.reject(new Error("not unpacked")) });
      // A tar archive has no table of contents, so what is wanted of it is unpacked at once. Browsers put large blobs on the disk.
      const data = type === "file" && !one.why && wanted(one.name, header.size) ? await new Response(body).blob() : await body.cancel();
      if (type === "directory") continue;
      found.push(data ? { ...one, content: { size: data.size, unpack: () => Promise.resolve(data) } } : one);
      bound(found.length, 0, archive);
    }
  } catch (error) {
    await entries.cancel(error).catch(() => undefined); // otherwise, the streams would hold what they have read
    throw error;
  }
  return found;
}
