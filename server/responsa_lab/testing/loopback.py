"""A small HTTP/1.1 server on the loopback interface. Its handlers control the socket: they can pace, stall and cut it,
and they notice at once when the client disconnects.

Ordinary web servers hide these possibilities from handlers. On a connection, this server accepts one request at a time.
A request with a body needs a Content-Length.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

_MOST_HEAD_BYTES: Final = 64 * 1024
_MOST_BODY_BYTES: Final = 4 << 20


@dataclass(frozen=True, slots=True)
class LoopbackRequest:
    """An HTTP request. headers: the headers, with names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class LoopbackExchange:
    """One request and its response. To respond, call `reply`; or call `begin`, then `piece` for each piece, then `end`.
    `cut` breaks off the response."""

    def __init__(self, request: LoopbackRequest, writer: asyncio.StreamWriter) -> None:
        self.request = request
        self.left_at: float | None = None
        """The time at which the client closed its socket before the end of the response, in seconds since the
        epoch; otherwise None. The handler is cancelled when the client closes the socket early.
        """
        self.ended = False
        self._writer = writer

    @property
    def peer(self) -> object:
        """The address of the client. It is the same for all requests on one connection."""
        return self._writer.get_extra_info("peername")

    async def reply(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        """Sends the whole response. Its content type is JSON unless the headers say otherwise."""
        sent = {"content-type": "application/json", **(headers or {}), "content-length": str(len(body))}
        await self._write(_head(status, "\r\n".join(f"{key}: {text}" for key, text in sent.items())) + body)
        self.ended = True

    async def begin(self, content_type: str) -> None:
        await self._write(
            _head(
                HTTPStatus.OK,
                f"content-type: {content_type}\r\ntransfer-encoding: chunked\r\ncache-control: no-store",
            )
        )

    async def piece(self, data: bytes) -> None:
        """Sends the next piece, which must not be empty."""
        await self._write(b"%x\r\n%b\r\n" % (len(data), data))

    async def end(self) -> None:
        await self._write(b"0\r\n\r\n")
        self.ended = True

    async def raw(self, data: bytes) -> None:
        await self._write(data)

    def cut(self) -> None:
        """Closes the socket before the end of the response. The bytes that were sent so far still arrive."""
        self._writer.close()

    async def _write(self, data: bytes) -> None:
        try:
            # uvloop raises a RuntimeError if a closed socket is written to; asyncio only logs a warning.
            if self._writer.is_closing():
                raise ConnectionResetError("the socket is closed")
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError:  # a write may fail before the read notices that the client disconnected
            self.left_at = self.left_at or time.time()
            raise


Handler = Callable[[LoopbackExchange], Awaitable[None]]


class LoopbackServer:
    """Serves a handler on 127.0.0.1. Each object can be started and closed only once."""

    def __init__(self, handler: Handler) -> None:
        self._handler = handler
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @property
    def open_sockets(self) -> int:
        return len(self._connections)

    @property
    def url(self) -> str:
        """`http://127.0.0.1:PORT`; known once the server has started."""
        if self._server is None:
            raise RuntimeError("not started")
        return f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"

    async def start(self, port: int = 0) -> None:
        """Listens. If `port` is 0, any free port is used."""
        self._server = await asyncio.start_server(
            self._connect, "127.0.0.1", port, limit=_MOST_HEAD_BYTES, backlog=1024
        )

    async def close(self) -> None:
        if self._server is None:
            return
        self._server.close()
        await asyncio.sleep(0)  # for a connection that was accepted in this step of the loop
        connections = dict(self._connections)
        for task in connections:
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        for writer in connections.values():
            # A task that is cancelled before its first step closes nothing, and a client that does not read keeps a closing socket open.
            writer.transport.abort()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
        await self._server.wait_closed()

    def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer), name="loopback")
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        early = b""
        try:
            while True:
                exchange = LoopbackExchange(await _read(reader, early), writer)
                early = await self._exchange(exchange, reader)
                if not exchange.ended or exchange.request.headers.get("connection", "").lower() == "close":
                    return
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
            return  # the client disconnected, or does not use HTTP
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                # If this task is cancelled here, `close` can still wait for the connection.
                await asyncio.shield(writer.wait_closed())

    async def _exchange(self, exchange: LoopbackExchange, reader: asyncio.StreamReader) -> bytes:
        """Answers a request. Returns the first byte of the next request if this byte has already been read, otherwise b""."""
        handling = asyncio.ensure_future(self._handler(exchange))
        # A client sends nothing before it has received its response. Therefore, if the socket becomes readable, the
        # client has disconnected.
        watching = asyncio.create_task(reader.read(1))
        try:
            await asyncio.wait({handling, watching}, return_when=asyncio.FIRST_COMPLETED)
            if not handling.done():
                exchange.left_at = exchange.left_at or time.time()
        finally:
            for task in (handling, watching):
                task.cancel()
            # If both fail, only one error can be raised; asyncio would log the other as never retrieved.
            await asyncio.gather(handling, watching, return_exceptions=True)
        if not handling.cancelled():
            handling.result()
        if watching.cancelled():
            return b""
        early = watching.result()
        exchange.ended &= bool(early)
        return early


async def _read(reader: asyncio.StreamReader, early: bytes) -> LoopbackRequest:
    head = (early + await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    method, path, _ = first.split(" ", 2)
    headers = {
        name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)
    }
    length = int(headers.get("content-length", "0"))
    if not 0 <= length <= _MOST_BODY_BYTES:
        raise ValueError("a body of this size is not accepted")
    return LoopbackRequest(method, path, headers, await reader.readexactly(length))


def _head(status: int, headers: str) -> bytes:
    known = status in {entry.value for entry in HTTPStatus}
    phrase = HTTPStatus(status).phrase if known else "Unknown"
    return f"HTTP/1.1 {int(status)} {phrase}\r\n{headers}\r\n\r\n".encode("latin-1")


def as_json(value: object) -> bytes:
    """The value as a JSON body."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
