"""The one writer of a process: what gathers while a commit is in flight goes into the next one, over all turns that run here."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from responsa_server.domain import names
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.ports.faults import Fault, Faults
from responsa_server.domain.ports.turns import Append, Claim, TurnLost, TurnStore
from responsa_server.turns.retry import keep_going, repeated
from responsa_server.turns.writer import PATIENCE_SECONDS, TurnWriter

# Turns in one commit.
_MOST_TURNS: Final = 512
# Leases put off in one statement.
_MOST_LEASES: Final = 1000
# How often a turn without news is looked after, so that its worker notices in time that it was taken or cancelled, without any hint.
_LONGEST_SILENCE: Final = 1.0
_RENEWALS_A_LEASE: Final = 3
# From so many turns on, fewer and fuller commits spare the database more than they cost a reader.
_BUSY_TURNS: Final = 200
_BUSIEST_TURNS: Final = 800
_SHORTEST_WINDOW: Final = 0.005
_LONGEST_WINDOW: Final = 0.05
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


def window(open_turns: int) -> float:
    """Seconds from one commit's start to the next one's, at least: none below 200 turns, then 5 ms, growing to 50 ms at 800.

    A frame costs a reader's stream as much whether it holds one event or ten: what is saved here is saved there once more.
    """
    if open_turns < _BUSY_TURNS:
        return 0.0
    share = min((open_turns - _BUSY_TURNS) / (_BUSIEST_TURNS - _BUSY_TURNS), 1.0)
    return _SHORTEST_WINDOW + share * (_LONGEST_WINDOW - _SHORTEST_WINDOW)


def _silence(lease_seconds: float, open_turns: int) -> float:
    """How long a turn may go without a commit before its lease is put off. Very many silent ones are a load of their own: then only the lease counts."""
    of_lease = lease_seconds / _RENEWALS_A_LEASE
    return of_lease if open_turns > _MOST_LEASES else min(of_lease, _LONGEST_SILENCE)


class LogWriter:
    """Commits what running turns gather, one batch after the other, and keeps their leases alive. `start` before use, `close` at the end."""

    def __init__(
        self,
        store: TurnStore,
        lease_seconds: float,
        faults: Faults,
        clock: Callable[[], float],
        log: FilteringBoundLogger,
    ) -> None:
        """clock: the loop's time in seconds."""
        self._store = store
        self._lease_seconds = lease_seconds
        self._faults = faults
        self._now = clock
        self._log = log
        self._members: dict[UUID, TurnWriter] = {}
        self._ready: deque[TurnWriter] = deque()
        self._arrived = asyncio.Event()
        self._started_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin to write."""
        self._tasks = [
            self._keep("turns-log-writer", self._write),
            self._keep("turns-leases", self._renew),
        ]

    async def close(self) -> None:
        """Stop. A commit in flight may still come through."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._tasks = []

    def join(self, writer: TurnWriter) -> None:
        """A turn begins to run: its lease is kept."""
        self._members[writer.claim.turn_id] = writer

    def leave(self, writer: TurnWriter) -> None:
        """A turn's lease is kept no more. What it has gathered may still be written."""
        if self._members.get(writer.claim.turn_id) is writer:
            del self._members[writer.claim.turn_id]

    def ready(self, writer: TurnWriter) -> None:
        """A turn has something to be written."""
        writer.queued = True
        self._ready.append(writer)
        self._arrived.set()

    def _keep(self, name: str, work: Callable[[], Awaitable[None]]) -> asyncio.Task[None]:
        # Without its loops no turn of this process could go on, nor be taken by another.
        going = keep_going(work, _FIRST_PAUSE, self._log, "turns_log_writer")
        return asyncio.create_task(going, name=name)

    async def _write(self) -> None:
        # What an earlier round left unfinished is sent again, which does no harm where it is committed.
        for writer in tuple(self._members.values()):
            if not writer.silent and not writer.queued:
                self.ready(writer)
        while True:
            if not self._ready:
                self._arrived.clear()
                await self._arrived.wait()
            pause = self._started_at + window(len(self._members)) - self._now()
            if pause > 0:
                await asyncio.sleep(pause)
            self._started_at = self._now()
            batch: dict[int, tuple[TurnWriter, Append]] = {}
            for _ in range(min(len(self._ready), _MOST_TURNS)):
                writer = self._ready.popleft()
                turn_id = writer.claim.turn_id.int
                if turn_id in batch:
                    # An older hold on the same turn, which is about to end. A batch has each turn once.
                    writer.queued = True
                    self._ready.append(writer)
                elif (append := self._taken(writer)) is not None:
                    batch[turn_id] = (writer, append)
            if batch:
                await self._commit([batch[turn_id] for turn_id in sorted(batch)])

    def _taken(self, writer: TurnWriter) -> Append | None:
        try:
            return writer.take()
        except Exception as error:  # what cannot be encoded must not stop the writer of all turns
            self._refuse(writer, error)
            return None

    async def _commit(self, batch: Sequence[tuple[TurnWriter, Append]]) -> None:
        """Write a batch, and again while its outcome is unknown. Every one of its turns has its outcome afterwards."""
        appends = [append for _, append in batch]

        async def work() -> Mapping[UUID, TurnLost | Unavailable]:
            await self._faults.at(Fault.BEFORE_APPEND)
            left_out = await self._store.append(appends)
            await self._faults.at(Fault.AFTER_APPEND)
            return left_out

        try:
            left_out = await repeated(work, PATIENCE_SECONDS)
        except Unavailable as error:
            for writer, _ in batch:
                writer.fail(error)
            return
        except Exception as error:  # something in the batch cannot be stored: the rest must be
            await self._each_alone(batch, error)
            return
        now = self._now()
        for writer, append in batch:
            error = left_out.get(append.claim.turn_id) if left_out else None
            if error is None:
                self._show(writer, now)
            elif isinstance(error, Unavailable):
                self._put_off(writer, error, now)
            else:
                writer.fail(error)

    async def _each_alone(self, batch: Sequence[tuple[TurnWriter, Append]], error: Exception) -> None:
        if len(batch) > 1:
            for one in batch:
                await self._commit([one])
            return
        self._refuse(batch[0][0], error)

    def _show(self, writer: TurnWriter, now: float) -> None:
        try:
            writer.committed(now)
        except Exception as error:  # one turn's followers must not stop the writer of all turns
            self._refuse(writer, error)

    def _refuse(self, writer: TurnWriter, error: Exception) -> None:
        self._log.error("turn_events_refused", turn=names.turn(writer.claim.turn_id), exc_info=error)
        writer.fail(error)

    def _put_off(self, writer: TurnWriter, error: Unavailable, now: float) -> None:
        """A turn whose row is locked by somebody tries again a little later, alone in its waiting."""
        writer.tries += 1
        if writer.tries == 1:
            writer.tries_since = now
        elif now - writer.tries_since > PATIENCE_SECONDS:
            writer.fail(error)
            return
        writer.queued = True
        pause = min(_FIRST_PAUSE * 2**writer.tries, _LONGEST_PAUSE)
        asyncio.get_running_loop().call_later(pause, self.ready, writer)

    async def _renew(self) -> None:
        while True:
            silence = _silence(self._lease_seconds, len(self._members))
            await asyncio.sleep(silence / 4)
            due = self._now() - silence * 0.75
            silent = [one for one in self._members.values() if one.silent and one.committed_at <= due]
            for first in range(0, len(silent), _MOST_LEASES):
                await self._put_leases_off(silent[first : first + _MOST_LEASES])

    async def _put_leases_off(self, writers: Sequence[TurnWriter]) -> None:
        held = (one.claim for one in writers if self._members.get(one.claim.turn_id) is one)
        claims: Sequence[Claim] = sorted(held, key=lambda claim: claim.turn_id)
        if not claims:
            return
        try:
            lost = frozenset(await self._store.renew(claims))
        except Unavailable as error:  # the next round may come through; the fence holds in any case
            self._log.warning("leases_not_renewed", turns=len(claims), reason=error.reason.value)
            return
        except Exception:  # leases must go on being renewed; the log tells of this round
            self._log.exception("leases_not_renewed", turns=len(claims))
            return
        now = self._now()
        for writer in writers:
            if writer.claim.turn_id not in lost:
                writer.committed_at = max(writer.committed_at, now)
            elif self._members.get(writer.claim.turn_id) is writer:
                writer.fail(TurnLost(names.turn(writer.claim.turn_id)))
