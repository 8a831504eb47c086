"""Follows turns wherever they run, through the hub, the hints of other processes, and the log. Only the log is the source of truth."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Collection
from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason, Unavailable
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import (
    Followed,
    Heartbeat,
    Reconnect,
    Snapshot,
    Turn,
    TurnStore,
)
from responsa_server.telemetry.unexpected import Loops
from responsa_server.turns.hub import Hub
from responsa_server.turns.runtime import Runtime, loop_time, retry

_BACKLOG_ROWS: Final = 32
# A seq beyond the end of any log. A read that begins there returns a turn's state and no rows.
_BEYOND_ALL: Final = 2**53
_POLL_ROWS: Final = 16
_POLL_TURNS: Final = 1000
# The shortest time between two polls that fill gaps. One poll covers all gaps since the previous poll.
_SHORTEST_POLL_SECONDS: Final = 0.01
_AGAIN_SECONDS: Final = 0.25
_PATIENCE_SECONDS: Final = 5.0
_BEATS_A_HEARTBEAT: Final = 15
# A stream ends within a second after its reader has lost access: this pause, the end of the turn's run, and its commit.
_ACCESS_SECONDS: Final = 0.3
_FOLLOWS_SECONDS: Final = 5.0
FOLLOWED_FOR_SECONDS: Final = 10.0
# The return of disconnected followers is spread over one second per thousand followers, so that they do not all
# return at once.
_RECONNECT_SECONDS_A_FOLLOWER: Final = 0.001
_LONGEST_RECONNECT_SECONDS: Final = 2.0


class Following:
    """All followers of this process. Call `start` before use, and `drain` and `close` at the end."""

    def __init__(
        self,
        store: TurnStore,
        hub: Hub,
        runtime: Runtime,
        running: Callable[[], Collection[UUID]],
        abort_forbidden: Callable[[Collection[UUID]], None],
    ) -> None:
        """running: returns the turns that run here. abort_forbidden: ends those of them whose users may no longer read what
        the turns have read."""
        self._running = running
        self._abort_forbidden = abort_forbidden
        self._store = store
        self._hub = hub
        self._options = runtime.options
        self._log = runtime.log
        self._spread = 0.0
        self._registered = False
        self._registering = asyncio.Lock()
        self._loops = Loops(runtime.log, runtime.errors)

    def start(self) -> None:
        """Begin to check followers."""
        pause = min(self._options.poll_seconds / 2, _AGAIN_SECONDS)
        for task, work in (
            ("turns-poll", self._poll),
            ("turns-access", self._check_access),
            ("turns-heartbeats", self._beat),
            ("turns-followers", self._register),
        ):
            self._loops.start(work, pause, "turns_following", task)

    async def close(self) -> None:
        """Stop."""
        await self._loops.close()

    def drain(self) -> None:
        """Send every follower to another process, including followers that arrive later."""
        count = self._hub.drain()
        self._spread = min(count * _RECONNECT_SECONDS_A_FOLLOWER, _LONGEST_RECONNECT_SECONDS)

    async def follow(
        self, caller: Principal, turn_id: UUID, after_seq: int, *, deltas: bool = True, fresh: bool = False
    ) -> AsyncGenerator[Followed, None]:
        """See `Turns.follow`. fresh: see `Hub.subscribe`."""
        cursor = after_seq
        with self._hub.subscribe(turn_id, caller, after_seq, fresh=fresh) as subscription:
            while True:
                if subscription.leaving and subscription.behind:
                    yield self._reconnect()
                    return
                if subscription.behind:
                    # From here on, new rows are delivered again, so that this follower misses no row that is
                    # committed while it reads the log.
                    subscription.behind = subscription.withheld = False
                    backlog = await retry(
                        lambda: self._store.backlog(caller, turn_id, cursor, _BACKLOG_ROWS),  # noqa: B023 - awaited in this round
                        _PATIENCE_SECONDS,
                    )
                    if after_seq > backlog.last_seq:
                        raise _beyond_end(turn_id, after_seq, backlog.last_seq)
                    if backlog.watched:
                        self._hub.watch(subscription)
                    rows = backlog.rows
                    more = len(rows) == _BACKLOG_ROWS
                    if backlog.withheld:
                        # The rows until the end are passed over, so that the other readers here need not wait for this one.
                        subscription.withheld = True
                        self._hub.read(turn_id, backlog.last_seq, backlog.queue_place)
                        lags = False
                    else:
                        through = rows[-1].last_seq if rows else cursor
                        lags = self._hub.read(turn_id, through, backlog.queue_place)
                    for row in rows:
                        if subscription.withheld:
                            break
                        yield row
                        cursor = row.last_seq
                        if deltas or not row.deltas:
                            subscription.news_at = loop_time()
                    if subscription.withheld and not backlog.withheld:
                        subscription.behind = True  # the access was lost just now: the log says how the turn ends for this reader
                    elif more:
                        subscription.behind = True
                    elif backlog.end_seq is not None:
                        if cursor < backlog.end_seq and backlog.terminal is not None:
                            yield Snapshot(backlog.end_seq, backlog.terminal)
                        return
                    elif lags:
                        subscription.behind = True
                    # Do not keep the rows in memory while the stream lasts.
                    backlog = rows = row = None
                    continue
                ended = subscription.ended
                for row in subscription.take():
                    if subscription.withheld:
                        break
                    if row.last_seq <= cursor:
                        continue
                    if row.first_seq > cursor + 1:
                        subscription.behind = True
                        break
                    yield row
                    cursor = row.last_seq
                    if deltas or not row.deltas:
                        subscription.news_at = loop_time()
                row = None
                if subscription.behind or (subscription.withheld and ended):
                    subscription.behind = True
                    continue
                if ended:
                    return
                if subscription.leaving:
                    yield self._reconnect()
                    return
                if subscription.beat:
                    subscription.beat = False
                    yield Heartbeat(subscription.place)
                    subscription.news_at = loop_time()
                await subscription.wait()

    async def wait(self, caller: Principal, turn_id: UUID) -> Turn:
        """See `Turns.wait`."""
        # The caller gets no rows here; reading the turn at the end shows whether the caller may read its answer.
        with self._hub.subscribe(turn_id, caller, 0, fresh=True) as subscription:
            while True:
                if subscription.behind or subscription.ended:
                    subscription.behind = subscription.ended = False
                    look = await retry(
                        lambda: self._store.backlog(caller, turn_id, _BEYOND_ALL, 1), _PATIENCE_SECONDS
                    )
                    if look.end_seq is not None:
                        return await retry(lambda: self._store.get(caller, turn_id), _PATIENCE_SECONDS)
                    if look.watched:  # a waiting caller counts as a follower
                        self._hub.watch(subscription)
                    self._hub.read(turn_id, look.last_seq, look.queue_place)
                if subscription.leaving and not self._hub.runs(turn_id):
                    raise draining()
                subscription.take()
                subscription.beat, subscription.news_at = False, loop_time()
                leaving, subscription.leaving = (
                    subscription.leaving,
                    False,
                )  # a turn that runs here may still end, so wait on
                await subscription.wait()
                subscription.leaving = subscription.leaving or leaving

    async def register(self) -> None:
        """Record in the store which watched turns are followed here. Raises Unavailable."""
        if self._hub.draining:  # followers that are sent to another process count until they arrive there
            return
        async with self._registering:  # an older list must not be written after a newer one
            watched = self._hub.list_watched()
            if watched or self._registered:
                await self._store.follows(self._hub.process, watched, FOLLOWED_FOR_SECONDS)
                self._registered = bool(watched)

    def _reconnect(self) -> Reconnect:
        return Reconnect(round(random.uniform(0.0, self._spread), 3))  # noqa: S311 - spreads callers, hides nothing

    async def _poll(self) -> None:
        """Read the log for all turns that are followed here and run elsewhere: at each interval, and soon after a gap."""
        interval_ends = loop_time() + self._hub.poll_seconds
        while True:
            left = interval_ends - loop_time()
            if left > 0:
                try:
                    async with asyncio.timeout(left):
                        await self._hub.stale.wait()
                except TimeoutError:
                    pass
            regular = loop_time() >= interval_ends
            if regular:
                interval_ends = loop_time() + self._hub.poll_seconds
                self._hub.tell_interest()
            self._hub.stale.clear()
            cursors = self._hub.due(all_of_them=regular)
            try:
                for first in range(0, len(cursors), _POLL_TURNS):
                    part = cursors[first : first + _POLL_TURNS]
                    all_news = await self._store.poll(part, _POLL_ROWS)
                    for news in all_news:
                        self._hub.receive(news, more=len(news.rows) == _POLL_ROWS)
                    known = {news.turn_id for news in all_news}
                    self._hub.note_deleted({cursor.turn_id for cursor in part} - known)
            except Unavailable:
                self._hub.still_due(cursors)
                raise
            if not regular:
                await asyncio.sleep(_SHORTEST_POLL_SECONDS)

    async def _check_access(self) -> None:
        """When the user of a turn may no longer read what the turn has read, end the turn's streams here, and the turn
        itself if it runs here."""
        while True:
            await asyncio.sleep(_ACCESS_SECONDS)
            turns = [*{*self._hub.turns(), *self._running()}]
            for first in range(0, len(turns), _POLL_TURNS):
                withheld = await self._store.find_withheld(turns[first : first + _POLL_TURNS])
                self._hub.mark_forbidden(withheld)
                self._abort_forbidden(withheld)

    async def _beat(self) -> None:
        while True:
            await asyncio.sleep(self._options.heartbeat_seconds / _BEATS_A_HEARTBEAT)
            self._hub.beat(self._options.heartbeat_seconds)

    async def _register(self) -> None:
        while True:
            try:
                async with asyncio.timeout(_FOLLOWS_SECONDS):
                    await self._hub.watching.wait()
            except TimeoutError:
                pass
            self._hub.watching.clear()
            await self.register()


def _beyond_end(turn_id: UUID, after_seq: int, last_seq: int) -> InvalidRequest:
    advice = (
        f"the log ends at {last_seq}, before {after_seq}; send the through_seq of a frame of this "
        "turn or, over a WebSocket, the seq of a frame"
    )
    metadata = {"turn": names.turn(turn_id), "last_seq": str(last_seq)}
    violation = FieldViolation("after_seq", "after_seq.beyond_end", advice)
    return InvalidRequest(Reason.AFTER_SEQ_BEYOND_END, f"after_seq: {advice}", metadata, (violation,))


def draining() -> Unavailable:
    """The error for calls that arrive while the server is shutting down."""
    return Unavailable(
        Reason.DRAINING, "The server is shutting down; try again in a moment.", retry_after=1.0
    )
