"""The shipped tutor and chat agents, with and without a model."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa_lab.scripted.strong import Strong
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.domain.agents import AgentEvent, AnswerTask
from responsa_server.domain.conversations import Message, Speaker
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import (
    Answered,
    Cited,
    Effect,
    Fallback,
    FallbackKind,
    ModelUsed,
    RefusalReason,
    Refused,
    Status,
    ToolOutcome,
    ToolReturned,
)
from responsa_server.domain.models import ModelPiece, ModelPrompt
from responsa_server.domain.tools import FixedTools, ToolCard, ToolResult
from tests.unit.agents.evidence import Shelf, excerpt, quote, task
from tests.unit.agents.shipping import ASHDOWN, CLASSIFIERS, Judge, Notes, Staff, shipped
from tests.unit.agents.speaking import Does, text, told_by

LONG = "The Nile is 6,650 km long."
QUOTE = replace(quote(LONG), text=LONG)
NILE = excerpt(LONG)
THEN = datetime(2026, 11, 20, tzinfo=UTC)
TEACHER = {"teacher_id": str(ASHDOWN)}


class Remembers(Strong):
    """The scripted strong model, which records its requests."""

    def __init__(self) -> None:
        super().__init__()
        self.prompts: list[ModelPrompt] = []

    def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        self.prompts.append(prompt)
        return super().stream(prompt)


def parts(model: Strong | None = None, shelf: Shelf | None = None) -> NodeParts:
    books = shelf or Shelf(NILE)
    return NodeParts(books, Judge([QUOTE]), Staff(), Notes(), model, classifiers=CLASSIFIERS)


def asked(text: str, given: Mapping[str, object] | None = None, talk: Sequence[Message] = ()) -> AnswerTask:
    one = task(text, talk)
    parameters = json.dumps(given) if given else ""
    return replace(one, question=replace(one.question, parameters=parameters), conversation_id=UUID(int=9))


def talk(*texts: str) -> list[Message]:
    speakers = [Speaker.USER, Speaker.ASSISTANT] * len(texts)
    return [
        Message(uuid7(), UUID(int=9), uuid7(), speaker, text, (), None, THEN)
        for speaker, text in zip(speakers, texts, strict=False)
    ]


def messages(told: Sequence[AgentEvent]) -> list[str]:
    return [one.message for one in told if isinstance(one, Status)]


def whole(told: Sequence[AgentEvent]) -> Answered:
    end = told[-1]
    assert isinstance(end, Answered)
    assert end.text == text(told)
    assert [one.citation for one in told if isinstance(one, Cited)] == list(end.citations)
    data = end.text.encode()
    for citation in end.citations:
        assert data[citation.answer.start : citation.answer.end].decode().strip()
    return end


class Away(Shelf):
    def __init__(self) -> None:
        super().__init__(before=self._away)

    def _away(self) -> None:
        raise Unavailable(Reason.PART_UNAVAILABLE, "away", {"part": "postgresql"})


# Chat


async def test_the_chat_agent_writes_with_a_model_and_checks_what_it_cites() -> None:
    model = Remembers()
    told = await told_by(shipped("chat", parts(model)), asked("How long is the river Nile?"))
    assert messages(told) == [
        "Classifying your query...",
        "Searching knowledge base...",
        "Analyzing results...",
        "Generating response...",
        "Checking the sources...",
    ]
    end = whole(told)
    assert end.model == "strong"
    assert [citation.quote for citation in end.citations] == [LONG]
    assert (end.passages_used, "[1]" in end.text) == (1, False)
    assert model.asked == {"intent_classification": 1, "response_synthesis": 1}
    assert [one.model for one in told if isinstance(one, ModelUsed)] == ["strong", "strong"]


@pytest.mark.parametrize("with_model", [False, True])
async def test_small_talk_searches_nothing(with_model: bool) -> None:
    shelf = Shelf()
    told = await told_by(
        shipped("chat", parts(Remembers() if with_model else None, shelf)), asked("Hello, how are you?")
    )
    end = whole(told)
    assert end.intent == "chitchat"
    assert shelf.asked == []
    assert "Checking the sources..." not in messages(told)
    if with_model:
        assert end.model == "strong"
    else:
        assert end.text.startswith("This is Chat.")
        assert "No language model is configured" in end.text
        assert end.model == "template"
        assert list(end.fallbacks) == [Fallback(FallbackKind.TEMPLATE, "model", "small_talk", "no_model")]


async def test_a_question_in_another_language_is_refused_because_of_the_language() -> None:
    question = "¿Cuánto dura la batería del Wren 2?"
    end = (await told_by(shipped("chat", parts()), asked(question)))[-1]
    assert isinstance(end, Refused)
    assert (end.reason, end.intent) == (RefusalReason.OUT_OF_SCOPE, "out_of_scope")
    assert f"Chat did not recognise “{question}”" in end.message
    assert "Perhaps the reason is the language" in end.message
    assert "“How long does the battery of Wren 2 last?”" in end.message


async def test_a_post_is_written_by_a_model_from_its_own_prompt() -> None:
    model = Remembers()
    told = await told_by(shipped("chat", parts(model)), asked("Write a post about the Nile."))
    assert whole(told).intent == "post"
    assert model.prompts[-1].purpose == "post"


async def test_a_follow_up_is_rewritten_before_it_is_looked_for() -> None:
    model = Remembers()
    told = await told_by(
        shipped("chat", parts(model)),
        asked("And where does it end?", talk=talk("How long is the river Nile?", LONG)),
    )
    assert "Rephrasing your question..." in messages(told)
    assert model.asked["kb_search_query"] == 1
    assert "Nile" in whole(told).standalone_question


async def test_what_was_said_long_ago_is_summed_up_and_kept() -> None:
    model, notes = Remembers(), Notes()
    before = talk(*(f"Message {number} on the Nile." for number in range(24)))
    chat = shipped("chat", replace(parts(model), summaries=notes))
    await told_by(chat, asked("How long is the river Nile?", talk=before))
    assert model.asked["conversation_summary"] == 1
    assert notes.kept[UUID(int=9)].through == before[13].id
    await told_by(chat, asked("How long is the river Nile?", talk=before))
    assert model.asked["conversation_summary"] == 1
    await told_by(chat, asked("How long is the river Nile?", talk=[*before, *talk("a", "b")]))
    assert model.asked["conversation_summary"] == 1
    await told_by(chat, asked("How long is the river Nile?", talk=[*before, *talk(*"abcdefghij")]))
    assert model.asked["conversation_summary"] == 2


async def test_a_message_for_a_program_goes_to_the_tools() -> None:
    calculator = Does(Effect.NONE, ToolResult(ToolOutcome.OK, "4164"), ToolCard("calculator", "Calculates."))
    clock, model = Does(Effect.NONE, card=ToolCard("time", "Tells the time.")), Remembers()
    tools = FixedTools([calculator, clock])
    with_tools = replace(parts(model), tools=tools, requests_tools=False, larger=model)
    chat = shipped("chat", with_tools)
    told = await told_by(chat, asked("What is 347 * 12?"))
    assert [one.content for one in told if isinstance(one, ToolReturned)] == ["4164"]
    assert whole(told).intent == "tool"
    assert model.prompts[-1].purpose == "research"
    # If no tool helps, the documents may.
    told = await told_by(chat, asked("How long is the river Nile?", {"intent": "tool"}))
    assert [citation.quote for citation in whole(told).citations] == [LONG]
    assert (len(calculator.calls), clock.calls) == (1, [])


async def test_without_a_model_a_message_for_a_program_is_refused_with_the_reason() -> None:
    chat = shipped("chat", replace(parts(), tools=FixedTools([Does(Effect.NONE)])))
    for message, parameters in (("Calculate 347 * 12.", None), ("What is 347 * 12?", {"intent": "tool"})):
        end = (await told_by(chat, asked(message, parameters)))[-1]
        assert isinstance(end, Refused)
        assert (end.reason, end.intent, list(end.fallbacks)) == (RefusalReason.NEEDS_MODEL, "tool", [])


# Tutor


async def test_the_tutor_speaks_as_its_teacher() -> None:
    model = Remembers()
    told = await told_by(shipped("tutor", parts(model)), asked("How long is the river Nile?", TEACHER))
    assert messages(told) == [
        "Thinking about your question...",
        "Classifying your query...",
        "Searching knowledge base...",
        "Analyzing results...",
        "Generating response...",
        "Checking the sources...",
    ]
    end = whole(told)
    assert (end.category, end.model, end.intent) == ("fact", "strong", "")
    write = model.prompts[-1]
    assert write.purpose == "response_synthesis"
    assert "You teach biology.\nsubject: biology" in write.messages[0].text
    assert "level: intermediate" in write.messages[-1].text
    assert str(ASHDOWN) not in "".join(message.text for message in write.messages)
    assert "biology" not in model.prompts[0].messages[-1].text


async def test_the_kind_of_the_question_chooses_the_prompt() -> None:
    model = Remembers()
    told = await told_by(shipped("tutor", parts(model)), asked("Give me an exercise on rivers.", TEACHER))
    assert whole(told).category == "exercise"
    assert model.prompts[-1].purpose == "exercise"


async def test_the_tutor_goes_on_without_the_documents_and_says_so_first() -> None:
    model = Remembers()
    told = await told_by(
        shipped("tutor", parts(model, Away())), asked("How long is the river Nile?", TEACHER)
    )
    end = whole(told)
    assert end.text.startswith("I could not reach the documents, so this answer does not use them.\n\n")
    assert list(end.fallbacks) == [
        Fallback(FallbackKind.WITHOUT_RETRIEVAL, "retrieve", "write", "part_unavailable:postgresql")
    ]
    assert list(end.citations) == []
    instructions = model.prompts[-1].messages[0].text
    assert "could not be reached for this question" in instructions
