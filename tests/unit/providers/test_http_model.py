"""Connections: how many are open, when they are reused, and when they close. One client is tested with real sockets."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer
from responsa_server.domain.models import (
    Ended,
    TextPiece,
)
from responsa_server.providers import http_model
from responsa_server.providers.openai_chat import OpenAiChat
from responsa_server.providers.settings import CompatibleSettings
from tests.unit.providers.openai_serving import STOP, answer, served, telling, text
from tests.unit.providers.told import PROMPT


class Endless:
    """A server that sends without end, until its client disconnects."""

    def __init__(self) -> None:
        self.left = asyncio.Event()

    async def handle(self, exchange: LoopbackExchange) -> None:
        try:
            await exchange.begin("text/event-stream")
            await exchange.piece(f"data: {text('a')}\n\n".encode())
            await asyncio.Event().wait()
        finally:
            if exchange.left_at is not None:
                self.left.set()


@pytest.mark.parametrize("steps", range(8))
async def test_cancelling_twice_closes_the_socket_and_the_client_goes_on(steps: int) -> None:
    server = Endless()
    begun = asyncio.Event()

    async def read(model: OpenAiChat) -> None:
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


async def test_connections_are_used_again_and_as_many_are_opened_as_are_needed() -> None:
    gate, here = asyncio.Event(), asyncio.Event()
    waiting = 0

    async def handle(exchange: LoopbackExchange) -> None:
        nonlocal waiting
        waiting += 1
        if waiting == 20:
            here.set()
        await gate.wait()
        await telling(text("a"), STOP)(exchange)

    server = LoopbackServer(handle)
    await server.start()
    model = OpenAiChat(CompatibleSettings(url=f"{server.url}/v1"), "m")
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


async def test_a_server_may_listen_at_a_unix_socket(tmp_path: Path) -> None:
    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"POST /v1/chat/completions ")
        body = f"data: {text('a')}\n\ndata: {STOP}\n\ndata: [DONE]\n\n".encode()
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + body
        )
        writer.close()

    path = str(tmp_path / "x.sock")
    server = await asyncio.start_unix_server(connected, path)
    model = OpenAiChat(CompatibleSettings(url="http://llama/v1", uds=path, keep_alive=False), "m")
    assert await answer(model) == [TextPiece("a"), Ended(complete=True)]
    await model.close()
    server.close()
    await server.wait_closed()


# The common parts of all adapters, independent of the protocol.
def test_retry_after_may_be_a_date() -> None:
    now = datetime(2026, 11, 20, 12, tzinfo=UTC)
    later = format_datetime(now + timedelta(seconds=90), usegmt=True)
    assert http_model.retry_after({"retry-after": later}, now) == 90.0
    assert (
        http_model.retry_after({"retry-after": format_datetime(now, usegmt=True)}, now + timedelta(1)) == 0.0
    )


@pytest.mark.parametrize(
    "text",
    [
        "sk-abcdefgh1234",
        "Authorization: Bearer abcdefghijk",
        "x-api-key: 'abcdefghijk'",
        "AIzaSyA1234567890",
        "rsp_abcdefgh",
    ],
)
def test_what_looks_like_a_key_is_not_shown(text: str) -> None:
    shown = http_model.redact(f"no: {text} is wrong")
    assert shown.startswith("no: ")
    assert shown.endswith(" is wrong")
    assert "[key]" in shown
    assert not any(part in shown for part in ("abcdefgh", "1234"))


def test_what_is_shown_is_short() -> None:
    assert len(http_model.redact("ü" * 10_000).encode()) <= 500
