"""The shipped tutor and chat agents, with and without a model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.agents import AgentEvent
from responsa_server.domain.conversations import Message, Speaker
from responsa_server.domain.events import (
    Answered,
    Cited,
    Effect,
    Fallback,
    FallbackKind,
    Status,
    ToolOutcome,
    ToolReturned,
)
from responsa_server.domain.tools import FixedTools, ToolCard, ToolResult
from tests.unit.agents.evidence import FixedEvidence, report_away
from tests.unit.agents.shipping import ASHDOWN, LONG, Notes, Remembers, parts_of, shipped, task_for
from tests.unit.agents.speaking import Does, answer_in, text, told_by

THEN = datetime(2026, 11, 20, tzinfo=UTC)


def talk(*texts: str) -> list[Message]:
    speakers = [Speaker.USER, Speaker.ASSISTANT] * len(texts)
    return [
        Message(uuid7(), UUID(int=9), uuid7(), speaker, text, (), None, THEN)
        for speaker, text in zip(speakers, texts, strict=False)
    ]


def messages(events: Sequence[AgentEvent]) -> list[str]:
    return [one.message for one in events if isinstance(one, Status)]


def whole(events: Sequence[AgentEvent]) -> Answered:
    end = answer_in(events)
    assert end.text == text(events)
    assert [one.citation for one in events if isinstance(one, Cited)] == list(end.citations)
    data = end.text.encode()
    for citation in end.citations:
        assert data[citation.answer.start : citation.answer.end].decode().strip()
    return end


# Chat


@pytest.mark.parametrize(
    ("agent", "text", "purpose"),
    [
        ("chat", "Write a post about the Nile.", "post"),
        ("tutor", "Give me an exercise on rivers.", "exercise"),
    ],
)
async def test_the_kind_of_the_question_chooses_the_prompt(agent: str, text: str, purpose: str) -> None:
    model = Remembers()
    end = whole(await told_by(shipped(agent, parts_of(model)), task_for(agent, text)))
    assert purpose in (end.intent, end.category)
    assert model.prompts[-1].purpose == purpose


@pytest.mark.parametrize("agent", ["default", "chat"])
async def test_what_was_said_long_ago_is_summed_up_and_kept(agent: str) -> None:
    model, notes = Remembers(), Notes()
    before = talk(*(f"Message {number} on the Nile." for number in range(24)))
    chat = shipped(agent, replace(parts_of(model), summaries=notes))
    await told_by(chat, task_for(agent, talk=before))
    assert model.asked["conversation_summary"] == 1
    assert notes.kept[UUID(int=9)].through == before[13].id
    await told_by(chat, task_for(agent, talk=before))
    assert model.asked["conversation_summary"] == 1
    await told_by(chat, task_for(agent, talk=[*before, *talk("a", "b")]))
    assert model.asked["conversation_summary"] == 1
    await told_by(chat, task_for(agent, talk=[*before, *talk(*"abcdefghij")]))
    assert model.asked["conversation_summary"] == 2


async def test_a_message_for_a_program_goes_to_the_tools() -> None:
    figures = Does(Effect.NONE, ToolResult(ToolOutcome.OK, "4164"), ToolCard("figures", "Calculates."))
    clock, model = Does(Effect.NONE, card=ToolCard("time", "Tells the time.")), Remembers()
    tools = FixedTools([figures, clock])
    chat = shipped("chat", parts_of(model, tools=tools, requests_tools=False, larger=model))
    told = await told_by(chat, task_for("chat", "Calculate 347 * 12."))
    assert [one.content for one in told if isinstance(one, ToolReturned)] == ["4164"]
    assert whole(told).intent == "tool"
    assert model.prompts[-1].purpose == "research"
    # If no tool helps, the documents may.
    told = await told_by(chat, task_for("chat", intent="tool"))
    assert [citation.quote for citation in whole(told).citations] == [LONG]
    assert (len(figures.calls), clock.calls) == (1, [])


# Tutor


async def test_the_tutor_speaks_as_its_teacher() -> None:
    model = Remembers()
    events = await told_by(shipped("tutor", parts_of(model)), task_for("tutor"))
    assert messages(events) == [
        "Thinking about your question...",
        "Classifying your query...",
        "Searching knowledge base...",
        "Analyzing results...",
        "Generating response...",
        "Checking the sources...",
    ]
    end = whole(events)
    assert (end.category, end.model, end.intent) == ("fact", "strong", "")
    write = model.prompts[-1]
    assert write.purpose == "response_synthesis"
    assert "You teach biology.\nsubject: biology" in write.messages[0].text
    assert "level: intermediate" in write.messages[-1].text
    assert str(ASHDOWN) not in "".join(message.text for message in write.messages)
    assert "biology" not in model.prompts[0].messages[-1].text


async def test_the_tutor_goes_on_without_the_documents_and_says_so_first() -> None:
    model = Remembers()
    told = await told_by(
        shipped("tutor", parts_of(model, FixedEvidence(before=report_away))), task_for("tutor")
    )
    end = whole(told)
    assert end.text.startswith("I could not reach the documents, so this answer does not use them.\n\n")
    assert list(end.fallbacks) == [
        Fallback(FallbackKind.WITHOUT_RETRIEVAL, "retrieve", "write", "part_unavailable:postgresql")
    ]
    assert list(end.citations) == []
    instructions = model.prompts[-1].messages[0].text
    assert "could not be reached for this question" in instructions
