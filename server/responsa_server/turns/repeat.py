"""Repeating what a lost connection left undone or unknown."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from responsa_server.domain.errors import Unavailable

Result = TypeVar("Result")

_FIRST_PAUSE: Final = 0.02
_LONGEST_PAUSE: Final = 1.0


async def repeated(work: Callable[[], Awaitable[Result]], patience_seconds: float) -> Result:
    """Do work that may be repeated until it comes through, with pauses that double and jitter.

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
