"""The pieces of a passage from its text alone, where those that were stored cannot be had. Pure."""

from __future__ import annotations

from dataclasses import replace

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import FoundPassage, PassagePiece, VectorKind
from responsa_server.text.canonical import Block, BlockKind
from responsa_server.text.sentences import pieces


def cut_anew(found: FoundPassage) -> FoundPassage:
    """A passage with the pieces that its text alone tells of: its paragraphs' sentences."""
    source, text = found.passage.source, found.passage.text
    paragraphs: list[Block] = []
    start = 0
    for part in text.encode().split(b"\n\n"):
        paragraphs.append(Block(BlockKind.PARAGRAPH, start, start + len(part)))
        start += len(part) + 2
    return replace(
        found,
        pieces=[
            PassagePiece(
                VectorKind(one.kind.value),
                ByteRange(source.start + one.byte_start, source.start + one.byte_end),
                None,
            )
            for one in pieces(text, paragraphs, found.language)
        ],
    )
