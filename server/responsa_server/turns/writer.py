"""Writes the log. Each running turn collects its agent's events, and the single writer of the process commits
the events of all turns, batch by batch.
"""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.agents import AgentEvent, Barrier, DocumentsRead, Milestone, Withdrawal
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import (
    AttemptRestarted,
    Delta,
    Event,
    NumberedEvent,
    Status,
    Terminal,
    ToolCalled,
    ToolReturned,
    Usage,
    VersionRead,
    versions_read,
)
from responsa_server.domain.faults import Fault
from responsa_server.domain.turns import (
    Append,
    Checkpoint,
    Claim,
    Conclusion,
    LogRow,
    TurnLost,
    TurnStore,
)
from responsa_server.telemetry import instruments
from responsa_server.telemetry.stages import Stage
from responsa_server.telemetry.unexpected import Loops
from responsa_server.turns.pack import PendingEvent, ending, merge, number, pack, utf8_length
from responsa_server.turns.runtime import Runtime, loop_time, retry

# This is far above the size of any regular event. A larger event would make a row that fits into no frame, and
# clients could not read the turn.
# The parts of a tool's result are limited in `domain/tools.py`; all of them together, with their envelopes, fit into an event.
MAX_EVENT_BYTES: Final = 112 * 1024
# How long a write is repeated. This is far longer than a lease, but it is safe: if another worker takes the turn
# over, its newer epoch ends the repetition.
_PATIENCE_SECONDS: Final = 60.0
# The maximum number of turns in one commit.
_MOST_TURNS: Final = 512
# The maximum number of leases that one statement renews.
_MOST_LEASES: Final = 1000
# The longest time, in seconds, for which the writer does not check a silent turn. The check lets the turn's
# worker notice, even without a hint, that the turn was claimed or cancelled.
_LONGEST_SILENCE: Final = 1.0
_RENEWALS_A_LEASE: Final = 3
# From this number of turns on, fewer and larger commits are better: they save the server and the database a lot of work and
# delay readers only a little. With fewer turns, a commit waits for none.
_BUSY_TURNS: Final = 8
_BUSIER_TURNS: Final = 200
_BUSIEST_TURNS: Final = 800
_SHORTEST_WINDOW: Final = 0.003
_LONGEST_WINDOW: Final = 0.05
# For how long events are gathered while no follower waits for them.
_GATHERING_SECONDS: Final = 0.02
# For how long statuses wait for further events, although a follower waits.
_COMPANY_SECONDS: Final = 0.03
_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


@dataclass(frozen=True, slots=True)
class Start:
    """The state from which a turn's writer starts: the seq of the last committed event, the attempt, the number of
    bytes of valid text, and the recorded usage."""

    last_seq: int
    attempt: int
    text_bytes: int = 0
    usage: Usage = field(default_factory=Usage)


class EventTooLarge(ValueError):
    """An agent has emitted an event of more than MAX_EVENT_BYTES."""


class Finish(Protocol):
    """Ends a turn in the store: `TurnStore.finish`, together with the work that must surround this call."""

    async def __call__(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> bool:
        """See `TurnStore.finish`."""
        ...


class WriterOwner(Protocol):
    """The running turn for which a `TurnWriter` writes."""

    @property
    def usage(self) -> Usage:
        """The cost of the turn so far."""
        ...

    @property
    def waited_for(self) -> bool:
        """Whether a follower has passed on all that was published, and waits for more."""
        ...

    def publish(self, rows: Sequence[LogRow], *, words: bool, ended: bool) -> None:
        """Called with rows, in order, once they are committed. words: whether they have text of the answer. ended:
        whether the last row holds the terminal event."""
        ...

    def fail(self, reason: Exception) -> None:
        """Called once, when writing is no longer possible. reason: TurnLost; Unavailable if the store was unavailable
        for too long; or the error of an event that cannot be stored."""
        ...


class TurnWriter:
    """Collects one turn's events, from the event after `start` on. Nothing is written before `begin`. While a batch is
    in flight, neighbouring deltas are merged into deltas of at most `merge_bytes`."""

    def __init__(
        self,
        process_writer: LogWriter,
        owner: WriterOwner,
        claim: Claim,
        start: Start,
        runtime: Runtime,
    ) -> None:
        self.claim = claim
        self.last_seq = start.last_seq
        """The seq of the last event that is known to be committed."""
        self.booked = start.usage
        """The usage in the last checkpoint that is known to be committed."""
        self.committed_at = loop_time()
        """When the lease was last renewed, by the loop's clock."""
        self.queued = False
        """Whether this turn is in the queue of the process's writer."""
        self.tries = 0
        self.tries_since = 0.0
        self.stage: Stage | None = None
        """The turn's stage, which records the appends; None to record none."""
        self.taken_at = 0
        self._process_writer = process_writer
        self._owner = owner
        self._start = start
        self._runtime = runtime
        self._pending: list[PendingEvent] = []
        self._tools: list[ToolCalled | ToolReturned] = []
        self._checkpoint: Checkpoint | None = None
        # What the turn has read: what the next append records, and what was handed over before.
        self._read: dict[VersionRead, None] = {}
        self._recorded: set[VersionRead] = set()
        self._text_bytes = start.text_bytes
        # The seq and the byte offset of each delta since the last milestone, for withdrawals.
        self._deltas: list[tuple[int, int]] = []
        self._restarts = 0
        self._sealed = False
        # Whether text was handed to the store, and the timer after which more of it is.
        self._shown = False
        self._later: asyncio.TimerHandle | None = None
        self._flushing = False
        self._waiting_barriers: list[Barrier] = []
        self._barriers: list[Barrier] = []
        # The transaction that accepts or claims the turn is like an append in flight.
        self._in_flight: Append | None = Append(claim, ())
        self._closing = False
        self._failed: Exception | None = None
        self._outcome: asyncio.Future[None] | None = None

    # The methods that the agent's side calls.

    def put(self, event: AgentEvent) -> None:
        """Take an event, milestone or barrier, and write it after all earlier ones. What the turn has read is written
        with the next event, before anybody sees that event.

        Raises the error that ended writing. If the event cannot be taken, raises EventTooLarge or the codec's error
        about the arguments of a call.
        """
        if self._failed is not None:
            raise self._failed
        if isinstance(event, Delta):
            size = utf8_length(event.text)
            if size > MAX_EVENT_BYTES:
                raise EventTooLarge(f"a delta of {size} bytes")
            self._text_bytes = event.byte_offset + size
            if (
                self._in_flight is not None
                and self._in_flight.rows
                and self._runtime.options.merge_bytes
                and self._pending
                and not self._sealed
            ):
                together = merge(self._pending[-1].event, event, self._runtime.options.merge_bytes)
                if together is not None:
                    self._pending[-1] = PendingEvent(None, together, self._restarts)
                    return
            self._append(event)
            self._deltas.append((self._last_sent() + len(self._pending), event.byte_offset))
        elif isinstance(event, Withdrawal):
            self._withdraw(event.text.encode())
            return
        elif isinstance(event, Milestone):
            through = self._last_sent() + len(self._pending)
            self._checkpoint = Checkpoint(through, self._text_bytes, self._owner.usage, event.state)
            # An event before a checkpoint must keep its number, so no later event is merged into it.
            self._sealed = True
            self._deltas.clear()
        elif isinstance(event, Barrier):
            if self._pending or self._checkpoint is not None:
                self._waiting_barriers.append(event)
                self._queue()
            elif self._in_flight is not None:
                self._barriers.append(event)
            else:
                event.passed.set()
            return
        elif isinstance(event, DocumentsRead):
            self._note_read(event.versions)  # recorded with the next events, and before anybody sees them
            return
        else:
            self._note_read(versions_read(event))
            if isinstance(event, (ToolCalled, ToolReturned)):
                self._check_size(event)
                self._tools.append(event)
            self._append(event)
        self._queue()

    async def flush(self) -> None:
        """Wait until all earlier events are committed. Raises the error that ended writing."""
        self._flushing = True
        self._queue()
        while self._in_flight is not None or self._pending or self._checkpoint is not None:
            await self._next_outcome()
        self._flushing = False

    async def finish(
        self, terminal: Terminal, conclude: Callable[[bytes], Conclusion], write: Finish
    ) -> bool:
        """End the turn. After the batch in flight, one transaction writes the collected events, the terminal event and
        the turn's conclusion. Returns the result of `write`.

        conclude: a function that gets the terminal event's bytes. If `finish` raised an error other than
        TurnLost or Unavailable, it may be called again with another terminal event. Collected events that
        could not be stored are then left out.
        """
        # The ledger of tool calls is written only during an append, so pending entries are appended first.
        if self._tools and self._failed is None:
            await self.flush()
        self._closing = True
        while self._in_flight is not None and self._failed is None:
            await self._next_outcome()
        if isinstance(self._failed, (TurnLost, Unavailable)):
            raise self._failed
        happened = [*self._pending, PendingEvent(self._runtime.clock(), terminal, self._restarts)]
        self._pending = []
        *events, last = number(self.last_seq + 1, self._start.attempt, happened)
        end = ending(self._runtime.codec, self.claim.turn_id, last)
        rows = [*pack(self._runtime.codec, self.claim.turn_id, events), end.row]
        self._note_read(versions_read(terminal))
        conclusion = replace(conclude(end.terminal), read=tuple(self._read))
        promoted = await retry(
            lambda: write(self.claim, rows, conclusion), _PATIENCE_SECONDS, waits_for_disk=True
        )
        self._process_writer.leave(self)
        self.last_seq = rows[-1].last_seq
        self._owner.publish(rows, words=_has_words(happened), ended=True)
        return promoted

    def stop(self, *, hold: bool = False) -> None:
        """Commit no more events. A commit in flight may still succeed if the turn's epoch has not changed. hold: whether the lease
        is still renewed, until `stop` is called without `hold`.
        """
        self._closing = True
        if not hold:
            self._process_writer.leave(self)

    # The methods that the process's writer calls.

    @property
    def silent(self) -> bool:
        """Whether no write is in flight that would extend the lease."""
        return self._in_flight is None

    def take(self) -> Append | None:
        """The append to commit next: the append in flight if it was not committed, otherwise all collected events; None
        if there is nothing to commit."""
        self.queued = False
        self._later = None
        if self._closing and self._in_flight is None:
            return None
        if self._in_flight is None and (self._pending or self._checkpoint is not None):
            events = number(self.last_seq + 1, self._start.attempt, self._pending)
            rows = pack(self._runtime.codec, self.claim.turn_id, events)
            attempt = self._start.attempt + self._restarts if self._restarts else 0
            words = _has_words(self._pending)
            self._shown = self._shown or words
            self._in_flight = Append(
                self.claim, rows, self._checkpoint, self._tools, tuple(self._read), attempt, words
            )
            self._recorded.update(self._read)
            self._read.clear()
            self._pending, self._tools, self._checkpoint = [], [], None
            if self.stage is not None:
                self.taken_at = time.time_ns()
            self._barriers.extend(self._waiting_barriers)
            self._waiting_barriers = []
        return self._in_flight

    def begin(self) -> None:
        """Note that the turn's claim is committed. Its lease is renewed from now on."""
        self._process_writer.join(self)
        self.committed_at = loop_time()
        self._in_flight = None
        self._go_on()

    def note_commit(self, now: float) -> None:
        """Note that the append that was taken is in the log."""
        append, self._in_flight = self._in_flight, None
        if append is None:
            return
        self.committed_at = now
        self.tries = 0
        if self.stage is not None:
            self.stage.add_part("append", self.taken_at, time.time_ns(), rows=len(append.rows))
        if append.checkpoint is not None:
            self.booked = append.checkpoint.usage
        if append.rows:
            self.last_seq = append.rows[-1].last_seq
            self._owner.publish(append.rows, words=append.words, ended=False)
        self._go_on()

    def fail(self, error: Exception) -> None:
        """Note that the append that was taken is not in the log, and that there will be no later append."""
        if self._failed is not None:
            return
        self._failed = error
        self._in_flight = None
        self._pending = []
        self._wake()
        self._owner.fail(error)

    def _go_on(self) -> None:
        for barrier in self._barriers:
            barrier.passed.set()
        self._barriers.clear()
        self._queue()
        self._wake()

    def _queue(self) -> None:
        """Let the process's writer take what has been collected: at once, or a little later if no follower waits for
        it. The first text never waits, and statuses wait for company: a follower has had the turn's start."""
        nothing = not self._pending and self._checkpoint is None
        if self.queued or nothing or self._in_flight is not None or self._closing:
            return
        patient = not self._waiting_barriers and not self._flushing
        if patient and all(isinstance(happened.event, Status) for happened in self._pending):
            if self._later is None:
                self._later = asyncio.get_running_loop().call_later(
                    _COMPANY_SECONDS, self._process_writer.ready, self
                )
            return
        if self._later is not None:
            self._later.cancel()
            self._later = None
        pause = self.committed_at + _GATHERING_SECONDS - loop_time()
        urgent = self._waiting_barriers or self._flushing or (not self._shown and _has_words(self._pending))
        if pause <= 0 or urgent or self._owner.waited_for:
            self._process_writer.ready(self)
        else:
            self._later = asyncio.get_running_loop().call_later(pause, self._process_writer.ready, self)

    def _append(self, event: Event) -> None:
        time = None if isinstance(event, Delta) else self._runtime.clock()
        self._pending.append(PendingEvent(time, event, self._restarts))
        self._sealed = False

    def _withdraw(self, prefix: bytes) -> None:
        """Withdraw the text after `prefix`. Whole deltas are withdrawn, so that the remaining deltas are exactly the text that stays."""
        if len(prefix) >= self._text_bytes:
            return
        index = max(0, bisect_right(self._deltas, len(prefix), key=itemgetter(1)) - 1)
        seq, start = self._deltas[index] if self._deltas else (2, 0)  # of earlier attempts, all text
        del self._deltas[index:]
        self._restarts += 1
        self._append(AttemptRestarted(seq, start))
        self._text_bytes = start
        if len(prefix) > start:
            self.put(Delta(prefix[start:].decode(), start))
        else:
            self._queue()

    def _note_read(self, versions: Sequence[VersionRead]) -> None:
        self._read.update((version, None) for version in versions if version not in self._recorded)

    def _check_size(self, event: ToolCalled | ToolReturned) -> None:
        """Check the size of an event with data from outside. Its size on the wire counts, because an argument may take
        many times more bytes there than in JSON."""
        size = len(self._runtime.codec.event(NumberedEvent(1, 1, None, event)))
        if size > MAX_EVENT_BYTES:
            raise EventTooLarge(f"an event of {size} bytes: {type(event).__name__}")

    def _last_sent(self) -> int:
        rows = self._in_flight.rows if self._in_flight is not None else ()
        return rows[-1].last_seq if rows else self.last_seq

    async def _next_outcome(self) -> None:
        if self._failed is not None:
            raise self._failed
        if self._outcome is None:
            self._outcome = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._outcome)
        if self._failed is not None:
            raise self._failed

    def _wake(self) -> None:
        if self._outcome is not None:
            self._outcome.set_result(None)
            self._outcome = None


def _has_words(happened: Sequence[PendingEvent]) -> bool:
    return any(isinstance(entry.event, Delta) for entry in happened)


def window(open_turns: int) -> float:
    """The minimum time in seconds between the starts of two commits: 0 below 8 turns, 3 ms up to 200 turns, growing to 50 ms at 800 turns.

    Sending a frame with ten events costs as much as sending a frame with one event, so fewer commits also save work in readers' streams.
    """
    if open_turns < _BUSY_TURNS:
        return 0.0
    share = min(max(open_turns - _BUSIER_TURNS, 0) / (_BUSIEST_TURNS - _BUSIER_TURNS), 1.0)
    return _SHORTEST_WINDOW + share * (_LONGEST_WINDOW - _SHORTEST_WINDOW)


def _silence(lease_seconds: float, open_turns: int) -> float:
    """The time in seconds that a turn may go without a commit before its lease is renewed. With very many turns,
    frequent renewals would themselves be a load, so leases are then renewed only as often as their length requires.
    """
    of_lease = lease_seconds / _RENEWALS_A_LEASE
    return of_lease if open_turns > _MOST_LEASES else min(of_lease, _LONGEST_SILENCE)


class LogWriter:
    """Commits the collected events of running turns, one batch after the other, and renews their leases.
    Call `start` before use and `close` at the end.
    """

    def __init__(self, store: TurnStore, runtime: Runtime) -> None:
        self._store = store
        self._lease_seconds = runtime.options.lease_seconds
        self._faults = runtime.faults
        self._log = runtime.log
        self._members: dict[UUID, TurnWriter] = {}
        self._ready: deque[TurnWriter] = deque()
        self._arrived = asyncio.Event()
        self._started_at = 0.0
        self._loops = Loops(runtime.log, runtime.errors)

    def start(self) -> None:
        """Begin to write."""
        # If one of these loops ended, no turn of this process could continue, and no other process could claim it.
        self._loops.start(self._write, _FIRST_PAUSE, "turns_log_writer", "turns-log-writer")
        self._loops.start(self._renew, _FIRST_PAUSE, "turns_log_writer", "turns-leases")

    async def close(self) -> None:
        """Stop. A commit in flight may still succeed."""
        await self._loops.close()

    def window(self) -> float:
        """The minimum time in seconds between the starts of two transactions that begin or end turns. It stays short,
        because callers wait for them."""
        return min(window(len(self._members)), _SHORTEST_WINDOW)

    def join(self, writer: TurnWriter) -> None:
        """Add a turn that begins to run. Its lease is renewed from now on."""
        self._members[writer.claim.turn_id] = writer

    def leave(self, writer: TurnWriter) -> None:
        """Remove a turn. Its lease is no longer renewed, but its collected events may still be written."""
        if self._members.get(writer.claim.turn_id) is writer:
            del self._members[writer.claim.turn_id]

    def ready(self, writer: TurnWriter) -> None:
        """Queue a turn that has events to write."""
        writer.queued = True
        self._ready.append(writer)
        self._arrived.set()

    async def _write(self) -> None:
        # The unfinished work of an earlier round is sent again, which is harmless if it was already committed.
        for writer in tuple(self._members.values()):
            if not writer.silent and not writer.queued:
                self.ready(writer)
        while True:
            if not self._ready:
                self._arrived.clear()
                await self._arrived.wait()
            pause = self._started_at + window(len(self._members)) - loop_time()
            if pause > 0:
                await asyncio.sleep(pause)
            self._started_at = loop_time()
            batch: dict[int, tuple[TurnWriter, Append]] = {}
            for _ in range(min(len(self._ready), _MOST_TURNS)):
                writer = self._ready.popleft()
                turn_id = writer.claim.turn_id.int
                if turn_id in batch:
                    # A batch contains each turn once. The older of the two claims on this turn is about to end.
                    writer.queued = True
                    self._ready.append(writer)
                elif (append := self._take(writer)) is not None:
                    batch[turn_id] = (writer, append)
            if batch:
                await self._commit([batch[turn_id] for turn_id in sorted(batch)])

    def _take(self, writer: TurnWriter) -> Append | None:
        try:
            return writer.take()
        except Exception as error:  # events that cannot be encoded must not stop the writer of all turns
            self._refuse(writer, error)
            return None

    async def _commit(self, batch: Sequence[tuple[TurnWriter, Append]]) -> None:
        """Write a batch, and repeat it while its outcome is unknown. Afterwards, each turn of the batch knows its outcome."""
        appends = [append for _, append in batch]

        async def work() -> Mapping[UUID, TurnLost | Unavailable]:
            await self._faults.at(Fault.BEFORE_APPEND)
            left_out = await self._store.append(appends)
            await self._faults.at(Fault.AFTER_APPEND)
            return left_out

        begun = loop_time()
        try:
            left_out = await retry(work, _PATIENCE_SECONDS, waits_for_disk=True)
        except Unavailable as error:
            for writer, _ in batch:
                writer.fail(error)
            return
        except Exception as error:  # one item in the batch cannot be stored, but the others must be
            await self._each_alone(batch, error)
            return
        now = loop_time()
        instruments.COMMIT_SECONDS.add(now - begun)
        instruments.COMMIT_TURNS.add(len(batch))
        for writer, append in batch:
            error = left_out.get(append.claim.turn_id) if left_out else None
            if error is None:
                self._show(writer, now)
            elif isinstance(error, Unavailable):
                self._postpone(writer, error, now)
            else:
                writer.fail(error)

    async def _each_alone(self, batch: Sequence[tuple[TurnWriter, Append]], error: Exception) -> None:
        if len(batch) > 1:
            for pair in batch:
                await self._commit([pair])
            return
        self._refuse(batch[0][0], error)

    def _show(self, writer: TurnWriter, now: float) -> None:
        try:
            writer.note_commit(now)
        except Exception as error:  # an error in one turn's followers must not stop the writer of all turns
            self._refuse(writer, error)

    def _refuse(self, writer: TurnWriter, error: Exception) -> None:
        self._log.error(
            "turn_events_refused",
            turn=names.turn(writer.claim.turn_id),
            tenant=writer.claim.tenant_id,
            exc_info=error,
        )
        writer.fail(error)

    def _postpone(self, writer: TurnWriter, error: Unavailable, now: float) -> None:
        """Try again a little later with a turn whose row is locked, without holding up the other turns."""
        writer.tries += 1
        if writer.tries == 1:
            writer.tries_since = now
        elif now - writer.tries_since > _PATIENCE_SECONDS:
            writer.fail(error)
            return
        writer.queued = True
        pause = min(_FIRST_PAUSE * 2**writer.tries, _LONGEST_PAUSE)
        asyncio.get_running_loop().call_later(pause, self.ready, writer)

    async def _renew(self) -> None:
        while True:
            silence = _silence(self._lease_seconds, len(self._members))
            await asyncio.sleep(silence / 4)
            due = loop_time() - silence * 0.75
            silent = [
                member for member in self._members.values() if member.silent and member.committed_at <= due
            ]
            for first in range(0, len(silent), _MOST_LEASES):
                await self._renew_leases(silent[first : first + _MOST_LEASES])

    async def _renew_leases(self, writers: Sequence[TurnWriter]) -> None:
        held = (writer.claim for writer in writers if self._members.get(writer.claim.turn_id) is writer)
        claims: Sequence[Claim] = sorted(held, key=lambda claim: claim.turn_id)
        if not claims:
            return
        try:
            lost = frozenset(await self._store.renew(claims))
        except (
            Unavailable
        ) as error:  # the next round may succeed; a worker that lost its lease cannot write in any case
            self._log.warning("leases_not_renewed", turns=len(claims), reason=error.reason.value)
            return
        except Exception:  # the next round must begin
            self._log.exception("leases_not_renewed", turns=len(claims))
            return
        now = loop_time()
        for writer in writers:
            if writer.claim.turn_id not in lost:
                writer.committed_at = max(writer.committed_at, now)
            elif self._members.get(writer.claim.turn_id) is writer:
                instruments.LEASES_LOST.add(1)
                writer.fail(TurnLost(names.turn(writer.claim.turn_id)))
