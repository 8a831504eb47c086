"""Loops that a process must not be without."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from structlog.typing import FilteringBoundLogger

from responsa_server.domain.errors import Unavailable


async def keep_going(
    work: Callable[[], Awaitable[None]], pause_seconds: float, log: FilteringBoundLogger, loop: str
) -> None:
    """Do work again and again, until it is cancelled, with pauses between, whatever happens to a round of it.

    loop: what it is to the log, which is told of rounds that failed as `{loop}_unavailable` and `{loop}_failed`.
    """
    while True:
        try:
            await work()
        except Unavailable as error:
            log.warning(f"{loop}_unavailable", reason=error.reason.value)
        except Exception:  # the next round may do better
            log.exception(f"{loop}_failed")
        await asyncio.sleep(pause_seconds)
