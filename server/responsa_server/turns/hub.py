"""Committed rows handed to followers in the same process."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from responsa_server.domain.people import Principal
from responsa_server.domain.turns import LogRow

# What a reader may leave lying before it is sent to the log.
MAX_WAITING_ROWS: Final = 64


@dataclass(frozen=True, slots=True)
class News:
    """What came since the last look. behind: rows were missed, or it is unknown whether there are more: read the log."""

    rows: Sequence[LogRow]
    ended: bool
    behind: bool


class Subscription:
    """One follower's place. Made by `Hub.subscribe`; used by one task."""

    def __init__(self, hub: Hub, turn_id: UUID, rows: Sequence[LogRow], *, behind: bool) -> None:
        self._hub = hub
        self._turn_id = turn_id
        self._rows = deque(rows)
        self._ended = False
        self._behind = behind
        self._arrived = asyncio.Event()
        if rows or behind:
            self._arrived.set()

    @property
    def behind(self) -> bool:
        """Whether the log must be read before news make sense."""
        return self._behind

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self._hub.leave(self._turn_id, self)

    def deliver(self, rows: Sequence[LogRow], *, ended: bool) -> None:
        """Add what was committed. A reader that left too much lying loses it and reads the log when it comes back."""
        self._rows.extend(rows)
        if len(self._rows) > MAX_WAITING_ROWS:
            self._rows.clear()
            self._behind = True
        self._ended = self._ended or ended
        self._arrived.set()

    def unsettle(self) -> None:
        """Say that the log may hold more than was delivered."""
        self._behind = True
        self._arrived.set()

    async def news(self, timeout_seconds: float) -> News | None:
        """What came, as soon as something did; None when nothing did in time."""
        try:
            async with asyncio.timeout(timeout_seconds):
                await self._arrived.wait()
        except TimeoutError:
            return None
        self._arrived.clear()
        news = News(tuple(self._rows), self._ended, self._behind)
        self._rows.clear()
        self._behind = False
        return news


@dataclass(slots=True)
class _Live:
    """A turn that runs here: whose it is and all rows since its first."""

    tenant_id: str
    user_id: UUID
    rows: list[LogRow] = field(default_factory=list[LogRow])


class Hub:
    """Knows the followers of every turn, and the rows of those that run in this process."""

    def __init__(self) -> None:
        self._followers: dict[UUID, set[Subscription]] = {}
        self._live: dict[UUID, _Live] = {}

    def open(self, turn_id: UUID, who: Principal, first: LogRow) -> None:
        """A turn begins to run here."""
        self._live[turn_id] = _Live(who.tenant_id, who.user_id, [first])

    def runs(self, turn_id: UUID) -> bool:
        """Whether the turn runs here, so that its followers hear of everything."""
        return turn_id in self._live

    def subscribe(self, turn_id: UUID, who: Principal, after_seq: int) -> Subscription:
        """Begin to follow. Where the turn is the caller's and runs here, what was committed is there at once; else the log must be read first.

        Subscribing comes before reading, so that nothing falls between the two.
        """
        live = self._live.get(turn_id)
        known = live is not None and (live.tenant_id, live.user_id) == (who.tenant_id, who.user_id)
        rows = [row for row in live.rows if row.last_seq > after_seq] if live is not None and known else []
        subscription = Subscription(self, turn_id, rows, behind=not known)
        self._followers.setdefault(turn_id, set()).add(subscription)
        return subscription

    def leave(self, turn_id: UUID, subscription: Subscription) -> None:
        """Stop following."""
        followers = self._followers.get(turn_id)
        if followers is not None:
            followers.discard(subscription)
            if not followers:
                del self._followers[turn_id]

    def publish(self, turn_id: UUID, rows: Sequence[LogRow], *, ended: bool = False) -> None:
        """Hand over rows that are committed. ended: the last of them holds the terminal event."""
        if ended:
            self._live.pop(turn_id, None)
        elif (live := self._live.get(turn_id)) is not None:
            live.rows.extend(rows)
        for follower in self._followers.get(turn_id, ()):
            follower.deliver(rows, ended=ended)

    def abandon(self, turn_id: UUID) -> None:
        """The turn runs here no more and did not end here: its followers go by the log."""
        self._live.pop(turn_id, None)
        for follower in self._followers.get(turn_id, ()):
            follower.unsettle()
