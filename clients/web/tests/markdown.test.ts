import { describe, expect, it } from "vitest";
import { Markdown } from "../src/text/markdown.js";
import { textOf } from "../src/text/view.js";
import { every, shown, tree } from "./trees.js";

const LINK = ' target="_blank" rel="noopener noreferrer"';

describe("what Markdown becomes", () => {
  it.each([
    ["a paragraph", "One *two* **three** ~~four~~ `five`.", "<p>One <em>two</em> <strong>three</strong> <del>four</del> <code>five</code>.</p>"],
    ["lists, with their numbers", "- a\n- b\n  - c\n\n3. d\n4. e", '<ul><li><p>a</p></li><li><p>b</p><ul><li><p>c</p></li></ul></li></ul><ol start="3"><li><p>d</p></li><li><p>e</p></li></ol>'],
    ["tasks", "- [ ] open\n- [x] done", '<ul><li><p className="task">☐ open</p></li><li><p className="task">☑ done</p></li></ul>'],
    ["fenced code", "```sh\nmake *up*\n\n  now\n```", '<pre dataLanguage="sh"><code>make *up*\n\n  now</code></pre>'],
    ["code in a list", "- a\n\n  ```\n  one\n    two\n  ```", "<ul><li><p>a</p><pre><code>one\n  two</code></pre></li></ul>"],
    ["code whose fence has not ended", "```py\nprint(1)", '<pre dataLanguage="py"><code>print(1)</code></pre>'],
    ["a table with empty cells, alignment and bars in code", "| a | b | c |\n|---|:-:|--:|\n| 1 |  | `x\\|y` |\n| \\| |", '<table><thead><tr><th scope="col">a</th><th scope="col" className="center">b</th><th scope="col" className="end">c</th></tr></thead><tbody><tr><td>1</td><td className="center"></td><td className="end"><code>x|y</code></td></tr><tr><td>|</td><td className="center"></td><td className="end"></td></tr></tbody></table>'],
    ["headings below those of the page, without a gap", "# One\n\n#### Two\n\nThree\n===", "<h3>One</h3><h4>Two</h4><h3>Three</h3>"],
    ["quotes", "> one\n> two\n>\n> > three", "<blockquote><p>one\n two</p><blockquote><p>three</p></blockquote></blockquote>"],
    ["breaks and rules", "one  \ntwo\\\nthree\n\n---", "<p>one<br></br>two<br></br>three</p><hr></hr>"],
    ["escapes and references", "\\*not\\* &amp; &#169; &nbsp;&unknown; AT&T", "<p>*not* &amp; © \u00a0&amp;unknown; AT&amp;T</p>"],
    ["a link", "[a *b*](https://x.example/y?z=1&amp;w \"title\")", `<p><a href="https://x.example/y?z=1&w" title="https://x.example/y?z=1&w"${LINK}>a <em>b</em></a></p>`],
    ["a link by reference", "[a][b] and [B]\n\n[b]: <https://x.example/>", `<p><a href="https://x.example/" title="https://x.example/"${LINK}>a</a> and <a href="https://x.example/" title="https://x.example/"${LINK}>B</a></p>`],
    ["addresses", "https://x.example/a. <me@x.example>", `<p><a href="https://x.example/a" title="https://x.example/a"${LINK}>https://x.example/a</a>. <a href="mailto:me@x.example" title="mailto:me@x.example"${LINK}>me@x.example</a></p>`],
    ["an address in raw HTML", '<img src="https://x.example/i.png">', `<p>&lt;img src="<a href="https://x.example/i.png" title="https://x.example/i.png"${LINK}>https://x.example/i.png</a>"></p>`],
    ["a link within the documents, which leads nowhere here", "see [the guide](guide.md#start)", "<p>see the guide</p>"],
    ["brackets in the text of a link", "[a [1] b](https://x.example/) [[2]](https://x.example/) *c [d* e] f*", `<p><a href="https://x.example/" title="https://x.example/"${LINK}>a [1] b</a> <a href="https://x.example/" title="https://x.example/"${LINK}>[2]</a> <em>c [d* e] f</em></p>`],
    ["a definition that arrives last", "[a] [b [c]](https://x.example/)\n\n[c]: https://y.example/", `<p>[a] [b <a href="https://y.example/" title="https://y.example/"${LINK}>c</a>](<a href="https://x.example/" title="https://x.example/"${LINK}>https://x.example/</a>)</p>`],
    ["brackets that are not a link", "[1] and [a][b]", "<p>[1] and [a][b]</p>"],
    ["code with spaces and backticks", "`` a`b `` and ` `", "<p><code>a`b</code> and <code> </code></p>"],
  ])("%s", (_, text, expected) => {
    expect(shown(text)).toBe(expected);
  });

  it("of an extracted text is lists and tables alone, with all other characters as they are", () => {
    const text = "# 5 *not* <b> [a](b) ~~c~~ 1\\*2\nsecond line\n===\n\n- one\n- `two`\n\nCountry | > 8 h\n---|---\nGermany | 14 EUR\n\n    deep\n\n> quoted";
    expect(shown(text, { extracted: true })).toBe(
      '<p># 5 *not* &lt;b> [a](b) ~~c~~ 1\\*2\nsecond line\n===</p><ul><li><p>one</p></li><li><p>`two`</p></li></ul><table><thead><tr><th scope="col">Country</th><th scope="col">> 8 h</th></tr></thead><tbody><tr><td>Germany</td><td>14 EUR</td></tr></tbody></table><p>deep</p><p>> quoted</p>',
    );
  });

  it("is the same for each part of a text that grows, whatever came before", () => {
    const text = "# T\n\npara\n#x\n\n- a\n- b\n\n  c\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```sh\nx\n\ny\n```\n> q\nlazy\n\n1. x\n\n   y\n2. z\n\n[r]: https://x.example/\n\nsee [r] **bold** and *it*\n===\n\n    code\n\n    more\n";
    const growing = new Markdown();
    for (let end = 0; end <= text.length; end += 1) {
      const part = text.slice(0, end);
      expect(growing.blocks(part)).toEqual(new Markdown().blocks(part));
    }
    expect(growing.blocks("other")).toEqual(new Markdown().blocks("other"));
  });

  it("does not make blocks again that did not change", () => {
    const growing = new Markdown();
    const before = growing.blocks("# One\n\ntwo\n\n- three\n\nfour");
    const after = growing.blocks("# One\n\ntwo\n\n- three\n\nfour *five*");
    expect(after.slice(0, 3).every((one, index) => one === before[index])).toBe(true);
    expect(after[3]).not.toBe(before[3]);
  });

  it("shows everything that a document contains, if asked", () => {
    const text = "---\ntitle: x\n---\n\n[a]: https://x.example/\n";
    expect(shown(text, { whole: true, front: true })).toBe('<pre className="plain">---\ntitle: x\n---\n</pre><p className="definition">[a]: https://x.example/</p>');
    expect(shown("[a]: https://x.example/")).toBe("");
  });
});

describe("each text of the tree", () => {
  const TEXTS = [
    "One *two* `co de` [a](https://x.example) \\* &amp; end.\r\nnext **b\nc** d",
    "> quote *with\n> emphasis* and `code\n> more`\n>\n> - item\n>   goes on",
    "1. one\n\n   ```sh\n   make up\n     deep\n   ```\n2. | a | b \\| c |\n   |---|---|\n   | 1 | `x\\|y` |",
    "Ænd 日本語 🚆 *🎻* <b>x</b> https://x.example/🚆 [^1]\n\n[ref]: https://x.example\n\n\tcode\ttab\n",
    "# Heading ##\n\nSetext *two*\n---\n\n- [x] done\n- \\[ ] not\n\n![alt *text*](https://x.example/i.png)",
  ];

  it.each(TEXTS)("names the characters that it shows (%#)", (text) => {
    let place = 0;
    for (const node of every(tree(text, { whole: true }))) {
      if (node.type !== "text") continue;
      expect(node.data.from).toBeGreaterThanOrEqual(place);
      place = node.data.to;
      const source = text.slice(node.data.from, node.data.to);
      if (node.value.length === source.length) expect(node.value).toBe(source);
      else expect([["\\*", "*"], ["&amp;", "&"], ["\\|", "|"], ["\\[", "["], ["[x]", "☑"]]).toContainEqual([source, node.value]);
    }
  });

  it("together are the text without its marks", () => {
    expect(textOf(tree("# One\n\n*two* **three** `four`\n\n- five"))).toBe("Onetwo three four five  ");
  });
});

describe("attacks", () => {
  it.each([
    ["raw HTML", '<script>alert(1)</script><img src=x onerror="alert(1)"><style>*{}</style>\n\n<iframe src="//evil.example"></iframe>\n\n<!-- hidden -->'],
    ["HTML in blocks", "- <b onclick=alert(1)>x</b>\n\n> <svg/onload=alert(1)>\n\n| <i>a</i> |\n|---|\n| <a href=javascript:alert(1)>x</a> |"],
    ["an attribute in a language", '```"><script>alert(1)</script>\nx\n```'],
    ["character references", "&lt;script&gt;alert(1)&lt;/script&gt; &#60;img src=x&#62;"],
  ])("%s stays text", (_, text) => {
    for (const node of every(tree(text))) if (node.type === "element") expect(["p", "ul", "li", "blockquote", "table", "thead", "tbody", "tr", "th", "td", "pre", "code"]).toContain(node.tagName);
    expect(shown(text)).not.toMatch(/<(?:script|img|style|iframe|b|svg|i|a)\b/);
  });

  it.each(["javascript:alert(1)", "JaVaScRiPt:alert(1)", "java&#x0A;script:alert(1)", "&#1;javascript:alert(1)", "data:text/html,<script>", "vbscript:x", "file:///etc/passwd", "blob:x", "https:evil", "//evil.example", "http:///x", "xmpp:a@b.example", "mailto:"])(
    "no link leads to %s",
    (address) => {
      for (const text of [`[a](${address})`, `[a](<${address}>)`, `![a](${address})`, `<${address}>`, `[a]\n\n[a]: <${address}>`]) {
        expect([...every(tree(text))].filter((one) => one.type === "element" && one.tagName === "a"), text).toEqual([]);
        expect(textOf(tree(text)), text).toMatch(/\w/);
      }
    },
  );

  it("links to other documents only where the page knows them", () => {
    const inside = (link: string) => (link.endsWith(".md") ? `#/documents?key=${encodeURIComponent(link)}` : undefined);
    expect(shown("[a *b*](c/d.md) [e](f.txt) ![g](h.md)", { inside })).toBe('<p><a href="#/documents?key=c%2Fd.md">a <em>b</em></a> e g</p>');
    expect(shown("[a](javascript:alert(1).md)", { inside })).not.toContain("<a");
  });

  it("shows an address that it does not link to", () => {
    expect(shown("[a](javascript:alert(1))")).toBe("<p>[a](javascript:alert(1))</p>");
  });

  it("loads no image: it links to the image, or shows its text", () => {
    expect(shown("![a](https://x.example/i.png)")).toBe(`<p><a href="https://x.example/i.png" title="https://x.example/i.png"${LINK}>a</a></p>`);
    expect(shown("![](https://x.example/i.png) ![b](i.png)")).toBe(`<p><a href="https://x.example/i.png" title="https://x.example/i.png"${LINK}>image</a> b</p>`);
    expect(shown("[![a](https://x.example/i.png)](https://y.example/)")).toBe(`<p><a href="https://y.example/" title="https://y.example/"${LINK}>a</a></p>`);
  });

  it("shows the names of characters that turn the letters around", () => {
    expect(shown("a\u202eb")).toBe('<p>a<span className="control" dataName="U+202E">\u202e</span>b</p>');
    expect(shown("`a\u2066b`")).toContain('<span className="control" dataName="U+2066">');
    expect(shown("שלום \u2067x\u2069")).not.toContain("control");
  });

  const SIZE = 24 * 1024;
  const fill = (text: string) => text.repeat(Math.ceil(SIZE / text.length)).slice(0, SIZE);
  const columns = (count: number) => `|${"a|".repeat(count)}\n|${"-|".repeat(count)}\n`;
  const LARGE: Readonly<Record<string, string>> = {
    "10,000 nested quotes": `${">".repeat(10_000)} x`,
    "nested quotes in each line": fill(`${">".repeat(100)} a\n`),
    "nested lists": fill("* - "),
    "lists in quotes": fill("- > "),
    "a table of 1,000 columns": columns(1_000) + "|1|\n".repeat(4_000),
    "a table of many empty cells": columns(64) + "|\n".repeat(10_000),
    "a single word": "a".repeat(SIZE),
    "spaces in a line": `a${" ".repeat(SIZE)}b`,
    "spaces behind a line of a table": `a|b\n${" ".repeat(SIZE)}x`,
    brackets: fill("["),
    "nested brackets": "[".repeat(SIZE / 2) + "]".repeat(SIZE / 2),
    "links without an end": fill("[a]("),
    "images in links": fill("[![a]("),
    "emphasis without an end": fill("*a _b "),
    "nested emphasis": fill("*a **a ") + fill("b** b*"),
    "emphasis of two kinds": fill("*a_ "),
    backticks: Array.from({ length: 220 }, (_, index) => `e${"`".repeat(index)}`).join(""),
    "definitions of links": fill("[a]: u\n"),
    "a definition without an end": `[a]: u "${fill("x\n")}`,
    "a definition in a table": `[a|b\n|-|-|-\n]: u "${fill("x\n")}`,
    overrides: fill("\u202ea "),
    "character references": fill("&amp;"),
    "addresses that end in brackets": `http://a.b/${fill(")")}`,
    comments: fill("<!--"),
  };

  it.each(Object.keys(LARGE))("%s take a bounded amount of work", (name) => {
    const text = LARGE[name]!;
    const nodes = [...every(tree(text, { whole: true }))];
    // The time of this test is bounded by the test runner. The number of nodes, on which the browser's work depends, is bounded by the length of the text.
    expect(nodes.length).toBeLessThan(2 * text.length);
    expect(depth(tree(text, { whole: true }))).toBeLessThan(100);
    expect(textOf(tree(text, { whole: true })).length).toBeGreaterThan(0);
  });

  it("keeps the text of what it does not render", () => {
    expect(textOf(tree(LARGE["10,000 nested quotes"]!))).toMatch(/^>{9000,} x/);
    expect(textOf(tree(LARGE["a table of 1,000 columns"]!))).toContain("|1|\n|1|");
    expect(textOf(tree(LARGE["a single word"]!)).trim()).toBe(LARGE["a single word"]);
  });
});

function depth(nodes: ReturnType<typeof tree>): number {
  return Math.max(0, ...nodes.map((one) => (one.type === "element" ? 1 + depth(one.children) : 1)));
}
