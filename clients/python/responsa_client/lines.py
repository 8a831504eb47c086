"""The connections for streams of turns and operations. The client opens another connection if all connections are full
or the server of a connection shuts down.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from responsa_client.stubs import Stubs

STREAMS_A_LINE = 90
"""The maximum number of streams per connection. Servers and proxies usually allow 100; any further stream would wait without an error."""

Channel = TypeVar("Channel")


@dataclass(slots=True, eq=False)
class Line(Generic[Channel]):
    """A connection.

    streams: the number of its open streams.
    retired: whether the connection gets no more streams.
    """

    channel: Channel
    stubs: Stubs
    streams: int = 0
    retired: bool = False


class Lines(Generic[Channel]):
    """Keeps the lines of one client. Threads may share this object. The first line also carries all other calls, and
    stays open until the client is closed."""

    def __init__(self, make: Callable[[], tuple[Channel, Stubs]]) -> None:
        self._make = make
        self._lock = threading.Lock()
        self.first = Line(*make())
        self._lines: list[Line[Channel]] = [self.first]

    def take(self) -> Line[Channel]:
        """A line for one more stream. The caller returns the line with `give_back`."""
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
        """Return a line after its stream has ended. The result is the line's channel if the caller should close it, otherwise None."""
        with self._lock:
            line.streams -= 1
            return self._dropped(line)

    def retire(self, line: Line[Channel]) -> Channel | None:
        """Put no more streams on a line. The result is the line's channel if the caller should close it, otherwise None."""
        with self._lock:
            line.retired = True
            return self._dropped(line)

    def all(self) -> list[Channel]:
        """All open channels."""
        with self._lock:
            return [line.channel for line in self._lines]

    def _dropped(self, line: Line[Channel]) -> Channel | None:
        # An extra line stays open for the next stream, unless it is retired.
        if line is self.first or not line.retired or line.streams or line not in self._lines:
            return None
        self._lines.remove(line)
        return line.channel
