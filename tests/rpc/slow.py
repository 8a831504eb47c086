"""HTTP/2 clients that do what gRPC's clients never do: one reads only a given number of bytes, the other sends
thousands of calls at once."""

from __future__ import annotations

import asyncio
import socket
import struct
from types import TracebackType
from typing import Self

from google.protobuf.message import Message

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RESET, SETTINGS, PING, WINDOW_UPDATE = 0, 1, 3, 4, 6, 8
_INITIAL_WINDOW_SIZE = 4
ACK = END_STREAM = 1
END_HEADERS = 4
_MOST_BYTES = 2**30


class SlowReader:
    """A connection over a Unix socket. Each of its streams may receive `window` bytes, and more after each `allow`."""

    def __init__(self, path: str, window: int) -> None:
        self._path = path
        self._window = window
        self._streams = 0

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_unix_connection(self._path)
        self._writer.write(PREFACE)
        self._write(SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, self._window))
        self._write(WINDOW_UPDATE, 0, 0, struct.pack(">I", _MOST_BYTES))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    def ask(
        self, method: str, request: Message, secret: str, timeout: str = "", *, whole: bool = True
    ) -> int:
        """Begin a call, and return the number of its stream. timeout: the timeout in gRPC's form, e.g. 500m. whole:
        False leaves out the end of the message."""
        stream = 2 * self._streams + 1
        self._streams += 1
        self._write(HEADERS, END_HEADERS, stream, head(method, secret, timeout))
        message = request.SerializeToString()
        framed = struct.pack(">BI", 0, len(message)) + message
        if whole:
            self._write(DATA, END_STREAM, stream, framed)
        else:
            self._write(DATA, 0, stream, framed[:-1])
        return stream

    def allow(self, stream: int, count: int) -> None:
        """Let a stream receive more bytes."""
        self._write(WINDOW_UPDATE, 0, stream, struct.pack(">I", count))

    async def received(self, count: int) -> None:
        """Wait until all streams together have received this number of bytes in messages."""
        while count > 0:
            start = await self._reader.readexactly(9)
            size = int.from_bytes(start[:3])
            await self._reader.readexactly(size)
            if start[3] == DATA:
                count -= size

    def _write(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self._writer.write(frame(kind, flags, stream, payload))


class Burst:
    """Calls that all arrive before the server's event loop takes the next one. The server must run in this thread's
    loop, which waits meanwhile."""

    def __init__(self, path: str, method: str, count: int) -> None:
        self._count = count
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.settimeout(60)
        self._socket.connect(path)
        empty, block = bytes(5), head(method, "")
        self._socket.sendall(
            PREFACE
            + frame(SETTINGS, 0, 0, b"")
            + b"".join(
                frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, END_STREAM, stream, empty)
                for stream in range(1, 2 * count, 2)
            )
            + frame(PING, 0, 0, bytes(8))
        )
        self._answered: set[int] = set()
        self._ended: set[int] = set()
        # The server has read all calls when it answers the ping.
        while self._next() != (PING, ACK):
            pass

    async def answered(self) -> int:
        """Wait until the server has ended all calls. Returns the number of those with a response."""

        def read() -> int:
            with self._socket:
                while len(self._ended) < self._count:
                    self._next()
            return len(self._answered)

        return await asyncio.to_thread(read)

    def _next(self) -> tuple[int, int]:
        """Read a frame, and return its kind and flags."""
        start = self._exactly(9)
        self._exactly(int.from_bytes(start[:3]))
        kind, flags, stream = start[3], start[4], int.from_bytes(start[5:])
        if kind == DATA:
            self._answered.add(stream)
        if kind == RESET or (kind in (DATA, HEADERS) and flags & END_STREAM):
            self._ended.add(stream)
        return kind, flags

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            piece = self._socket.recv(count - len(data))
            assert piece, "the server has closed the connection"
            data += piece
        return data


def head(method: str, secret: str, timeout: str = "", authority: str = "slow") -> bytes:
    """The headers of a call as an uncompressed HPACK block."""
    headers = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": authority,
        "content-type": "application/grpc",
        "te": "trailers",
        "authorization": f"Bearer {secret}",
    }
    if timeout:
        headers["grpc-timeout"] = timeout
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """A frame of HTTP/2."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def _text(value: str) -> bytes:
    """A string as an uncompressed HPACK literal; only for short strings."""
    data = value.encode()
    assert len(data) < 127
    return bytes([len(data)]) + data
