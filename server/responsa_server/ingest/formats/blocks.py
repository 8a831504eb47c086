"""Helpers for parsers: blocks collected by character offsets and converted to byte ranges once at the end, and language tags."""

from __future__ import annotations

import re

from responsa_server.ingest import rejections
from responsa_server.text.canonical import Block, BlockKind, byte_positions

MAX_BLOCKS = 1_000_000
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8}){0,3}\Z")


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
            raise rejections.parser_limit(f"The document has more than {MAX_BLOCKS:,} paragraphs.")
        self._rows.append((kind, start, end, level, title))
        self._end = end

    def first_heading(self) -> str:
        """The plain text of the first level 1 heading; '' if there is none."""
        return next(
            (title for kind, _, _, level, title in self._rows if kind is BlockKind.HEADING and level == 1), ""
        )

    def blocks(self, text: str) -> tuple[Block, ...]:
        """The blocks, with byte offsets into `text`'s UTF-8."""
        flat = byte_positions(text, [edge for _, start, end, _, _ in self._rows for edge in (start, end)])
        return tuple(
            Block(kind, flat[2 * i], flat[2 * i + 1], level, title)
            for i, (kind, _, _, level, title) in enumerate(self._rows)
        )
