"""The HTTP tool, tested with real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus

import pytest

from responsa_lab.testing.loopback import Exchange, LoopbackServer
from responsa_server.domain.events import ToolFault, ToolOutcome
from responsa_server.domain.tools import (
    MAX_RESULT_BYTES,
    Effect,
    Sent,
    ToolCall,
    ToolCard,
    ToolResult,
    unnoticed,
)
from responsa_server.tools.http import LOST_CONTENT, UNREACHED_CONTENT, HttpEndpoint, HttpTool
from tests.unit.graph.evidence import WHO


def request(
    key: str = "k", arguments: Mapping[str, object] | None = None, sent: Sent = unnoticed
) -> ToolCall:
    return ToolCall(key, arguments or {}, WHO, sent=sent)


LOST = ToolResult(ToolOutcome.UNKNOWN, LOST_CONTENT, error=ToolFault.LOST)


@asynccontextmanager
async def tool_on(
    handler: Callable[[Exchange], Awaitable[None]], effect: Effect = Effect.ONCE, **options: float
) -> AsyncGenerator[HttpTool]:
    server = LoopbackServer(handler)
    await server.start()
    tool = HttpTool(ToolCard("note", "Notes."), HttpEndpoint(f"{server.url}/note", effect, **options))
    try:
        yield tool
    finally:
        await tool.close()
        await server.close()


async def test_a_call_carries_its_key_and_arguments_and_brings_back_what_was_said() -> None:
    seen: list[Exchange] = []

    async def handle(exchange: Exchange) -> None:
        seen.append(exchange)
        await exchange.reply(HTTPStatus.OK, "fertig – ü".encode())

    async with tool_on(handle) as tool:
        assert (tool.card.id, tool.effect) == ("note", Effect.ONCE)
        result = await tool.call(request("t/1", {"text": "x", "times": 2}))
    assert result == ToolResult(ToolOutcome.OK, "fertig – ü")
    got = seen[0].request
    assert (got.method, got.path, got.headers["idempotency-key"]) == ("POST", "/note", "t/1")
    assert json.loads(got.body) == {"text": "x", "times": 2}


async def test_an_error_is_told_as_the_tools_own() -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.reply(HTTPStatus.SERVICE_UNAVAILABLE, b"later")

    async with tool_on(handle) as tool:
        assert await tool.call(request()) == ToolResult(
            ToolOutcome.ERROR, "HTTP 503: later", error=ToolFault.STATUS
        )


async def test_a_long_answer_is_not_read_to_its_end() -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.begin("text/plain")
        while True:
            await exchange.piece(b"x" * 1000)

    async with tool_on(handle) as tool:
        result = await tool.call(request())
    assert result == ToolResult(ToolOutcome.OK, "x" * MAX_RESULT_BYTES)


async def test_between_request_and_answer_the_tool_has_all_of_the_request() -> None:
    got, gate = asyncio.Event(), asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        got.set()
        await gate.wait()
        await exchange.reply(HTTPStatus.OK, b"ok")

    async def inside() -> None:
        await got.wait()  # the endpoint has the request, and no part of its response was read
        gate.set()

    async with tool_on(handle) as tool:
        assert (await tool.call(request(arguments={"text": "x"}, sent=inside))).outcome is ToolOutcome.OK


@pytest.mark.parametrize(("effect", "tries"), [(Effect.ONCE, 1), (Effect.IDEMPOTENT, 3), (Effect.NONE, 3)])
async def test_a_connection_that_breaks_off_leaves_the_outcome_unknown(effect: Effect, tries: int) -> None:
    keys: list[str] = []

    async def handle(exchange: Exchange) -> None:
        keys.append(exchange.request.headers["idempotency-key"])
        exchange.cut()

    async with tool_on(handle, effect) as tool:
        assert await tool.call(request()) == LOST
    assert keys == ["k"] * tries


async def test_a_tool_that_may_be_called_again_is() -> None:
    cuts = iter([True, False])

    async def handle(exchange: Exchange) -> None:
        if next(cuts):
            exchange.cut()
        else:
            await exchange.reply(HTTPStatus.OK, b"ok")

    async with tool_on(handle, Effect.IDEMPOTENT) as tool:
        assert await tool.call(request()) == ToolResult(ToolOutcome.OK, "ok")


async def test_silence_leaves_the_outcome_unknown() -> None:
    async def handle(exchange: Exchange) -> None:
        await asyncio.Event().wait()

    async with tool_on(handle, answer_seconds=0.05) as tool:
        assert (await tool.call(request())).outcome is ToolOutcome.UNKNOWN


async def test_a_tool_that_is_not_there_was_not_called() -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.reply(HTTPStatus.OK, b"ok")

    server = LoopbackServer(handle)
    await server.start()
    gone = HttpTool(ToolCard("note", "Notes."), HttpEndpoint(server.url, Effect.ONCE))
    await server.close()
    try:
        unreached = ToolResult(ToolOutcome.ERROR, UNREACHED_CONTENT, error=ToolFault.UNREACHABLE)
        assert await gone.call(request()) == unreached
    finally:
        await gone.close()


async def test_a_redirect_is_not_followed() -> None:
    async def handle(exchange: Exchange) -> None:
        await exchange.reply(HTTPStatus.TEMPORARY_REDIRECT, b"")

    async with tool_on(handle) as tool:
        assert (await tool.call(request())).outcome is ToolOutcome.ERROR


@pytest.mark.parametrize("steps", range(6))
async def test_a_call_that_is_cancelled_twice_closes_its_socket(steps: int) -> None:
    asked, left = asyncio.Event(), asyncio.Event()

    async def handle(exchange: Exchange) -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            if exchange.left_at is not None:
                left.set()

    async with tool_on(handle) as tool:
        calling = asyncio.create_task(tool.call(request()))
        await asked.wait()
        calling.cancel()
        for _ in range(steps):
            await asyncio.sleep(0)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        await left.wait()


@pytest.mark.parametrize(("effect", "tries"), [(Effect.ONCE, 1), (Effect.IDEMPOTENT, 3)])
async def test_an_answer_that_cannot_be_read_leaves_the_outcome_unknown(effect: Effect, tries: int) -> None:
    calls: list[Exchange] = []

    async def handle(exchange: Exchange) -> None:
        calls.append(exchange)
        await exchange.begin("text/plain\r\ncontent-encoding: gzip")
        await exchange.piece(b"not gzip")
        await exchange.end()

    async with tool_on(handle, effect) as tool:
        assert await tool.call(request()) == LOST
    assert len(calls) == tries
