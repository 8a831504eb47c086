"""A small model makes no decisions, and its text about documents is emitted only if the documents support the text."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from responsa_server.agents.engine.declining import NO_ANSWER
from responsa_server.agents.nodes import prompt
from responsa_server.domain.agents import AgentEvent, AnswerTask
from responsa_server.domain.events import (
    AnswerOutcome,
    Delta,
    Fallback,
    FallbackKind,
    RefusalReason,
)
from responsa_server.domain.models import ChatModel, ModelError, ModelFault, TextPiece
from tests.unit.agents.evidence import FixedEvidence
from tests.unit.agents.shipping import LONG, NILE, SHOWN, parts_of, shipped, task_for
from tests.unit.agents.speaking import Says, answer_in, refusal_in, says, text, told_by
from tests.unit.agents.test_bad_models import AGENTS, chain
from tests.unit.agents.test_shipped import talk

SMALL = "m"
UNCITED = Fallback(FallbackKind.PASSAGES, "model", "passages", "uncited")


async def events_of(
    agent: str,
    model: ChatModel,
    question: AnswerTask,
    *,
    small: str = SMALL,
    larger: ChatModel | None = None,
    near: bool = True,
) -> Sequence[AgentEvent]:
    parts = parts_of(model, FixedEvidence(NILE, near=near), small=frozenset({small}), larger=larger)
    return await told_by(shipped(agent, parts), question)


@pytest.mark.parametrize("agent", AGENTS)
async def test_it_writes_and_is_asked_for_nothing_else(agent: str) -> None:
    model = says("The Nile is ", "very long. [1] ", "I know.")
    question = replace(task_for(agent), history=talk("How long is the Nile?", LONG))
    events = await events_of(agent, model, question)
    end = answer_in(events)
    assert [one.purpose for one in model.prompts] == ["response_synthesis"]
    assert (end.text, end.model) == ("The Nile is very long. I know.", SMALL)
    assert [citation.quote for citation in end.citations] == [LONG]
    assert end.fallbacks == ()
    # The text is emitted when it is whole.
    assert [event for event in events if isinstance(event, Delta)] == [Delta(end.text, 0)]


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("written", ["120000", "It is short. [7]", "[1]", NO_ANSWER])
async def test_passages_are_shown_where_they_bear_nothing_out(agent: str, written: str) -> None:
    events = await events_of(agent, says(written), task_for(agent))
    end = answer_in(events)
    assert end.text == text(list(events)) == SHOWN
    assert (end.model, end.outcome, len(end.citations)) == ("passages", AnswerOutcome.COMPLETE, 1)
    cause = {"[1]": "model_unavailable:empty", NO_ANSWER: "declined"}.get(written, UNCITED.cause)
    assert list(end.fallbacks) == [replace(UNCITED, cause=cause)]


async def test_who_is_asked_in_the_end_decides() -> None:
    away = Says([ModelError(ModelFault.UNREACHABLE, "away")])
    # A small model that replaces another model does not classify, and its text is checked.
    small = says("120000")
    end = answer_in(
        await events_of("chat", chain(away, small), task_for("chat"), small="p1:m", larger=chain(away))
    )
    assert [one.purpose for one in small.prompts] == ["response_synthesis"]
    assert [(fallback.kind, fallback.cause) for fallback in end.fallbacks] == [
        (FallbackKind.CLASSIFIER, "model_unavailable:unreachable"),
        (FallbackKind.PROVIDER, "unreachable"),
        (FallbackKind.PASSAGES, "uncited"),
    ]
    # When a larger model replaces the small one, the larger model's text is emitted as it arrives.
    larger = says("12", "0000")
    events = await events_of("chat", chain(away, larger), task_for("chat"), small="p0:m", larger=larger)
    end = answer_in(events)
    assert (end.text, end.model) == ("120000", "p1:m")
    assert len([event for event in events if isinstance(event, Delta)]) == 2
    assert larger.prompts[0].purpose == "intent_classification"


@pytest.mark.parametrize(("written", "ending"), [("It is long. [1] And", ""), ("And so", "passages")])
async def test_what_takes_too_long_is_checked_as_far_as_it_came(
    monkeypatch: pytest.MonkeyPatch, written: str, ending: str
) -> None:
    monkeypatch.setattr(prompt, "HELD_SECONDS", 0.01)
    model = Says([TextPiece(written), asyncio.Event()])
    end = answer_in(await events_of("tutor", model, task_for("tutor")))
    assert model.closed
    assert end.model == (ending or SMALL)
    assert end.outcome is (AnswerOutcome.COMPLETE if ending else AnswerOutcome.OUTPUT_LIMIT)
    assert len(end.citations) == 1


async def test_a_post_that_no_document_supports_is_refused() -> None:
    question = task_for("chat", "Write a post about the Nile.")
    end = refusal_in(await events_of("chat", says("Rivers!"), question))
    assert (end.reason, end.intent) == (RefusalReason.NEEDS_MODEL, "post")


async def test_where_no_passage_is_near_the_closest_are_shown_with_a_refusal() -> None:
    end = refusal_in(await events_of("tutor", says("120000"), task_for("tutor"), near=False))
    assert (end.reason, end.excerpts) == (RefusalReason.NO_SUPPORT, (NILE,))


async def test_where_there_is_nothing_to_cite_it_is_told_as_it_comes() -> None:
    events = await events_of("chat", says("Hel", "lo."), task_for("chat", "Hello, how are you?"))
    end = answer_in(events)
    assert (end.text, end.intent, end.model) == ("Hello.", "chitchat", SMALL)
    assert len([event for event in events if isinstance(event, Delta)]) == 2
