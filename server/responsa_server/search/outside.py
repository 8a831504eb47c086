"""Vectors outside the database beside the words in it, searched as one index."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import numpy as np

from responsa_server.domain.passages import (
    CandidateQuery,
    Candidates,
    FoundPassage,
    LexicalIndex,
    PassageCosines,
    PassagePiece,
    QuestionVector,
    SearchScope,
    TermStatistics,
    VectorStore,
)
from responsa_server.domain.people import Reader


class OutsideIndex:
    """Implements the port `PassageIndex`. The database confirms every passage that the store of vectors finds."""

    def __init__(self, lexical: LexicalIndex, vectors: VectorStore) -> None:
        self._lexical = lexical
        self._vectors = vectors

    async def statistics(self, scope: SearchScope, terms: Sequence[str]) -> Mapping[str, TermStatistics]:
        return await self._lexical.statistics(scope, terms)

    async def synonyms(self, reader: Reader, collections: Sequence[str]) -> Mapping[str, str]:
        return await self._lexical.synonyms(reader, collections)

    async def candidates(
        self, reader: Reader, queries: Sequence[CandidateQuery]
    ) -> Sequence[Mapping[str, Candidates]]:
        words_alone = [replace(query, question=None) for query in queries]
        by_words = await self._lexical.candidates(reader, words_alone)
        if not any(query.question for query in queries):
            return by_words
        ids = [[id_ for of in candidates.values() for id_ in of.ids] for candidates in by_words]
        near = [await self._nearest(reader, query, named) for query, named in zip(queries, ids, strict=True)]
        # All of them are read at the same moment.
        confirmed = await self._lexical.candidates(
            reader,
            [
                replace(query, question=None, words=(), ids={*named, *cosines})
                for query, named, cosines in zip(queries, ids, near, strict=True)
            ],
        )
        return [
            {name: _add_cosines(of, cosines) for name, of in candidates.items()}
            for candidates, cosines in zip(confirmed, near, strict=True)
        ]

    async def _nearest(
        self, reader: Reader, query: CandidateQuery, named: Sequence[UUID]
    ) -> Mapping[UUID, PassageCosines]:
        if query.question is None:
            return {}
        scope = SearchScope(reader, query.collections, query.documents)
        return await self._vectors.nearest(scope, query.question, query.nearest, named)

    async def passages(
        self, reader: Reader, wanted: Mapping[QuestionVector | None, Mapping[UUID, bool]]
    ) -> Mapping[QuestionVector | None, Sequence[FoundPassage]]:
        whole = {question: dict.fromkeys(ids, False) for question, ids in wanted.items()}
        hits, pieces = await asyncio.gather(
            self._lexical.passages(reader, whole),
            asyncio.gather(*(self._pieces(reader, question, ids) for question, ids in wanted.items())),
        )
        return {
            question: [replace(hit, pieces=of.get(hit.passage.id, ())) for hit in hits[question]]
            for question, of in zip(wanted, pieces, strict=True)
        }

    async def _pieces(
        self, reader: Reader, question: QuestionVector | None, ids: Mapping[UUID, bool]
    ) -> Mapping[UUID, Sequence[PassagePiece]]:
        some = [id_ for id_, pieces in ids.items() if pieces]
        return await self._vectors.pieces(reader, some, question) if some else {}


def _add_cosines(candidates: Candidates, cosines: Mapping[UUID, PassageCosines]) -> Candidates:
    none = PassageCosines(None, None)
    rows = np.array([cosines.get(id_, none) for id_ in candidates.ids], np.float64).reshape(-1, 2)
    return replace(candidates, windows=rows[:, 0], pieces=rows[:, 1])
