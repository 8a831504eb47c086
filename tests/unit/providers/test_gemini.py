"""Behaviour that only the Gemini adapter has."""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import pytest

from responsa_server.domain.events import Usage
from responsa_server.domain.models import (
    Ended,
    ModelFault,
    ModelPrompt,
    PromptMessage,
    Role,
    Spent,
    Stop,
    TextPiece,
    ToolRequest,
)
from responsa_server.domain.tools import ToolCard
from responsa_server.providers.gemini import contents
from responsa_server.providers.settings import CompatibleSettings
from tests.unit.providers.told import failure, gathered
from tests.wire.gemini import Gemini
from tests.wire.speaking import Complaint, Scene, complaining, speaking, sse, telling

WIRE = Gemini()


def chunk(*parts: dict[str, object], finish: str = "", **fields: object) -> bytes:
    candidate: dict[str, Any] = {"content": {"parts": list(parts)}}
    if finish:
        candidate["finishReason"] = finish
    return sse({"candidates": [candidate], **fields})


async def test_a_prompt_that_is_blocked_is_unsafe_to_answer() -> None:
    blocked = sse({"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 4}})
    async with speaking(WIRE, telling(WIRE, [blocked])) as model:
        assert await gathered(model) == (
            [Spent(Usage(0, 4, 0)), Ended(complete=False, stop=Stop.UNSAFE)],
            None,
        )


@pytest.mark.parametrize(
    ("finish", "stop"),
    [
        ("RECITATION", Stop.UNSAFE),
        ("MODEL_ARMOR", Stop.UNSAFE),
        ("CONTINUATION", Stop.LIMIT),
    ],
)
async def test_reasons_to_stop(finish: str, stop: Stop) -> None:
    async with speaking(WIRE, telling(WIRE, [chunk({"text": "a"}, finish=finish)])) as model:
        assert await gathered(model) == ([TextPiece("a"), Ended(complete=False, stop=stop)], None)


@pytest.mark.parametrize(
    ("finish", "fault"),
    [
        ("MALFORMED_FUNCTION_CALL", ModelFault.MALFORMED),
        ("UNEXPECTED_TOOL_CALL", ModelFault.MALFORMED),
        ("MALFORMED_RESPONSE", ModelFault.MALFORMED),
        ("MISSING_THOUGHT_SIGNATURE", ModelFault.REFUSED),
        ("PUP_LIMITED_DISABLED", ModelFault.CREDENTIAL),
        ("OTHER", ModelFault.CUT),
        ("LATER", ModelFault.CUT),
    ],
)
async def test_what_went_wrong_there_is_an_error(finish: str, fault: ModelFault) -> None:
    async with speaking(WIRE, telling(WIRE, [chunk(finish=finish)])) as model:
        assert (await failure(model)).fault is fault


async def test_calls_without_ids_are_given_some_and_usage_may_come_after_the_finish() -> None:
    call: dict[str, object] = {"functionCall": {"name": "note", "args": {"a": 1}}}
    bare: dict[str, object] = {"functionCall": {"name": "note"}, "thoughtSignature": "c2ln"}
    usage = {
        "promptTokenCount": 4,
        "toolUsePromptTokenCount": 2,
        "candidatesTokenCount": 3,
        "thoughtsTokenCount": 5,
    }
    events = [chunk(call), chunk(bare, finish="STOP"), sse({"usageMetadata": usage})]
    async with speaking(WIRE, telling(WIRE, events)) as model:
        assert await gathered(model) == (
            [
                Spent(Usage(0, 6, 8)),
                ToolRequest("call-1", "note", {"a": 1}),
                ToolRequest("call-2", "note", {}, "c2ln"),
                Ended(complete=True),
            ],
            None,
        )


def detail(kind: str, **fields: object) -> dict[str, object]:
    return {"@type": f"type.googleapis.com/google.rpc.{kind}", **fields}


@pytest.mark.parametrize(
    ("status", "error", "fault", "retry_after"),
    [
        (
            429,
            {"status": "RESOURCE_EXHAUSTED", "details": [detail("RetryInfo", retryDelay="34.5s")]},
            ModelFault.RATE_LIMITED,
            34.5,
        ),
        (
            429,
            {"status": "RESOURCE_EXHAUSTED", "details": [detail("RetryInfo", retryDelay="soon"), 1]},
            ModelFault.RATE_LIMITED,
            None,
        ),
        (
            400,
            {"status": "INVALID_ARGUMENT", "details": [detail("ErrorInfo", reason="API_KEY_INVALID")]},
            ModelFault.CREDENTIAL,
            None,
        ),
        (400, {"status": "FAILED_PRECONDITION", "details": None}, ModelFault.REFUSED, None),
        (504, {"status": "DEADLINE_EXCEEDED"}, ModelFault.OVERLOADED, None),
    ],
)
async def test_errors_say_more_in_their_details(
    status: int, error: dict[str, object], fault: ModelFault, retry_after: float | None
) -> None:
    body = {"error": {"code": status, "message": "no", **error}}
    async with speaking(WIRE, complaining(Complaint(status, body))) as model:
        caught = await failure(model)
    assert (caught.fault, caught.retry_after) == (fault, retry_after)


def test_outcomes_of_tools_name_the_tool_and_stand_together() -> None:
    made = contents(
        [
            PromptMessage(Role.SYSTEM, "x"),
            PromptMessage(Role.USER, "Why?"),
            PromptMessage(Role.ASSISTANT, "", [ToolRequest("a", "note", {}, "c2ln")]),
            PromptMessage(Role.TOOL, "one", answers="a"),
            PromptMessage(Role.TOOL, "two", answers="gone"),
        ]
    )
    call: dict[str, object] = {
        "functionCall": {"id": "a", "name": "note", "args": {}},
        "thoughtSignature": "c2ln",
    }
    assert made == [
        {"role": "user", "parts": [{"text": "Why?"}]},
        {"role": "model", "parts": [call]},
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "a", "name": "note", "response": {"result": "one"}}},
                {"functionResponse": {"id": "gone", "name": "gone", "response": {"result": "two"}}},
            ],
        },
    ]


async def test_thoughts_are_no_text() -> None:
    events = [chunk({"text": "hm", "thought": True}, {"text": "a"}), *WIRE.events(Scene())]
    async with speaking(WIRE, telling(WIRE, events)) as model:
        pieces, _ = await gathered(model)
    assert [piece for piece in pieces if isinstance(piece, TextPiece)] == [TextPiece("a")]


async def test_calls_without_an_id_are_numbered_on_through_the_talk() -> None:
    """Each step of a turn is a new request, whose prompt contains the earlier tool calls."""
    note: dict[str, object] = {"functionCall": {"name": "note", "args": {}}}
    answers = [chunk(note, note, finish="STOP")]
    done = [
        PromptMessage(Role.USER, "Go."),
        PromptMessage(
            Role.ASSISTANT, "", [ToolRequest("call-1", "note", {}), ToolRequest("call-4", "note", {})]
        ),
        PromptMessage(Role.TOOL, "ok", answers="call-1"),
        PromptMessage(Role.TOOL, "ok", answers="call-4"),
    ]
    async with speaking(WIRE, telling(WIRE, answers)) as model:
        found = list[list[str]]()
        for messages in (done[:1], done):
            prompt = ModelPrompt(messages, "turns/1", [ToolCard("note", "Notes.")])
            async with aclosing(model.stream(prompt)) as pieces:
                found.append([piece.call_id async for piece in pieces if isinstance(piece, ToolRequest)])
    assert found == [["call-1", "call-2"], ["call-3", "call-5"]]


def test_no_prefix_is_taken() -> None:
    assert not WIRE.model(CompatibleSettings(url="http://127.0.0.1:1")).takes_prefix
