"""Lays out an answer's Markdown, without side effects: joins the lines of quotes that their documents had wrapped, and
inserts the marks of citations where they do not change the meaning of the Markdown.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from responsa_server.cli.blocks import Block, Kind, blocks_of

_FENCE: Final = re.compile(r"`{3,}|~{3,}")
# A line that begins a block or is indented like code. The line break before such a line must stay.
_BLOCK: Final = re.compile(
    r"[ \t]{4}|\t|[ \t]*(?:[-*+•][ \t]|\d{1,9}[.)][ \t]|#{1,6}[ \t]|[|>]|[-=*_]{3,}[ \t]*$)"
)
_LIST: Final = re.compile(r"[ \t]*(?:[-*+•]|\d{1,9}[.)])[ \t]")
_COLUMNS: Final = re.compile(r"(?<=\S)(?:(?: {0,2}\t| {3})[ \t]*+|[ \t]++\|[ \t]++)\S")
_HARD_BREAK: Final = re.compile(r"(?: {2}|\\)\r?$")


def laid_out(text: str, marks: Sequence[tuple[int, str]], quotes: Sequence[tuple[int, int]]) -> str:
    """Return the text with its marks, and with each paragraph of a quote on one line.

    A mark stands behind a space. It stands below a block of code and within the last cell of a table's row, because the
    Markdown would otherwise mean something else.

    marks: each mark with the offset behind the last character that it is about, in the order of the offsets. quotes: the
    start and the end of each quote. All offsets count characters.
    """
    lines = _Lines(text)
    at: dict[int, list[str]] = {}
    for end, mark in marks:
        kept = at.setdefault(len(text[:end].rstrip()), [])
        if mark not in kept:
            kept.append(mark)
    # There is no text before the first character, so that no mark can be about it.
    at.pop(0, None)
    merged = list(_merged(quotes))
    joins = [
        # A mark before a line break ends with "]", which is not a character of Chinese or Japanese.
        _Edit(one.start, one.end, " ") if one.start in at else one
        for one in _joins(lines)
        if any(start <= one.start and one.end <= end for start, end in merged)
    ]
    return _edited(text, [*joins, *_marks(lines, at)])


def reflow(text: str) -> str:
    """Join the lines of each paragraph. Code, lists, tables, quotes and headings do not change."""
    return _edited(text, list(_joins(_Lines(text))))


@dataclass(frozen=True, slots=True, order=True)
class _Edit:
    """A replacement of the characters from start up to end. For an insertion, start equals end."""

    start: int
    end: int
    text: str


def _edited(text: str, edits: Sequence[_Edit]) -> str:
    """Return the text with the edits, which do not overlap."""
    pieces: list[str] = []
    last = 0
    for one in sorted(edits):
        pieces += [text[last : one.start], one.text]
        last = one.end
    return "".join([*pieces, text[last:]])


class _Lines:
    """The lines of a Markdown text, and the blocks that contain them.

    lines: the lines without their line feeds. starts: the offset of each line, and at the end the length of the text
    plus 1.
    """

    def __init__(self, text: str) -> None:
        self.lines = text.split("\n")
        self.starts = list(accumulate((len(line) + 1 for line in self.lines), initial=0))
        self._blocks = list(blocks_of(text))
        self._firsts = [block.first for block in self._blocks]

    def block(self, line: int) -> Block | None:
        """Return the block that contains the line."""
        place = bisect_right(self._firsts, line) - 1
        return self._blocks[place] if place >= 0 and line < self._blocks[place].end else None

    def line(self, at: int) -> int:
        """Return the line that contains the character at this offset."""
        return bisect_right(self.starts, at) - 1


def _merged(quotes: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Yield the quoted parts in order. Adjacent quotes form one part, because a long sentence is cited with several
    quotes.
    """
    start, end = 0, 0
    for low, high in sorted(quotes):
        if low > end:
            yield start, end
            start, end = low, low
        end = max(end, high)
    yield start, end


def _joins(text: _Lines) -> Iterator[_Edit]:
    """Yield an edit for each line break within a paragraph. The edit replaces the break and the white space around it."""
    before: Block | None = None
    last = ""
    listed = False
    for number, line in enumerate(text.lines):
        kept = line.strip()
        block = text.block(number)
        # A line after a list item, without a blank line between them, belongs to the item.
        listed = bool(kept) and (listed or _LIST.match(line) is not None)
        if (
            block is None
            or block.level
            or block.kind is not Kind.PARAGRAPH
            or listed
            or not kept
            or _BLOCK.match(line)
            or _COLUMNS.search(line)
        ):
            block = None
        if block is not None and block is before and last:
            end = text.starts[number - 1] + len(text.lines[number - 1].rstrip())
            yield _Edit(end, text.starts[number] + line.index(kept), _between(last, kept))
        before = block
        last = "" if _HARD_BREAK.search(line) else kept


def _between(last: str, following: str) -> str:
    """Return the separator of two joined lines: a space, or nothing in scripts without spaces between words."""
    return "" if _unspaced(last[-1:]) and _unspaced(following[:1]) else " "


def _unspaced(character: str) -> bool:
    """Whether the character belongs to Chinese or Japanese, which have no spaces between words.

    Korean characters are wide too, but Korean has spaces.
    """
    return (
        character != ""
        and unicodedata.east_asian_width(character) in "WF"
        and not unicodedata.name(character, "").startswith("HANGUL")
    )


def _marks(text: _Lines, marks: Mapping[int, Sequence[str]]) -> Iterator[_Edit]:
    """Yield the insertions of the marks. marks: the marks by the offset behind the character that they follow."""
    below: dict[Block, list[str]] = {}
    for at, said in marks.items():
        block = text.block(text.line(at - 1))
        if block is not None and block.kind is Kind.CODE:
            kept = below.setdefault(block, [])
            kept += [one for one in said if one not in kept]
            continue
        if block is not None and block.kind is Kind.ROW:
            row = text.lines[block.first].rstrip().removesuffix("|").rstrip()
            at = min(at, text.starts[block.first] + len(row))
        yield _Edit(at, at, f" {''.join(said)}")
    for block, said in below.items():
        yield _below(block, text, "".join(said))


def _below(block: Block, text: _Lines, mark: str) -> _Edit:
    """Return the insertion of a mark as a paragraph below a block of code, within the same list item or quote."""
    end = block.end
    while end > block.first + 1 and not text.lines[end - 1].strip():
        end -= 1
    opening = text.lines[block.first]
    fence = _FENCE.search(opening)
    # Code without a fence is indented by four more spaces than the text around it.
    around = opening[: fence.start()] if fence else opening[: len(opening) - len(opening.lstrip(" >"))][:-4]
    indent = re.sub(r"[^>\s]", " ", around) if block.level else ""
    blank = f"\n{indent.rstrip()}" if end < len(text.lines) and text.lines[end].strip(" >") else ""
    at = text.starts[end] - 1
    return _Edit(at, at, f"\n{indent}{mark}{blank}")
