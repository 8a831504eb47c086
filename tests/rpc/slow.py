"""An HTTP/2 client that reads only a given number of bytes; gRPC's clients always read everything."""

from __future__ import annotations

import asyncio
import struct
from types import TracebackType
from typing import Self

from google.protobuf.message import Message

_SETTINGS, _HEADERS, _DATA, _WINDOW_UPDATE = 4, 1, 0, 8
_INITIAL_WINDOW_SIZE = 4
_END_STREAM, _END_HEADERS = 1, 4
_MOST_BYTES = 2**30


class SlowReader:
    """A connection over a Unix socket. Each of its streams may receive `window` bytes, and more after each `allow`."""

    def __init__(self, path: str, window: int) -> None:
        self._path = path
        self._window = window
        self._streams = 0

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_unix_connection(self._path)
        self._writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self._write(_SETTINGS, 0, 0, struct.pack(">HI", _INITIAL_WINDOW_SIZE, self._window))
        self._write(_WINDOW_UPDATE, 0, 0, struct.pack(">I", _MOST_BYTES))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    def ask(
        self, method: str, request: Message, secret: str, timeout: str = "", *, whole: bool = True
    ) -> int:
        """Begin a call, and return the number of its stream. timeout: the timeout in gRPC's form, e.g. 500m. whole: False leaves out the end of the message."""
        stream = 2 * self._streams + 1
        self._streams += 1
        headers = {
            ":method": "POST",
            ":scheme": "http",
            ":path": method,
            ":authority": "slow",
            "content-type": "application/grpc",
            "te": "trailers",
            "authorization": f"Bearer {secret}",
        }
        if timeout:
            headers["grpc-timeout"] = timeout
        block = b"".join(b"\0" + _text(name) + _text(value) for name, value in headers.items())
        self._write(_HEADERS, _END_HEADERS, stream, block)
        message = request.SerializeToString()
        framed = struct.pack(">BI", 0, len(message)) + message
        if whole:
            self._write(_DATA, _END_STREAM, stream, framed)
        else:
            self._write(_DATA, 0, stream, framed[:-1])
        return stream

    def allow(self, stream: int, count: int) -> None:
        """Let a stream receive more bytes."""
        self._write(_WINDOW_UPDATE, 0, stream, struct.pack(">I", count))

    async def received(self, count: int) -> None:
        """Wait until all streams together have received this number of bytes in messages."""
        while count > 0:
            head = await self._reader.readexactly(9)
            size = int.from_bytes(head[:3])
            await self._reader.readexactly(size)
            if head[3] == _DATA:
                count -= size

    def _write(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        self._writer.write(
            len(payload).to_bytes(3) + bytes([kind, flags]) + struct.pack(">I", stream) + payload
        )


def _text(value: str) -> bytes:
    """A string as an uncompressed HPACK literal; only for short strings."""
    data = value.encode()
    assert len(data) < 127
    return bytes([len(data)]) + data
