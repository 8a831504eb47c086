"""One follower's place between those who deliver and the one who reads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final
from uuid import UUID

from responsa_server.domain.turns import LogRow

# What a reader may leave lying before it is sent to the log. The rows are shared by a turn's readers, but every turn may have a slow one.
MAX_WAITING_ROWS: Final = 32
MAX_WAITING_BYTES: Final = 8 * 1024


class Subscription:
    """One follower's place. Made by `Hub.subscribe`; used by one task."""

    __slots__ = (
        "_bytes",
        "_leave",
        "_rows",
        "_waiter",
        "beat",
        "behind",
        "ended",
        "leaving",
        "news_at",
        "place",
        "turn_id",
        "watched",
    )

    def __init__(
        self,
        leave: Callable[[Subscription], None],
        turn_id: UUID,
        rows: Iterable[LogRow],
        *,
        behind: bool,
        now: float,
    ) -> None:
        self.turn_id = turn_id
        self.behind = behind
        """Rows were missed, or it is unknown whether there are more: the log must be read."""
        self.ended = False
        """The terminal event is among the rows that were delivered."""
        self.leaving = False
        """This process goes away."""
        self.beat = False
        """A heartbeat is due."""
        self.place = 0
        self.watched = False
        self.news_at = now
        """When the follower was told something last."""
        self._leave = leave
        self._rows = deque(rows)
        self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave(self)

    def deliver(self, rows: Sequence[LogRow], *, ended: bool) -> None:
        """Add what was committed. A reader that left too much lying loses it and reads the log when it comes back."""
        self._rows.extend(rows)
        for row in rows:
            self._bytes += len(row.frame)
        waiting = len(self._rows)
        if waiting > MAX_WAITING_ROWS or (self._bytes > MAX_WAITING_BYTES and waiting > len(rows)):
            self._rows.clear()
            self._bytes = 0
            self.behind = True
        self.ended = self.ended or ended
        self.wake()

    def unsettle(self) -> None:
        """Say that the log may hold more than was delivered."""
        self.behind = True
        self.wake()

    def wake(self) -> None:
        """Let the follower look."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self) -> Sequence[LogRow]:
        """What was delivered since the last time."""
        if not self._rows:
            return ()
        rows = tuple(self._rows)
        self._rows.clear()
        self._bytes = 0
        return rows

    async def wait(self) -> None:
        """Wait until there is something to look at."""
        if self._rows or self.behind or self.ended or self.leaving or self.beat:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None
