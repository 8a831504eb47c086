"""The client of OpenAI-compatible servers, tested with real sockets."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest
from pydantic import SecretStr

from responsa_lab.testing.loopback import LoopbackExchange
from responsa_server.domain.models import (
    Ended,
    ModelFault,
    ModelPrompt,
    Stop,
    TextPiece,
    ToolRequest,
)
from responsa_server.providers import http_model
from tests.unit.providers.openai_serving import STOP, answer, served, telling, text
from tests.unit.providers.told import PROMPT, failure, gathered
from tests.wire.odd_replies import ODD
from tests.wire.speaking import Handler

RETRIED = (ModelFault.RATE_LIMITED, ModelFault.OVERLOADED)


def calling(*calls: object) -> str:
    """A chunk with parts of tool calls."""
    return json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": calls}}]})


def noting(arguments: str, calls: int = 1) -> str:
    function = {"name": "note", "arguments": arguments}
    return calling(*({"index": index, "id": "a", "function": function} for index in range(calls)))


async def test_a_server_may_leave_out_done_and_may_tell_that_its_limit_was_met() -> None:
    length = STOP.replace('"stop"', '"length"')
    async with served(telling(text("So"), length, done=False)) as model:
        assert (await answer(model))[-1] == Ended(complete=False)


async def test_a_tools_call_comes_together_from_its_parts() -> None:
    first = calling(
        {"index": 1, "id": "b", "type": "function", "function": {"name": "note", "arguments": ""}}
    )
    parts = [
        calling({"index": 0, "id": "a", "type": "function", "function": {"name": "no", "arguments": '{"te'}}),
        calling({"index": 0, "function": {"name": "te", "arguments": 'xt":"ü"}'}}),
    ]
    stop = STOP.replace('"stop"', '"tool_calls"')
    async with served(telling(first, *parts, stop)) as model:
        assert await answer(model) == [
            ToolRequest("b", "note", {}),
            ToolRequest("a", "note", {"text": "ü"}),
            Ended(complete=True),
        ]


@pytest.mark.parametrize(
    ("prefill", "marks"),
    [
        ("last", {}),
        ("continue", {"continue_final_message": True, "add_generation_prompt": False}),
        ("marked", {"prefix": True}),
    ],
)
async def test_a_prefix_is_the_last_message_of_the_model(prefill: str, marks: dict[str, object]) -> None:
    seen: list[LoopbackExchange] = []
    async with served(telling(text("a"), STOP, seen=seen), prefill=prefill) as model:
        assert await answer(model, replace(PROMPT, prefix="So it is "))
    body = json.loads(seen[0].request.body)
    assert body["messages"][-1] | body == {**body, **body["messages"][-1], **marks}
    assert (body["messages"][-1]["role"], body["messages"][-1]["content"]) == ("assistant", "So it is")


async def test_the_request_names_its_turn_and_asks_for_usage_all_along() -> None:
    seen: list[LoopbackExchange] = []
    async with served(
        telling(text("a"), STOP, seen=seen), api_key=SecretStr("k"), continuous_usage=True
    ) as model:
        await answer(model, replace(PROMPT, label="turns/1"))
    got = seen[0].request
    assert (got.method, got.path) == ("POST", "/v1/chat/completions")
    assert (got.headers["authorization"], got.headers["x-client-request-id"]) == ("Bearer k", "turns/1")
    usage = {"include_usage": True, "continuous_usage_stats": True}
    assert json.loads(got.body)["stream_options"] == usage


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param("[1]", id="no object"),
        pytest.param('{"a": ', id="no JSON"),
        pytest.param('{"a": NaN}', id="no number"),
        pytest.param('{"a": [-1e999]}', id="no finite number"),
        pytest.param('{"a": 1' + "0" * 400 + "}", id="no double"),
        pytest.param('{"a":' * 17 + "1" + "}" * 17, id="too deep"),
    ],
)
async def test_arguments_that_cannot_be_read_are_a_problem_of_the_request(arguments: str) -> None:
    async with served(telling(noting(arguments), STOP)) as model:
        (request, _) = await answer(model)
    assert isinstance(request, ToolRequest)
    assert (request.arguments, request.problem[:9]) == ({}, "they are ")


async def test_arguments_may_be_as_long_and_as_deep_as_events_are() -> None:
    long, deep = '{"a": "' + "x" * (16 * 1024 - 9) + '"}', '{"a":' * 16 + "1" + "}" * 16
    for arguments in (long, deep):
        async with served(telling(noting(arguments, 64), STOP)) as model:
            *requests, _ = await answer(model)
        assert [request.arguments for request in requests if isinstance(request, ToolRequest)] == [
            json.loads(arguments)
        ] * 64


@pytest.mark.parametrize("cut", [True, False])
async def test_an_answer_that_has_ended_is_whole_whatever_becomes_of_the_connection(
    monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    monkeypatch.setattr(http_model, "_REST_SECONDS", 0.05)

    async def handle(exchange: LoopbackExchange) -> None:
        await exchange.begin("text/event-stream")
        await exchange.piece(f"data: {text('a')}\n\ndata: {STOP}\n\ndata: [DONE]\n\n".encode())
        if cut:
            exchange.cut()
        else:
            await asyncio.Event().wait()

    async with served(handle, idle_seconds=0.5) as model:
        assert await answer(model) == [TextPiece("a"), Ended(complete=True)]


async def undecodable(exchange: LoopbackExchange) -> None:
    await exchange.begin("text/event-stream\r\ncontent-encoding: gzip")
    await exchange.piece(b"not gzip")
    await exchange.end()


LARGE = [noting('{"a": "' + "x" * 9000), noting("ü" * 4000 + '"}'), STOP]


@pytest.mark.parametrize(
    ("handler", "fault"),
    [
        pytest.param(telling('{"object":"chat.completion.chunk"}'), ModelFault.MALFORMED, id="no choices"),
        pytest.param(telling(*LARGE), ModelFault.MALFORMED, id="too large requests"),
        pytest.param(undecodable, ModelFault.MALFORMED, id="no gzip"),
        *(
            pytest.param(telling(json.dumps({"error": error})), fault, id=str(error))
            for error, fault in (
                ({"message": "no such adapter"}, ModelFault.REFUSED),
                ({"code": 429}, ModelFault.RATE_LIMITED),
                ({"code": "503", "type": "unavailable_error"}, ModelFault.OVERLOADED),
                ({"code": 401, "type": "server_error"}, ModelFault.CREDENTIAL),
                ({"code": 429, "type": "insufficient_quota"}, ModelFault.CREDENTIAL),
                ({"code": 7, "type": "server_error"}, ModelFault.OVERLOADED),
            )
        ),
    ],
)
async def test_a_stream_that_is_broken_or_has_an_error_is_a_typed_error(
    handler: Handler, fault: ModelFault
) -> None:
    async with served(handler) as model:
        error = await failure(model)
    assert (error.fault, error.passing) == (fault, fault in RETRIED)


async def test_what_the_model_will_not_say_is_unsafe_and_no_text() -> None:
    refusal = json.dumps({"choices": [{"index": 0, "delta": {"refusal": "I cannot."}}]})
    async with served(telling(refusal, STOP)) as model:
        assert await answer(model) == [Ended(complete=False, stop=Stop.UNSAFE)]


@pytest.mark.parametrize(
    ("status", "error", "fault"),
    [
        (429, {"code": "insufficient_quota", "type": "insufficient_quota"}, ModelFault.CREDENTIAL),
        (429, "slow down", ModelFault.RATE_LIMITED),
        (402, {"message": "Insufficient Balance"}, ModelFault.CREDENTIAL),
        (409, {"message": "conflict"}, ModelFault.OVERLOADED),
        # The status determines the fault, and the body may make the fault more precise.
        (400, {"type": "rate_limit_exceeded"}, ModelFault.REFUSED),
        (400, {"code": "invalid_api_key"}, ModelFault.CREDENTIAL),
        (403, {"type": "server_error"}, ModelFault.CREDENTIAL),
        (500, {"code": "rate_limit_exceeded"}, ModelFault.RATE_LIMITED),
    ],
)
async def test_errors_of_compatible_servers(status: int, error: object, fault: ModelFault) -> None:
    async def refuse(exchange: LoopbackExchange) -> None:
        await exchange.reply(status, json.dumps({"error": error}).encode())

    async with served(refuse) as model:
        found = await failure(model)
    assert (found.fault, found.passing) == (fault, fault in RETRIED)
    # Only the model is forbidden, unless the body mentions the key.
    assert found.own is (status == 403)


LOOSE = {"type": "object", "properties": {"a": {"type": "string"}}}


async def test_a_schema_is_strict_only_where_it_can_be() -> None:
    expected = {"type": "json_schema", "json_schema": {"name": "answer", "strict": False, "schema": LOOSE}}
    seen: list[LoopbackExchange] = []
    async with served(telling(text("{}"), STOP, seen=seen), completion_limit=True) as model:
        await answer(model, ModelPrompt(PROMPT.messages, "", schema=LOOSE, max_tokens=9))
    body = json.loads(seen[0].request.body)
    assert body.get("response_format") == expected
    assert (body["max_completion_tokens"], "max_tokens" in body) == (9, False)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["<think>Hm, 7.", "</think>\n\n", "It is 5."], "It is 5."),
        ([*"<think>b < c</think> d <b>."], "d <b>."),
        (
            ["Reasoning stands between <think> and </thi", "nk>."],
            "Reasoning stands between <think> and </think>.",
        ),
        (["So <thi", "s> <"], "So <this> <"),
        (["So. <think>No end"], "So. <think>No end"),
        (
            ["`<think>` and\n```\n<think>\n``", "`\nEnd"],
            "`<think>` and\n```\n<think>\n```\nEnd",
        ),
    ],
)
async def test_reasoning_never_shows(texts: list[str], said: str) -> None:
    separate = json.dumps({"choices": [{"index": 0, "delta": {"reasoning_content": "Hm."}}]})
    async with served(telling(separate, *map(text, texts), STOP)) as model:
        *pieces, end = await answer(model)
    assert "".join(piece.text for piece in pieces if isinstance(piece, TextPiece)) == said
    assert end == Ended(complete=True)


async def test_null_and_missing_fields_are_read() -> None:
    usage = json.dumps({"choices": None, "usage": {"prompt_tokens": None, "completion_tokens": None}})
    delta = json.dumps({"choices": [{"index": 0, "delta": None, "finish_reason": None}]})
    async with served(telling(delta, text("So"), STOP, usage)) as model:
        assert await answer(model) == [TextPiece("So"), Ended(complete=True)]


async def test_calls_without_index_and_with_an_object_as_arguments() -> None:
    whole = {"id": "a", "function": {"name": "note", "arguments": {"text": "ü"}}}
    begun = {"id": "b", "index": None, "function": {"name": "note", "arguments": '{"te'}}
    rest = {"function": {"name": None, "arguments": 'xt":"b"}'}}
    async with served(telling(calling(whole, begun), calling(rest, {"function": None}), STOP)) as model:
        assert await answer(model) == [
            ToolRequest("a", "note", {"text": "ü"}),
            ToolRequest("b", "note", {"text": "b"}),
            Ended(complete=True),
        ]


@pytest.mark.parametrize("habit", ODD)
async def test_odd_replies(habit: str) -> None:
    odd = ODD[habit]
    async with served(telling(*odd.data)) as model:
        pieces, error = await gathered(model)
    text = "".join(piece.text for piece in pieces if isinstance(piece, TextPiece))
    others = [piece for piece in pieces if not isinstance(piece, TextPiece)]
    ended = [] if odd.fault else [Ended(complete=odd.complete)]
    assert (text, others, error and error.fault) == (odd.text, [*odd.calls, *ended], odd.fault)
