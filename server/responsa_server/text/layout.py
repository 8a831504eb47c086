"""Puts the marks of citations into an answer's Markdown, without side effects. One parser serves this and the rendering
on a terminal, so that both see the same blocks."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import cache
from itertools import accumulate
from typing import Final

from markdown_it import MarkdownIt
from markdown_it.token import Token

_FENCE: Final = re.compile(r"`{3,}|~{3,}")
_MOST_CELLS: Final = 4096
"""In a text whose tables may have more cells, none is a table: the parser adds cells to each row up to the width of the header."""


def parse(text: str) -> Sequence[Token]:
    """Parse CommonMark with tables and strikethrough.

    HTML is text, so that a rendering shows it and never loses it. Link reference definitions are text too: a definition
    would disappear from a rendering, and it would turn the mark of a citation, such as [1], into a link.
    """
    return _parser().parse(text)


def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"]).disable(["reference"])


@cache
def _parser_of_blocks(*, tables: bool) -> MarkdownIt:
    parser = _parser().disable("inline")
    return parser if tables else parser.disable("table")


class LayoutKind(Enum):
    """The kinds of blocks: a paragraph, code or a rule (CODE), and a row of a table."""

    PARAGRAPH = auto()
    CODE = auto()
    ROW = auto()


@dataclass(frozen=True, slots=True)
class MarkdownBlock:
    """A block. first, end: its lines, counted from 0, without the line `end`. level: the number of blocks around it."""

    kind: LayoutKind
    first: int
    end: int
    level: int


_KINDS: Final = {
    "paragraph_open": LayoutKind.PARAGRAPH,
    "fence": LayoutKind.CODE,
    "code_block": LayoutKind.CODE,
    "hr": LayoutKind.CODE,
    "tr_open": LayoutKind.ROW,
}


def blocks_of(text: str) -> Iterator[MarkdownBlock]:
    """Yield the blocks of these kinds in the order of their lines. The line below a table's header belongs to the header."""
    header = -1
    lines = text.split("\n")
    parser = _parser_of_blocks(tables=len(lines) * max(line.count("|") for line in lines) <= _MOST_CELLS)
    # The parser also counts a carriage return as the end of a line.
    for token in parser.parse(text.replace("\r\n", "\n").replace("\r", " ")):
        if token.map is None:
            continue
        first, end = token.map
        if token.type == "thead_open":
            header = first
        elif kind := _KINDS.get(token.type):
            yield MarkdownBlock(kind, first, end + (kind is LayoutKind.ROW and first == header), token.level)


def with_marks(text: str, marks: Sequence[tuple[int, str]]) -> str:
    """Return the text with its marks. See `insertions`."""
    pieces: list[str] = []
    last = 0
    for at, inserted in insertions(text, marks):
        pieces += [text[last:at], inserted]
        last = at
    return "".join([*pieces, text[last:]])


def insertions(text: str, marks: Sequence[tuple[int, str]]) -> Sequence[tuple[int, str]]:
    """Return where marks are inserted into a text, and what: the offsets in characters, in their order, each once.

    A mark stands behind a space. It stands below a block of code and within the last cell of a table's row, because the
    Markdown would otherwise mean something else.

    marks: each mark with the offset, in characters, behind the text that it is about, in the order of the offsets.
    """
    lines = text.split("\n")
    starts = list(accumulate((len(line) + 1 for line in lines), initial=0))
    blocks = list(blocks_of(text))
    inserted: dict[int, tuple[MarkdownBlock | None, list[str]]] = {}
    for offset, mark in marks:
        end = len(text[:offset].rstrip())
        line = bisect_right(starts, end - 1) - 1
        block = next((block for block in blocks if block.first <= line < block.end), None)
        if block is not None and block.kind is LayoutKind.ROW:
            row = lines[block.first].rstrip().removesuffix("|").rstrip()
            end = min(end, starts[block.first] + len(row))
        code = block if block is not None and block.kind is LayoutKind.CODE else None
        # There is no text before the first character, so that no mark can be about it.
        if end:
            _, below = inserted.setdefault(starts[_last(code, lines)] - 1 if code else end, (code, []))
            below += [mark] if mark not in below else []
    return [
        (at, _below(code, lines, "".join(below)) if code else f" {''.join(below)}")
        for at, (code, below) in sorted(inserted.items(), key=lambda pair: pair[0])
    ]


def _last(code: MarkdownBlock, lines: Sequence[str]) -> int:
    end = code.end
    while end > code.first + 1 and not lines[end - 1].strip():
        end -= 1
    return end


def _below(code: MarkdownBlock, lines: Sequence[str], mark: str) -> str:
    """The mark as a paragraph below a block of code, within the same list item or quote."""
    end = _last(code, lines)
    opening = lines[code.first]
    fence = _FENCE.search(opening)
    # Code without a fence is indented by four more spaces than the text around it.
    around = opening[: fence.start()] if fence else opening[: len(opening) - len(opening.lstrip(" >"))][:-4]
    indent = re.sub(r"[^>\s]", " ", around) if code.level else ""
    blank = f"\n{indent.rstrip()}" if end < len(lines) and lines[end].strip(" >") else ""
    return f"\n{indent}{mark}{blank}"
