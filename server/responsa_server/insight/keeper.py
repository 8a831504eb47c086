"""Adds events to the sums of usage and quality, in a task of each process that runs turns."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.domain.insight import TurnFacts
from responsa_server.stores.postgres.insight import PostgresInsight
from responsa_server.turns.runtime import keep_going

SECONDS: Final = 5.0
"""The time between two looks."""
_PAUSE_SECONDS: Final = 0.2
"""The pause after each batch of the turns of an earlier release, so that questions do not wait for a year of turns to be counted."""


class InsightKeeper:
    """One process works at a time, in batches; a process that is killed leaves nothing that another one does not finish. facts: what is counted of a terminal event's bytes."""

    def __init__(
        self, store: PostgresInsight, facts: Callable[[bytes], TurnFacts], *, seconds: float = SECONDS
    ) -> None:
        self._store = store
        self._facts = facts
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None
        self._log: FilteringBoundLogger = structlog.get_logger("insight")

    def start(self) -> None:
        """Begin. Returns at once."""
        self._task = asyncio.create_task(
            keep_going(self.count, self._seconds, self._log, "insight"), name="insight"
        )

    async def close(self) -> None:
        """Stop."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def count(self) -> None:
        """Add all events to the sums, then those of turns that an earlier release has ended. Raises Unavailable."""
        while await self._store.fold():
            pass
        turns = 0
        while recounted := await self._store.recount(self._facts):
            turns += recounted
            await self._store.fold()
            await asyncio.sleep(_PAUSE_SECONDS)
        if turns:
            self._log.info("turns_recounted", turns=turns)
