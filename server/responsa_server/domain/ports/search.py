"""The two indexes that a search reads, and the store of vectors that an ingestion writes when they are kept outside the database.

The lexical index is the authority: it knows which passages are live. An index of vectors may lag behind it, so its results become candidates only
when the lexical index confirms them (`LexicalIndex.candidates`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from responsa_server.domain.passages import (
    FoundPassage,
    IndexingAttempt,
    LexicalCandidate,
    LexicalQuery,
    PassageCosines,
    PassagePiece,
    PassageVectors,
    QuestionVector,
    SearchScope,
    TermStatistics,
)


class LexicalIndex(Protocol):
    """Full text, and the passages themselves.

    All methods raise Unavailable with the part "text index" when the index fails, and TooSlow when it takes too long. A call runs to its end even
    when its caller is cancelled; the caller is released at once.
    """

    async def statistics(self, scope: SearchScope, terms: Sequence[str]) -> TermStatistics:
        """The counts that BM25 needs."""
        ...

    async def candidates(
        self, scope: SearchScope, query: LexicalQuery, nearest: Sequence[UUID] = ()
    ) -> Sequence[LexicalCandidate]:
        """The live passages in the scope that match the query, and those of `nearest` that are live and in the scope; each once, in no order."""
        ...

    async def passages(self, tenant_id: str, ids: Sequence[UUID]) -> Sequence[FoundPassage]:
        """Passages without their pieces, in the order of the ids. Deleted ones are left out."""
        ...


class VectorIndex(Protocol):
    """Vectors of passages, as a search reads them.

    All methods raise Unavailable with the part "vectors" when the index fails, and TooSlow when it takes too long. A call runs to its end even when
    its caller is cancelled; the caller is released at once.
    """

    async def nearest(self, scope: SearchScope, question: QuestionVector, limit: int) -> Sequence[UUID]:
        """The passages of the `limit` published vectors in the scope that are nearest to the question by cosine; each once, in no order."""
        ...

    async def cosines(
        self, tenant_id: str, ids: Sequence[UUID], question: QuestionVector
    ) -> Mapping[UUID, PassageCosines]:
        """The best cosines of named passages; passages without vectors of the question's model are left out."""
        ...

    async def pieces(
        self, tenant_id: str, ids: Sequence[UUID], question: QuestionVector | None
    ) -> Mapping[UUID, Sequence[PassagePiece]]:
        """The pieces and headings of named passages, in the order of the text. Their cosines are None without a question vector of their model."""
        ...


class VectorStore(VectorIndex, Protocol):
    """An index of vectors that commits by itself. The job that ingests a version writes to it (ingest/vector_publishing.py).

    Each method can be repeated: the outcome is that of one call.
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
    """A vector store that was opened. store: the same index when it commits by itself; None when the database's transactions write it."""

    index: VectorIndex
    store: VectorStore | None
