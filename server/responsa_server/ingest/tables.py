"""The headers of tables that are longer than a passage.

A passage within such a table has rows without the names of their columns. Search and answers need the names, so the
passage is indexed with them and knows where the header stands.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from responsa_formats.text.canonical import Block, BlockKind, Place
from responsa_formats.text.rows import NAMED_ROWS
from responsa_formats.text.sections import Section
from responsa_server.text.shown import header_of

MAX_HEADER_BYTES: Final = 1024
"""A longer header is not repeated, because each passage of its table would hold it."""


@dataclass(frozen=True, slots=True)
class Header:
    """The first line of a table, with the ruler below it.

    start, end: its bytes in the canonical text. place: where it stands in the original file; None if the format keeps
    no places. names: the names of the columns; () if there is no ruler.
    """

    start: int
    end: int
    place: Place | None
    names: Sequence[str]

    @property
    def lines(self) -> str:
        """Its names with the ruler, as lines."""
        names = " | ".join(name.replace("|", "\\|") for name in self.names)
        # Without the bar before an empty first name, the other names would lose their columns.
        return (
            f"{'|' * names.startswith(' |')}{names}\n{'|'.join(['---'] * len(self.names))}|\n"
            if names
            else ""
        )


@dataclass(frozen=True, slots=True)
class _TableRange:
    """A table in the canonical text. first: its first block."""

    start: int
    end: int
    first: Block


def section_headers(
    section: Section, media_type: str, places: Sequence[int], above: Header | None = None
) -> tuple[Sequence[Header | None], Header | None]:
    """The header for each of these bytes of a section, which are in order: the header of the table within which the
    byte stands. None if the byte is in no table or in its header, if the header is longer than MAX_HEADER_BYTES, or if
    the rows themselves say the names of their columns.

    A table is a run of table blocks without an empty line between them. places: count from the section's beginning;
    headers count from the document's. above: the header of the table that the end of the section before has cut; None
    if it has cut none. The second result is `above` for the next section.
    """
    document = section.document
    text = document.canonical_text.encode()
    tables = [] if media_type in NAMED_ROWS else _tables(document.blocks, text)
    if not tables:
        return [None] * len(places), None
    headers: list[Header | None] = []
    for start in places:
        number = bisect_right(tables, start, key=lambda table: table.start) - 1
        inside = number >= 0 and start < tables[number].end
        header = _header(tables[number], text, section.start) if inside else None
        headers.append(header if header is not None and header.end < section.start + start else None)
    first, last = tables[0], tables[-1]
    continued = above is not None and first.first is document.blocks[0] and b"\n" not in text[: first.start]
    if continued:
        headers = [
            above if start < first.end else header for start, header in zip(places, headers, strict=True)
        ]
    if last.end != document.blocks[-1].byte_end or text.count(b"\n", last.end) > 1:
        return headers, None
    if continued and first is last:
        return headers, above
    return headers, _header(last, text, section.start)


def _header(table: _TableRange, text: bytes, section_start: int) -> Header | None:
    head = text[table.start : table.start + MAX_HEADER_BYTES]
    end = head.find(b"\n")
    ruler = head.find(b"\n", end + 1)
    names = header_of(head[: ruler + 1].decode())
    if names:
        end = ruler
    if end < 0:
        return None
    start = section_start + table.start
    return Header(start, start + end, table.first.place, tuple(names))


def _tables(blocks: Sequence[Block], text: bytes) -> list[_TableRange]:
    tables: list[_TableRange] = []
    before: Block | None = None
    for block in blocks:
        if block.kind is BlockKind.TABLE:
            if (
                tables
                and before is not None
                and before.kind is BlockKind.TABLE
                and text.count(b"\n", before.byte_end, block.byte_start) == 1
            ):
                tables[-1] = _TableRange(tables[-1].start, block.byte_end, tables[-1].first)
            else:
                tables.append(_TableRange(block.byte_start, block.byte_end, block))
        before = block
    return tables
