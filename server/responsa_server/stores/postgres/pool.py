"""The pools of connections to PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool, PoolTimeout

_Connection = AsyncConnection[tuple[Any, ...]]
_IDLE_SECONDS: Final = 15.0
"""A pool that did not need all connections for so long closes one: each holds 4 to 13 MB of the database's memory."""


class Pool(AsyncConnectionPool[_Connection]):
    """A pool that loses no cancellation of a task that waits for a connection, and that can turn all waiting tasks away.

    psycopg_pool waits with `asyncio.wait_for`. Before Python 3.12, `wait_for` forgets a cancellation that comes at the
    same moment as the connection. A loop that had to stop then went on for ever, and so did the call that waited for
    its end.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """See `AsyncConnectionPool`."""
        super().__init__(*args, max_idle=_IDLE_SECONDS, **kwargs)
        self._limits: set[asyncio.Timeout] = set()

    def refuse_waiting(self) -> None:
        """Raise PoolTimeout in all tasks that wait for a connection now."""
        now = asyncio.get_running_loop().time()
        for limit in self._limits:
            limit.reschedule(now)

    async def getconn(self, timeout: float | None = None) -> _Connection:  # noqa: ASYNC109  the parameter of the library
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._limits.add(limit)
                return await self._get_or_return(timeout)
        except TimeoutError as error:
            if not limit.expired():
                raise
            raise PoolTimeout("the pool cannot connect") from error
        finally:
            self._limits.discard(limit)

    async def _get_or_return(self, timeout: float | None) -> _Connection:  # noqa: ASYNC109  the parameter of the library
        before = _cancellations()
        connection = await super().getconn(timeout)
        if _cancellations() > before:
            await self.putconn(connection)
            raise asyncio.CancelledError
        return connection

    async def wait(self, timeout: float = 30.0) -> None:  # noqa: ASYNC109  the parameter of the library
        """See `AsyncConnectionPool.wait`. A cancellation also closes the pool, as a timeout does: nobody else knows yet
        that it has tasks."""
        before = _cancellations()
        try:
            await super().wait(timeout)
            if _cancellations() > before:
                raise asyncio.CancelledError
        except asyncio.CancelledError:
            await self.close()
            raise


def _cancellations() -> int:
    """How often this task was cancelled."""
    task = asyncio.current_task()
    return 0 if task is None else task.cancelling()
