"""Server-sent events out of bytes as they come (WHATWG HTML, section 9.2). Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

MAX_EVENT_BYTES: Final = 1 << 20


class EventTooLarge(Exception):
    """An event of more than 1 MiB: no more of it is held."""


class SseReader:
    """Takes pieces of a stream, cut anywhere, and gives the data of each event that is whole. Lines end with LF or CRLF."""

    def __init__(self) -> None:
        self._rest = b""
        self._data: list[bytes] = []

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """The data of the events that this piece completes: lines joined by LF. Raises EventTooLarge."""
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            line = line.removesuffix(b"\r")
            if not line:
                if self._data:
                    whole, self._data = b"\n".join(self._data), []
                    yield whole
            elif line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
        if len(self._rest) + sum(map(len, self._data)) > MAX_EVENT_BYTES:
            raise EventTooLarge
