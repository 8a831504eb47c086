"""The one writer of a running turn: gathers events while a commit is in flight, keeps the lease alive, shows only what is committed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from responsa_server.domain.ports.turns import Claim, Clock, Conclusion, FrameCodec
from responsa_server.domain.turns import Event, LogRow, NumberedEvent, Terminal
from responsa_server.turns.pack import Happened, merged, number, pack
from responsa_server.turns.repeat import repeated

# Events that wait for the writer before who makes them has to wait.
_MOST_PENDING: Final = 128
# How long a write is repeated. Far beyond a lease: whoever takes the turn away first ends the repeating by its epoch.
_PATIENCE_SECONDS: Final = 60.0
_RENEWALS_A_LEASE: Final = 3
ATTEMPT: Final = 1


class TurnLog(Protocol):
    """What a writer needs of a `TurnStore`."""

    async def append(self, claim: Claim, rows: Sequence[LogRow]) -> None: ...  # noqa: D102 - see TurnStore
    async def renew(self, claim: Claim) -> None: ...  # noqa: D102
    async def finish(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> None: ...  # noqa: D102


class TurnWriter:
    """Writes one turn's log, from the event after last_seq on.

    publish is called with rows once they are committed, in order; ended with the last of them. An idle writer commits at once; while a commit is in
    flight what comes is gathered, and neighbouring deltas become one of at most 1 KiB.
    """

    def __init__(
        self,
        log: TurnLog,
        codec: FrameCodec,
        clock: Clock,
        claim: Claim,
        last_seq: int,
        publish: Callable[[Sequence[LogRow], bool], None],
    ) -> None:
        self._log = log
        self._codec = codec
        self._clock = clock
        self._claim = claim
        self._last_seq = last_seq
        self._publish = publish
        self._pending: list[Happened] = []
        self._in_flight = False
        self._closing = False
        self._wake = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._task = asyncio.create_task(self._write(), name=f"turn-writer-{claim.turn_id}")

    @property
    def task(self) -> asyncio.Task[None]:
        """Ends by itself only when nothing can be written any more: with TurnLost, or Unavailable once patience was over."""
        return self._task

    async def put(self, event: Event) -> None:
        """Take an event, to be written after all before it. Waits while too many wait. Raises TurnLost, Unavailable."""
        while len(self._pending) >= _MOST_PENDING:
            self._room.clear()
            self._check()
            await self._room.wait()
        self._check()
        if self._in_flight and self._pending:
            together = merged(self._pending[-1].event, event)
            if together is not None:
                self._pending[-1] = Happened(self._pending[-1].time, together)
                return
        self._pending.append(Happened(self._clock(), event))
        self._wake.set()

    async def finish(self, terminal: Terminal, conclude: Callable[[bytes], Conclusion]) -> None:
        """End the turn: what is gathered, the terminal event and its conclusion, in one transaction, after the batch in flight.

        conclude gets the terminal event's bytes. It may be called again, with another terminal event, when it raised anything but TurnLost.
        """
        self._closing = True
        self._wake.set()
        await asyncio.wait({self._task})
        self._check()
        happened = [*self._pending, Happened(self._clock(), terminal)]
        events = number(self._last_seq + 1, ATTEMPT, happened)
        rows = pack(self._codec, self._claim.turn_id, events)
        conclusion = conclude(self._codec.encode_terminal(events[-1]))
        await repeated(lambda: self._log.finish(self._claim, rows, conclusion), _PATIENCE_SECONDS)
        self._pending.clear()
        self._last_seq = rows[-1].last_seq
        self._publish(rows, True)

    async def abort(self) -> None:
        """Write nothing more. A commit in flight may still come through; the epoch decides."""
        self._task.cancel()
        await asyncio.wait({self._task})
        if not self._task.cancelled():
            self._task.exception()  # whoever put or finished has met it

    def _check(self) -> None:
        if self._task.done() and not self._task.cancelled() and (error := self._task.exception()) is not None:
            raise error

    async def _write(self) -> None:
        try:
            while True:
                try:
                    async with asyncio.timeout(self._claim.lease_seconds / _RENEWALS_A_LEASE):
                        await self._wake.wait()
                except TimeoutError:
                    await repeated(lambda: self._log.renew(self._claim), _PATIENCE_SECONDS)
                    continue
                self._wake.clear()
                if self._closing:
                    return
                if self._pending:
                    await self._flush()
        finally:
            self._room.set()

    async def _flush(self) -> None:
        events: Sequence[NumberedEvent] = number(self._last_seq + 1, ATTEMPT, self._pending)
        self._pending = []
        self._room.set()
        rows = pack(self._codec, self._claim.turn_id, events)
        self._in_flight = True
        try:
            await repeated(lambda: self._log.append(self._claim, rows), _PATIENCE_SECONDS)
        finally:
            self._in_flight = False
        self._last_seq = rows[-1].last_seq
        self._publish(rows, False)
