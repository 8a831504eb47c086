"""Behaviour that only the Anthropic adapter has."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from responsa_lab.testing.loopback import LoopbackExchange
from responsa_server.agents.engine.citations import MarkFilter
from responsa_server.domain.events import Usage
from responsa_server.domain.models import (
    Alive,
    Ended,
    ModelFault,
    ModelPrompt,
    PromptMessage,
    Provenance,
    Role,
    Spent,
    Stop,
    TextPiece,
    ToolCard,
    ToolRequest,
)
from responsa_server.providers.anthropic import AnthropicMessages, messages
from responsa_server.providers.settings import CompatibleSettings
from tests.unit.providers.told import failure, gathered
from tests.wire.anthropic import Anthropic
from tests.wire.speaking import Complaint, Scene, complaining, speaking, telling

WIRE = Anthropic()


async def test_tokens_are_told_at_the_beginning_and_at_the_end() -> None:
    events = WIRE.events(Scene(["a"], usage=(100, 40, 5, 9)))
    async with speaking(WIRE, telling(WIRE, events)) as model:
        pieces, _ = await gathered(model)
    assert pieces == [
        Spent(Usage(0, 100, 1), "", 40, 5),
        TextPiece("a"),
        Spent(Usage(0, 100, 9), "", 40, 5),
        Ended(complete=True),
    ]


@pytest.mark.parametrize(
    ("model", "takes"),
    [
        ("claude-3-5-haiku-20241022", True),
        ("claude-opus-4-20250514", True),
        ("claude-sonnet-4-5", True),
        ("claude-opus-4-6", False),
        ("claude-sonnet-4-10", False),
        ("claude-opus-5", False),
        ("other", False),
    ],
)
def test_older_models_take_a_prefix(model: str, *, takes: bool) -> None:
    server = CompatibleSettings(url="http://127.0.0.1:1")
    assert AnthropicMessages(server, model).takes_prefix is takes
    assert AnthropicMessages(server.model_copy(update={"prefill": "last"}), model).takes_prefix


@pytest.mark.parametrize(
    ("reason", "stop"),
    [
        ("stop_sequence", Stop.END),
        ("pause_turn", Stop.LIMIT),
        ("model_context_window_exceeded", Stop.LIMIT),
        ("later", None),
    ],
)
async def test_reasons_to_stop(reason: str, stop: Stop | None) -> None:
    events = [event.replace(b"end_turn", reason.encode()) for event in WIRE.events(Scene(["a"]))]
    async with speaking(WIRE, telling(WIRE, events)) as model:
        pieces, error = await gathered(model)
    if stop is None:
        assert error
        assert error.fault is ModelFault.CUT
    else:
        assert pieces[-1] == Ended(complete=stop is Stop.END, stop=stop)


async def test_events_need_no_names() -> None:
    events = [b"data: " + event.partition(b"data: ")[2] for event in WIRE.events(Scene(["a"]))]
    async with speaking(WIRE, telling(WIRE, events)) as model:
        assert (await gathered(model))[1] is None


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("billing_error", ModelFault.CREDENTIAL),
        ("request_too_large", ModelFault.REFUSED),
        ("later_error", ModelFault.REFUSED),
    ],
)
async def test_kinds_of_errors(kind: str, fault: ModelFault) -> None:
    body = {"type": "error", "error": {"type": kind, "message": "no"}}
    async with speaking(WIRE, complaining(Complaint(413, body))) as model:
        assert (await failure(model)).fault is fault


async def test_thinking_goes_back_with_the_calls_that_came_of_it_and_does_not_show() -> None:
    thinking = [
        ("content_block_start", {"content_block": {"type": "thinking", "thinking": "", "signature": ""}}),
        ("content_block_delta", {"delta": {"type": "thinking_delta", "thinking": "I look "}}),
        ("content_block_delta", {"delta": {"type": "thinking_delta", "thinking": "it up."}}),
        ("content_block_delta", {"delta": {"type": "signature_delta", "signature": "c2ln"}}),
    ]
    start, *events = WIRE.events(Scene(calls=[ToolRequest("a", "note", {})]))
    before = [
        f"event: {kind}\ndata: {json.dumps({'type': kind, 'index': 9, **fields})}\n\n".encode()
        for kind, fields in thinking
    ]
    seen: list[LoopbackExchange] = []

    async def handle(exchange: LoopbackExchange) -> None:
        seen.append(exchange)
        await telling(WIRE, [start, *before, *events])(exchange)

    async with speaking(WIRE, handle) as model:
        prompt = ModelPrompt([PromptMessage(Role.USER, "Why?")], "", [ToolCard("note", "Notes.")])
        async with aclosing(model.stream(prompt)) as stream:
            pieces = [piece async for piece in stream]
        assert [piece for piece in pieces if isinstance(piece, TextPiece)] == []
        assert Alive() in pieces
        requests = [piece for piece in pieces if isinstance(piece, ToolRequest)]
        results = [PromptMessage(Role.ASSISTANT, "", requests), PromptMessage(Role.TOOL, "x", answers="a")]
        async with aclosing(model.stream(replace(prompt, messages=[*prompt.messages, *results]))) as stream:
            assert [piece async for piece in stream]
    _, called, result = json.loads(seen[1].request.body)["messages"]
    assert called["content"] == [
        {"type": "thinking", "thinking": "I look it up.", "signature": "c2ln"},
        {"type": "tool_use", "id": "a", "name": "note", "input": {}},
    ]
    assert result["content"][0]["type"] == "tool_result"


def test_outcomes_of_tools_come_first_and_together_and_nothing_is_empty() -> None:
    requests = [ToolRequest("a", "note", {}), ToolRequest("b", "note", {"n": 1})]
    made = messages(
        [
            PromptMessage(Role.SYSTEM, "x"),
            PromptMessage(Role.USER, "Why?"),
            PromptMessage(Role.USER, ""),
            PromptMessage(Role.ASSISTANT, "Let me see.", requests),
            PromptMessage(Role.USER, "Well?"),
            PromptMessage(Role.TOOL, "one", answers="a"),
            PromptMessage(Role.TOOL, "two", answers="b"),
            PromptMessage(Role.ASSISTANT, " "),
        ]
    )
    assert made == [
        {"role": "user", "content": [{"type": "text", "text": "Why?"}]},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "a", "name": "note", "input": {}},
                {"type": "tool_use", "id": "b", "name": "note", "input": {"n": 1}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "one"},
                {"type": "tool_result", "tool_use_id": "b", "content": "two"},
                {"type": "text", "text": "Well?"},
            ],
        },
    ]


CITING = ModelPrompt(
    [
        PromptMessage(Role.SYSTEM, "Answer."),
        PromptMessage(
            Role.USER,
            "[1]\nRivers…",
            place=Provenance.RETRIEVED,
            documents=["Rivers\n\nThe Nile is long. It flows.", "Lakes\n\nThe lake is deep."],
        ),
        PromptMessage(Role.USER, "How long?"),
    ],
    "a",
    cites=True,
)


async def test_passages_are_documents_whose_citations_become_marks() -> None:
    events = WIRE.citing(
        ("The Nile is long", [(0, "Rivers\n\nThe Nile is long. ")]),
        (".\n\n", []),
        ("It is beside a lake.\n", [(1, "The lake\nis deep."), (0, "It flows." + " on" * 20)]),
        ("So it is.", []),
    )
    bodies: list[Mapping[str, Any]] = []

    async def handle(exchange: LoopbackExchange) -> None:
        bodies.append(WIRE.check(exchange))
        await telling(WIRE, events)(exchange)

    async def written(prompt: ModelPrompt) -> str:
        async with speaking(WIRE, handle, documents=True) as model, aclosing(model.stream(prompt)) as pieces:
            return "".join([piece.text async for piece in pieces if isinstance(piece, TextPiece)])

    marked = await written(CITING)
    on = "on " * 9 + "on"
    assert marked == (
        'The Nile is long [1: "The Nile is long."].\n\nIt is beside a lake. [2: "The lake is deep."]'
        f' [1: "It flows. {on}"]\nSo it is.'
    )
    marks = MarkFilter()
    assert marks.feed(marked) + marks.end() == "The Nile is long.\n\nIt is beside a lake.\nSo it is."
    assert [mark.passage for mark in marks.marks] == [1, 2, 1]
    (body,) = bodies
    first, second, question = body["messages"][0]["content"]
    assert (first["type"], first["citations"], first["title"]) == ("document", {"enabled": True}, "[1]")
    assert second["source"] == {
        "type": "text",
        "media_type": "text/plain",
        "data": "Lakes\n\nThe lake is deep.",
    }
    assert question["text"] == "How long?"
    assert "write no marks" in body["system"][-1]["text"]
    # Where the model does not cite, or has a schema, passages are text.
    for prompt in (replace(CITING, cites=False), replace(CITING, schema={"type": "object"})):
        await written(prompt)
        assert bodies[-1]["messages"][0]["content"][0] == {"type": "text", "text": "[1]\nRivers…"}
