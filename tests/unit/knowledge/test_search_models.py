"""Searches in collections whose vectors come from several embedding models, or from one that fails or is not declared."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from time import monotonic

import pytest
from structlog.testing import capture_logs

from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.knowledge import SearchMode
from responsa_server.domain.passages import SearchScope, TermStatistics
from responsa_server.domain.people import Server
from responsa_server.search import retrieve
from responsa_server.search.embedder import Embedder, Vectors
from responsa_server.search.retrieve import Retriever
from tests.unit.knowledge.test_expansions import ASKED, Numbered, Three


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

    async def declared(self, called: str = "") -> Embedder:
        raise AssertionError("every collection has a model")

    async def named(self, name: str) -> Embedder | None:
        return self._models.get(name)


async def refuse() -> None:
    raise Unavailable(Reason.PART_UNAVAILABLE, "The model is away.", {"part": "embedding"})


async def test_several_models_embed_a_question_at_the_same_time() -> None:
    both = asyncio.Barrier(2)
    models = [Model(name, both.wait) for name in ("lab:one/1", "lab:two/1")]
    index = Shelves(default="lab:one/1", other="lab:two/1")
    found = await Retriever(index, index, Declared(*models), embedding_seconds=10).search(
        Server("acme"), [ASKED]
    )
    assert found.passages
    assert [model.asked for model in models] == [1, 1]


async def test_a_failing_model_is_asked_once_for_each_search() -> None:
    model = Model("lab:one/1", refuse)
    index = Shelves(default=model.name)
    retriever = Retriever(index, index, Declared(model))
    for searches in (1, 2, 3):
        with pytest.raises(Unavailable, match="The model is away"):
            await retriever.search(Server("acme"), [ASKED])
        assert model.asked == searches
    # Another model does not fail, although the search before needed this one.
    index.models["default"] = "gone/1"
    assert (await retriever.search(Server("acme"), [ASKED])).text_only
    assert model.asked == 4


async def test_an_undeclared_model_is_reported_while_searches_need_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Model("lab:one/1")
    index = Shelves(default="gone/1", other=model.name)
    retriever = Retriever(index, index, Declared(model))
    with capture_logs() as logs:
        for mode in (SearchMode.HYBRID, SearchMode.VECTOR):
            await retriever.search(Server("acme"), [ASKED], mode=mode)
    assert [log["model"] for log in logs] == ["gone/1"]
    assert retriever.missed() == {"gone/1"}
    index.models["default"] = model.name
    monkeypatch.setattr(retrieve, "monotonic", lambda: monotonic() + 301)
    await retriever.search(Server("acme"), [ASKED])
    assert not retriever.missed()
