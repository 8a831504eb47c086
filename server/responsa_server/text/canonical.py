"""The canonical text of a document and its structure.

Every byte range, quote and hash of the project refers to the UTF-8 bytes of this text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from responsa_server.domain.errors import DocumentRejected, Reason

MAX_TITLE_CHARS = 300
MAX_BLOCKS = 1_000_000
_LINE = re.compile(r"[^\r\n]+")
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}\Z")


class BlockKind(StrEnum):
    """The kind of a part of the canonical text."""

    HEADING = "HEADING"
    PARAGRAPH = "PARAGRAPH"
    LIST_ITEM = "LIST_ITEM"
    CODE = "CODE"
    TABLE = "TABLE"
    QUOTE = "QUOTE"


@dataclass(frozen=True, slots=True)
class Block:
    """One piece of structure: bytes [byte_start, byte_end) of the canonical text's UTF-8.

    `level` is 1 to 6 for headings, the depth (from 1) for list items and quotes, else 0. `title` is a heading's
    plain text without markup, '' for other kinds.
    """

    kind: BlockKind
    byte_start: int
    byte_end: int
    level: int = 0
    title: str = ""


@dataclass(frozen=True, slots=True)
class ParsedDocument:
    """Canonical text with its blocks, in order, disjoint, each on code point borders.

    Blocks need not cover the text: blank lines, list markers of extracted HTML and metadata at the top belong to none.
    `title` has 1 to 300 characters on one line. `language` is a BCP 47 tag that the document itself states, else None.
    The text has neither U+0000 nor lone surrogates. `format` is the name of a row of the table of formats.
    """

    title: str
    canonical_text: str
    blocks: tuple[Block, ...]
    language: str | None
    format: str


def language_tag(text: str) -> str | None:
    """The text if it has the shape of a BCP 47 language tag, else None."""
    return text if _LANGUAGE.match(text) else None


class BlockCollector:
    """Collects blocks in the order of their offsets; a block that overlaps the previous one loses the shared part."""

    def __init__(self) -> None:
        self._rows: list[tuple[BlockKind, int, int, int, str]] = []
        self._end = 0

    def add(self, kind: BlockKind, start: int, end: int, level: int = 0, title: str = "") -> None:
        """Append characters [start, end) as a block, unless nothing is left of it.

        Raises DocumentRejected (DOCUMENT_PARSER_LIMIT) beyond MAX_BLOCKS blocks.
        """
        start = max(start, self._end)
        if start >= end:
            return
        if len(self._rows) >= MAX_BLOCKS:
            raise DocumentRejected(
                Reason.DOCUMENT_PARSER_LIMIT,
                f"The document has more than {MAX_BLOCKS:,} paragraphs. Split it into smaller files.",
            )
        self._rows.append((kind, start, end, level, title))
        self._end = end

    def first_heading(self) -> str:
        """The plain text of the first level 1 heading; '' if the document has no such heading."""
        return next(
            (title for kind, _, _, level, title in self._rows if kind is BlockKind.HEADING and level == 1), ""
        )

    def document(
        self,
        text: str,
        *,
        format_name: str,
        file_name: str,
        title: str = "",
        language: str = "",
        body_start: int = 0,
    ) -> ParsedDocument:
        """The parsed document with these blocks.

        title: the document's own; without one, the title is the first visible line from character `body_start` on, or else the file's name.
        language: as the document states it; ignored if it does not have the shape of a language tag.
        """
        flat = byte_positions(text, [edge for _, start, end, _, _ in self._rows for edge in (start, end)])
        blocks = tuple(
            Block(kind, flat[2 * i], flat[2 * i + 1], level, title)
            for i, (kind, _, _, level, title) in enumerate(self._rows)
        )
        return ParsedDocument(
            title=title or _first_line(text, body_start) or title_from_name(file_name),
            canonical_text=text,
            blocks=blocks,
            language=language_tag(language),
            format=format_name,
        )


def one_line(text: str) -> str:
    """The text as a title: every run of white space becomes one space, and it is cut at 300 characters."""
    # Only the first characters matter: splitting all of a huge text would copy it.
    return " ".join(text[: MAX_TITLE_CHARS * 8].split())[:MAX_TITLE_CHARS].rstrip()


def title_from_name(name: str) -> str:
    """A title made from a file name: the last path component without its suffix; 'Untitled' if nothing is left."""
    base = name.replace("\\", "/").rstrip("/").rsplit("/", 1)[-1]
    stem, dot, suffix = base.rpartition(".")
    if dot and stem and len(suffix) <= 8 and suffix.isalnum():
        base = stem
    return one_line(base.replace("\x00", "")) or "Untitled"


def _first_line(text: str, start: int) -> str:
    """The first line with visible text, as a title; '' if no line has visible text."""
    for match in _LINE.finditer(text, start):
        # A line of white space as long as the document must not be copied whole.
        line = one_line(text[match.start() : min(match.end(), match.start() + MAX_TITLE_CHARS * 8)])
        if line:
            return line
    return ""


def byte_positions(text: str, positions: Sequence[int]) -> list[int]:
    """UTF-8 byte offsets of ascending character offsets of `text`; linear in the text's length."""
    if text.isascii():
        return list(positions)
    result: list[int] = []
    at_char = at_byte = 0
    for position in positions:
        at_byte += len(text[at_char:position].encode())
        at_char = position
        result.append(at_byte)
    return result


def char_positions(data: bytes, positions: Sequence[int]) -> list[int]:
    """Character offsets of ascending byte offsets of UTF-8 `data`.

    Raises UnicodeDecodeError when an offset is inside a code point.
    """
    result: list[int] = []
    at_char = at_byte = 0
    for position in positions:
        at_char += len(data[at_byte:position].decode())
        at_byte = position
        result.append(at_char)
    return result
