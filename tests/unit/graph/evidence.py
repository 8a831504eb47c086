"""Hand-made evidence, and parts of an agent that return this evidence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from uuid import UUID

from uuid_utils.compat import uuid7

from responsa_server.agents.engine.config import RetrievalTable
from responsa_server.domain.agents import AnswerTask
from responsa_server.domain.answers import (
    DEFAULT_SEARCH,
    Evidence,
    Extraction,
    FoundSource,
    Quote,
    SearchOptions,
    ShownPassage,
)
from responsa_server.domain.conversations import Message
from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import Passage
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.turns import Question

WHO = Principal("acme", UUID(int=1), Role.USER, "api_key")


def passage(text: str, *, start: int = 0, title: str = "Rivers") -> Passage:
    source = ByteRange(start, start + len(text.encode()))
    return Passage(uuid7(), "default", uuid7(), 1, title, "rivers.md", source, text, ["Long ones"])


def quote(text: str, *, start: int = 100, score: float = 0.8, shown: str = "") -> Quote:
    return Quote(
        passage(f"… {text} …", start=start - 4),
        ByteRange(start, start + len(text.encode())),
        text,
        score,
        shown,
    )


def retrieval(**said: object) -> RetrievalTable:
    """An agent's table `retrieval` with these values."""
    return RetrievalTable.model_validate(said)


def evidence(passages: int = 1) -> Evidence:
    return Evidence(passages, 7, {"places": [1, 2.5, None], "by": {"term": "river"}})


class Shelf:
    """An EvidenceSource and an Extractor that returns fixed results and records its questions."""

    def __init__(
        self,
        found: Evidence | None = None,
        quotes: Sequence[Quote] = (),
        *,
        supported: bool = True,
        before: Callable[[], None] | None = None,
        near: tuple[Quote, ...] = (),
    ) -> None:
        self.found = found or evidence()
        self.extraction = Extraction(quotes, 0.9 if supported else 0.1, supported)
        self.before = before
        self.near = near
        self.asked: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self.options: list[SearchOptions] = []
        self.without: Sequence[Quote] = ()

    async def search(
        self,
        who: Principal,
        questions: tuple[str, ...],
        collections: tuple[str, ...],
        options: SearchOptions = DEFAULT_SEARCH,
    ) -> Evidence:
        self.asked.append((questions, collections))
        self.options.append(options)
        if self.before is not None:
            self.before()
        return self.found

    async def passages(self, evidence: Evidence, most_bytes: int) -> Sequence[ShownPassage]:
        return [ShownPassage(one.passage.title, one.text) for one in self.extraction.quotes]

    async def with_sources(
        self, question: str, evidence: Evidence | None, sources: Sequence[FoundSource]
    ) -> Evidence:
        return replace(evidence or Evidence(0, 0, {}), passages=len(self.extraction.quotes) + len(sources))

    async def extract(self, question: str, evidence: Evidence) -> Extraction:
        assert evidence == self.found
        return self.extraction

    async def sections(
        self, who: Principal, evidence: Evidence, most: int, most_bytes: int, *, divided: bool
    ) -> Sequence[Sequence[Quote]]:
        assert evidence == self.found
        return [[one] for one in self.extraction.quotes[:most]]

    async def closest(
        self, question: str, evidence: Evidence, without: Sequence[Quote] = ()
    ) -> tuple[Quote, ...]:
        assert evidence == self.found
        self.without = without
        return self.near


def task(text: str, history: Sequence[Message] = (), collections: tuple[str, ...] = ()) -> AnswerTask:
    return AnswerTask(uuid7(), WHO, Question(text, None, collections), history)
