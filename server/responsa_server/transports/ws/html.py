"""Turns an answer's Markdown into HTML that a page may insert unchanged."""

from __future__ import annotations

import asyncio
import html
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

import nh3
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

TAGS: Final = frozenset(
    {"p", "br", "hr", "em", "strong", "del", "code", "pre", "ul", "ol", "li", "blockquote", "a"}
    | {"h1", "h2", "h3", "h4", "h5", "h6", "table", "thead", "tbody", "tr", "th", "td"}
)
"""All allowed tags. None of them loads anything (images are not allowed), runs code or sets styles."""
ATTRIBUTES: Final = {"a": {"href", "title"}, "ol": {"start"}}
SCHEMES: Final = frozenset({"http", "https", "mailto"})
_KEPT: Final = 16
_AT_A_TIME: Final = 2
_WHOLE_LINK = re.compile(r"https?://|mailto:", re.IGNORECASE)
"""The start of an allowed link. A link without a host would lead to this server, under the reader's session."""
_LINE_END = re.compile(r"\r\n?|\n")
_FEW_CELLS: Final = 64
_CHARACTERS_PER_CELL: Final = 4


class _HtmlMarkdown(MarkdownIt):
    def validateLink(self, url: str) -> bool:
        """Whether an address may become a link."""
        return _WHOLE_LINK.match(url) is not None


def _alternative(
    renderer: RendererHTML, tokens: Sequence[Token], index: int, options: OptionsDict, env: EnvType
) -> str:
    """An image's alternative text, which replaces the image: fetching the image would reveal the reader to the image's host."""
    children = tokens[index].children or []
    return html.escape(renderer.renderInlineAsText(children, options, env))


def _markdown(*, tables: bool) -> MarkdownIt:
    # Tags in the text are shown as text. Reference links are disabled, because they could repeat one long address a
    # thousand times in the HTML.
    parser = _HtmlMarkdown("commonmark", {"html": False}).disable("reference")
    parser.add_render_rule("image", _alternative)
    return parser.enable("table") if tables else parser


_MARKDOWN: Final = _markdown(tables=True)
_WITHOUT_TABLES: Final = _markdown(tables=False)


def of_markdown(text: str) -> str:
    """Sanitised HTML of a Markdown text. The HTML's length is at most a fixed multiple of the text's length. The
    slowest text of 24 KiB takes half a second."""
    fits = _cells_left_out(text) <= max(_FEW_CELLS, len(text) // _CHARACTERS_PER_CELL)
    return nh3.clean(
        (_MARKDOWN if fits else _WITHOUT_TABLES).render(text),
        tags=set(TAGS),
        attributes={tag: set(names) for tag, names in ATTRIBUTES.items()},
        attribute_filter=lambda _, name, value: value if name != "href" or _WHOLE_LINK.match(value) else None,
        url_schemes=set(SCHEMES),
        link_rel="noopener noreferrer",
        strip_comments=True,
    )


def _cells_left_out(text: str) -> int:
    """An upper limit for the number of table cells that the parser adds when it pads rows to the width of the table's header."""
    cells, width = 0, 0
    for line in _LINE_END.split(text):
        if not line.strip(" \t"):
            width = 0
            continue
        written = line.count("|")
        cells += max(0, width - written)
        if "-" in line:
            width = max(width, written)
    return cells


def of_plain(text: str) -> str:
    """HTML of a plain text: a paragraph that shows it unchanged."""
    return f"<p>{html.escape(text, quote=False)}</p>" if text else ""


class Rendering:
    """Makes HTML outside the event loop, two texts at a time. The last results are kept, because every follower of a
    turn needs the HTML of the same answer."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_AT_A_TIME, "html")
        self._last: dict[str, asyncio.Future[str]] = {}
        """The last texts and their HTML, which may not be ready yet; the latest text is at the end."""

    async def of_markdown(self, text: str) -> str:
        """The same as the function `of_markdown`."""
        rendering = self._last.pop(text, None)
        if rendering is None or (rendering.done() and rendering.exception() is not None):
            rendering = asyncio.get_running_loop().run_in_executor(self._threads, of_markdown, text)
        self._last[text] = rendering
        if len(self._last) > _KEPT:
            del self._last[next(iter(self._last))]
        # Other followers may wait for the same HTML, so a follower that leaves does not cancel the rendering.
        return await asyncio.shield(rendering)
