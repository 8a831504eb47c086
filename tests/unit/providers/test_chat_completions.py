"""The client of OpenAI-compatible servers against real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from http import HTTPStatus
from typing import Any

import pytest

from responsa_server.domain.ports.models import (
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    PromptMessage,
    Role,
    Spent,
    TextPiece,
    ToolRequest,
)
from responsa_server.domain.ports.tools import ToolCard
from responsa_server.domain.turns import Usage
from responsa_server.providers import chat_completions
from responsa_server.providers.chat_completions import ChatCompletions, ModelServer
from responsa_server.testing.loopback import Exchange, LoopbackServer

PROMPT = ModelPrompt([PromptMessage(Role.USER, "Why?")], "turns/1")
STOP = '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}'


def text(content: str) -> str:
    return json.dumps({"choices": [{"index": 0, "delta": {"content": content}, "finish_reason": None}]})


@asynccontextmanager
async def served(
    handler: Callable[[Exchange], Awaitable[None]], **options: Any
) -> AsyncGenerator[ChatCompletions]:
    server = LoopbackServer(handler)
    await server.start()
    model = ChatCompletions(ModelServer(f"{server.url}/v1", "m", **options))
    try:
        yield model
    finally:
        await model.close()
        await server.close()


def telling(*data: str, done: bool = True, cut: bool = False) -> Callable[[Exchange], Awaitable[None]]:
    """A server whose answer has these events; `cut` closes the socket after them."""

    async def handle(exchange: Exchange) -> None:
        await exchange.begin("text/event-stream")
        for one in [*data, *(["[DONE]"] if done else [])]:
            await exchange.piece(f"data: {one}\n\n".encode())
        if cut:
            exchange.cut()
        else:
            await exchange.end()

    return handle


async def answer(model: ChatCompletions, prompt: ModelPrompt = PROMPT) -> list[ModelPiece]:
    async with aclosing(model.stream(prompt)) as pieces:
        return [piece async for piece in pieces]


async def test_text_comes_piece_by_piece_with_usage_and_an_end() -> None:
    usage = '{"choices":[],"usage":{"prompt_tokens":4,"completion_tokens":2,"total_tokens":6}}'
    async with served(telling(text("Grö"), text("ße"), text(""), STOP, usage)) as model:
        assert await answer(model) == [
            TextPiece("Grö"),
            TextPiece("ße"),
            Spent(Usage(input_tokens=4, output_tokens=2)),
            Ended(complete=True),
        ]


async def test_a_server_may_leave_out_done_and_may_tell_that_its_limit_was_met() -> None:
    length = STOP.replace('"stop"', '"length"')
    async with served(telling(text("So"), length, done=False)) as model:
        assert (await answer(model))[-1] == Ended(complete=False)


async def test_a_tools_call_comes_together_from_its_parts() -> None:
    def part(**call: Any) -> str:
        return json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": [call]}}]})

    first = part(index=1, id="b", type="function", function={"name": "note", "arguments": ""})
    parts = [
        part(index=0, id="a", type="function", function={"name": "no", "arguments": '{"te'}),
        part(index=0, function={"name": "te", "arguments": 'xt":"ü"}'}),
    ]
    stop = STOP.replace('"stop"', '"tool_calls"')
    async with served(telling(first, *parts, stop)) as model:
        assert await answer(model) == [
            ToolRequest("a", "note", {"text": "ü"}),
            ToolRequest("b", "note", {}),
            Ended(complete=True),
        ]


async def test_the_request_is_what_openai_documents() -> None:
    seen: list[Exchange] = []

    async def handle(exchange: Exchange) -> None:
        seen.append(exchange)
        await telling(STOP)(exchange)

    request = ToolRequest("c", "note", {"text": "x"})
    messages = [
        PromptMessage(Role.SYSTEM, "Be brief."),
        PromptMessage(Role.ASSISTANT, "", [request]),
        PromptMessage(Role.TOOL, "done", answers="c"),
    ]
    async with served(handle, api_key="k", continuous_usage=True) as model:
        await answer(model, ModelPrompt(messages, "turns/1", [ToolCard("note", "Notes.")]))
    got = seen[0].request
    assert (got.method, got.path) == ("POST", "/v1/chat/completions")
    assert (got.headers["authorization"], got.headers["x-client-request-id"]) == ("Bearer k", "turns/1")
    call = {"id": "c", "type": "function", "function": {"name": "note", "arguments": '{"text": "x"}'}}
    assert json.loads(got.body) == {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True, "continuous_usage_stats": True},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": "done", "tool_call_id": "c"},
        ],
        "tools": [
            {
                "type": "function",
                "function": {"name": "note", "description": "Notes.", "parameters": {"type": "object"}},
            }
        ],
    }


@pytest.mark.parametrize(
    ("handler", "fault"),
    [
        (telling(text("a"), "{", STOP), ModelFault.MALFORMED),
        (telling('{"error":{"message":"busy"}}'), ModelFault.MALFORMED),
        (telling(text("a"), "x" * (2 << 20)), ModelFault.MALFORMED),
        (telling(text("a"), done=False), ModelFault.CUT),
        (telling(text("a"), cut=True, done=False), ModelFault.CUT),
    ],
)
async def test_a_stream_that_is_broken_is_a_typed_error(
    handler: Callable[[Exchange], Awaitable[None]], fault: ModelFault
) -> None:
    async with served(handler) as model:
        with pytest.raises(ModelError) as caught:
            await answer(model)
    assert caught.value.fault is fault


def calling(arguments: str, calls: int = 1) -> str:
    made = [
        {"index": index, "id": "a", "function": {"name": "note", "arguments": arguments}}
        for index in range(calls)
    ]
    return json.dumps({"choices": [{"index": 0, "delta": {"tool_calls": made}}]})


@pytest.mark.parametrize(
    "data",
    [
        pytest.param([calling("[1]")], id="no object"),
        pytest.param([calling('{"a": NaN}')], id="no number"),
        pytest.param([calling('{"a": [-1e999]}')], id="no finite number"),
        pytest.param([calling('{"a": 1' + "0" * 400 + "}")], id="no double"),
        pytest.param([calling('{"a":' * 17 + "1" + "}" * 17)], id="too deep"),
        pytest.param([calling('{"a": "' + "x" * (16 * 1024) + '"}')], id="too long"),
        pytest.param([calling('{"a": "' + "x" * 9000), calling("ü" * 4000 + '"}')], id="too long together"),
        pytest.param([calling("{}", 65)], id="too many"),
    ],
)
async def test_arguments_that_no_event_can_tell_are_malformed(data: list[str]) -> None:
    async with served(telling(*data, STOP)) as model:
        with pytest.raises(ModelError) as caught:
            await answer(model)
    assert caught.value.fault is ModelFault.MALFORMED


async def test_arguments_may_be_as_long_and_as_deep_as_events_are() -> None:
    long, deep = '{"a": "' + "x" * (16 * 1024 - 9) + '"}', '{"a":' * 16 + "1" + "}" * 16
    for arguments in (long, deep):
        async with served(telling(calling(arguments, 64), STOP)) as model:
            *requests, _ = await answer(model)
        assert [one.arguments for one in requests if isinstance(one, ToolRequest)] == [
            json.loads(arguments)
        ] * 64


@pytest.mark.parametrize("cut", [True, False])
async def test_an_answer_that_has_ended_is_whole_whatever_becomes_of_the_connection(
    monkeypatch: pytest.MonkeyPatch, cut: bool
) -> None:
    monkeypatch.setattr(chat_completions, "_REST_SECONDS", 0.05)

    async def handle(exchange: Exchange) -> None:
        await exchange.begin("text/event-stream")
        await exchange.piece(f"data: {text('a')}\n\ndata: {STOP}\n\ndata: [DONE]\n\n".encode())
        if cut:
            exchange.cut()
        else:
            await asyncio.Event().wait()

    async with served(handle, idle_seconds=0.5) as model:
        assert await answer(model) == [TextPiece("a"), Ended(complete=True)]


async def test_a_body_that_cannot_be_decoded_is_malformed() -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.begin("text/event-stream\r\ncontent-encoding: gzip")
        await exchange.piece(b"not gzip")
        await exchange.end()

    async with served(handle) as model:
        with pytest.raises(ModelError) as caught:
            await answer(model)
    assert caught.value.fault is ModelFault.MALFORMED


async def test_a_refusal_a_silent_server_and_one_that_is_not_there() -> None:
    async def refuse(exchange: Exchange) -> None:
        await exchange.reply(HTTPStatus.TOO_MANY_REQUESTS, b'{"error":"slow down"}')

    async with served(refuse) as model:
        with pytest.raises(ModelError, match="429") as caught:
            await answer(model)
    assert caught.value.fault is ModelFault.REFUSED

    async def hang(exchange: Exchange) -> None:
        await exchange.begin("text/event-stream")
        await asyncio.Event().wait()

    async with served(hang, idle_seconds=0.05) as model:
        with pytest.raises(ModelError) as caught:
            await answer(model)
    assert caught.value.fault is ModelFault.TIMEOUT

    gone = LoopbackServer(refuse)
    await gone.start()
    again = ChatCompletions(ModelServer(gone.url, "m"))
    await gone.close()
    with pytest.raises(ModelError) as caught:
        await answer(again)
    await again.close()
    assert caught.value.fault is ModelFault.UNREACHABLE


class Endless:
    """A server that never stops speaking; knows of its client's leaving."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def handle(self, exchange: Exchange) -> None:
        try:
            await exchange.begin("text/event-stream")
            await exchange.piece(f"data: {text('a')}\n\n".encode())
            await asyncio.Event().wait()
        finally:
            if exchange.left_at is not None:
                self.left.set()


async def test_closing_the_iterator_closes_the_socket() -> None:
    server = Endless()
    async with served(server.handle) as model:
        async with aclosing(model.stream(PROMPT)) as pieces:
            assert await anext(pieces) == TextPiece("a")
        await server.left.wait()


async def test_cancelling_the_reader_closes_the_socket() -> None:
    server = Endless()
    begun = asyncio.Event()

    async def read(model: ChatCompletions) -> None:
        async with aclosing(model.stream(PROMPT)) as pieces:
            async for _ in pieces:
                begun.set()

    async with served(server.handle) as model:
        reading = asyncio.create_task(read(model))
        await begun.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await server.left.wait()


@pytest.mark.parametrize("steps", range(8))
async def test_cancelling_twice_closes_the_socket_and_the_client_goes_on(steps: int) -> None:
    server = Endless()
    begun = asyncio.Event()

    async def read(model: ChatCompletions) -> None:
        async with aclosing(model.stream(PROMPT)) as pieces:
            async for _ in pieces:
                begun.set()

    async with served(server.handle) as model:
        for _ in range(2):
            reading = asyncio.create_task(read(model))
            await begun.wait()
            reading.cancel()
            for _ in range(steps):
                await asyncio.sleep(0)
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await server.left.wait()
            begun.clear()
            server.left.clear()


async def test_cancelling_before_the_answer_begins_closes_the_socket() -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def hang(exchange: Exchange) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            if exchange.left_at is not None:
                left.set()

    async with served(hang) as model:
        reading = asyncio.create_task(answer(model))
        await asked.wait()
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        await left.wait()


async def test_connections_are_used_again_and_as_many_are_opened_as_are_needed() -> None:
    gate, here = asyncio.Event(), asyncio.Event()
    waiting = 0

    async def handle(exchange: Exchange) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 20:
            here.set()
        await gate.wait()
        await telling(text("a"), STOP)(exchange)

    server = LoopbackServer(handle)
    await server.start()
    model = ChatCompletions(ModelServer(f"{server.url}/v1", "m"))
    reading = [asyncio.create_task(answer(model)) for _ in range(20)]
    await here.wait()
    assert server.open_sockets == 20
    gate.set()
    await asyncio.gather(*reading)
    for _ in range(5):
        await answer(model)
    assert server.open_sockets == 20
    await model.close()
    await server.close()
