"""Adds events to the sums of usage and quality, in a task of each process that runs turns."""

from __future__ import annotations

from typing import ClassVar, Final

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.stores.postgres.insight import PostgresInsight
from responsa_server.telemetry.unexpected import Loops, note

SECONDS: Final = 5.0
"""The time between two looks."""


class PeriodicTask:
    """Work that a process repeats. errors: counts the unexpected errors of rounds."""

    name: ClassVar[str]

    def __init__(self, errors: UnexpectedErrors | None = None) -> None:
        self.errors = errors or UnexpectedErrors()
        self._log: FilteringBoundLogger = structlog.get_logger(self.name)
        self._loops = Loops(self._log, self.errors)

    def start(self) -> None:
        """Begin. Returns at once."""
        self._loops.start(self.look, SECONDS, self.name, self.name)

    async def close(self) -> None:
        """Stop."""
        await self._loops.close()

    async def look(self) -> None:
        """Make a round if there may be work. Raises Unavailable."""
        await self.count()

    async def count(self) -> None:
        """Make a round. Raises Unavailable."""
        raise NotImplementedError

    def note_failure(self, error: Exception, **names: str) -> None:
        """Log and count an unexpected error of a part of a round."""
        note(self.errors, error, self.name)
        self._log.error(f"{self.name}_failed", exc_info=error, **names)


class InsightKeeper(PeriodicTask):
    """One process works at a time, in batches; a process that is killed leaves nothing that another one does not finish."""

    name = "insight"

    def __init__(self, store: PostgresInsight, errors: UnexpectedErrors | None = None) -> None:
        super().__init__(errors)
        self._store = store

    async def count(self) -> None:
        """Add all events to the sums. Raises Unavailable."""
        while await self._store.fold():
            pass
