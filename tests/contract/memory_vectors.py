"""An exact vector index in memory. It is a second implementation of the vector ports, for tests."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np

from responsa_server.domain.passages import (
    IndexingAttempt,
    PassageCosines,
    PassagePiece,
    PassageVectors,
    QuestionVector,
    SearchScope,
    VectorKind,
)
from responsa_server.domain.people import Reader

NOT_PIECES = (VectorKind.WINDOW, VectorKind.TITLE)


@dataclass
class _Stored:
    """The vectors of one attempt, by passage."""

    attempt: IndexingAttempt
    published: bool = False
    passages: dict[UUID, PassageVectors] = field(default_factory=dict[UUID, PassageVectors])


class MemoryVectors:
    """Implements `VectorStore`. It compares every vector, rounded to 16 bits as in PostgreSQL."""

    def __init__(self) -> None:
        self._attempts: dict[tuple[str, UUID, int, int], _Stored] = {}

    def __len__(self) -> int:
        """The number of vectors, published or not."""
        return sum(
            len(passage.vectors) for stored in self._attempts.values() for passage in stored.passages.values()
        )

    async def put(self, attempt: IndexingAttempt, passages: Sequence[PassageVectors]) -> None:
        stored = self._attempts.setdefault(_key(attempt), _Stored(attempt))
        stored.passages |= {passage.passage_id: passage for passage in passages}

    async def publish(self, attempt: IndexingAttempt) -> None:
        same = self._of(attempt.tenant_id, attempt.document_id, attempt.version)
        if any(one.published and one.attempt.epoch > attempt.epoch for one in same):
            self._attempts.pop(_key(attempt), None)
            return
        await self.drop_attempts(attempt.tenant_id, attempt.document_id, attempt.version, attempt.epoch)
        self._attempts.setdefault(_key(attempt), _Stored(attempt)).published = True

    async def drop_attempts(
        self, tenant_id: str, document_id: UUID, version: int, before_epoch: int | None
    ) -> None:
        for one in self._of(tenant_id, document_id, version):
            if before_epoch is None or one.attempt.epoch < before_epoch:
                del self._attempts[_key(one.attempt)]

    async def drop_versions(self, tenant_id: str, document_id: UUID, before_version: int | None) -> None:
        for one in list(self._attempts.values()):
            attempt = one.attempt
            if (attempt.tenant_id, attempt.document_id) == (tenant_id, document_id) and (
                before_version is None or attempt.version < before_version
            ):
                del self._attempts[_key(attempt)]

    async def nearest(
        self, scope: SearchScope, question: QuestionVector, limit: int, named: Collection[UUID] = ()
    ) -> Mapping[UUID, PassageCosines]:
        documents = None if scope.documents is None else set(scope.documents)
        found = [
            (_cosine(vector.vector, question), one.passage_id)
            for stored, one in self._published(scope.reader.tenant_id)
            if stored.model == question.model
            and (scope.collections is None or stored.collection_id in scope.collections)
            and (documents is None or stored.document_id in documents)
            for vector in one.vectors
        ]
        found.sort(key=lambda row: -row[0])
        wanted = {*named, *(id_ for _, id_ in found[:limit])}
        cosines: dict[UUID, PassageCosines] = {}
        for stored, one in self._published(scope.reader.tenant_id):
            if one.passage_id in wanted and stored.model == question.model:
                windows = [_cosine(v.vector, question) for v in one.vectors if v.kind is VectorKind.WINDOW]
                others = [_cosine(v.vector, question) for v in one.vectors if v.kind is not VectorKind.WINDOW]
                cosines[one.passage_id] = PassageCosines(
                    max(windows, default=None), max(others, default=None)
                )
        return cosines

    async def pieces(
        self, reader: Reader, ids: Sequence[UUID], question: QuestionVector | None
    ) -> Mapping[UUID, Sequence[PassagePiece]]:
        wanted = set(ids)
        return {
            one.passage_id: [
                PassagePiece(
                    vector.kind,
                    vector.source,
                    None
                    if question is None or question.model != stored.model
                    else _cosine(vector.vector, question),
                )
                for vector in one.vectors
                if vector.kind not in NOT_PIECES
            ]
            for stored, one in self._published(reader.tenant_id)
            if one.passage_id in wanted
        }

    def _of(self, tenant_id: str, document_id: UUID, version: int) -> list[_Stored]:
        return [one for key, one in self._attempts.items() if key[:3] == (tenant_id, document_id, version)]

    def _published(self, tenant_id: str) -> Iterator[tuple[IndexingAttempt, PassageVectors]]:
        for stored in self._attempts.values():
            if stored.published and stored.attempt.tenant_id == tenant_id:
                for passage in stored.passages.values():
                    yield stored.attempt, passage


def _key(attempt: IndexingAttempt) -> tuple[str, UUID, int, int]:
    return attempt.tenant_id, attempt.document_id, attempt.version, attempt.epoch


def _cosine(vector: bytes, question: QuestionVector) -> float:
    one, other = (np.frombuffer(data, "<f4").astype("<f2").astype("<f8") for data in (vector, question.data))
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))
