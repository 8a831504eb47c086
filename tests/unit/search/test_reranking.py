"""What a search does with a reranking model that answers, fails or hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from responsa_server.domain.breakers import OPEN_SECONDS, Breakers
from responsa_server.domain.events import Fallback, FallbackKind, Usage
from responsa_server.domain.models import ModelError, ModelFault, Reranked
from responsa_server.domain.parts import Health
from responsa_server.search.reranking import RerankerPart, Reranking, RerankScores, order

TEXTS = ["a", "bbb", "cc"]


class Model:
    """Scores a text by its length, or fails."""

    name = "lab:m-1"

    def __init__(self, fault: ModelFault | None = None, *, hangs: bool = False) -> None:
        self.fault = fault
        self.hangs = hangs
        self.asked: list[tuple[str, Sequence[str]]] = []

    async def rank(self, query: str, texts: Sequence[str]) -> Reranked:
        self.asked.append((query, texts))
        if self.hangs:
            await asyncio.Event().wait()
        if self.fault is not None:
            raise ModelError(self.fault, "as the test wants")
        return Reranked([len(text) for text in texts], Usage(input_tokens=7))


class Asked:
    def __init__(self, model: Model, *, seconds: float = 60, most: int = 30, most_bytes: int = 4000) -> None:
        self.now = 0.0
        self.model = model
        self.breakers = Breakers(lambda: self.now)
        self.reranking = Reranking(
            model, seconds=seconds, limit=most, most_bytes=most_bytes, breakers=self.breakers
        )

    async def scores(self, texts: Sequence[str] = TEXTS) -> RerankScores:
        return await self.reranking.scores("which", texts)


def without(fault: ModelFault) -> Fallback:
    return Fallback(FallbackKind.WITHOUT_RERANKER, "lab:m-1", "search_order", fault.value)


async def test_the_first_passages_are_read_and_the_others_follow_in_their_order() -> None:
    asked = Asked(Model(), most=3, most_bytes=4)
    found = await asked.scores(["b", "äöü", "long text", "not read", "neither"])
    assert asked.model.asked == [("whic", ["b", "äö", "long"])]  # cut between two characters
    assert found == RerankScores([1, 2, 4, None, None], usage=Usage(input_tokens=7))
    assert order(found.scores) == [2, 1, 0, 3, 4]
    assert order([1.0, None, 1.0, 2.0]) == [3, 0, 2, 1]


@pytest.mark.parametrize("texts", [[], ["a"]])
async def test_nothing_is_asked_where_nothing_can_be_ordered(texts: list[str]) -> None:
    asked = Asked(Model(ModelFault.REFUSED))
    assert await asked.scores(texts) == RerankScores([None] * len(texts))
    assert asked.model.asked == []


@pytest.mark.parametrize("fault", list(ModelFault))
async def test_a_failure_keeps_the_order_and_says_why(fault: ModelFault) -> None:
    found = await Asked(Model(fault)).scores()
    assert found == RerankScores([None] * 3, without(fault))
    assert not found.ordered
    assert order(found.scores) == [0, 1, 2]


async def test_a_model_that_hangs_is_left() -> None:
    found = await Asked(Model(hangs=True), seconds=0.01).scores()
    assert found.fallback == without(ModelFault.TIMEOUT)


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        (ModelFault.CREDENTIAL, 1),
        (ModelFault.UNREACHABLE, 2),
        (ModelFault.OVERLOADED, 2),
        # The next question may be one that the server accepts.
        (ModelFault.REFUSED, 5),
        (ModelFault.MALFORMED, 5),
    ],
)
async def test_a_model_that_stays_away_is_not_asked_for_a_while(fault: ModelFault, calls: int) -> None:
    trial = Asked(Model(fault))
    part = RerankerPart(trial.reranking, trial.breakers)
    for _ in range(5):
        assert (await trial.scores()).fallback == without(fault)
    assert len(trial.model.asked) == calls
    report = await part.check()
    assert (report.health, report.version) == (Health.DEGRADED if calls < 5 else Health.OK, "lab:m-1")
    trial.now += OPEN_SECONDS
    trial.model.fault = None
    assert (await trial.scores()).ordered
    assert (await part.check()).health is Health.OK
