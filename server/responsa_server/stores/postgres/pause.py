"""The pause of a restored instance, in `responsa.pause`: until `responsa activate`, no worker takes over the turns of
the backup, no job runs, and no tool with effects is called (ADR 0090).

A database is paused before any server can use it, and never again later. So a server that has once seen no pause does not look again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, LiteralString
from uuid import UUID

from responsa_server.domain.errors import Unavailable
from responsa_server.domain.formatting import counted
from responsa_server.domain.parts import Health, PartReport
from responsa_server.domain.rows import build
from responsa_server.stores.postgres.database import Database, Queries, shielded
from responsa_server.stores.postgres.rows import all_rows, one_row

BEGIN: Final[LiteralString] = (
    "INSERT INTO responsa.pause DEFAULT VALUES ON CONFLICT (one) DO UPDATE SET begin_time = now(), turns = NULL"
)
"""Begins a pause, as the owner of the tables. Until `hold`, no server starts."""

LOOK_SECONDS: Final = 1.0
"""How often the server of a paused instance looks whether the pause has ended."""
_QUERIES: Final = Queries("pause.sql")
# As in `database`: commands import this module too.
_LOGGER: Final = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PauseState:
    """A pause, and what waits for its end. restoring: whether the restore has not ended. turns: the number of turns
    that were open in the backup and have not ended. jobs: the number of all jobs."""

    begin_time: datetime
    restoring: bool
    turns: int
    jobs: int

    @property
    def waiting(self) -> str:
        """Such as "3 turns and 1 job"."""
        return f"{counted(self.turns, 'turn')} and {counted(self.jobs, 'job')}"

    @property
    def sentence(self) -> str:
        """What is paused, and until when, for administrators."""
        return (
            "This instance was restored from a backup and is paused: it answers new questions, but "
            f"{self.waiting} wait, and it calls no tool with effects; "
            "`responsa activate` ends the pause"
        )


@dataclass(frozen=True, slots=True)
class HeldTurn:
    """A turn that was open in the backup, and has not ended."""

    id: UUID
    tenant_id: str
    user_id: UUID


class PostgresPause:
    """The pause in the database, for commands."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @shielded
    async def state(self) -> PauseState | None:
        """The pause; None without one. Raises Unavailable."""
        async with self._database.log() as connection:
            row = await one_row(connection, _QUERIES["state"], {})
        return None if row is None else build(PauseState, row)

    @shielded
    async def hold(self) -> None:
        """Hold all open turns, and let servers start. Raises Unavailable."""
        async with self._database.log() as connection:
            await connection.execute(_QUERIES["hold"])

    @shielded
    async def find_held(self) -> Sequence[HeldTurn]:
        """The turns that are held, the latest question of a conversation first. Raises Unavailable."""
        async with self._database.log() as connection:
            return [build(HeldTurn, row) for row in await all_rows(connection, _QUERIES["held"], {})]

    @shielded
    async def end(self) -> None:
        """End the pause. Workers take over the held turns, whose time limits count from now. Raises Unavailable."""
        async with self._database.log() as connection:
            await connection.execute(_QUERIES["resume_turns"])
            await connection.execute(_QUERIES["lift"])


class PauseWatch:
    """Whether a server's instance is paused. Implements `Pause` and `ReportedPart`. Call `start` before use, and `close` at the end."""

    name = "restore"

    def __init__(self, pause: PostgresPause) -> None:
        self._pause = pause
        self._paused = False
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> PauseState | None:
        """Begin to watch. Returns the pause; None without one. Raises Unavailable."""
        pause = await self._pause.state()
        self._paused = pause is not None
        if pause is not None:
            _LOGGER.warning("%s.", pause.sentence)
            self._task = asyncio.create_task(self._look(), name="pause")
        return pause

    def paused(self) -> bool:
        """Whether the instance was paused a moment ago."""
        return self._paused

    async def still(self) -> bool:
        """Whether the instance is paused now. A turn of the backup may go on before `paused` has noticed the end of the
        pause. Raises Unavailable."""
        if self._paused:
            self._paused = await self._pause.state() is not None
        return self._paused

    async def check(self) -> PartReport:
        """Report a pause as DEGRADED."""
        pause = await self._pause.state() if self._paused else None
        return PartReport(Health.OK) if pause is None else PartReport(Health.DEGRADED, detail=pause.sentence)

    async def close(self) -> None:
        """Stop watching."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])

    async def _look(self) -> None:
        while self._paused:
            await asyncio.sleep(LOOK_SECONDS)
            with suppress(Unavailable):  # as before
                await self.still()
        _LOGGER.info("The pause after the restore has ended.")
