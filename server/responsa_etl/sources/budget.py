"""What a run of a source or a check of a folder may use, and the places at which runs take turns.

What lists or fetches calls `spend` before it goes on. So it ends by its budget, and waits there if the run has given its
place to another tenant.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from responsa_server.domain.sharing import Scheduler, work_within

PLACE_SECONDS: Final = 20.0
"""How long a run holds a place while others wait for one."""
_LOOK_SECONDS: Final = 1.0


class BudgetSpent(Exception):
    """The budget is spent. The message names the limit, such as "20 requests"."""


@dataclass(frozen=True, slots=True)
class BudgetLimits:
    """seconds: of reading, without the time in which a run waits for a place. requests: to the servers of the source.
    entries: of its listings, whether or not they become documents. size: the bytes of listings, as they arrive, and of
    new documents, as they are spooled."""

    seconds: float
    requests: int
    entries: int
    size: int


class Budget:
    """What one reading has used."""

    def __init__(self, limits: BudgetLimits, places: Scheduler | None = None) -> None:
        """places: where a run takes turns with those of other tenants; None for a reading that needs no place."""
        self.limits = limits
        self.skipped = 0
        """The files of a folder that were left out by their suffix."""
        self._places = places
        self._used = Counter[str]()
        self._release: Callable[[], None] | None = None
        self._look: asyncio.TimerHandle | None = None

    @asynccontextmanager
    async def reading(self) -> AsyncGenerator[None]:
        """The block that reads. Raises BudgetSpent after its time."""
        try:
            async with work_within(self.limits.seconds):
                yield
        except TimeoutError:
            raise BudgetSpent(f"{self.limits.seconds:,g} seconds") from None

    def count(self, *, requests: int = 0, entries: int = 0, size: int = 0) -> None:
        """Raises BudgetSpent."""
        limits = self.limits
        self._used.update(requests=requests, entries=entries, bytes=size)
        for what, limit in (
            ("requests", limits.requests),
            ("entries", limits.entries),
            ("bytes", limits.size),
        ):
            if self._used[what] > limit:
                raise BudgetSpent(f"{limit:,} {what}")

    async def spend(self, *, requests: int = 0, entries: int = 0, size: int = 0) -> None:
        """Count, and wait for a place if the run has given up its own. Raises BudgetSpent."""
        self.count(requests=requests, entries=entries, size=size)
        await self.hold()

    async def hold(self) -> None:
        """Wait for a place, unless the run holds one."""
        if self._places is not None and self._release is None:
            self._release = await self._places.take()
            self._look = asyncio.get_running_loop().call_later(PLACE_SECONDS, self._give_up_if_wanted)

    def give_up(self) -> None:
        """Give up the place."""
        if self._look is not None:
            self._look.cancel()
        if self._release is not None:
            self._release()
        self._release = self._look = None

    def _give_up_if_wanted(self) -> None:
        if self._places is not None and self._places.is_wanted:
            self.give_up()
        else:
            self._look = asyncio.get_running_loop().call_later(_LOOK_SECONDS, self._give_up_if_wanted)
