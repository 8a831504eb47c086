from __future__ import annotations

import asyncio
import hashlib
from contextlib import aclosing
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from uuid_utils.compat import uuid7

from bench.agents import GraphAgent
from responsa_server.agents.engine.citations import compose
from responsa_server.domain.agents import AgentEvent, AnswerTask
from responsa_server.domain.answers import DEFAULT_SEARCH, Evidence, SearchOptions
from responsa_server.domain.conversations import Message, Speaker
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import (
    Answered,
    AnswerOutcome,
    Cited,
    Delta,
    RefusalReason,
    Refused,
    Status,
    Step,
)
from responsa_server.domain.people import Principal
from tests.agent_streams import stream
from tests.unit.graph.evidence import Shelf, excerpt, passages_of, quote, task

LENGTH = "The Nile is 6,650 km long."
SOURCE = "Its farthest source lies in Rwanda – or Burundi."
NILE, HEAD = excerpt(LENGTH), excerpt(SOURCE)


async def events_of(agent: GraphAgent, asked: AnswerTask) -> list[AgentEvent]:
    async with aclosing(stream(agent, asked)) as events:
        return [event async for event in events]


def said(speaker: Speaker, text: str, *, title: str = "") -> Message:
    citations = [replace(compose([quote(LENGTH)]).citations[0], title=title)] if title else []
    return Message(uuid7(), uuid7(), uuid7(), speaker, text, citations, None, datetime.now(UTC))


async def test_an_answer_is_announced_step_by_step_quoted_and_cited() -> None:
    shelf = Shelf(NILE, HEAD)
    events = await events_of(
        GraphAgent(shelf), task("How long is the river Nile in kilometres?", collections=("a",))
    )
    assert events[:3] == [
        Status(Step.RETRIEVING, "Searching knowledge base..."),
        Status(Step.GRADING, "Analyzing results..."),
        Status(Step.GENERATING, "Generating response..."),
    ]
    deltas = [one for one in events if isinstance(one, Delta)]
    cited = [one.citation for one in events if isinstance(one, Cited)]
    end = events[-1]
    assert isinstance(end, Answered)
    assert end.text == passages_of(NILE, HEAD) == "".join(one.text for one in deltas)
    assert end.sha256 == hashlib.sha256(end.text.encode()).digest()
    assert (end.outcome, end.passages_used, end.usage.embedding_tokens) == (AnswerOutcome.COMPLETE, 1, 7)
    assert end.standalone_question == ""
    assert list(end.citations) == cited
    assert [one.quote for one in cited] == [LENGTH, SOURCE]
    assert [type(one).__name__ for one in events[3:]] == [
        "DocumentsRead",
        "Delta",
        "Cited",
        "Cited",
        "Answered",
    ]
    assert shelf.asked == [(("How long is the river Nile in kilometres?",), ("a",))]


async def test_a_follow_up_is_rewritten_and_says_so() -> None:
    shelf = Shelf(HEAD)
    history = [
        said(Speaker.USER, "How long is the Nile?"),
        said(Speaker.ASSISTANT, LENGTH, title="Rivers of Africa"),
    ]
    events = await events_of(GraphAgent(shelf), task("Where does it begin?", history))
    assert events[0] == Status(Step.REWRITING, "Rephrasing your question...")
    end = events[-1]
    assert isinstance(end, Answered)
    assert end.standalone_question == "Where does it begin? (How long is the Nile?)"
    rewritten = "Where does it begin? (How long is the Nile?)"
    assert shelf.asked == [((rewritten, "Where does it begin?"), ())]
    assert shelf.options[0].refers


async def test_without_support_the_turn_is_refused_and_no_generating_is_announced() -> None:
    shelf = Shelf(NILE, near=False)
    events = await events_of(GraphAgent(shelf), task("Who painted the Mona Lisa?", collections=("rivers",)))
    assert [one.step for one in events if isinstance(one, Status)] == [Step.RETRIEVING, Step.GRADING]
    end = events[-1]
    assert isinstance(end, Refused)
    assert end.reason is RefusalReason.NO_SUPPORT
    assert "the collection rivers" in end.message
    assert "Who painted the Mona Lisa?" in end.message
    assert end.usage.embedding_tokens == 7


async def test_retrieval_is_tried_again_when_the_store_was_away_for_a_moment() -> None:
    left = iter([True, True, False])

    def away() -> None:
        if next(left):
            raise Unavailable(Reason.PART_UNAVAILABLE, "away", {"part": "postgresql"})

    shelf = Shelf(NILE, before=away)
    events = await events_of(GraphAgent(shelf), task("How long is the river Nile?"))
    assert isinstance(events[-1], Answered)
    assert [one.step for one in events if isinstance(one, Status)].count(Step.RETRIEVING) == 1


async def test_an_error_of_a_node_leaves_the_graph_as_it_is() -> None:
    def away() -> None:
        raise Unavailable(Reason.PART_UNAVAILABLE, "away", {"part": "postgresql"})

    shelf = Shelf(before=away)
    with pytest.raises(Unavailable, match="away"):
        await events_of(GraphAgent(shelf), task("How long is the river Nile?"))


async def test_closing_the_events_ends_the_work() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    class Slow(Shelf):
        async def search(
            self,
            who: Principal,
            questions: tuple[str, ...],
            collections: tuple[str, ...],
            options: SearchOptions = DEFAULT_SEARCH,
        ) -> Evidence:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return self.found

    shelf = Slow()
    async with aclosing(stream(GraphAgent(shelf), task("How long is the river Nile?"))) as events:
        assert isinstance(await anext(events), Status)
        await begun.wait()
    assert ended.is_set()


async def test_a_short_question_without_a_pronoun_is_a_question_of_its_own() -> None:
    shelf = Shelf(NILE)
    history = [
        said(Speaker.USER, "How long is the Nile?"),
        said(Speaker.ASSISTANT, LENGTH, title="Rivers of Africa"),
    ]
    await events_of(GraphAgent(shelf), task("Who founded Oxford?", history))
    assert shelf.asked == [(("Who founded Oxford?",), ())]
