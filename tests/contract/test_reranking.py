"""A reranking model on a server orders the passages of a search and of a turn. It prefers short texts, which nothing
else in a search does."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from pydantic import SecretStr

from responsa_lab.testing.loopback import LoopbackExchange
from responsa_server.domain.answers import Ranked, SearchOptions
from responsa_server.domain.breakers import Breakers
from responsa_server.domain.events import Fallback, FallbackKind
from responsa_server.domain.knowledge import Hit, SearchMode, SearchQuery
from responsa_server.domain.models import FREE
from responsa_server.domain.people import Principal
from responsa_server.providers.chain import KeyLimits, RetryPolicy
from responsa_server.providers.json_server import RequestOptions
from responsa_server.providers.prices import Prices, load_shipped
from responsa_server.providers.reranking import HttpReranker
from responsa_server.providers.settings import CompatibleSettings
from responsa_server.search.answering import LibraryEvidence
from responsa_server.search.hits import KnowledgeSearch
from responsa_server.search.reranking import Reranking
from tests.contract.index_writer import retriever_of
from tests.contract.library_harness import Harness
from tests.contract.people import People
from tests.wire.reranking import RerankServer

QUESTION = "When does the harbour master open the harbour?"
TEXTS = [
    "The harbour master opens the harbour two hours before high water. Ships then enter it one by one, and the master keeps the list.",
    "The harbour master opens the harbour on Sundays too. There is no pilot on that day, so that large ships wait for Monday.",
    "The harbour has a crane from 1904, which a master of cranes restored.",
    "A master baker opens at six.",
]


class Place:
    """A library whose reranking model is on a server. failing: the status of the server's answers; 0 to answer."""

    def __init__(self, caller: Principal, harness: Harness) -> None:
        self.who = caller
        self.failing = 0
        self.server = RerankServer("tei", lambda query, text: -len(text), self._before)
        self.retriever = retriever_of(harness.database, harness.embedders)

    async def start(self) -> None:
        await self.server.start()
        self.model = HttpReranker(
            CompatibleSettings.model_construct(url=self.server.url, api_key=SecretStr(""), rerank="tei"),
            "lab:short",
            RequestOptions(KeyLimits(4, 0, 5.0), RetryPolicy(retries=0)),
            Prices(load_shipped(), {"lab": FREE}),
        )
        reranking = Reranking(self.model, seconds=60, limit=4, most_bytes=4000, breakers=Breakers())
        self.search = KnowledgeSearch(self.retriever, reranking)
        self.evidence = LibraryEvidence(self.retriever, reranking)

    async def _before(self, exchange: LoopbackExchange) -> bool:
        if self.failing:
            await exchange.reply(self.failing, b"{}")
        return bool(self.failing)

    async def hits(
        self, mode: SearchMode = SearchMode.HYBRID, *, top_k: int = 3, rerank: bool = True
    ) -> list[Hit]:
        return [
            *await self.search.search(self.who, SearchQuery((QUESTION,), (), top_k, mode=mode, rerank=rerank))
        ]

    async def ranked(self, *, rerank: bool = True) -> Ranked:
        found = await self.evidence.search(self.who, (QUESTION,), (), SearchOptions(3, rerank=rerank))
        return await self.evidence.rank(self.who, QUESTION, found)

    async def excerpts(self, ranked: Ranked) -> list[str]:
        made = await self.evidence.excerpts(ranked.evidence, ranked.ranking)
        return [one.text for one in made.excerpts]

    async def shown(self, ranked: Ranked) -> list[str]:
        return [passage.text for passage in await self.evidence.passages(ranked.evidence, 4000)]


@pytest.fixture
async def place(harness: Harness, people: People) -> AsyncGenerator[Place]:
    for number, text in enumerate(TEXTS):
        done = await harness.take_in(people.ann, text, f"{number}.md", title=f"Notes {number}")
        assert done.error is None
    made = Place(people.ann, harness)
    await made.start()
    yield made
    await made.model.close()
    await made.server.close()


async def test_the_model_orders_more_passages_than_the_search_returns(place: Place) -> None:
    hits = await place.hits()
    assert [hit.passage.text for hit in hits] == [TEXTS[3], TEXTS[2], TEXTS[1]]
    # It reads the title too.
    assert [hit.reranker_score for hit in hits] == [
        -float(len(f"Notes 1\n{hit.passage.text}")) for hit in hits
    ]
    [body] = place.server.bodies
    assert body["query"] == QUESTION
    assert sorted(body["texts"]) == [f"Notes {number}\n{text}" for number, text in enumerate(TEXTS)]


async def test_without_rerank_or_with_vectors_alone_the_model_is_not_asked(place: Place) -> None:
    for hits in (await place.hits(rerank=False), await place.hits(SearchMode.VECTOR)):
        assert hits[0].passage.text == TEXTS[0]
        assert {hit.reranker_score for hit in hits} == {None}
    ranked = await place.ranked(rerank=False)
    assert (await place.excerpts(ranked))[0] == TEXTS[0]
    assert place.server.bodies == []


async def test_a_turn_shows_and_prompts_the_models_order(place: Place) -> None:
    ranked = await place.ranked()
    assert await place.excerpts(ranked) == [TEXTS[3], TEXTS[2], TEXTS[1]]
    assert await place.shown(ranked) == [TEXTS[3], TEXTS[2], TEXTS[1]]
    assert ranked.fallback is None
    assert ranked.usage.input_tokens > 0
    # The order has been made, so that a node that ranks again does not pay again.
    again = await place.evidence.rank(place.who, QUESTION, ranked.evidence)
    assert await place.shown(again) == await place.shown(ranked)
    assert len(place.server.bodies) == 1


async def test_a_failure_keeps_the_order_of_the_search_and_is_said(place: Place) -> None:
    before = await KnowledgeSearch(place.retriever).search(place.who, SearchQuery((QUESTION,), (), 3))
    plain = await place.ranked(rerank=False)
    place.failing = 400
    assert await place.hits() == before
    ranked = await place.ranked()
    assert ranked.fallback == Fallback(FallbackKind.WITHOUT_RERANKER, "lab:short", "search_order", "refused")
    assert ranked.ranking == plain.ranking
    assert await place.shown(ranked) == await place.shown(plain)
    assert len(place.server.bodies) == 2
