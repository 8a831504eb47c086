"""Expansions of a question. They add passages, and the question never has less support than without expansions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from typing import Final
from uuid import UUID

import numpy as np
import pytest

from responsa_server.domain.listing import Filter
from responsa_server.domain.passages import (
    DocumentSet,
    FoundPassage,
    LexicalCandidate,
    LexicalQuery,
    PassageCosines,
    PassagePiece,
    QuestionVector,
    SearchScope,
    TermStatistics,
)
from responsa_server.domain.people import Reader, Server
from responsa_server.search.embedder import OneEmbedder, Vectors
from responsa_server.search.evidence import CALIBRATED
from responsa_server.search.retrieve import Retrieval, Retriever
from responsa_server.text.lexical import Analyzer
from tests.unit.knowledge.test_excerpts import found

ASKED: Final = "How do plants make sugar?"
OTHER: Final = "photosynthesis definition"
LEAVES: Final = found("Plants make sugar in their leaves.", title="Leaves", number=1, cosine=None)
ROOTS: Final = found("Plants take up water by their roots.", title="Roots", number=2, cosine=None)
TERM: Final = found(
    "Photosynthesis, a definition: light is put to work.", title="Words", number=3, cosine=None
)
NEAR: Final[Mapping[str, Mapping[int, float]]] = {
    ASKED: {1: 0.7, 2: 0.6, 3: 0.3},
    OTHER: {1: 0.4, 2: 0.1, 3: 0.95},
    "light is put to work": {1: 0.2, 2: 0.1, 3: 0.9},
    "roots take up water": {1: 0.2, 2: 0.95, 3: 0.1},
}
"""The cosine between each string and each passage."""


class Numbered:
    """An embedder whose vector for a string is the string's index in NEAR."""

    name = f"{CALIBRATED}numbered"
    dimensions = 1
    max_tokens = 254
    languages: frozenset[str] | None = None
    texts_a_call = 16

    async def embed(self, texts: Sequence[str]) -> Vectors:
        return np.array([[list(NEAR).index(text)] for text in texts], np.float32)

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return []


class Three:
    """Both indexes over LEAVES, ROOTS and TERM."""

    def __init__(self) -> None:
        self.reads: list[tuple[UUID, bytes | None]] = []
        self.named: set[UUID] = set()
        self._passages = {one.passage.id.int: one for one in (LEAVES, ROOTS, TERM)}
        self._terms = {
            number: Analyzer().terms(f"{one.passage.title} {one.passage.text}", "en")
            for number, one in self._passages.items()
        }

    def session(self, reader: Reader) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def documents(self, scope: SearchScope, filters: Sequence[Filter]) -> DocumentSet:
        return DocumentSet.of([one.passage.document_id for one in (LEAVES, ROOTS, TERM)], 3)

    async def statistics(self, scope: SearchScope, terms: Sequence[str]) -> Mapping[str, TermStatistics]:
        counts = {term: sum(term in one for one in self._terms.values()) for term in terms}
        return {"default": TermStatistics(3, sum(map(len, self._terms.values())), counts)}

    async def meant(self, reader: Reader, collections: Sequence[str]) -> Sequence[str]:
        return collections

    async def hides(self, scope: SearchScope) -> bool:
        return False

    async def synonyms(self, reader: Reader, collections: Sequence[str]) -> Mapping[str, str]:
        return {}

    async def matching(self, reader: Reader, queries: Sequence[LexicalQuery]) -> Sequence[UUID]:
        return [UUID(int=number) for number in self._passages]

    async def candidates(
        self, scope: SearchScope, terms: Sequence[str], ids: Collection[UUID]
    ) -> Sequence[LexicalCandidate]:
        held = {
            id_: [place for place, term in enumerate(terms) if term in self._terms[id_.int]] for id_ in ids
        }
        return [
            LexicalCandidate(id_, "default", "en", len(self._terms[id_.int]), places, [1] * len(places))
            for id_, places in held.items()
        ]

    async def nearest(
        self, scope: SearchScope, question: QuestionVector, limit: int, named: Collection[UUID] = ()
    ) -> Mapping[UUID, PassageCosines]:
        self.named |= {*named}
        near = self._near(question.data)
        return {UUID(int=number): PassageCosines(near[number], near[number]) for number in self._passages}

    async def pieces(
        self, reader: Reader, ids: Sequence[UUID], question: QuestionVector | None
    ) -> Mapping[UUID, Sequence[PassagePiece]]:
        vector = None if question is None else question.data
        self.reads += [(id_, vector) for id_ in ids]
        near = self._near(vector)
        return {
            id_: [replace(piece, cosine=near.get(id_.int)) for piece in self._passages[id_.int].pieces]
            for id_ in ids
        }

    async def passages(self, reader: Reader, ids: Sequence[UUID]) -> Sequence[FoundPassage]:
        return [replace(self._passages[id_.int], pieces=[]) for id_ in ids]

    async def around(
        self, reader: Reader, ids: Sequence[UUID], most_bytes: int
    ) -> Mapping[UUID, tuple[int, bytes]]:
        raise NotImplementedError

    async def before(self, reader: Reader, ids: Sequence[UUID], most_bytes: int) -> Mapping[UUID, str]:
        return {}

    @staticmethod
    def _near(vector: bytes | None) -> Mapping[int, float]:
        return {} if vector is None else NEAR[list(NEAR)[int(np.frombuffer(vector, "<f4")[0])]]


def retriever_of(index: Three) -> Retriever:
    return Retriever(index, index, OneEmbedder(Numbered()))


async def searched(expansions: Sequence[str] = (), *, top_k: int = 2, rerank: bool = True) -> Retrieval:
    retriever = retriever_of(Three())
    return await retriever.search(Server("acme"), [ASKED], top_k=top_k, rerank=rerank, expansions=expansions)


def numbers(retrieval: Retrieval) -> list[int]:
    return [passage.found.passage.id.int for passage in retrieval.passages]


async def test_without_expansions_there_is_one_list() -> None:
    alone = await searched()
    assert numbers(alone) == [1, 2]


@pytest.mark.parametrize("rerank", [True, False])
async def test_expansions_take_no_more_than_half_of_the_places(rerank: bool) -> None:
    one = await searched([OTHER], rerank=rerank)
    assert sorted(numbers(one)) == [1, 3]
    assert (one.terms, len(one.weights), len(one.languages)) == ((OTHER, ASKED), 2, 2)
    # The question's own passages keep half of the places, even if all other passages fit an expansion better than any
    # passage fits the question.
    several = await searched([OTHER, "roots take up water"], rerank=rerank)
    assert 1 in numbers(several)
    assert numbers(await searched([OTHER], top_k=1, rerank=rerank)) == [1]


async def test_passages_that_words_select_get_their_cosines() -> None:
    index = Three()
    await retriever_of(index).search(Server("acme"), [ASKED], top_k=2)
    assert index.named == {one.passage.id for one in (LEAVES, ROOTS, TERM)}


async def test_what_stands_in_both_lists_is_read_once() -> None:
    index = Three()
    await retriever_of(index).search(Server("acme"), [ASKED], top_k=2, expansions=[OTHER])
    assert len(index.reads) == len(set(index.reads))


async def test_each_passage_is_found_once_and_the_best_comes_first() -> None:
    every = await searched([OTHER, "light is put to work"], top_k=3)
    assert sorted(numbers(every)) == [1, 2, 3]
    scores = [passage.score.total for passage in every.passages]
    assert scores == sorted(scores, reverse=True)
