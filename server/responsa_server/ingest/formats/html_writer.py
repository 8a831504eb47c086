"""Writes the text of an HTML page block by block, with what parts one block from the next."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from responsa_server.ingest.formats.bounds import BlockCollector
from responsa_server.text.canonical import BlockKind, one_line

# Stands for <br> among inline text; no HTML text holds it, since the parser replaces U+0000.
LINE_BREAK = "\x00"
_SPACES = re.compile(r"[ \t\n\f\r]+")


@dataclass(slots=True)
class OpenList:
    """An open list: its counter when ordered, None when not."""

    number: int | None


@dataclass(slots=True)
class OpenTable:
    """An open table: whether it lays out a page, and the cells of its open row."""

    layout: bool
    cells: list[str] = field(default_factory=list[str])
    in_cell: bool = False


@dataclass(slots=True)
class TextWriter:
    """Where the walk stands, and the text written so far."""

    parts: list[str] = field(default_factory=list[str])
    collector: BlockCollector = field(default_factory=BlockCollector)
    length: int = 0
    inline: list[str] = field(default_factory=list[str])
    lists: list[OpenList] = field(default_factory=list[OpenList])
    tables: list[OpenTable] = field(default_factory=list[OpenTable])
    quotes: int = 0
    code: int = 0
    heading: int = 0
    marker: str | None = None
    last: BlockKind | None = None

    def take(self) -> str:
        """The inline text gathered so far, its white space settled; empties the buffer."""
        raw = "".join(self.inline)
        self.inline.clear()
        if self.code:
            return raw.replace(LINE_BREAK, "\n").strip("\r\n").rstrip(" \t\n\f\r")
        lines = (_SPACES.sub(" ", line).strip(" ") for line in raw.split(LINE_BREAK))
        return "\n".join(lines).strip("\n")

    def flush(self) -> None:
        """End the current block. Inside a cell of a data table a block's end is a mere space."""
        if self.tables and self.tables[-1].in_cell:
            self.inline.append(" ")
            return
        text = self.take()
        if text:
            self.write(text, self.kind())

    def kind(self) -> BlockKind:
        """What a block that ends here is."""
        if self.code:
            return BlockKind.CODE
        if self.heading:
            return BlockKind.HEADING
        if self.lists:
            return BlockKind.LIST_ITEM
        return BlockKind.QUOTE if self.quotes else BlockKind.PARAGRAPH

    def write(self, text: str, kind: BlockKind) -> None:
        """Append a block with what parts it from the one before."""
        tight = kind is self.last and kind in (BlockKind.LIST_ITEM, BlockKind.TABLE)
        lead = "" if not self.parts else ("\n" if tight else "\n\n")
        if kind is BlockKind.LIST_ITEM:
            # Depth shows as indentation up to a bound, or nested lists would grow the text quadratically.
            lead += "  " * min(len(self.lists) - 1, 8) + (self.marker if self.marker is not None else "  ")
            self.marker = None
        start = self.length + len(lead)
        self.parts.extend((lead, text))
        self.length = start + len(text)
        match kind:
            case BlockKind.HEADING:
                self.collector.add(kind, start, self.length, self.heading, one_line(text))
            case BlockKind.LIST_ITEM:
                self.collector.add(kind, start, self.length, len(self.lists))
            case BlockKind.QUOTE:
                self.collector.add(kind, start, self.length, self.quotes)
            case _:
                self.collector.add(kind, start, self.length)
        self.last = kind

    def end_cell(self, table: OpenTable) -> None:
        """Keep what the cell holds, on one line, for its row."""
        table.cells.append(self.take().replace("\n", " "))
        table.in_cell = False

    def end_row(self, table: OpenTable) -> None:
        """Write the row, unless all its cells are empty."""
        if any(table.cells):
            self.write(" | ".join(table.cells), BlockKind.TABLE)
        table.cells.clear()
