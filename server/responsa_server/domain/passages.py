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
"""The `part` of the Unavailable that a search raises when the words cannot be searched."""
VECTORS_PART: Final = "vectors"
"""The `part` of the Unavailable that a search raises when the vectors cannot be searched; a search by words alone may still work."""


class VectorKind(StrEnum):
    """What a vector stands for.

    WINDOW: a stretch of text as long as the model reads at once. HEADING and TITLE are not quotable; all other kinds are pieces that an
    answer may quote.
    """

    WINDOW = "window"
    SENTENCE = "sentence"
    ITEM = "item"
    CODE = "code"
    ROW = "row"
    HEADING = "heading"
    TITLE = "title"


@dataclass(frozen=True, slots=True)
class PassageVector:
    """One vector of a passage, for bytes `source` of the version's canonical text (for a title: the passage's first byte)."""

    kind: VectorKind
    source: ByteRange
    vector: bytes


@dataclass(frozen=True, slots=True)
class NewPassage:
    """A passage to store. It is not searched before its version is published.

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
class PassageVectors:
    """All vectors of one passage, as a vector index stores them."""

    passage_id: UUID
    vectors: Sequence[PassageVector]


@dataclass(frozen=True, slots=True)
class IndexingAttempt:
    """One attempt at indexing a document version.

    epoch: the operation's; a later attempt at the same version has a greater one. model: the name of the model that made the vectors.
    """

    tenant_id: str
    collection_id: str
    document_id: UUID
    version: int
    epoch: int
    model: str


@dataclass(frozen=True, slots=True)
class SearchScope:
    """The passages that a search may find: those of one tenant, and of these collections (None: of all of them)."""

    tenant_id: str
    collections: Sequence[str] | None = None


@dataclass(frozen=True, slots=True)
class TermStatistics:
    """Statistics of the live passages in a scope: their number, the sum of their lengths, and how many of them hold each term."""

    passages: int
    terms: int
    frequencies: dict[str, int]


@dataclass(frozen=True, slots=True)
class LexicalQuery:
    """A full-text query.

    terms: distinct, with their weights, largest first. gate: how many of the first terms select passages; the others only rank them.
    mean_length: of the passages, in terms. limit: the most passages to return.
    """

    terms: Sequence[str]
    weights: Sequence[float]
    gate: int
    mean_length: float
    limit: int = 50


@dataclass(frozen=True, slots=True)
class QuestionVector:
    """The vector of a question. model: the name of the model that made it; vectors of other models are never compared with it."""

    model: str
    data: bytes


@dataclass(frozen=True, slots=True)
class LexicalCandidate:
    """A live passage with what BM25 needs.

    places: one number for every occurrence of a term: its index * 65536, + 32768 in title or headings, + its place in the passage (the
    first 255 a term).
    """

    id: UUID
    document_id: UUID
    language: str
    length: int
    places: Sequence[int]


@dataclass(frozen=True, slots=True)
class PassageCosines:
    """The best cosines of a passage's windows and of its other vectors to a question, -1 to 1; None where it has no such vector."""

    window: float | None
    piece: float | None


@dataclass(frozen=True, slots=True)
class PassagePiece:
    """A piece of a passage, or a heading. cosine: to the question, -1 to 1; None without a question vector of the same model."""

    kind: VectorKind
    source: ByteRange
    cosine: float | None


@dataclass(frozen=True, slots=True)
class FoundPassage:
    """A passage that was read for a question, with its pieces in order."""

    passage: Passage
    language: str
    pieces: Sequence[PassagePiece]
