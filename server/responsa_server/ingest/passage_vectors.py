"""What is stored for a passage besides its text: the texts to embed and the terms to match."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import VectorKind
from responsa_server.search.embedder import Embedder
from responsa_server.text.lexical import Analyzer, tsvector_literal
from responsa_server.text.sentences import Piece, PieceKind, plain

WINDOW_OVERLAP: Final = 32
"""Tokens that neighbouring windows of a passage share."""

_TITLE_CHARS: Final = 120


@dataclass(frozen=True, slots=True)
class PlannedVector:
    """A vector to be made of `text`, standing for bytes `source` of the canonical text."""

    kind: VectorKind
    source: ByteRange
    text: str


@dataclass(frozen=True, slots=True)
class LexicalForm:
    """A passage as full-text search sees it: a tsvector literal, and how many terms it counts."""

    terms: str
    length: int


def plan_vectors(
    embedder: Embedder,
    title: str,
    headings: Sequence[str],
    source: ByteRange,
    text: str,
    pieces: Sequence[Piece],
    *,
    first: bool,
) -> list[PlannedVector]:
    """The vectors of a passage: windows that together cover all of it, its pieces, its headings, on the first one the title.

    text: the canonical text's bytes in `source`. pieces: the document's; those that lie in the passage are taken.
    headings: above the passage, outermost first.
    """
    context = " > ".join(part for part in (title, *headings) if part)[:_TITLE_CHARS]
    raw = text.encode()
    planned = (
        [PlannedVector(VectorKind.TITLE, ByteRange(source.start, source.start + 1), title)]
        if first and title
        else []
    )
    planned += _windows(embedder, context, source, text)
    for piece in pieces:
        if source.start <= piece.byte_start and piece.byte_end <= source.end:
            words = plain(raw[piece.byte_start - source.start : piece.byte_end - source.start].decode())
            if words:
                planned.append(
                    PlannedVector(_KINDS[piece.kind], ByteRange(piece.byte_start, piece.byte_end), words)
                )
    return planned


_KINDS: Final = {
    PieceKind.SENTENCE: VectorKind.SENTENCE,
    PieceKind.ITEM: VectorKind.ITEM,
    PieceKind.CODE: VectorKind.CODE,
    PieceKind.ROW: VectorKind.ROW,
    PieceKind.HEADING: VectorKind.HEADING,
}


def _windows(embedder: Embedder, context: str, source: ByteRange, text: str) -> list[PlannedVector]:
    """Windows that, with the context before them, the model reads to their last token."""
    room = embedder.max_tokens - len(embedder.token_offsets(context)) - 1
    offsets = embedder.token_offsets(text)
    found: list[PlannedVector] = []
    first = 0
    while first < len(offsets):
        last = min(first + room, len(offsets))
        start = 0 if first == 0 else offsets[first][0]
        end = len(text) if last == len(offsets) else offsets[last - 1][1]
        low = source.start + len(text[:start].encode())
        span = ByteRange(low, low + len(text[start:end].encode()))
        found.append(PlannedVector(VectorKind.WINDOW, span, f"{context}\n{plain(text[start:end])}".strip()))
        if last == len(offsets):
            break
        first = last - WINDOW_OVERLAP
    return found


def lexical_form(
    analyzer: Analyzer, title: str, headings: Sequence[str], text: str, language: str
) -> LexicalForm:
    """Terms of a passage; title and headings are labelled so that they can be told from its text."""
    above = [term for part in (title, *headings) for term in analyzer.terms(part, language)]
    body = analyzer.terms(plain(text), language)
    return LexicalForm(tsvector_literal(above, body), len(above) + len(body))
