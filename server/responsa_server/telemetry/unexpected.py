"""Counts unexpected errors, in the groups that GetSystemStatus returns and in the metrics; loops that outlive their errors."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from structlog.typing import FilteringBoundLogger

from responsa_server.domain.errors import Unavailable
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.telemetry import instruments


def note(errors: UnexpectedErrors, error: BaseException, identity: str) -> None:
    """Count an error. identity: see `UnexpectedErrors.add`."""
    group = errors.add(error, identity)
    instruments.ERRORS.add(1, group.error, group.place)


async def keep_going(
    work: Callable[[], Awaitable[object]],
    pause_seconds: float,
    log: FilteringBoundLogger,
    loop: str,
    errors: UnexpectedErrors,
) -> None:
    """Repeat work until it is cancelled, with a pause after each round. A round that fails does not end the loop.

    loop: the name of the loop in the log; failed rounds are logged as `{loop}_failed`, and the first of several for which
    a part was away as `{loop}_unavailable`. errors: counts the unexpected errors of rounds.
    """
    away = False
    while True:
        try:
            await work()
            away = False
        except Unavailable as error:
            if not away:
                log.warning(f"{loop}_unavailable", reason=error.reason.value)
            away = True
        except Exception as error:  # the next round may succeed
            note(errors, error, loop)
            log.exception(f"{loop}_failed")
        await asyncio.sleep(pause_seconds)


class Loops:
    """Works that a process repeats (see `keep_going`), each in a task of its own."""

    def __init__(self, log: FilteringBoundLogger, errors: UnexpectedErrors) -> None:
        self._log = log
        self._errors = errors
        self._tasks: list[asyncio.Task[None]] = []

    def start(
        self, work: Callable[[], Awaitable[object]], pause_seconds: float, loop: str, task: str
    ) -> None:
        """Begin to repeat a work. task: the name of its task. Returns at once."""
        going = keep_going(work, pause_seconds, self._log, loop, self._errors)
        self._tasks.append(asyncio.create_task(going, name=task))

    async def close(self) -> None:
        """Cancel all rounds, and wait until they have ended."""
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
