"""Measures the lag of an event loop every five milliseconds."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from typing import Final

_EVERY_SECONDS: Final = 0.005


@asynccontextmanager
async def lagging() -> AsyncGenerator[Sequence[float]]:
    """Yields a list that grows during the block. It contains the lag of the event loop in milliseconds, one value per sample.

    A blocked loop misses samples. The list contains these missed samples too, each with its lag. Otherwise a long blockage would be only one value among many.
    """
    found: list[float] = []

    async def look() -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + _EVERY_SECONDS
            await asyncio.sleep(_EVERY_SECONDS)
            late = max(0.0, loop.time() - due)
            found.append(late * 1000)
            while (late := late - _EVERY_SECONDS) > 0:
                found.append(late * 1000)

    looking = asyncio.create_task(look())
    try:
        yield found
    finally:
        looking.cancel()
        await asyncio.wait([looking])
