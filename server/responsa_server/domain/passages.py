"""Passages in written form and in ranked form, and the two indexes that a search reads. Vectors are bytes: 32-bit floats, little-endian.

The lexical index is the authority: it knows which passages are live. A vector index may lag behind it, so its results become candidates only
when the lexical index confirms them (`LexicalIndex.candidates`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from responsa_server.domain.events import ByteRange

TEXT_PART: Final = "text index"
"""The `part` of the Unavailable that a search raises when the text index fails."""
VECTORS_PART: Final = "vectors"
"""The `part` of the Unavailable that a search raises when the vector index fails; a search by words alone may still work."""


class VectorKind(StrEnum):
    """The text that a vector represents.

    WINDOW: a stretch of text of the length that the model reads at once. HEADING and TITLE are not quotable;
    all other kinds are pieces that an
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
class Passage:
    """A piece of a document version. source: its bytes in the canonical text; text: those bytes, decoded."""

    id: UUID
    collection_id: str
    document_id: UUID
    version: int
    title: str
    uri: str
    source: ByteRange
    text: str
    headings: Sequence[str] = ()


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
    mean_length: of the passages, in terms. limit: the most passages to select.
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


# A search reads about a hundred of these and of `PassageCosines`; named tuples take a third of the time of frozen dataclasses.
class LexicalCandidate(NamedTuple):
    """A live passage with the values that BM25 needs.

    terms: the indexes of the query's terms that it contains; counts: how often it contains each of them, title and headings included (at most 255).
    """

    id: UUID
    language: str
    length: int
    terms: Sequence[int]
    counts: Sequence[int]


class PassageCosines(NamedTuple):
    """The best cosines of a passage's windows and of its other vectors to a question, -1 to 1; None if it has no such vector."""

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


class LexicalIndex(Protocol):
    """Full text, and the passages themselves.

    All methods raise Unavailable with the part "text index" when the index fails, and TooSlow when it takes too long. A call runs to its end even
    when its caller is cancelled; the caller is released at once.
    """

    def session(self, tenant_id: str) -> AbstractAsyncContextManager[None]:
        """Surrounds the calls of one search of this tenant. They may share a connection; so may those of a `VectorIndex` in the same database."""
        ...

    async def statistics(self, scope: SearchScope, terms: Sequence[str]) -> TermStatistics:
        """The counts that BM25 needs."""
        ...

    async def matching(self, scope: SearchScope, query: LexicalQuery) -> Sequence[UUID]:
        """The live passages in the scope that match the query; each once, in no order."""
        ...

    async def candidates(
        self, scope: SearchScope, terms: Sequence[str], ids: Collection[UUID]
    ) -> Sequence[LexicalCandidate]:
        """Those of the named passages that are live and in the scope, read at one moment; each once, in no order."""
        ...

    async def passages(self, tenant_id: str, ids: Sequence[UUID]) -> Sequence[FoundPassage]:
        """Passages without their pieces, in the order of the ids. Deleted ones are left out."""
        ...


class VectorIndex(Protocol):
    """Vectors of passages, as a search reads them.

    All methods raise Unavailable with the part "vectors" when the index fails, and TooSlow when it takes too long. A call runs to its end even when
    its caller is cancelled; the caller is released at once.
    """

    async def nearest(
        self, scope: SearchScope, question: QuestionVector, limit: int, named: Collection[UUID] = ()
    ) -> Mapping[UUID, PassageCosines]:
        """The best cosines of the passages of the `limit` published vectors in the scope that are nearest to the question, and of the named passages
        of the tenant. Passages without vectors of the question's model are left out.
        """
        ...

    async def pieces(
        self, tenant_id: str, ids: Sequence[UUID], question: QuestionVector | None
    ) -> Mapping[UUID, Sequence[PassagePiece]]:
        """The pieces and headings of named passages, in the order of the text. Their cosines are None without a question vector of their model."""
        ...


class VectorStore(VectorIndex, Protocol):
    """An index of vectors that commits by itself. The job that ingests a version writes to it (`VectorPublishing` in ingest/jobs.py).

    Each method can be repeated with the result of one call.
    """

    async def put(self, attempt: IndexingAttempt, passages: Sequence[PassageVectors]) -> None:
        """Store vectors of an attempt. Searches do not find them before `publish`."""
        ...

    async def publish(self, attempt: IndexingAttempt) -> None:
        """Let searches find the vectors of this attempt, and remove those of earlier attempts at this version.

        When a later attempt at this version is published already, this one's vectors are removed instead. Other versions stay as they are.
        """
        ...

    async def drop_attempts(
        self, tenant_id: str, document_id: UUID, version: int, before_epoch: int | None
    ) -> None:
        """Remove the vectors of attempts at a version whose epoch is less than `before_epoch` (None: of all attempts)."""
        ...

    async def drop_versions(self, tenant_id: str, document_id: UUID, before_version: int | None) -> None:
        """Remove the vectors of a document's versions before this one (None: of all versions)."""
        ...


@dataclass(frozen=True, slots=True)
class OpenedVectors:
    """An open vector store. store: the same index if it commits by itself; None if the database's transactions write it."""

    index: VectorIndex
    store: VectorStore | None
