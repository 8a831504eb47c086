"""Passages as they are written and as a search ranks them. Vectors travel as bytes: 32-bit floats, little-endian."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from uuid import UUID

from responsa_server.domain.events import ByteRange
from responsa_server.domain.knowledge import Passage

TEXT_PART: Final = "text index"
"""The `part` of the Unavailable that a search by words alone raises where their index is damaged."""
VECTORS_PART: Final = "vectors"
"""The `part` of the Unavailable that a search by vectors raises where one without them may well work."""


class VectorKind(StrEnum):
    """What a vector stands for: all that the model reads at once, a piece that an answer may quote, or a heading or title, which it may not."""

    WINDOW = "window"
    SENTENCE = "sentence"
    ITEM = "item"
    CODE = "code"
    ROW = "row"
    HEADING = "heading"
    TITLE = "title"


@dataclass(frozen=True, slots=True)
class PassageVector:
    """One vector of a passage, for bytes `source` of the version's canonical text (a title's: the passage's first byte)."""

    kind: VectorKind
    source: ByteRange
    vector: bytes


@dataclass(frozen=True, slots=True)
class NewPassage:
    """A passage to be stored, not live yet.

    ordinal: its place in the version, from 0. language: ISO 639-1, '' when unknown. tokens: of the embedding model.
    terms: a tsvector literal, titles labelled A; length: how many terms it counts.
    """

    passage: Passage
    ordinal: int
    language: str
    tokens: int
    terms: str
    length: int
    vectors: Sequence[PassageVector]


@dataclass(frozen=True, slots=True)
class TermStatistics:
    """Of the live passages searched: how many there are, their lengths' sum, and how many hold each term asked for."""

    passages: int
    terms: int
    frequencies: dict[str, int]


@dataclass(frozen=True, slots=True)
class CandidateQuery:
    """What both indexes are asked.

    terms: distinct, with their weights, largest first; gate: how many of the first select passages, the others only rank them.
    mean_length: of the passages, in terms. vector: None leaves the vector index out, as gate 0 does full text.
    lexical_most, nearest_most: how many passages and vectors to take; breadth: HNSW's ef_search (1 to 1,000).
    """

    terms: Sequence[str]
    weights: Sequence[float]
    gate: int
    mean_length: float
    vector: bytes | None
    lexical_most: int = 50
    nearest_most: int = 100
    breadth: int = 100


@dataclass(frozen=True, slots=True)
class Candidate:
    """A passage found, with what ranking needs.

    places: for every occurrence of a term, its index * 65536, + 32768 in title or headings, + its place in the passage (the
    first 255 a term). Cosines are None when no vector was asked for or there is none.
    """

    id: UUID
    document_id: UUID
    language: str
    length: int
    places: Sequence[int]
    window_cosine: float | None
    piece_cosine: float | None


@dataclass(frozen=True, slots=True)
class PassagePiece:
    """A piece of a passage, headings among them; cosine to the question is None when no vector was asked for."""

    kind: VectorKind
    source: ByteRange
    cosine: float | None


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage read for a question."""

    passage: Passage
    language: str
    pieces: Sequence[PassagePiece]


@dataclass(frozen=True, slots=True)
class PassageCounts:
    """What a tenant has: live passages, vectors, distinct terms by collection."""

    passages: int
    vectors: int
    terms: int
