"""Work that continues after its call has ended."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")


class Work:
    """Keeps references to such work, so that it is not garbage-collected, and lets a draining server wait for it."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[Any]] = set()

    def keep(self, task: asyncio.Future[Any]) -> None:
        """Hold on to a task until it is done. If it fails, nobody receives the error."""
        self._tasks.add(task)
        task.add_done_callback(self._drop)

    def _drop(self, task: asyncio.Future[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled():
            task.exception()

    async def finished(self) -> None:
        """Return once no work is running."""
        while self._tasks:
            await asyncio.wait(tuple(self._tasks))

    async def uncut(self, work: Coroutine[Any, Any, Result] | asyncio.Future[Result]) -> Result:
        """Run to the end even when the waiting task is cancelled. For writes inside handlers that may be cancelled."""
        task = asyncio.ensure_future(work)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self.keep(task)
            raise
