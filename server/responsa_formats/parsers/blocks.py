"""Writes the canonical text of a format whose files are not text, block by block.

A blank line separates blocks; a line break separates list items and table rows. The block of a list item begins
with its marker, such as "- " or "1. ". The cells of a row are joined with " | "; a row whose first cell is empty begins with a bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from responsa_formats.text.canonical import BlockCollector, BlockKind, ParsedDocument, Place, one_line

if TYPE_CHECKING:
    from responsa_formats.parsers.sniff import Original

# The marker of a list item that has no mark, such as the second paragraph of an item.
NO_MARK = "  "


@dataclass(slots=True)
class BlockWriter:
    """The text written so far, and its blocks. quotes: within how many quotations the next block is. title: that
    of the next heading, if its text has markup. empty_cells_left: how many more empty cells the tables of the document
    may have than their texts allow."""

    parts: list[str] = field(default_factory=list[str])
    collector: BlockCollector = field(default_factory=BlockCollector)
    length: int = 0
    last_kind: BlockKind | None = None
    quotes: int = 0
    title: str = ""
    empty_cells_left: int = 1_000_000

    @property
    def text(self) -> str:
        return "".join(self.parts)

    def write(
        self, text: str, kind: BlockKind, level: int = 0, marker: str = NO_MARK, place: Place | None = None
    ) -> None:
        """Append a separator and a block. marker: the mark of a list item, with the space after it, which belongs to
        the block unless it is NO_MARK.

        Raises Rejected beyond MAX_BLOCKS blocks.
        """
        tight = kind is self.last_kind and kind in (BlockKind.LIST_ITEM, BlockKind.TABLE)
        lead = "" if not self.parts else ("\n" if tight else "\n\n")
        if kind is BlockKind.LIST_ITEM:
            # Indentation shows nesting up to a limit. Without the limit, deeply nested lists would make the text grow quadratically.
            lead += "  " * min(level - 1, 8)
            if marker == NO_MARK:
                lead += marker
            else:
                text = marker + text
        start = self.length + len(lead)
        self.parts.extend((lead, text))
        self.length = start + len(text)
        title = one_line(self.title or text) if kind is BlockKind.HEADING else ""
        self.collector.add(kind, start, self.length, level, title, place, self.quotes)
        self.last_kind = kind

    def document(self, original: Original, **stated: Any) -> ParsedDocument:
        """The document of the blocks. stated: as in `BlockCollector.document`."""
        return self.collector.document(
            self.text, format_name=original.format, file_name=original.name, **stated
        )

    def separate(self) -> None:
        """Let a blank line follow, also between the rows of two tables."""
        self.last_kind = None

    def write_row(self, cells: Sequence[str], place: Place | None = None) -> None:
        """Append a row of a table, unless its cells are empty or dashes, which would make a ruler."""
        if any(cell.strip("-:") for cell in cells):
            self.write(line_of_cells(cells), BlockKind.TABLE, place=place)


def line_of_cells(cells: Sequence[str]) -> str:
    """The line of a table row. Without the bar before an empty first cell, the other cells would lose their columns."""
    return ("" if cells[0] else "|") + " | ".join(cell.replace("|", "\\|") for cell in cells)
