"""Blocks gathered by character offsets, their number bounded, turned into byte ranges once at the end."""

from __future__ import annotations

from responsa_server.ingest.parse_errors import DocumentParserLimit
from responsa_server.text.canonical import Block, BlockKind, byte_positions

MAX_BLOCKS = 1_000_000


class BlockCollector:
    """Takes blocks in order of their place; overlaps are cut to what the earlier block left."""

    def __init__(self) -> None:
        self._rows: list[tuple[BlockKind, int, int, int, str]] = []
        self._end = 0

    def add(self, kind: BlockKind, start: int, end: int, level: int = 0, title: str = "") -> None:
        """Append characters [start, end) as a block; an empty remainder is dropped.

        Raises DocumentParserLimit beyond MAX_BLOCKS blocks.
        """
        start = max(start, self._end)
        if start >= end:
            return
        if len(self._rows) >= MAX_BLOCKS:
            raise DocumentParserLimit(
                f"The document has more than {MAX_BLOCKS:,} paragraphs.",
                "Split the document into smaller files.",
            )
        self._rows.append((kind, start, end, level, title))
        self._end = end

    def first_heading(self) -> str:
        """The plain text of the first level 1 heading; '' if there is none."""
        return next(
            (title for kind, _, _, level, title in self._rows if kind is BlockKind.HEADING and level == 1), ""
        )

    def blocks(self, text: str) -> tuple[Block, ...]:
        """The blocks with byte offsets into `text`'s UTF-8."""
        flat = byte_positions(text, [edge for _, start, end, _, _ in self._rows for edge in (start, end)])
        return tuple(
            Block(kind, flat[2 * i], flat[2 * i + 1], level, title)
            for i, (kind, _, _, level, title) in enumerate(self._rows)
        )
