"""Work that is done again: until it comes through, or for ever."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from structlog.typing import FilteringBoundLogger

from responsa_server.domain.errors import Unavailable

Result = TypeVar("Result")

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


async def repeated(work: Callable[[], Awaitable[Result]], patience_seconds: float) -> Result:
    """Repeat work until it succeeds, with pauses that double and jitter. The work must be safe to repeat.

    Raises the last Unavailable once patience is over, and any other error at once.
    """
    deadline = asyncio.get_running_loop().time() + patience_seconds
    pause = _FIRST_PAUSE
    while True:
        try:
            return await work()
        except Unavailable:
            if asyncio.get_running_loop().time() + pause > deadline:
                raise
        await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311 - spreads callers, hides nothing
        pause = min(2 * pause, _LONGEST_PAUSE)


async def keep_going(
    work: Callable[[], Awaitable[None]], pause_seconds: float, log: FilteringBoundLogger, loop: str
) -> None:
    """Do work again and again, until it is cancelled, with pauses between, whatever happens to a round of it.

    loop: its name in the log; rounds that fail are logged as `{loop}_unavailable` and `{loop}_failed`.
    """
    while True:
        try:
            await work()
        except Unavailable as error:
            log.warning(f"{loop}_unavailable", reason=error.reason.value)
        except Exception:  # the next round may do better
            log.exception(f"{loop}_failed")
        await asyncio.sleep(pause_seconds)
