import { gzipSync } from "node:zlib";
import { BlobWriter, TextReader, ZipWriter, configure } from "@zip.js/zip.js/lib/zip-core.js";
import { packTar, type TarEntry } from "modern-tar";
import { beforeAll, describe, expect, it } from "vitest";
import { picked, type Found } from "../src/documents/folders.js";

beforeAll(() => configure({ useWebWorkers: false }));

const LINK = 0o120777;

async function zip(entries: readonly (readonly [name: string, text: string, options?: object])[], name = "old.zip"): Promise<File> {
  const writer = new ZipWriter(new BlobWriter());
  for (const [path, text, options] of entries) await writer.add(path, new TextReader(text), { ...options, filenameValidation: "tolerant" } as object);
  return new File([await writer.close()], name);
}

async function tar(entries: readonly TarEntry[], name = "old.tar.gz"): Promise<File> {
  const bytes = await packTar(entries);
  return new File([name.endsWith("gz") ? new Uint8Array(gzipSync(bytes)) : bytes], name);
}

function text(name: string, body: string): TarEntry {
  return { header: { name, size: new TextEncoder().encode(body).length, type: "file" }, body };
}

async function found(...files: readonly File[]): Promise<Found[]> {
  const all: Found[] = [];
  const looking = { signal: new AbortController().signal, room: async () => undefined };
  for await (const part of picked(files, [".md"], looking)) all.push(...part);
  return all;
}

/** Each path with its text, its rule or the reason why it is refused. */
async function summed(...files: readonly File[]): Promise<Record<string, string>> {
  const lines = (await found(...files)).map(async (one) => [one.path, "file" in one ? await unpacked(one.file) : (one.rule ?? one.why)] as const);
  return Object.fromEntries(await Promise.all(lines));
}

async function unpacked(file: Extract<Found, { file: unknown }>["file"]): Promise<string> {
  return "unpack" in file ? (await file.unpack()).text() : file.text();
}

describe("a ZIP archive", () => {
  it("is taken apart, and every file is accounted for", async () => {
    const archive = await zip([
      ["guide/one.md", "Rye"],
      ["guide/parts/two.md", "Oats ".repeat(100)],
      ["guide/", "", { directory: true }],
      ["guide/photo.png", "x"],
      ["guide/.hidden.md", "x"],
      ["__MACOSX/one.md", "x"],
      ["guide/inner.zip", "x"],
      ["guide/empty.md", ""],
      ["guide/link.md", "one.md", { externalFileAttributes: LINK * 2 ** 16 }],
      ["../../escape.md", "x"],
      ["../escape.png", "x"],
      ["C:\\escape.md", "x"],
      ["guide/secret.md", "x", { password: "rye", zipCrypto: true }],
    ]);
    expect(await summed(archive)).toEqual({
      "old.zip/guide/one.md": "Rye",
      "old.zip/guide/parts/two.md": "Oats ".repeat(100),
      "old.zip/guide/photo.png": "UNSUPPORTED_SUFFIX",
      "old.zip/guide/.hidden.md": "HIDDEN",
      "old.zip/guide/inner.zip": "NESTED_ARCHIVE",
      "old.zip/guide/empty.md": "EMPTY",
      "old.zip/guide/link.md": "LINK",
      "old.zip/../../escape.md": "its path leads out of the archive",
      "old.zip/../escape.png": "its path leads out of the archive",
      "old.zip/C:/escape.md": "its path leads out of the archive",
      "old.zip/guide/secret.md": "it is encrypted; remove the password",
    });
  });

  it("that is damaged, empty or a bomb is refused with its reason", async () => {
    const whole = await zip([["one.md", "Rye"]]);
    const bomb = await zip([["a.md", "x".repeat(2 ** 24)], ["b.md", "x"]], "bomb.zip");
    const wide = new DataView(new ArrayBuffer(2 ** 24 + 23)); // a table of contents of 16 MiB and a byte, and the record that says so
    wide.setUint32(2 ** 24 + 1, 0x504b0506);
    wide.setUint16(2 ** 24 + 9, 1, true);
    wide.setUint16(2 ** 24 + 11, 1, true);
    wide.setUint32(2 ** 24 + 13, 2 ** 24 + 1, true);
    expect(await summed(new File([await whole.slice(0, 60).arrayBuffer()], "cut.zip"), bomb, await zip([], "none.zip"), new File(["Rye"], "text.zip"), new File([wide], "wide.zip"))).toEqual({
      "cut.zip": "the file is not a readable archive, or the browser cannot read it",
      "bomb.zip": "the archive would expand to more than 100 times its size; unpack it yourself",
      "none.zip": "the archive contains no files",
      "text.zip": "the file is not a readable archive, or the browser cannot read it",
      "wide.zip": "the archive contains more than 10,000 files; split it",
    });
  });

  it("cannot make a file larger than it states", async () => {
    const bytes = new Uint8Array(await (await zip([["one.md", "Rye ".repeat(10_000)]])).arrayBuffer());
    const directory = bytes.findLastIndex((_, place) => [0x50, 0x4b, 1, 2].every((byte, index) => bytes[place + index] === byte));
    new DataView(bytes.buffer).setUint32(directory + 24, 100, true); // the size of the unpacked file
    const [one] = await found(new File([bytes], "liar.zip"));
    if (!one || !("file" in one)) throw new Error("It is not sent.");
    expect(one.file.size).toBe(100);
    await expect(unpacked(one.file)).rejects.toThrow();
  });
});

describe("a tar archive", () => {
  it("is taken apart, and every file is accounted for", async () => {
    const long = `${"long/".repeat(40)}name.md`;
    const entries: TarEntry[] = [
      { header: { name: "guide/", size: 0, type: "directory" } },
      text("guide/one.md", "Rye"),
      text("guide/one.md", "Oats"),
      text(long, "Wheat"),
      text("/etc/escape.md", "x"),
      text("guide/photo.png", "x"),
      { header: { name: "guide/link.md", size: 0, type: "symlink", linkname: "/etc/passwd" } },
      { header: { name: "guide/pipe.md", size: 0, type: "fifo" } },
    ];
    for (const name of ["old.tar.gz", "old.tar"]) {
      const all = await found(await tar(entries, name));
      const [first, second] = all.filter((one) => one.path === `${name}/guide/one.md`);
      expect(first && "file" in first && (await unpacked(first.file))).toBe("Rye");
      expect(second).toMatchObject({ why: "the archive contains this path twice" });
      expect(await summed(await tar(entries.filter((_, place) => place !== 2), name))).toEqual({
        [`${name}/guide/one.md`]: "Rye",
        [`${name}/${long}`]: "Wheat",
        [`${name}//etc/escape.md`]: "its path leads out of the archive",
        [`${name}/guide/photo.png`]: "UNSUPPORTED_SUFFIX",
        [`${name}/guide/link.md`]: "LINK",
        [`${name}/guide/pipe.md`]: "it is not a file",
      });
    }
  });

  it("with too many or too large files is refused with its reason", { timeout: 60_000 }, async () => {
    const one = (await packTar([text("one.md", "")])).slice(0, 512); // the header of an empty file is all that the archive has of it
    const many = new File([gzipSync(Buffer.concat(Array.from({ length: 10_001 }, () => one))) as Uint8Array<ArrayBuffer>], "many.tar.gz");
    const bomb = new File([new Uint8Array(gzipSync(await packTar([text("bomb.md", "x".repeat(2 ** 26))])))], "bomb.tgz");
    expect(await summed(many, bomb, new File(["Rye"], "text.tgz"))).toEqual({
      "many.tar.gz": "the archive contains more than 10,000 files; split it",
      "bomb.tgz": "the archive would expand to more than 100 times its size; unpack it yourself",
      "text.tgz": "the file is not a readable archive, or the browser cannot read it",
    });
  });

  it("whose extended header is too large is refused, and a large file that is skipped is not", async () => {
    const large = await packTar([text("photo.png", "x".repeat(2 ** 23)), text("one.md", "Rye")]);
    expect(await summed(new File([large], "skipped.tar"))).toEqual({ "skipped.tar/photo.png": "UNSUPPORTED_SUFFIX", "skipped.tar/one.md": "Rye" });
    const sum = parseInt(new TextDecoder().decode(large.subarray(148, 154)), 8) + "x".charCodeAt(0) - "0".charCodeAt(0);
    large.set(new TextEncoder().encode(sum.toString(8).padStart(6, "0")), 148);
    large.set(new TextEncoder().encode("x"), 156); // the first file becomes the extended header of the second
    let isCancelled = false;
    const file = new File([large], "header.tar");
    const stream = new ReadableStream<Uint8Array>(
      { pull: (controller) => controller.enqueue(large.slice(bytes, (bytes += 65_536))), cancel: () => void (isCancelled = true) },
      { highWaterMark: 0 },
    );
    let bytes = 0;
    file.stream = () => stream as ReturnType<File["stream"]>;
    expect(await summed(file)).toEqual({ "header.tar": "the archive has more than 4 MiB between two files; unpack it yourself" });
    expect(bytes).toBeLessThan(2 ** 22 + 2 ** 18);
    expect(isCancelled).toBe(true);
  });

  it("is read no further after the signal aborts", async () => {
    const stop = new AbortController();
    const file = new File([await packTar([text("one.md", "Rye")])], "old.tar");
    file.stream = () => new ReadableStream<Uint8Array<ArrayBuffer>>({ pull: () => new Promise(() => stop.abort()) });
    const batches = picked([file], [".md"], { signal: stop.signal, room: async () => undefined });
    await batches.next();
    await expect(batches.next()).rejects.toMatchObject({ name: "AbortError" });
  });
});
