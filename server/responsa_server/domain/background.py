"""Runs work that continues even if the task that waits for the work is cancelled."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from responsa_server.domain.errors import Overtaken, ResponsaError

# The domain imports only the standard library, so this module does not use structlog.
_LOGGER: Final = logging.getLogger(__name__)
_STOP_SECONDS: Final = 1.0

Result = TypeVar("Result")
Report = Callable[[BaseException], None]
"""Receives the error of work if no caller waits for the work."""


class Background:
    """Holds the tasks of one owner until they end, so that no task is lost, interrupted by its caller, or forgotten at
    shutdown.

    A waiting caller receives a task's error. If no caller waits, this class logs the error: a ResponsaError is logged
    at level INFO with its reason, an Overtaken at level INFO with its class, and any other error at level ERROR with its
    traceback. The owner calls `drain` or `cancel` when it shuts down.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Future[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    async def run(
        self,
        work: Coroutine[Any, Any, Result] | asyncio.Future[Result],
        *,
        report: Report | None = None,
    ) -> Result:
        """Run work and return its result. If the caller is cancelled, the caller returns at once, but the work runs to
        its end.

        report: a function that receives the work's error if the caller was cancelled; if None, this error is logged.
        Raises the errors of the work.
        """
        task = asyncio.ensure_future(work)
        self._hold(task)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        task.add_done_callback(partial(_wake, waiter))
        try:
            # `asyncio.shield` is not used, because it cannot distinguish a cancelled caller from cancelled work.
            await waiter
        except asyncio.CancelledError:
            task.add_done_callback(partial(_report, report or log_error))
            raise
        try:
            return task.result()
        finally:
            # An error refers to this frame. Without a cycle, it is freed with what it refers to, and not when garbage is collected.
            del task, work

    def start(
        self, work: Coroutine[Any, Any, Result], *, name: str | None = None, report: Report | None = None
    ) -> asyncio.Task[Result]:
        """Start work without a waiting caller; its error is logged, or passed to report."""
        task = asyncio.create_task(work, name=name)
        self.hold(task, report=report)
        return task

    def hold(self, task: asyncio.Future[Any], *, report: Report | None = None) -> None:
        """Hold a task that was started elsewhere and has no waiting caller; its error is logged, or passed to report."""
        self._hold(task)
        task.add_done_callback(partial(_report, report or log_error))

    async def drain(self, within: float | None = None) -> None:
        """Wait until all work has ended, including work that starts in the meantime.

        within: the number of seconds after which the remaining work is cancelled, or None for no limit.
        """
        loop = asyncio.get_running_loop()
        deadline = None if within is None else loop.time() + within
        while self._tasks:
            left = None if deadline is None else deadline - loop.time()
            if left is not None and left <= 0:
                break
            await asyncio.wait(tuple(self._tasks), timeout=left)
        await self.cancel()

    async def cancel(self) -> None:
        if tasks := tuple(self._tasks):
            for task in tasks:
                task.cancel()
            _, running = await asyncio.wait(tasks, timeout=_STOP_SECONDS)
            if running:
                _LOGGER.error("background work does not stop: %d tasks are still running", len(running))

    def _hold(self, task: asyncio.Future[Any]) -> None:
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def log_error(error: BaseException) -> None:
    """Log the error of work without a waiting caller."""
    if isinstance(error, ResponsaError):
        _LOGGER.info("background work ended with %s", error.reason.value)
    elif isinstance(error, Overtaken):
        _LOGGER.info("background work ended with %s", type(error).__name__)
    else:
        _LOGGER.error("background work failed", exc_info=error)


def _wake(waiter: asyncio.Future[None], _: asyncio.Future[Any]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def _report(report: Report, task: asyncio.Future[Any]) -> None:
    error = None if task.cancelled() else task.exception()
    if error is not None:
        report(error)
