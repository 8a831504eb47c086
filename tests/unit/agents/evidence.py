"""Hand-made evidence, and parts of an agent that return this evidence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import replace
from uuid import UUID

from uuid_utils.compat import uuid7

from responsa_server.agents.engine.config import RetrievalTable
from responsa_server.domain.agents import AnswerTask
from responsa_server.domain.answers import (
    DEFAULT_SEARCH,
    Evidence,
    Quote,
    Ranked,
    Ranking,
    SearchOptions,
    ShownPassage,
)
from responsa_server.domain.conversations import Message
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import ByteRange, Excerpt, Fallback, Grade, Usage
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


def excerpt(text: str, *, title: str = "Rivers", grade: Grade = Grade.ANSWERS) -> Excerpt:
    """An excerpt that begins at byte 100 of a document."""
    return Excerpt(
        passage_id=uuid7(),
        collection_id="default",
        collection_kind=None,
        document_id=uuid7(),
        version=1,
        title=title,
        headings=["Long ones"],
        uri="rivers.md",
        source=ByteRange(100, 100 + len(text.encode())),
        text=text,
        markdown=text,
        grade=grade,
        score=0.8,
    )


def passages_of(*excerpts: Excerpt) -> str:
    """The text of an answer that shows these excerpts."""
    return "\n\n".join(f"**{one.title} › {one.headings[0]}**\n\n{one.markdown}" for one in excerpts)


def report_away() -> None:
    """Fail as a search does whose database is away."""
    raise Unavailable(Reason.PART_UNAVAILABLE, "away", {"part": "postgresql"})


class FixedEvidence:
    """An EvidenceSource and a SectionSource that returns fixed results and records its questions.

    words: the rare ones. near: whether the ranking's excerpts are worth showing as an answer. shown: the passages for prompts, by
    default the excerpts' texts. lost: whether what a milestone names is gone.
    """

    def __init__(
        self,
        *excerpts: Excerpt,
        near: bool = True,
        contents: Evidence | None = None,
        more: Sequence[Excerpt] = (),
        quotes: Sequence[Quote] = (),
        before: Callable[[], None] | None = None,
        fallback: Fallback | None = None,
        usage: Usage | None = None,
        lost: bool = False,
        words: Collection[str] = (),
    ) -> None:
        self.lost = lost
        self.words = words
        self.looked_up: list[tuple[str, tuple[str, ...]]] = []
        self.contents = contents or evidence()
        self.ranking = Ranking(excerpts, tuple(more), 0.9 if near else 0.1, near)
        self.quotes = quotes
        self.before = before
        self.fallback = fallback
        self.usage = usage or Usage()
        self.asked: list[tuple[tuple[str, ...], tuple[str, ...]]] = []
        self.options: list[SearchOptions] = []
        self.ranked: list[str] = []
        self.budgets: list[int] = []

    async def search(
        self,
        caller: Principal,
        questions: tuple[str, ...],
        collections: tuple[str, ...],
        options: SearchOptions = DEFAULT_SEARCH,
    ) -> Evidence:
        self.asked.append((questions, collections))
        self.options.append(options)
        if self.before is not None:
            self.before()
        return self.contents

    async def rank(self, caller: Principal, question: str, evidence: Evidence) -> Ranked:
        assert evidence == self.contents
        self.ranked.append(question)
        return Ranked(evidence, self.ranking, self.fallback, self.usage)

    async def read_again(self, caller: Principal, evidence: Evidence) -> Evidence | None:
        return None if self.lost else evidence

    async def has_rare_word(self, caller: Principal, words: str, collections: tuple[str, ...]) -> bool:
        self.looked_up.append((words, collections))
        return words in self.words

    async def passages(self, evidence: Evidence, most_bytes: int) -> Sequence[ShownPassage]:
        self.budgets.append(most_bytes)
        return [
            ShownPassage(one.title, one.text, one.read, headings=tuple(one.headings), date="2026-05-01")
            for one in self.ranking.excerpts
        ]

    async def excerpts(self, evidence: Evidence, ranking: Ranking) -> Ranking:
        return replace(self.ranking, made=True)

    async def sections(
        self, caller: Principal, evidence: Evidence, limit: int, most_bytes: int, *, divided: bool
    ) -> Sequence[Sequence[Quote]]:
        assert evidence == self.contents
        return [[one] for one in self.quotes[:limit]]


def task(text: str, history: Sequence[Message] = (), collections: tuple[str, ...] = ()) -> AnswerTask:
    return AnswerTask(uuid7(), WHO, Question(text, None, collections), history)
