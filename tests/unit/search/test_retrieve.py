"""Expansions of a question. They add passages, and the question never has less support than without expansions."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import replace
from time import monotonic
from typing import Final
from uuid import UUID

import numpy as np
import pytest
from structlog.testing import capture_logs

from bench.embedders import OneEmbedder
from responsa_formats.text.languages import UNKNOWN, language_of
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.knowledge import SearchMode
from responsa_server.domain.listing import Filter
from responsa_server.domain.passages import (
    CandidateQuery,
    Candidates,
    DocumentSet,
    FoundPassage,
    PassageSurroundings,
    QuestionVector,
    SearchScope,
    TermStatistics,
)
from responsa_server.domain.people import Reader, Server
from responsa_server.search import retrieve
from responsa_server.search.embedder import Embedder, Vectors
from responsa_server.search.evidence import CALIBRATED
from responsa_server.search.readings import MOST_GUESSED_CHARACTERS
from responsa_server.search.retrieve import Retrieval, RetrievalQuery, Retriever
from responsa_server.text.lexical import Analyzer
from tests.unit.search.test_excerpts import passage_of

ASKED: Final = "How do plants make sugar?"
OTHER: Final = "photosynthesis definition"
LEAVES: Final = passage_of("Plants make sugar in their leaves.", title="Leaves", number=1, cosine=None)
ROOTS: Final = passage_of("Plants take up water by their roots.", title="Roots", number=2, cosine=None)
TERM: Final = passage_of(
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

    async def embed(self, texts: Sequence[str]) -> Vectors:
        return np.array([[list(NEAR).index(text)] for text in texts], np.float32)

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return []


class Three:
    """An index over LEAVES, ROOTS and TERM."""

    def __init__(self) -> None:
        self.reads: list[tuple[UUID, bytes | None]] = []
        self._passages = {one.passage.id.int: one for one in (LEAVES, ROOTS, TERM)}
        self._terms = {
            number: Analyzer().terms(f"{one.passage.title} {one.passage.text}", "en")
            for number, one in self._passages.items()
        }

    def session(self, named: SearchScope) -> AbstractAsyncContextManager[None]:
        return nullcontext()

    async def stamp(self, named: SearchScope) -> bytes:
        raise NotImplementedError

    async def documents(self, scope: SearchScope, filters: Sequence[Filter]) -> DocumentSet:
        return DocumentSet.of([one.passage.document_id for one in (LEAVES, ROOTS, TERM)], 3)

    async def statistics(self, scope: SearchScope, terms: Sequence[str]) -> Mapping[str, TermStatistics]:
        counts = {term: sum(term in one for one in self._terms.values()) for term in terms}
        return {"default": TermStatistics(3, sum(map(len, self._terms.values())), counts)}

    async def languages(self, scope: SearchScope) -> Sequence[str]:
        raise NotImplementedError

    async def hides(self, scope: SearchScope) -> bool:
        return False

    async def synonyms(self, reader: Reader, collections: Sequence[str]) -> Mapping[str, str]:
        return {}

    async def candidates(
        self, reader: Reader, queries: Sequence[CandidateQuery]
    ) -> Sequence[Mapping[str, Candidates]]:
        # All passages are in the collection `default`.
        return [
            {"default": self._candidates(query)} if "default" in (query.collections or ()) else {}
            for query in queries
        ]

    def _candidates(self, query: CandidateQuery) -> Candidates:
        near = self._near(None if query.question is None else query.question.data)
        cosines = np.array([near.get(number, math.nan) for number in self._terms])
        return Candidates(
            [UUID(int=number) for number in self._terms],
            ["en" for _ in self._terms],
            np.array([len(terms) for terms in self._terms.values()], float),
            np.array([[term in terms for term in query.terms] for terms in self._terms.values()], float),
            cosines,
            cosines,
        )

    async def passages(
        self, reader: Reader, wanted: Mapping[QuestionVector | None, Mapping[UUID, bool]]
    ) -> Mapping[QuestionVector | None, Sequence[FoundPassage]]:
        by_question: dict[QuestionVector | None, Sequence[FoundPassage]] = {}
        for question, ids in wanted.items():
            vector = None if question is None else question.data
            self.reads += [(id_, vector) for id_ in ids]
            near = self._near(vector)
            passages = [self._passages[id_.int] for id_ in ids]
            by_question[question] = [
                replace(
                    one, pieces=[replace(piece, cosine=near.get(one.passage.id.int)) for piece in one.pieces]
                )
                for one in passages
            ]
        return by_question

    async def read_stored(self, reader: Reader, ids: Sequence[UUID]) -> Mapping[UUID, FoundPassage]:
        raise NotImplementedError

    async def surroundings(
        self, reader: Reader, ids: Sequence[UUID], documents: Sequence[UUID], most_bytes: int = 0
    ) -> PassageSurroundings:
        raise NotImplementedError

    @staticmethod
    def _near(vector: bytes | None) -> Mapping[int, float]:
        return {} if vector is None else NEAR[list(NEAR)[int(np.frombuffer(vector, "<f4")[0])]]


def retriever_of(index: Three) -> Retriever:
    return Retriever(index, OneEmbedder(Numbered()))


async def searched(expansions: Sequence[str] = (), *, top_k: int = 2) -> Retrieval:
    retriever = retriever_of(Three())
    return await retriever.retrieve(
        RetrievalQuery(Server("acme"), [ASKED], top_k=top_k, expansions=expansions)
    )


def numbers(retrieval: Retrieval) -> list[int]:
    return [passage.found.passage.id.int for passage in retrieval.passages]


async def test_without_expansions_there_is_one_list() -> None:
    alone = await searched()
    assert numbers(alone) == [1, 2]


async def test_expansions_take_no_more_than_half_of_the_places() -> None:
    one = await searched([OTHER])
    assert sorted(numbers(one)) == [1, 3]
    assert (one.terms, len(one.weights), len(one.languages)) == ((OTHER, ASKED), 2, 2)
    # The question's own passages keep half of the places, even if all other passages fit an expansion better than any
    # passage fits the question.
    several = await searched([OTHER, "roots take up water"])
    assert 1 in numbers(several)
    assert numbers(await searched([OTHER], top_k=1)) == [1]


async def test_what_stands_in_both_lists_is_read_once() -> None:
    index = Three()
    await retriever_of(index).retrieve(RetrievalQuery(Server("acme"), [ASKED], top_k=2, expansions=[OTHER]))
    assert len(index.reads) == len(set(index.reads))


async def test_each_passage_is_found_once_and_the_best_comes_first() -> None:
    every = await searched([OTHER, "light is put to work"], top_k=3)
    assert sorted(numbers(every)) == [1, 2, 3]
    scores = [passage.score.total for passage in every.passages]
    assert scores == sorted(scores, reverse=True)


# If the language of a searched string is unknown or doubtful, it is guessed from the words that the passages contain.
class Asked(Three):
    """Records how many terms each query for statistics has. No passage contains any of them."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[int] = []

    async def statistics(self, scope: SearchScope, terms: Sequence[str]) -> Mapping[str, TermStatistics]:
        self.asked.append(len(terms))
        return {"default": TermStatistics(3, 30, {})}


@pytest.mark.parametrize(
    ("times", "guessed"),
    [(1, True), (MOST_GUESSED_CHARACTERS // 4, True), (MOST_GUESSED_CHARACTERS // 4 + 1, False)],
)
async def test_the_language_of_a_long_string_is_not_guessed(times: int, guessed: bool) -> None:
    index = Asked()
    text = "zqs " * times
    assert language_of(text) == UNKNOWN
    found = await Retriever(index, OneEmbedder(Numbered())).retrieve(
        RetrievalQuery(Server("acme"), [text], mode=SearchMode.TEXT)
    )
    [asked] = index.asked
    assert (found.passages, asked > 1) == ([], guessed)


@pytest.mark.parametrize(
    ("text", "language", "guessed"),
    [
        ("salary Dan crowns", "id", True),
        ("salary Dan yang crowns", "id", True),
        ("зарплата", "ru", True),
        ("who earns crowns", "en", False),
        ("給料はいくらですか", "ja", False),  # which has the same terms in all languages
    ],
)
async def test_a_string_that_is_not_surely_english_is_read_as_the_passages_are(
    text: str, language: str, guessed: bool
) -> None:
    index = Asked()
    assert language_of(text) == language
    await Retriever(index, OneEmbedder(Numbered())).retrieve(
        RetrievalQuery(Server("acme"), [text], mode=SearchMode.TEXT)
    )
    [asked] = index.asked
    assert (asked > len(Analyzer().query_terms(text, language))) is guessed


# Searches in collections whose vectors come from several embedding models, or from one that fails or is not declared.
class Shelves(Three):
    """The indexes of several collections, each with the model of its vectors."""

    def __init__(self, **models: str) -> None:
        super().__init__()
        self.models = models

    async def statistics(self, scope: SearchScope, terms: Sequence[str]) -> Mapping[str, TermStatistics]:
        [found] = (await super().statistics(scope, terms)).values()
        return {name: replace(found, embedding=model) for name, model in self.models.items()}


class Model(Numbered):
    """A model that does something before it answers."""

    def __init__(self, name: str, before: Callable[[], Awaitable[object]] | None = None) -> None:
        self.name = name
        self.asked = 0
        self._before = before

    async def embed(self, texts: Sequence[str]) -> Vectors:
        self.asked += 1
        if self._before is not None:
            await self._before()
        return await super().embed(texts)


class Declared:
    """The models that the settings declare."""

    configured = "lab:words"

    def __init__(self, *models: Model) -> None:
        self._models = {model.name: model for model in models}

    async def of_model(self, called: str = "") -> Embedder:
        raise AssertionError("every collection has a model")

    async def of_name(self, name: str) -> Embedder | None:
        return self._models.get(name)


async def refuse() -> None:
    raise Unavailable(Reason.PART_UNAVAILABLE, "The model is away.", {"part": "embedding"})


async def test_several_models_embed_a_question_at_the_same_time() -> None:
    both = asyncio.Barrier(2)
    models = [Model(name, both.wait) for name in ("lab:one/1", "lab:two/1")]
    index = Shelves(default="lab:one/1", other="lab:two/1")
    found = await Retriever(index, Declared(*models), embedding_seconds=10).retrieve(
        RetrievalQuery(Server("acme"), [ASKED])
    )
    assert found.passages
    assert [model.asked for model in models] == [1, 1]


async def test_a_failing_model_is_asked_once_for_each_search() -> None:
    model = Model("lab:one/1", refuse)
    index = Shelves(default=model.name)
    retriever = Retriever(index, Declared(model))
    for searches in (1, 2, 3):
        with pytest.raises(Unavailable, match="The model is away"):
            await retriever.retrieve(RetrievalQuery(Server("acme"), [ASKED]))
        assert model.asked == searches
    # Another model does not fail, although the search before needed this one.
    index.models["default"] = "gone/1"
    assert (await retriever.retrieve(RetrievalQuery(Server("acme"), [ASKED]))).text_only
    assert model.asked == 4


async def test_an_undeclared_model_is_reported_while_searches_need_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Model("lab:one/1")
    index = Shelves(default="gone/1", other=model.name)
    retriever = Retriever(index, Declared(model))
    with capture_logs() as logs:
        for mode in (SearchMode.HYBRID, SearchMode.VECTOR):
            await retriever.retrieve(RetrievalQuery(Server("acme"), [ASKED], mode=mode))
    assert [log["model"] for log in logs] == ["gone/1"]
    assert retriever.missed() == {"gone/1"}
    index.models["default"] = model.name
    monkeypatch.setattr(retrieve, "monotonic", lambda: monotonic() + 301)
    await retriever.retrieve(RetrievalQuery(Server("acme"), [ASKED]))
    assert not retriever.missed()
