"""Markdown that reaches a host when it is shown, in all its forms, and what is left of it for a renderer."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

EVIL: Final = "https://evil.example/p.png?4711"
OWN: Final = "https://own.example/a"
HOSTILE: Final = (
    f"![words]({EVIL})", f"![words](<{EVIL}>)", f'![words]({EVIL} "title")', f"![words]( {EVIL} )",
    f"![words]({EVIL}\n'title')", f"![two\nlines]({EVIL})", f"![]({EVIL})", f"![a ![b]({EVIL}) c]({EVIL})",
    f"[![words]({EVIL})]({EVIL})", f"[![words]({EVIL})]({OWN})", f"![a [b]({OWN}) c]({EVIL})", f"![words][r]\n\n[r]: {EVIL}",
    f"[r]: {EVIL}\n\n![words][r]", f"![words][]\n\n[words]: {EVIL}", f"![words]\n\n[words]: <{EVIL}> 'title'",
    f"![words][r]\n\n> [r]:\n> {EVIL}", f"- [r]: {EVIL}\n\n![words][r]", f"[^1]: {EVIL}\n\n![^1]", f"[r\ns]: {EVIL}\n\n![r s]",
    f"[`a`]: {EVIL}\n\n![`a`]", f"<img src={EVIL}>", f'<img src="{EVIL}"\nalt="words">',
    f"<IMG\tSRC='{EVIL}'/>", f"<div\n><img src={EVIL}>",
    f"<div\n\n<img src={EVIL}>", f"<!-- --><img src={EVIL}>", f"<?x ?><img src={EVIL}>", f"<![CDATA[x]]><img src={EVIL}>",
    f"<svg><image href='{EVIL}'/></svg>", f"<style>@import '{EVIL}';</style>", f"<script src={EVIL}></script>", f"<iframe src={EVIL}>",
    f"- <video poster={EVIL}>", f"> <body background={EVIL}>", f"1. <pre><img src={EVIL}>", f"a <b style='background:url({EVIL})'>",
    "[click](javascript:alert(1))", "[click](java&#115;cript:alert(1))", "<javascript:alert(1)>",
    "[click](data:text/html,x)", "[click](//evil.example)",
    "[click](/logout)", f"[click]({EVIL})", f"[click][r]\n\n[r]: {EVIL}", f"<{EVIL}>",
    "<thief@evil.example>", "[mail](mailto:thief@evil.example)",
    f"\\\\![words]({EVIL})", f"`a\n![words]({EVIL})\n\nb`", f"` ![words]({EVIL})", f"`` ![words]({EVIL}) `",
    f"` \\<img src={EVIL}> <img src={EVIL}>",
    f"| `a | ![words]({EVIL})` |\n|---|---|", f"|a|b|\n|-|-|\n| `a | ![words]({EVIL}) ` |",
    f"> ```\n![words]({EVIL})", f"- ```\n![words]({EVIL})",
    f"text\n    ![words]({EVIL})", f"text\n    ```\n![words]({EVIL})", f"1. a\n\n    ![words]({EVIL})", f"`a\n\u00a0\n`![words]({EVIL})`",
)  # fmt: skip
"""Sixty texts."""
HARMLESS: Final = (
    "a < b and c > d, 1<<2, x <= y, a<5.",
    "$a<b$ and $c>d$, \\[ x_1 < y \\], $$\na<b\n$$ and \\(f(x)\\)(y).",
    "See [1](see below), the note[^1] and a[i], f(x)[0], {a: [1, 2]}, wow![1]!\n\n[^1]: A note of some words.",
    "# Title\n\n* one\n* two\n  1. three\n\n> quote\n\n---\n\n**bold** _slanted_ ~~struck~~\n",
    "| a | b |\n|---|---|\n| `x <b> y` | [own](https://own.example/a) |\n",
    "Code `![x](y)` and ``a ` <img> b``, `List<String> | null`.\n\nThen | this.",
    "```html\n<img src=x>\n![x](y)\n[r]: z\n```\n\n1. Do:\n   ```js\n   a[0](<b>)\n\n   ```\n2. Done\n",
    "Text:\n\n    <img src=x>\n    ![x](y)\n\n> ~~~\n> <b>\n> ~~~\n",
    "[own](https://own.example/a), [titled](https://own.example/a 'x'), <https://own.example/a>, https://own.example/a!",
    "- [ ] task\n- [x] done: [a]\n- [note] : x\n\n[Note]: this is text. [a]: b c",
    "Ends with a < sign \\< \\![ and a \\\\ \\` backtick.",
)
"""What stays as it is, byte for byte."""


class _Renderer(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        return True

    def normalizeLink(self, url: str) -> str:
        return url


_RENDERERS: Final = (
    _Renderer("commonmark"),
    _Renderer("commonmark").enable(["table", "strikethrough"]),
)


def live(text: str, known: Collection[str] = (OWN,)) -> Sequence[str]:
    """What a renderer of CommonMark, with tables or without, makes of a text that it must not."""
    return [one for renderer in _RENDERERS for one in _live(renderer.parse(text), known)]


def _live(tokens: Sequence[Token], known: Collection[str]) -> Iterator[str]:
    for token in tokens:
        if token.type in ("image", "html_inline", "html_block"):
            yield f"{token.type} {token.content}"
        elif token.type == "link_open" and token.attrs["href"] not in known:
            yield f"link {token.attrs['href']}"
        yield from _live(token.children or (), known)
