import { describe, expect, it } from "vitest";
import { dropped, picked, type Found, type Looking } from "../src/documents/folders.js";

const SUFFIXES = [".md", ".txt"];
const LOOKING: Looking = { signal: new AbortController().signal, room: async () => undefined };

function file(path: string, content = "Rye"): File {
  const name = path.split("/").at(-1)!;
  const made = new File([content], name);
  Object.defineProperty(made, "webkitRelativePath", { value: path.includes("/") ? path : "" });
  return made;
}

/** The paths of the files that are sent, and the rules or reasons of the others. */
function summed(found: readonly Found[]) {
  return Object.fromEntries(found.map((one) => [one.path, "file" in one ? "sent" : (one.rule ?? one.why)]));
}

/** An entry as browsers make it for a dropped file or folder. A folder returns two entries at a time. A text is the content of a file. */
type Tree = string | Error | { readonly [name: string]: Tree };
function entry(name: string, tree: Tree, above = ""): FileSystemEntry {
  const fullPath = `${above}/${name}`;
  const readable = !(tree instanceof Error);
  if (typeof tree === "string" || !readable) {
    const one = { name, fullPath, isFile: true, isDirectory: false, file: (taken: (file: File) => void, failed: (error: unknown) => void) => (readable ? taken(new File([tree as string], name)) : failed(tree)) };
    return one as unknown as FileSystemEntry;
  }
  const createReader = () => {
    const children = Object.entries(tree).map(([child, below]) => entry(child, below, fullPath));
    return { readEntries: (taken: (part: FileSystemEntry[]) => void, failed: (error: unknown) => void) => ("!" in tree ? failed(new Error("No.")) : taken(children.splice(0, 2))) };
  };
  return { name, fullPath, isFile: false, isDirectory: true, createReader } as unknown as FileSystemEntry;
}

async function all(batches: AsyncIterable<Found[]>): Promise<Found[]> {
  const found: Found[] = [];
  for await (const part of batches) found.push(...part);
  return found;
}

describe("picked", () => {
  it("accounts for every file of a folder", async () => {
    const found = await all(picked(
      [
        file("guide/parts/one.md"),
        file("guide/Intro.MD"),
        file("guide/.git/config"),
        file("guide/.git/objects/ab"),
        file("guide/.hidden.md"),
        file("guide/photo.png"),
        file("guide/empty.md", ""),
        file("guide/empty.zip", ""),
        file("guide/~$one.md"),
        file("guide/.DS_Store"),
      ],
      SUFFIXES,
      LOOKING,
    ));
    expect(summed(found)).toEqual({
      "guide/Intro.MD": "sent",
      "guide/parts/one.md": "sent",
      "guide/.git": "HIDDEN",
      "guide/.hidden.md": "HIDDEN",
      "guide/photo.png": "UNSUPPORTED_SUFFIX",
      "guide/empty.md": "EMPTY",
      "guide/empty.zip": "EMPTY",
      "guide/~$one.md": "LEFT_BEHIND",
      "guide/.DS_Store": "LEFT_BEHIND",
    });
    expect(found).toHaveLength(9);
    expect(found.map((one) => one.path)).toEqual(found.map((one) => one.path).sort());
  });

  it("leaves the decision to the server while the formats are not known", async () => {
    const found = await all(picked([file("guide/photo.png"), file("guide/.hidden.md"), file("guide/one.md")], [], LOOKING));
    expect(summed(found)).toEqual({ "guide/photo.png": "sent", "guide/.hidden.md": "HIDDEN", "guide/one.md": "sent" });
  });

  it("skips a file that is too large", async () => {
    const large = file("guide/large.md");
    Object.defineProperty(large, "size", { value: 67_108_865 });
    expect(summed(await all(picked([large], SUFFIXES, LOOKING)))).toEqual({ "guide/large.md": "TOO_LARGE" });
  });

  it("takes a hidden folder that the user chose itself", async () => {
    expect(summed(await all(picked([file(".notes/a.md"), file(".notes/.b.md")], SUFFIXES, LOOKING)))).toEqual({ ".notes/a.md": "sent", ".notes/.b.md": "HIDDEN" });
  });

  it("leaves out of the files that the user chose those that no parser reads, and those that editors leave behind", async () => {
    const found = await all(picked([file("photo.png"), file("empty.txt", ""), file(".env"), file("~$plan.docx")], SUFFIXES, LOOKING));
    expect(summed(found)).toEqual({ "~$plan.docx": "LEFT_BEHIND", "photo.png": "UNSUPPORTED_SUFFIX", "empty.txt": "sent", ".env": "UNSUPPORTED_SUFFIX" });
  });
});

describe("dropped", () => {
  it("reads folders to their end, and opens no hidden folder", async () => {
    const parts = Object.fromEntries(Array.from({ length: 5 }, (_, index) => [`${index}.md`, "Rye"]));
    const found = await all(dropped([entry("guide", { parts, ".git": { "!": "" }, "a.md": "Rye", "b.png": "x" }), entry("loose.md", "Rye")], SUFFIXES, LOOKING));
    expect(summed(found)).toEqual({
      "loose.md": "sent",
      "guide/.git": "HIDDEN",
      "guide/a.md": "sent",
      "guide/b.png": "UNSUPPORTED_SUFFIX",
      ...Object.fromEntries(Object.keys(parts).map((name) => [`guide/parts/${name}`, "sent"])),
    });
  });

  it("names what cannot be read, and goes on", async () => {
    const found = await all(dropped([entry("guide", { closed: { "!": "" }, "a.md": new Error("No."), "b.md": "Rye" })], SUFFIXES, LOOKING));
    const unreadable = expect.stringContaining("cannot read");
    expect(summed(found)).toEqual({ "guide/closed": unreadable, "guide/a.md": unreadable, "guide/b.md": "sent" });
  });

  it("refuses the second of two files with the same path", async () => {
    const found = await all(dropped([entry("guide", { "a.md": "Rye" }), entry("guide", { "a.md": "Oats" })], SUFFIXES, LOOKING));
    expect(found.map((one) => "file" in one)).toEqual([true, false]);
  });
});
