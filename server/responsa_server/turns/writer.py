"""One running turn's side of the log: gathers what its agent tells until the process's writer takes it, and shows only what is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import Delta, NumberedEvent, Terminal, ToolCalled, ToolReturned, Usage
from responsa_server.domain.ports.agents import AgentEvent, Barrier, Milestone
from responsa_server.domain.ports.turns import (
    Append,
    Checkpoint,
    Claim,
    Clock,
    Conclusion,
    FrameCodec,
    TurnLost,
)
from responsa_server.domain.turns import LogRow
from responsa_server.turns.pack import MAX_DELTA_BYTES, Happened, merged, number, pack, utf8_length
from responsa_server.turns.retry import repeated

# No event that an agent may tell comes near it. A larger one would make rows that no frame holds, and so a turn that nobody can read.
MAX_EVENT_BYTES: Final = 64 * 1024
# How long a write is repeated. Far beyond a lease: whoever takes the turn away first ends the repeating by its epoch.
PATIENCE_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Start:
    """Where a turn's writer begins: the seq of the last committed event, which attempt it is, the bytes of text that stand, what is booked already."""

    last_seq: int
    attempt: int
    text_bytes: int = 0
    usage: Usage = field(default_factory=Usage)


class Gatherer(Protocol):
    """What a turn's writer needs of the process's writer."""

    def ready(self, writer: TurnWriter) -> None:
        """There is something to be taken."""
        ...

    def leave(self, writer: TurnWriter) -> None:
        """Nothing more comes, and no lease is to be renewed."""
        ...


class EventTooLarge(ValueError):
    """An agent has told an event of more than MAX_EVENT_BYTES."""


class Finish(Protocol):
    """Ends a turn in the store: `TurnStore.finish`, with whatever surrounds it."""

    async def __call__(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> bool:
        """See `TurnStore.finish`."""
        ...


class TurnWriter:
    """Gathers one turn's events, from the one after `start` on.

    publish is called with rows once they are committed, in order; ended with the last of them. on_failed is called once, when nothing can be written any more: with
    TurnLost, with Unavailable once patience was over, or with the error of an event that cannot be stored. While a batch is in flight neighbouring
    deltas become one of at most merge_bytes.
    """

    __slots__ = (
        "_barriers",
        "_checkpoint",
        "_clock",
        "_closing",
        "_codec",
        "_failed",
        "_gatherer",
        "_in_flight",
        "_merge_bytes",
        "_on_failed",
        "_pending",
        "_publish",
        "_sealed",
        "_settled",
        "_start",
        "_text_bytes",
        "_tools",
        "_usage_of",
        "_waiting_barriers",
        "booked",
        "claim",
        "committed_at",
        "last_seq",
        "queued",
        "tries",
        "tries_since",
    )

    def __init__(
        self,
        gatherer: Gatherer,
        codec: FrameCodec,
        clock: Clock,
        claim: Claim,
        start: Start,
        usage_of: Callable[[], Usage],
        publish: Callable[[Sequence[LogRow], bool], None],
        on_failed: Callable[[Exception], None],
        *,
        merge_bytes: int = MAX_DELTA_BYTES,
    ) -> None:
        self.claim = claim
        self.last_seq = start.last_seq
        """The seq of the last event that is known to be committed."""
        self.booked = start.usage
        """What the last checkpoint that is known to be committed has counted."""
        self.committed_at = asyncio.get_running_loop().time()
        """When the lease was put off last, by the loop's clock."""
        self.queued = False
        """Whether the process's writer has it on its list."""
        self.tries = 0
        self.tries_since = 0.0
        self._gatherer = gatherer
        self._codec = codec
        self._clock = clock
        self._start = start
        self._usage_of = usage_of
        self._publish = publish
        self._on_failed = on_failed
        self._merge_bytes = merge_bytes
        self._pending: list[Happened] = []
        self._tools: list[ToolCalled | ToolReturned] = []
        self._checkpoint: Checkpoint | None = None
        self._text_bytes = start.text_bytes
        self._sealed = False
        self._waiting_barriers: list[Barrier] = []
        self._barriers: list[Barrier] = []
        self._in_flight: Append | None = None
        self._closing = False
        self._failed: Exception | None = None
        self._settled: asyncio.Future[None] | None = None

    # What the agent's side calls.

    def put(self, told: AgentEvent) -> None:
        """Take an event, milestone or barrier, to be written after all before it. Raises what nothing can be written for any more; EventTooLarge, or what the
        codec has against a call's arguments, for an event that is then not taken.
        """
        if self._failed is not None:
            raise self._failed
        if isinstance(told, Delta):
            size = utf8_length(told.text)
            if size > MAX_EVENT_BYTES:
                raise EventTooLarge(f"a delta of {size} bytes")
            self._text_bytes = told.byte_offset + size
            if self._in_flight is not None and self._merge_bytes and self._pending and not self._sealed:
                together = merged(self._pending[-1].event, told, self._merge_bytes)
                if together is not None:
                    self._pending[-1] = Happened(None, together)
                    return
            self._pending.append(Happened(None, told))
            self._sealed = False
        elif isinstance(told, Milestone):
            through = self._sent_through() + len(self._pending)
            self._checkpoint = Checkpoint(through, self._text_bytes, self._usage_of(), told.state)
            # What a checkpoint stands behind must keep its number: nothing is merged into it any more.
            self._sealed = True
        elif isinstance(told, Barrier):
            if self._pending or self._checkpoint is not None:
                self._waiting_barriers.append(told)
            elif self._in_flight is not None:
                self._barriers.append(told)
            else:
                told.passed.set()
            return
        else:
            if isinstance(told, (ToolCalled, ToolReturned)):
                self._check_size(told)
                self._tools.append(told)
            self._pending.append(Happened(self._clock(), told))
            self._sealed = False
        if not self.queued and self._in_flight is None and not self._closing:
            self._gatherer.ready(self)

    async def flush(self) -> None:
        """Wait until all that was put is committed. Raises as `put` does."""
        while self._in_flight is not None or self._pending or self._checkpoint is not None:
            await self._next_settling()

    async def finish(
        self, terminal: Terminal, conclude: Callable[[bytes], Conclusion], write: Finish
    ) -> bool:
        """End the turn: what is gathered, the terminal event and its conclusion, in one transaction, after the batch in flight. Returns what write does.

        conclude gets the terminal event's bytes. It may be called again, with another terminal event, when it raised anything but TurnLost or
        Unavailable: what was gathered and could not be stored is left out then.
        """
        if self._tools and self._failed is None:  # the ledger is written by appends alone
            await self.flush()
        self._closing = True
        while self._in_flight is not None and self._failed is None:
            await self._next_settling()
        if isinstance(self._failed, (TurnLost, Unavailable)):
            raise self._failed
        happened = [*self._pending, Happened(self._clock(), terminal)]
        self._pending = []
        events = number(self.last_seq + 1, self._start.attempt, happened)
        rows = pack(self._codec, self.claim.turn_id, events)
        conclusion = conclude(self._codec.encode_terminal(events[-1]))
        promoted = await repeated(lambda: write(self.claim, rows, conclusion), PATIENCE_SECONDS)
        self._gatherer.leave(self)
        self.last_seq = rows[-1].last_seq
        self._publish(rows, True)
        return promoted

    def stop(self, *, hold: bool = False) -> None:
        """Gather nothing more. A commit in flight may still come through; the epoch decides. hold: the lease is kept, until this is called again without."""
        self._closing = True
        if not hold:
            self._gatherer.leave(self)

    # What the process's writer calls.

    @property
    def silent(self) -> bool:
        """Whether nothing is on its way that would put the lease off."""
        return self._in_flight is None

    def take(self) -> Append | None:
        """What is to be committed next: what could not be before, else all that was gathered; None when there is nothing."""
        self.queued = False
        if self._closing and self._in_flight is None:
            return None
        if self._in_flight is None and (self._pending or self._checkpoint is not None):
            events = number(self.last_seq + 1, self._start.attempt, self._pending)
            rows = pack(self._codec, self.claim.turn_id, events)
            self._in_flight = Append(self.claim, rows, self._checkpoint, self._tools)
            self._pending, self._tools, self._checkpoint = [], [], None
            self._barriers.extend(self._waiting_barriers)
            self._waiting_barriers = []
        return self._in_flight

    def committed(self, now: float) -> None:
        """What was taken is in the log."""
        append, self._in_flight = self._in_flight, None
        if append is None:
            return
        self.committed_at = now
        self.tries = 0
        if append.checkpoint is not None:
            self.booked = append.checkpoint.usage
        if append.rows:
            self.last_seq = append.rows[-1].last_seq
            self._publish(append.rows, False)
        for barrier in self._barriers:
            barrier.passed.set()
        self._barriers.clear()
        if (self._pending or self._checkpoint is not None) and not self.queued and not self._closing:
            self._gatherer.ready(self)
        self._wake()

    def fail(self, error: Exception) -> None:
        """What was taken is not in the log, and nothing more will be."""
        if self._failed is not None:
            return
        self._failed = error
        self._in_flight = None
        self._pending = []
        self._wake()
        self._on_failed(error)

    def _check_size(self, told: ToolCalled | ToolReturned) -> None:
        """Of what comes from outside only the wire's own size tells: an argument may take many times the bytes there that it took in JSON."""
        size = len(self._codec.encode(self.claim.turn_id, 0, 1, [NumberedEvent(1, 1, None, told)]))
        if size > MAX_EVENT_BYTES:
            raise EventTooLarge(f"an event of {size} bytes: {type(told).__name__}")

    def _sent_through(self) -> int:
        rows = self._in_flight.rows if self._in_flight is not None else ()
        return rows[-1].last_seq if rows else self.last_seq

    async def _next_settling(self) -> None:
        if self._failed is not None:
            raise self._failed
        if self._settled is None:
            self._settled = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._settled)
        if self._failed is not None:
            raise self._failed

    def _wake(self) -> None:
        if self._settled is not None:
            self._settled.set_result(None)
            self._settled = None
