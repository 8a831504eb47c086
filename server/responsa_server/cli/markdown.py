"""Renders Markdown on a terminal.

The Markdown comes from documents and models, so nothing in it may control the terminal, disappear or take long to
render. Control characters become � after the parser has decoded entities. Links show their targets, and images show
their addresses and are never fetched. HTML is shown as text. A text that the renderer cannot show completely, or not
in a bounded time, is printed as it is.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import ClassVar

from markdown_it.token import Token
from rich import markdown
from rich.console import Console, ConsoleOptions, RenderResult
from rich.markdown import MarkdownContext, MarkdownElement
from rich.segment import Segment, Segments
from rich.table import Table
from rich.text import Text
from rich.theme import Theme

from responsa_server.cli.output import disarm, print_text
from responsa_server.text.layout import parse

_MAX_CHARACTERS = 64 * 1024
_MAX_TOKENS = 10_000
_MAX_LEVEL = 16
"""The parser drops the text of blocks that are nested more than 20 deep."""
_MIN_COLUMN = 6
"""The smallest width of a table's column, in characters."""
_MIN_WIDTH = 10
"""The smallest width of the text within the innermost block, in characters. Each block around it takes up to four more."""

# The library's own styles put code on a black background, which is hard to read on a light terminal.
_THEME = Theme(
    {
        "markdown.code": "cyan",
        "markdown.code_block": "cyan",
        "markdown.item.bullet": "none",
        "markdown.item.number": "none",
        "markdown.hr": "dim",
        "markdown.block_quote": "dim",
        "markdown.table.border": "dim",
        "markdown.table.header": "bold",
    }
)


def print_markdown(text: str) -> None:
    """Print Markdown on stdout, rendered for the terminal there."""
    console = Console(file=sys.stdout, theme=_THEME, highlight=False, markup=False, emoji=False)
    lines = render(text, console)
    if lines is None:
        print_text(text.rstrip("\n"))
        return
    console.print(Segments(lines), soft_wrap=True, end="")
    sys.stdout.flush()


def render(text: str, console: Console) -> Sequence[Segment] | None:
    """Return the rendered text in the console's width, or None if the text must be printed as it is."""
    width = console.width
    if len(text) > _MAX_CHARACTERS:
        return None
    tokens = parse(text)
    if sum(1 + len(token.children or ()) for token in tokens) > _MAX_TOKENS:
        return None
    level = max((token.level for token in tokens), default=0)
    if level > _MAX_LEVEL or width < 4 * level + _MIN_WIDTH or _columns(tokens) * _MIN_COLUMN > width:
        return None
    # Trailing spaces would be copied with the text.
    lines = [_trim(line) for line in Segment.split_lines(console.render(_AnswerRenderer(tokens)))]
    full = [index for index, line in enumerate(lines) if line]
    if not full:
        return None
    lines = lines[full[0] : full[-1] + 1]
    return [segment for line in lines for segment in (*line, Segment.line())]


def _columns(tokens: Sequence[Token]) -> int:
    widest = columns = 0
    for token in tokens:
        columns = 0 if token.type == "tr_open" else columns + (token.type in ("th_open", "td_open"))
        widest = max(widest, columns)
    return widest


def _trim(line: Sequence[Segment]) -> Sequence[Segment]:
    rest = [segment for segment in line if not segment.is_control]
    while rest and not rest[-1].text.strip():
        rest.pop()
    return [*rest[:-1], Segment(rest[-1].text.rstrip(), rest[-1].style)] if rest else []


def _plain(tokens: Sequence[Token]) -> Iterator[Token]:
    for token in tokens:
        token.content = disarm(token.content)
        token.children = list(_inline(token.children)) if token.children else None
        yield token


def _inline(tokens: Sequence[Token]) -> Iterator[Token]:
    # A link never contains another link.
    target, label = "", ""
    for token in tokens:
        token.content = disarm(token.content)
        match token.type:
            case "link_open":
                target, label = disarm(str(token.attrs.get("href", ""))), ""
            case "link_close":
                # An address that is its own text is shown once. A place within the document leads nowhere from here.
                if target and not target.startswith("#") and label != target.removeprefix("mailto:"):
                    yield _text(f" ({target})")
            case "image":
                yield _text(f"{token.content} ({disarm(str(token.attrs.get('src', '')))})".lstrip())
            case _:
                label += token.content
                yield token


def _text(content: str) -> Token:
    return Token("text", "", 0, content=content)


class _Code(markdown.TextElement):
    """Code. At the outermost level, lines are not wrapped, so that they can be copied as they are.

    Code is not coloured by its language, because the patterns of some languages take very long on texts made for that.
    """

    style_name = "markdown.code_block"
    _outermost = False

    def on_enter(self, context: MarkdownContext) -> None:
        super().on_enter(context)
        self._outermost = len(context.stack) == 1

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        code = self.text.plain.rstrip("\n").expandtabs(8)
        if self._outermost:
            for line in code.split("\n"):
                yield Segment(line, self.style)
                yield Segment.line()
        else:
            yield Text(code, style=self.style, overflow="fold")


class _Heading(markdown.Heading):
    LEVEL_ALIGN: ClassVar = {}


class _TerminalTable(markdown.TableElement):
    """A table that breaks words too long for its columns. The library cuts them off."""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for table in super().__rich_console__(console, options):
            assert isinstance(table, Table)
            for column in table.columns:
                column.overflow = "fold"
            yield table


class _AnswerRenderer(markdown.Markdown):
    """The renderer of the library, with safe tokens and with our own code blocks, headings and tables."""

    elements: ClassVar[dict[str, type[MarkdownElement]]] = {
        **markdown.Markdown.elements,
        "fence": _Code,
        "code_block": _Code,
        "heading_open": _Heading,
        "table_open": _TerminalTable,
    }

    def __init__(self, tokens: Sequence[Token]) -> None:
        super().__init__("", justify="default")
        self.parsed = list(_plain(tokens))
