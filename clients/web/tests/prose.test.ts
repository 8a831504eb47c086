import { create } from "@bufbuild/protobuf";
import { CitationSchema, type Citation } from "@responsa/contract/responsa/chat/v1/citation_pb.js";
import { describe, expect, it } from "vitest";
import { byteLength } from "@responsa/client/parts.js";
import { withSources } from "../src/chat/copy.js";
import { parts } from "../src/chat/parts.js";
import { Cited, plainText, type Spot } from "../src/text/prose.js";
import { wrapped } from "../src/text/view.js";
import { every, html, tree } from "./trees.js";

/** A text without its braces, and the cited parts that the braces mark. Numbers are in the order of the opening braces. */
function read(marked: string): { readonly text: string; readonly citations: Citation[] } {
  let text = "";
  const open: number[] = [];
  const ranges: { start: number; end: number }[] = [];
  for (const character of marked) {
    if (character === "{") {
      open.push(ranges.length);
      ranges.push({ start: byteLength(text), end: 0 });
    } else if (character === "}") ranges[open.pop()!]!.end = byteLength(text);
    else text += character;
  }
  const citations = ranges.map(({ start, end }) => create(CitationSchema, { answerRange: { start: BigInt(start), end: BigInt(end) }, title: "T", uri: "t.md", quote: "q\nr" }));
  return { text, citations };
}

function spots(text: string, citations: readonly Citation[]): Spot[] {
  return parts(text, citations).map((one) => ({ ...one, widget: { type: "widget", key: String(one.index + 1), make: never } }));
}

function never(): never {
  throw new Error("no element is needed");
}

/** The page's tree for a marked text. Spans around supported text are left out. */
function chips(marked: string): string {
  const { text, citations } = read(marked);
  return html(new Cited(never).views(text, spots(text, citations))).replace(/<span className="supported" dataCitation="\d+">(.*?)<\/span>/gs, "$1");
}

function code(text: string): string {
  return `<div className="code"><div className="code-head"><span className="note"></span>{copy}</div><pre tabIndex="0"><code>${text}</code></pre></div>`;
}

describe("the chip of a citation", () => {
  it.each([
    ["behind a sentence", "{One two.} Three.", "<p>One two.{1} Three.</p>"],
    ["behind white space", "{One. }{Two.\n}\n\nThree", "<p>One.{1} Two.{2}</p><p>Three</p>"],
    ["within a word", "{on}e", "<p>on{1}e</p>"],
    ["behind emphasis that ends with the part", "{*One* **two**} three", "<p><em>One</em> <strong>two</strong>{1} three</p>"],
    ["within emphasis", "**{one} two**", "<p><strong>one{1} two</strong></p>"],
    ["behind a link or code, never in it", "{a `b} c` [{d} e](https://x.example)", '<p>a <code>b c</code>{1} <a href="https://x.example/" title="https://x.example/" target="_blank" rel="noopener noreferrer">d e</a>{2}</p>'],
    ["in a list", "- {one}\n- {two\n  - three}\n\nfour", "<ul><li><p>one{1}</p></li><li><p>two</p><ul><li><p>three{2}</p></li></ul></li></ul><p>four</p>"],
    ["in a table", "| {a} | b |\n|---|---|\n| {c | d} |", '<div className="table" role="group" ariaLabel="Table" tabIndex="0"><table><thead><tr><th scope="col">a{1}</th><th scope="col">b</th></tr></thead><tbody><tr><td>c</td><td>d{2}</td></tr></tbody></table></div>'],
    ["behind code", "{```\nmake up\n```}\n\nend", `${code("make up")}<p className="chips">{1}</p><p>end</p>`],
    ["in several blocks", "{A lead sentence.}\n\n- {mode: **fast**; battery: 4 months}\n- {```\n  make up\n  ```}\n- {last}\n\n{```\nmake\n```}\n\n{End.}", `<p>A lead sentence.{1}</p><ul><li><p>mode: <strong>fast</strong>; battery: 4 months{2}</p></li><li>${code("make up")}<p className="chips">{3}</p></li><li><p>last{4}</p></li></ul>${code("make")}<p className="chips">{5}</p><p>End.{6}</p>`],
    ["two behind code", "{{```\nmake up\n```}}", `${code("make up")}<p className="chips">{1}{2}</p>`],
    ["two at one place, in their order", "{{One.}} Two.", "<p>One.{1}{2} Two.</p>"],
    ["in parts that lie in each other", "{One {two} three.}", "<p>One two{2} three.{1}</p>"],
    ["of a part over several blocks", "{# One\n\ntwo\n\n- three} four", "<h3>One</h3><p>two</p><ul><li><p>three{1} four</p></li></ul>"],
    ["of a part that shows nothing", "one\n\n{---}\n\ntwo", '<p>one</p><hr></hr><p className="chips">{1}</p><p>two</p>'],
    ["of a part that Markdown hides", "{[a]: https://x.example}\n\nb", '<p className="chips">{1}</p><p>b</p>'],
    ["behind a character of several units", "{a🚆}b &{amp;} c", "<p>a🚆{1}b &amp;{2} c</p>"],
  ])("stands %s", (_, marked, expected) => {
    expect(chips(marked)).toBe(expected);
  });

  it("is there in every part of a text that grows, and the tree is the same as for that part alone", () => {
    const { text, citations } = read("{One *two* `three`.} **{Four} five**\n\n- {six}\n- {seven `eight`\n\n```sh\nnine\n```}\n\n| a | b |\n|---|---|\n| {c} | d |\n\n> {ten\n> eleven} [{twelve}](https://x.example) &{amp;}");
    const growing = new Cited(never);
    for (let end = 0; end <= text.length; end += 1) {
      const part = text.slice(0, end);
      const here = spots(part, citations);
      const views = growing.views(part, here);
      expect(html(views)).toBe(html(new Cited(never).views(part, here)));
      const found = [...every(views)].flatMap((one) => (one.type === "widget" && one.key !== "copy" ? [one.key] : []));
      expect(found.sort()).toEqual(here.map((one) => one.widget.key).sort());
    }
  });

  it("keeps the blocks that did not change", () => {
    const { text, citations } = read("{One.}\n\n{Two.} Three");
    const growing = new Cited(never);
    const before = growing.views(text, spots(text, citations));
    const after = growing.views(`${text} four`, spots(text, citations));
    expect(after[0]).toBe(before[0]);
    expect(after[1]).not.toBe(before[1]);
  });

  it("has a part whose text is marked, whatever the Markdown is", () => {
    const { text, citations } = read("o{ne *tw}o* **t{hr**ee `fo}ur`");
    expect(html(new Cited(never).views(text, spots(text, citations)))).toBe(
      '<p>o<span className="supported" dataCitation="0">ne </span><em><span className="supported" dataCitation="0">tw</span>{1}o</em> <strong>t<span className="supported" dataCitation="1">hr</span></strong><span className="supported" dataCitation="1">ee </span><code><span className="supported" dataCitation="1">fo</span>ur</code>{2}</p>',
    );
  });
});

describe("a range of a document", () => {
  it("is marked exactly, wherever it begins and ends", () => {
    const text = "# On *two*\n\nA **bold &amp; `code`** [link](https://x.example).\n\n- item\n\n```\ncode\n```\n\n| a | b |\n|---|---|\n| c | d |";
    const content = tree(text);
    for (let from = 0; from < text.length; from += 1) {
      for (let to = from + 1; to <= text.length; to += 1) {
        const marked: string[] = [];
        const expected: string[] = [];
        for (const node of every(wrapped(content, { from, to }, "mark"))) if (node.type === "element" && node.tagName === "mark") marked.push(html(node.children));
        for (const node of every(content)) {
          if (node.type !== "text" || node.data.to <= from || node.data.from >= to) continue;
          const atom = node.value.length !== node.data.to - node.data.from;
          expected.push(html([{ ...node, value: atom ? node.value : node.value.slice(Math.max(from - node.data.from, 0), to - node.data.from) }]));
        }
        expect(marked).toEqual(expected);
      }
    }
  });
});

describe("an answer that is copied", () => {
  function copied(marked: string): string {
    const { text, citations } = read(marked);
    const cited = new Cited(never);
    cited.views(text, []);
    return withSources(text, citations, parts(text, citations), (end) => cited.outside(end));
  }

  const NOTE = "T, t.md: “q r”";

  it("has a footnote for each citation, outside of other marks", () => {
    expect(copied("{One.} **T{wo**} `t{hr}ee`.")).toBe(`One.[^1] **Two**[^2] \`three\`[^3].\n\n[^1]: ${NOTE}\n[^2]: ${NOTE}\n[^3]: ${NOTE}\n`);
  });

  it("has no footnote in code", () => {
    expect(copied("{```\nmake up\n```}\n\nEnd.")).toBe(`\`\`\`\nmake up\n\`\`\`\n\n[^1]\n\nEnd.\n\n[^1]: ${NOTE}\n`);
  });

  it("has its footnotes in the cells of a table", () => {
    expect(copied("| a | b |\n|---|---|\n{| c | d |}\n| {e} | f |\n")).toBe(`| a | b |\n|---|---|\n| c | d[^1] |\n| e[^2] | f |\n\n[^1]: ${NOTE}\n[^2]: ${NOTE}\n`);
    expect(copied("{| a | b |\n|---|---|}\n| c | d |\n")).toBe(`| a | b |\n|---|---|\n| c | d |\n\n[^1]\n\n[^1]: ${NOTE}\n`);
  });

  it("has no markup of the sources", () => {
    const note = (title: string, uri: string, quote: string) => withSources("One.", [create(CitationSchema, { title, uri, quote })], [], (end) => ({ end, block: false })).slice(6);
    expect(note("A\n\n# B\n[^1]: c", "https://x.example/a_b", "*d*\n<e>")).toBe("[^1]: A # B \\[^1\\]: c, <https://x.example/a_b>: “\\*d\\* \\<e\\>”\n");
    expect(note("[a](javascript:b)", "https://x.example/>[c](d)", "\u202e e")).toBe("[^1]: \\[a\\](javascript:b), https\\://x.example/\\>\\[c\\](d): “\ufffd e”\n");
  });

  it("stays as it is without citations", () => {
    expect(copied("One.\n")).toBe("One.\n");
  });
});

describe("plain text", () => {
  it("is what a reader sees, in one line", () => {
    expect(plainText("# One\n\n- *two*\n- `three`\n\n| a | b |\n|---|---|\n| c | d |\n\n[x]: https://x.example")).toBe("One two three a b c d");
  });
});
