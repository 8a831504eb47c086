"""Waking those who wait for an operation in the process that ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from uuid import UUID


class Waiting:
    """Who waits for which operation. A hint only: an operation may end in another process, so waiters look from time to time too."""

    def __init__(self) -> None:
        self._bells: dict[UUID, set[asyncio.Event]] = {}

    @contextmanager
    def bell(self, operation_id: UUID) -> Generator[asyncio.Event, None, None]:
        """An event that is set when the operation has ended here. Look at the operation after entering: it may have ended before."""
        event = asyncio.Event()
        self._bells.setdefault(operation_id, set()).add(event)
        try:
            yield event
        finally:
            waiters = self._bells[operation_id]
            waiters.discard(event)
            if not waiters:
                del self._bells[operation_id]

    def ended(self, operations: Iterable[UUID]) -> None:
        """Wake those who wait for any of these."""
        for operation_id in operations:
            for event in self._bells.get(operation_id, ()):
                event.set()


async def rung(event: asyncio.Event, seconds: float) -> None:
    """Wait for the bell, for so long at most."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
