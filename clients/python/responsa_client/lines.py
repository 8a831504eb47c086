"""The connections that turns are followed over: more than one where one is full, and a fresh one where the old leads to a server that goes away."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from responsa_client.stubs import Stubs

STREAMS_A_LINE = 90
"""Servers and proxies commonly let 100 streams onto a connection; the next would wait without a word."""

Channel = TypeVar("Channel")


@dataclass(slots=True, eq=False)
class Line(Generic[Channel]):
    """A connection. streams: how many are on it. retired: no more are put on it."""

    channel: Channel
    stubs: Stubs
    streams: int = 0
    retired: bool = False


class Lines(Generic[Channel]):
    """Keeps the lines of one client. Safe to share between threads. The first line is also that of all other calls and stays until the client is closed."""

    def __init__(self, make: Callable[[], tuple[Channel, Stubs]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self.first = Line(*make())
        self._lines: list[Line[Channel]] = [self.first]

    def take(self) -> Line[Channel]:
        """A line for one more stream; to be given back."""
        with self._lock:
            for line in self._lines:
                if not line.retired and line.streams < STREAMS_A_LINE:
                    break
            else:
                line = Line(*self._make())
                self._lines.append(line)
            line.streams += 1
            return line

    def give_back(self, line: Line[Channel]) -> Channel | None:
        """The stream is over. Returns the line's channel when it is to be closed."""
        with self._lock:
            line.streams -= 1
            return self._dropped(line)

    def retire(self, line: Line[Channel]) -> Channel | None:
        """Put no more streams on a line. Returns its channel when it is to be closed."""
        with self._lock:
            line.retired = True
            return self._dropped(line)

    def all(self) -> list[Channel]:
        """Every channel that is open."""
        with self._lock:
            return [line.channel for line in self._lines]

    def _dropped(self, line: Line[Channel]) -> Channel | None:
        # An extra line that is not retired is kept for the next stream.
        if line is self.first or not line.retired or line.streams or line not in self._lines:
            return None
        self._lines.remove(line)
        return line.channel
