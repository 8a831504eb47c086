"""Wakes the callers that wait for an operation, in the process that ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
from uuid import UUID


class EndedOperations:
    """Notifies waiting callers that an operation has ended. Only a hint: another process may end it, so callers must also poll."""

    def __init__(self) -> None:
        self._events: dict[UUID, set[asyncio.Event]] = {}

    @contextmanager
    def waiting(self, operation_id: UUID) -> Generator[asyncio.Event, None, None]:
        """An event that is set when the operation ends in this process. Read the operation after entering: it may have ended before."""
        event = asyncio.Event()
        self._events.setdefault(operation_id, set()).add(event)
        try:
            yield event
        finally:
            waiters = self._events[operation_id]
            waiters.discard(event)
            if not waiters:
                del self._events[operation_id]

    def ended(self, operations: Iterable[UUID]) -> None:
        """Wake the callers that wait for any of these operations."""
        for operation_id in operations:
            for event in self._events.get(operation_id, ()):
                event.set()


async def wait_until_set(event: asyncio.Event, seconds: float) -> None:
    """Wait for the event, at most `seconds` seconds."""
    with suppress(TimeoutError):
        await asyncio.wait_for(event.wait(), seconds)
