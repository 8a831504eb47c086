// Documents of others: every Markdown file that the installed packages bring, as it is and with front matter before it.
import { readdirSync, readFileSync } from "node:fs";
import { beforeEach, describe, expect, it } from "vitest";
import type { Block, Content, Place } from "../src/text/content.js";
import { Markdown } from "../src/text/markdown.js";
import { wrapped } from "../src/text/view.js";
import { every } from "./trees.js";

const PACKAGES = new URL("../../../node_modules/", import.meta.url).pathname;
const FILES = readdirSync(PACKAGES, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".md")).sort();
/** Front matter stands before the beginning of a text, so no more of the text is read with it. */
const READ = 1_000;
/** The number of ranges of a file that are marked. */
const RANGES = 12;
const FORMS = [
  "---\ntitle: A\n---",
  "---\r\ntitle: A\r\ntags: [a, b]\r\n---",
  '---\n"title": "A: b"\n---',
  "---\n# A comment\n\ntitle: A\n---",
  "---\ntitle: >-\n  A\n  folded title\naliases:\n  - one\n  - two\n---",
  "---\ntitle: A\n...",
  "---\nredirect_from:\n- /one/\n- /two/\nrelated_order: 4\n---",
  '+++\ntitle = "A"\ntags = ["a", "b"]\n+++',
  "--- \nkey: {a: 1, b: [2, 3]}\n---  ",
  `---\n${"key: value\n".repeat(400)}---`,
];

// On a slow machine, these tests take longer than the runner waits for a worker that never looks up.
beforeEach(() => new Promise<void>((resolve) => setTimeout(resolve)));

/** What is shown, without the places, and the places apart. */
function moved(blocks: readonly Block[], by: number): unknown {
  return JSON.parse(JSON.stringify(blocks), (key, value: unknown) => ((key === "from" || key === "to") && typeof value === "number" ? value + by : value));
}

/** The source of what the page marks for a range. */
function marked(text: string, blocks: readonly Block[], range: Place): string {
  const views = blocks.flatMap((block) => [...every(wrapped(block.content, range, "mark"))]);
  return views.flatMap((view) => (view.type === "element" && view.tagName === "mark" ? [text.slice(view.data.from, view.data.to)] : [])).join("");
}

/** The source of what a block shows. */
function source(text: string, { content }: { readonly content: readonly Content[] }): string {
  return [...every(content)].flatMap((view) => (view.type === "text" ? [text.slice(view.data.from, view.data.to)] : [])).join("");
}

describe("the Markdown of the installed packages", () => {
  it("is there", () => expect(FILES.length).toBeGreaterThan(100));

  it.each(FILES)("%s: the range that is cited is marked, whatever front matter stands before it", (file) => {
    const whole = readFileSync(PACKAGES + file, "utf8");
    const blocks = new Markdown({ whole: true, front: true }).blocks(whole);
    const step = Math.ceil(blocks.length / RANGES);
    for (let at = 0; at < blocks.length; at += step) expect(marked(whole, blocks, blocks[at]!)).toBe(source(whole, blocks[at]!));

    // A text that begins with a line of spaces, or with what looks like front matter, is another text with another beginning.
    const text = whole.slice(0, READ).trimStart();
    const alone = new Markdown({ whole: true }).blocks(text);
    for (const form of FORMS) {
      for (const gap of ["\n", "\n\n"]) {
        const before = form + gap;
        const [front, ...rest] = new Markdown({ whole: true, front: true }).blocks(before + text);
        expect(source(before + text, front!)).toBe(`${form}\n`);
        expect(rest).toEqual(moved(alone, before.length));
      }
    }
  });
});
