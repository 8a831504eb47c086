"""The followers of turns in this process, and the committed rows on their way to them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from responsa_server.domain.people import Principal
from responsa_server.domain.relay import Committed, Interest, Relay
from responsa_server.domain.turns import Cursor, LogRow, News

# The limits for the rows that wait for one reader. A reader that exceeds them must read the log. The readers of one
# turn share the turn's rows in memory, but in the worst case every turn has a slow reader.
MAX_WAITING_ROWS: Final = 32
MAX_WAITING_BYTES: Final = 8 * 1024
# A process that begins to follow a turn gets the last rows at once, up to this number of rows and bytes.
_GREETING_ROWS: Final = 16
_GREETING_BYTES: Final = 16 * 1024
# A poll skips the log of a turn that had news within this share of the polling interval.
_LATELY: Final = 0.1
# After this time without a successful read, the log of a turn that runs elsewhere counts as unreadable.
_UNREAD_SECONDS: Final = 10.0
_INTEREST_INTERVALS: Final = 3
_INTEREST_IDS: Final = 1000


@dataclass(eq=False, slots=True)
class Live:
    """A turn that runs here, with its owner and with its rows after begin_seq."""

    turn_id: UUID
    tenant_id: str
    user_id: UUID
    begin_seq: int
    last_seq: int
    watched: bool | None
    open: bool = True
    rows: list[LogRow] = field(default_factory=list[LogRow])
    interested: dict[UUID, float] = field(default_factory=dict[UUID, float])


@dataclass(slots=True)
class _Remote:
    """A turn that is followed here and does not run here. cursor: the seq up to which all rows were delivered
    or read; None until the first reader has read the log. heard_at: when rows came. read_at: when the log was last read.
    orphaned: see `News`.
    """

    cursor: int | None = None
    heard_at: float = 0.0
    read_at: float = 0.0
    due: bool = False
    ended: bool = False
    orphaned: bool = False


class Subscription:
    """One follower of a turn. `Hub.subscribe` creates it, and one task uses it."""

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
        "withheld",
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
        """Whether the follower must read the log, because it may have missed rows."""
        self.ended = False
        """Whether the terminal event is among the delivered rows."""
        self.leaving = False
        """Whether this process is shutting down."""
        self.beat = False
        """Whether a heartbeat is due."""
        self.place = 0
        self.withheld = False
        """Whether the follower may no longer read what the turn has read. Then it gets no rows, and reads the log for the turn's end."""
        self.watched = False
        self.news_at = now
        """When the follower's reader last received an item, by the loop's clock."""
        self._leave = leave
        self._rows = deque(rows)
        self._bytes = 0
        self._waiter: asyncio.Future[None] | None = None

    def __enter__(self) -> Subscription:
        return self

    def __exit__(self, *_: object) -> None:
        self._leave(self)

    def deliver(self, rows: Sequence[LogRow], *, ended: bool) -> None:
        """Add committed rows. A reader that falls too far behind loses its waiting rows and reads the log when it returns."""
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

    def recheck(self) -> None:
        """Mark that the log may contain more rows than were delivered."""
        self.behind = True
        self.wake()

    def mark_forbidden(self) -> None:
        """Mark that the follower may no longer read what the turn has read. The log shows whether that is still so, and
        whether the turn has ended."""
        self.withheld = True
        self.recheck()

    def wake(self) -> None:
        """Wake the follower, so that it looks for changes."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def take(self) -> Sequence[LogRow]:
        """The rows that were delivered since the last call."""
        if not self._rows:
            return ()
        rows = tuple(self._rows)
        self._rows.clear()
        self._bytes = 0
        return rows

    @property
    def waits(self) -> bool:
        """Whether the follower's reader has all rows that were delivered, and the follower waits for a change."""
        return self._waiter is not None and not self._waiter.done()

    async def wait(self) -> None:
        """Wait until there is a change."""
        if self._rows or self.behind or self.ended or self.leaving or self.beat:
            return
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None


class Hub:
    """Holds the followers of every turn. For each turn that runs in this process, the hub also holds the turn's rows
    and the other processes that follow the turn.

    `stale` is set when the log should be read at once.
    """

    def __init__(self, process: UUID, relay: Relay, poll_seconds: float, clock: Callable[[], float]) -> None:
        """process: the id of this process. clock: a function that returns the loop's time in seconds."""
        self.process = process
        self.stale = asyncio.Event()
        self.watching = asyncio.Event()
        """Set when a watched turn gets a follower here."""
        self.draining = False
        self._relay = relay
        self._poll_seconds = poll_seconds
        self._now = clock
        self._followers: dict[UUID, set[Subscription]] = {}
        self._live: dict[UUID, Live] = {}
        self._remote: dict[UUID, _Remote] = {}
        # The other processes that follow turns that do not run here. When this process claims such a turn, it sends the turn's rows
        # to these processes.
        self._expected: dict[UUID, dict[UUID, float]] = {}

    @property
    def poll_seconds(self) -> float:
        """How long a turn that runs elsewhere may be silent before its log is read."""
        return self._poll_seconds / 2 if self._relay.away else self._poll_seconds

    # Turns that run here.

    def open(
        self,
        turn_id: UUID,
        caller: Principal,
        last_seq: int,
        first: LogRow | None = None,
        *,
        watched: bool | None = None,
    ) -> Live:
        """Begin to hold a turn that runs here.

        last_seq: the last seq in the turn's log. first: the row of event 1, if the turn was accepted here.
        watched: whether the turn is cancelled when it has no follower left; None if this is not known.
        """
        rows = [] if first is None else [first]
        begin_seq = last_seq - len(rows)
        live = Live(turn_id, caller.tenant_id, caller.user_id, begin_seq, last_seq, watched, rows=rows)
        before = self._live.get(turn_id)
        if before is not None:
            before.open = False
        self._live[turn_id] = live
        live.interested = self._expected.pop(turn_id, {})
        remote = self._remote.pop(turn_id, None)
        if remote is not None and remote.cursor != last_seq:
            for follower in self._followers.get(turn_id, ()):
                follower.recheck()
        elif first is not None:
            self._tell_interested(live, (first,), ended=False)
        self._set_place(turn_id, 0)
        return live

    def publish(self, live: Live, rows: Sequence[LogRow], *, ended: bool) -> None:
        """Deliver committed rows to followers here and in other processes. ended: whether the last row holds the terminal event."""
        live.last_seq = rows[-1].last_seq
        if not live.open:  # another worker has the turn now, and sends hints to the turn's followers
            return
        live.rows.extend(rows)
        if ended:
            self._forget(live)
        for follower in self._followers.get(live.turn_id, ()):
            follower.deliver(rows, ended=ended)
        self._tell_interested(live, rows, ended=ended)

    def end(self, turn_id: UUID, row: LogRow) -> None:
        """Deliver the last row of a turn to the followers here, after the turn was ended from outside its worker."""
        live = self._live.get(turn_id)
        if live is not None:
            self._forget(live)
            for follower in self._followers.get(turn_id, ()):
                follower.deliver((row,), ended=True)
        else:
            self.offer(turn_id, (row,), ended=True)

    def close(self, live: Live) -> None:
        """Note that a turn no longer runs here. If the turn has not ended, its followers continue with the log and the
        hints of other processes."""
        if not live.open:
            return
        self._forget(live)
        if live.turn_id in self._followers:
            self._remote[live.turn_id] = _Remote(live.last_seq, due=True)
            self.stale.set()
            self._relay.tell_all(Interest(self.process, (live.turn_id,)))
            for follower in self._followers[live.turn_id]:
                follower.wake()

    def _forget(self, live: Live) -> None:
        live.open = False
        del self._live[live.turn_id]

    def _tell_interested(self, live: Live, rows: Sequence[LogRow], *, ended: bool) -> None:
        if not live.interested:
            return
        now = self._now()
        for process, until in tuple(live.interested.items()):
            if until < now:
                del live.interested[process]
            else:
                self._relay.tell(process, Committed(live.turn_id, rows, ended))

    def interest(self, process: UUID, turn_ids: Iterable[UUID]) -> None:
        """Note that another process follows these turns."""
        until = self._now() + _INTEREST_INTERVALS * self._poll_seconds
        for turn_id in turn_ids:
            live = self._live.get(turn_id)
            if live is None:
                self._expected.setdefault(turn_id, {})[process] = until
                continue
            new = process not in live.interested
            live.interested[process] = until
            if new and live.rows:  # send the rows that were committed before the announcement arrived
                self._relay.tell(process, Committed(turn_id, _greeting(live.rows), ended=False))

    # Followers.

    def subscribe(
        self, turn_id: UUID, caller: Principal, after_seq: int, *, fresh: bool = False
    ) -> Subscription:
        """Begin to follow. fresh: whether the caller has asked the question just now. If so, and the turn runs here,
        its committed rows are available at once; otherwise the log must be read first, which also shows whether the
        caller may read what the turn has read.

        A follower subscribes before it reads the log, so that it misses no row between these steps.
        """
        live = self._live.get(turn_id)
        known = (
            fresh
            and live is not None
            and live.watched is not None
            and (live.tenant_id, live.user_id) == (caller.tenant_id, caller.user_id)
            and live.begin_seq <= after_seq <= live.last_seq
        )
        rows = [row for row in live.rows if row.last_seq > after_seq] if live is not None and known else ()
        subscription = Subscription(self.leave, turn_id, rows, behind=not known, now=self._now())
        subscription.leaving = self.draining
        self._followers.setdefault(turn_id, set()).add(subscription)
        if live is None and turn_id not in self._remote:
            self._remote[turn_id] = _Remote(heard_at=self._now(), read_at=self._now())
            self._relay.tell_all(Interest(self.process, (turn_id,)))
        elif live is not None and known and live.watched:
            self.watch(subscription)
        return subscription

    def watch(self, subscription: Subscription) -> None:
        """Mark a subscription as a follower of a watched turn. A watched turn is cancelled when it has no follower left."""
        if not subscription.watched:
            subscription.watched = True
            self.watching.set()

    def leave(self, subscription: Subscription) -> None:
        """Stop following."""
        followers = self._followers.get(subscription.turn_id)
        if followers is not None:
            followers.discard(subscription)
            if not followers:
                del self._followers[subscription.turn_id]
                self._remote.pop(subscription.turn_id, None)

    @property
    def followers(self) -> int:
        """The number of readers that follow turns here."""
        return sum(len(some) for some in tuple(self._followers.values()))

    def turns(self) -> Collection[UUID]:
        """The turns that are followed here."""
        return self._followers.keys()

    def mark_forbidden(self, turn_ids: Iterable[UUID]) -> None:
        """Note that the users of these turns may no longer read what the turns have read."""
        for turn_id in turn_ids:
            for follower in self._followers.get(turn_id, ()):
                follower.mark_forbidden()

    def waited_for(self, live: Live) -> bool:
        """Whether a follower of a turn that runs here waits for rows. Those in other processes count as waiting."""
        followers = self._followers.get(live.turn_id, ())
        return bool(live.interested) or any(follower.waits for follower in followers)

    def followed(self, turn_id: UUID) -> bool:
        """Whether the turn has a follower here."""
        return turn_id in self._followers

    def runs(self, turn_id: UUID) -> bool:
        """Whether the turn runs here, so that its followers receive every row."""
        return turn_id in self._live

    def list_watched(self) -> Sequence[UUID]:
        """The watched turns that are followed here."""
        followers = self._followers.items()
        return [turn_id for turn_id, these in followers if any(follower.watched for follower in these)]

    def read(self, turn_id: UUID, through_seq: int, place: int | None) -> bool:
        """Note that a reader has read the log up to through_seq. place: the turn's place in its queue; None if unknown.

        Returns whether this reader lags behind the other readers here. The rows that the other readers
        already have are not delivered again, so a reader that lags must continue to read the log.
        """
        remote = self._remote.get(turn_id)
        if remote is None:
            return False
        if place is not None:
            self._set_place(turn_id, place)
        if remote.cursor is None:
            remote.cursor = through_seq
        elif through_seq > remote.cursor:  # the other readers lack rows: read the log for all of them
            remote.due = True
            self.stale.set()
        return through_seq < remote.cursor

    # Rows from other processes and from the log.

    def offer(self, turn_id: UUID, rows: Sequence[LogRow], *, ended: bool) -> None:
        """Take committed rows that did not come from a worker here. Rows that continue the rows here are delivered.
        If rows are missing in between, the given rows are dropped and the log is read.

        ended: whether the last row holds the terminal event. Without rows, this has no effect, even if
        `ended` is set: the reader for which the log was read may have left, and a new reader may have arrived.
        """
        remote = self._remote.get(turn_id)
        if remote is None or not rows:
            return
        if remote.cursor is not None:
            rows = [row for row in rows if row.last_seq > remote.cursor]
            if not rows:
                return
            if rows[0].first_seq > remote.cursor + 1:
                remote.due = True
                self.stale.set()
                return
            remote.cursor = rows[-1].last_seq
            remote.ended = remote.ended or ended
        remote.heard_at = self._now()
        for follower in self._followers.get(turn_id, ()):
            follower.deliver(rows, ended=ended)

    def end_elsewhere(self, turn_id: UUID, rows: Sequence[LogRow]) -> None:
        """Deliver rows from another process that include a turn's end."""
        if turn_id in self._live:
            self.end(turn_id, rows[-1])
        else:
            self.offer(turn_id, rows, ended=True)

    def due(self, *, all_of_them: bool) -> Sequence[Cursor]:
        """The turns whose log must be read. These are the turns with a gap and, if `all_of_them` is set, all turns without recent rows."""
        silent = self._now() - _LATELY * self._poll_seconds
        cursors: list[Cursor] = []
        for turn_id, remote in self._remote.items():
            if remote.cursor is None or remote.ended:
                continue
            if remote.due or (all_of_them and remote.heard_at <= silent):
                remote.due = False
                cursors.append(Cursor(turn_id, remote.cursor))
        return cursors

    def still_due(self, cursors: Iterable[Cursor]) -> None:
        """Note that the log of these turns could not be read and must be read again."""
        for cursor in cursors:
            remote = self._remote.get(cursor.turn_id)
            if remote is not None:
                remote.due = True
        self.stale.set()

    def receive(self, news: News, *, more: bool) -> None:
        """Take rows of a turn that were read from the log. more: whether the log has more rows."""
        self.offer(news.turn_id, news.rows, ended=news.end_seq is not None and not more)
        remote = self._remote.get(news.turn_id)
        if remote is None:
            return
        remote.read_at, remote.orphaned = self._now(), news.orphaned
        self._set_place(news.turn_id, news.queue_place)
        if more:
            remote.due = True
            self.stale.set()
        elif news.end_seq is not None and not news.rows:
            # Either the turn was read to its end, or its rows were pruned. Each reader checks which is the case.
            for follower in self._followers.get(news.turn_id, ()):
                follower.recheck()

    def note_deleted(self, turn_ids: Iterable[UUID]) -> None:
        """Note that these turns were deleted. Each follower then reads the log and gets the error."""
        for turn_id in turn_ids:
            for follower in self._followers.get(turn_id, ()):
                follower.recheck()

    def tell_interest(self) -> None:
        """Announce again which turns are followed here and run elsewhere. Also forget which other processes follow a turn that does not run
        here, once all their announcements are too old.
        """
        now = self._now()
        for turn_id, processes in tuple(self._expected.items()):
            if all(until < now for until in processes.values()):
                del self._expected[turn_id]
        ids = tuple(self._remote)
        for first in range(0, len(ids), _INTEREST_IDS):
            self._relay.tell_all(Interest(self.process, ids[first : first + _INTEREST_IDS]))

    def beat(self, silent_seconds: float) -> None:
        """Make a heartbeat due for every follower whose reader has received nothing for `silent_seconds`, unless nobody is
        known to work on the turn: it has lost its worker, or its log cannot be read. Its followers then give up in
        their own time."""
        due, unread = self._now() - silent_seconds, self._now() - _UNREAD_SECONDS
        for turn_id, followers in self._followers.items():
            remote = self._remote.get(turn_id)
            if remote is not None and (remote.orphaned or remote.read_at <= unread):
                continue
            for follower in followers:
                if follower.news_at <= due:
                    follower.beat = True
                    follower.wake()

    def drain(self) -> int:
        """Send all followers away, and return their number."""
        self.draining = True
        count = 0
        for followers in self._followers.values():
            for follower in followers:
                follower.leaving = True
                follower.wake()
                count += 1
        return count

    def _set_place(self, turn_id: UUID, place: int) -> None:
        for follower in self._followers.get(turn_id, ()):
            if follower.place != place:
                follower.place = place
                follower.beat = True
                follower.wake()


def _greeting(rows: Sequence[LogRow]) -> Sequence[LogRow]:
    """The last rows, up to the limits of a greeting, but at least one row."""
    weight = 0
    first = len(rows)
    while first > 0 and len(rows) - first < _GREETING_ROWS:
        weight += len(rows[first - 1].frame)
        if weight > _GREETING_BYTES and first < len(rows):
            break
        first -= 1
    return rows[first:]
