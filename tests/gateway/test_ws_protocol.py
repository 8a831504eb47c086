"""The limits on the memory that a client can make a socket use. The tests use a real socket on which nobody has signed in yet."""

from __future__ import annotations

import asyncio
import base64
import os
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from starlette.types import Receive, Scope, Send

from responsa_server.app import gateway
from responsa_server.app.gateway import GatewayServer
from responsa_server.domain.addresses import UnixAddress
from responsa_server.transports.ws.protocol import MOST_FRAGMENTS, BoundedProtocol

PINGS = 60_000
PAYLOAD = b"x" * 125


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True) -> bytes:
    """A frame as a client sends it, with an all-zero mask."""
    size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2, "big")
    return bytes([(0x80 if fin else 0) | opcode]) + size + bytes(4) + payload


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Sends each message back."""
    if scope["type"] == "lifespan":
        while (await receive())["type"] != "lifespan.shutdown":
            await send({"type": "lifespan.startup.complete"})
        await send({"type": "lifespan.shutdown.complete"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})


@dataclass
class Opened:
    """The client's side of a socket, with the server's protocol at the other end."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    protocol: BoundedProtocol
    paused: asyncio.Event
    """Set once the server has stopped reading because it could not write."""

    async def next(self) -> tuple[int, bytes]:
        """The next frame's opcode and payload."""
        first, size = await self.reader.readexactly(2)
        if size == 126:
            size = int.from_bytes(await self.reader.readexactly(2), "big")
        return first & 15, await self.reader.readexactly(size)


@pytest.fixture
async def opened(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Opened]:
    made: list[BoundedProtocol] = []
    paused = asyncio.Event()

    class Seen(gateway.BoundedProtocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            made.append(self)

        def pause_writing(self) -> None:
            super().pause_writing()
            if not self.transport.is_reading():
                paused.set()

    monkeypatch.setattr(gateway, "BoundedProtocol", Seen)
    with tempfile.TemporaryDirectory(prefix="rgp") as folder:
        path = Path(folder) / "g.sock"
        server = GatewayServer(echo, UnixAddress(path))
        await server.start()
        reader, writer = await asyncio.open_unix_connection(path)
        key = base64.b64encode(os.urandom(16)).decode()
        writer.write(
            (
                "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: "
                f"websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
            ).encode()
        )
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        yield Opened(reader, writer, made[0], paused)
        writer.close()
        await server.stop(1)


async def test_who_reads_no_pongs_is_not_read_either(opened: Opened) -> None:
    async def ping() -> None:
        for _ in range(PINGS // 100):
            opened.writer.write(frame(9, PAYLOAD) * 100)
            await opened.writer.drain()
        opened.writer.write(frame(1, b"last"))

    # The stream reader's flow control limits how much it reads ahead.
    sending = asyncio.create_task(ping())
    paused = asyncio.create_task(opened.paused.wait())
    await asyncio.wait({sending, paused}, return_when=asyncio.FIRST_COMPLETED)
    assert not sending.done()
    assert opened.protocol.transport.get_write_buffer_size() < 1_000_000
    # The server still answers the messages after the client has read the pongs.
    for _ in range(PINGS):
        assert await opened.next() == (10, PAYLOAD)
    assert await opened.next() == (1, b"last")
    await sending


async def test_taking_a_message_does_not_read_on_while_pongs_wait(opened: Opened) -> None:
    protocol = opened.protocol
    protocol.pause_writing()
    assert not protocol.transport.is_reading()
    protocol.read_paused = True
    protocol.queue.put_nowait({"type": "websocket.receive", "text": "x"})
    for _ in range(10):
        await asyncio.sleep(0)
    assert protocol.queue.empty()
    assert not protocol.transport.is_reading()
    protocol.resume_writing()
    assert protocol.transport.is_reading()
    assert await opened.next() == (1, b"x")


async def test_a_message_in_a_thousand_pieces_comes_whole(opened: Opened) -> None:
    pieces = [frame(1, b"a", fin=False), *[frame(0, b"a", fin=False)] * (MOST_FRAGMENTS - 2), frame(0, b"b")]
    opened.writer.write(b"".join(pieces))
    assert await opened.next() == (1, b"a" * (MOST_FRAGMENTS - 1) + b"b")


async def test_one_in_more_pieces_ends_the_socket(opened: Opened) -> None:
    opened.writer.write(frame(1, fin=False) + frame(0, fin=False) * MOST_FRAGMENTS)
    opcode, payload = await opened.next()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (8, 1009)


async def test_what_is_too_long_is_read_to_its_end_so_that_the_reason_is_not_lost(
    opened: Opened, caplog: pytest.LogCaptureFixture
) -> None:
    size = 2 * gateway.MAX_SOCKET_MESSAGE_BYTES
    opened.writer.write(b"\x81\xff" + size.to_bytes(8, "big") + bytes(4))
    opcode, payload = await opened.next()
    assert (opcode, int.from_bytes(payload[:2], "big")) == (8, 1009)
    # If the connection had already been closed, the arrival of the remaining data would cause a reset.
    opened.writer.write(b"x" * size)
    await opened.writer.drain()
    assert await opened.reader.read() == b""
    assert caplog.messages == []
