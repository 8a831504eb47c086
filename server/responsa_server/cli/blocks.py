"""The blocks of a Markdown text. One parser serves the rendering on a terminal and the places of line breaks and citation
marks, so that all see the same blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto

from markdown_it import MarkdownIt
from markdown_it.token import Token


def parse(text: str) -> Sequence[Token]:
    """Parse CommonMark with tables and strikethrough.

    HTML is text, so that a rendering shows it and never loses it. Link reference definitions are text too: a definition
    would disappear from a rendering, and it would turn the mark of a citation, such as [1], into a link.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable(["strikethrough", "table"])
    return parser.disable(["reference"]).parse(text)


class Kind(Enum):
    """The kinds of blocks: a paragraph, code or a rule (CODE), and a row of a table."""

    PARAGRAPH = auto()
    CODE = auto()
    ROW = auto()


@dataclass(frozen=True, slots=True)
class Block:
    """A block. first, end: its lines, counted from 0, without the line `end`. level: the number of blocks around it."""

    kind: Kind
    first: int
    end: int
    level: int


_KINDS = {
    "paragraph_open": Kind.PARAGRAPH,
    "fence": Kind.CODE,
    "code_block": Kind.CODE,
    "hr": Kind.CODE,
    "tr_open": Kind.ROW,
}


def blocks_of(text: str) -> Iterator[Block]:
    """Yield the blocks of these kinds in the order of their lines. The line below a table's header belongs to the header."""
    header = -1
    # The parser also counts a carriage return as the end of a line.
    for token in parse(text.replace("\r\n", "\n").replace("\r", " ")):
        if token.map is None:
            continue
        first, end = token.map
        if token.type == "thead_open":
            header = first
        elif kind := _KINDS.get(token.type):
            yield Block(kind, first, end + (kind is Kind.ROW and first == header), token.level)
