"""AdminService."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import system_status_pb2
from responsa_server.calls.call import Context
from responsa_server.calls.convert import people
from responsa_server.calls.services.teachers import TeacherCalls
from responsa_server.calls.work import Work
from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.ports.catalogue import Catalogue
from responsa_server.domain.ports.counters import Counters
from responsa_server.domain.ports.parts import (
    Health,
    Installation,
    Migrations,
    MigrationState,
    Part,
    PartReport,
)
from responsa_server.domain.ports.teachers import Teachers

Result = TypeVar("Result")

CHECK_SECONDS = 2.0


class AdminService(TeacherCalls):
    """What those who run Responsa want to know and to set."""

    def __init__(
        self,
        installation: Installation,
        migrations: Migrations,
        parts: Sequence[Part],
        counters: Counters,
        teachers: Teachers,
        catalogue: Catalogue,
        work: Work,
    ) -> None:
        super().__init__(teachers, catalogue, work)
        self._installation = installation
        self._migrations = migrations
        self._parts = tuple(parts)
        self._counters = counters

    async def GetSystemStatus(
        self, request: pb.GetSystemStatusRequest, context: Context
    ) -> system_status_pb2.SystemStatus:
        """Ask each part how it is, all at once."""
        migration, reports = await asyncio.gather(
            self._migration(), asyncio.gather(*(self._report(part) for part in self._parts))
        )
        named = [(part.name, report) for part, report in zip(self._parts, reports, strict=True)]
        return people.system_status(self._installation, migration, named, self._counters.read())

    async def _migration(self) -> MigrationState:
        try:
            return await self._bounded(self._migrations.state())
        except (ResponsaError, TimeoutError):
            # The database's own row says that it is away.
            return MigrationState("", pending=False)

    async def _report(self, part: Part) -> PartReport:
        """Ask one part. What it raises is a report too: the status is asked for when something is wrong."""
        try:
            return await self._bounded(part.check())
        except TimeoutError:
            return PartReport(Health.DOWN, detail=f"did not answer within {CHECK_SECONDS:g} seconds")
        except ResponsaError as error:
            return PartReport(Health.DOWN, detail=error.message)
        except Exception as error:
            # A broken part must not hide the others. Its texts may hold addresses, so its type alone is told.
            return PartReport(Health.DOWN, detail=f"failed with {type(error).__name__}")

    async def _bounded(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait for two seconds at most. Work that is late is not cut off in the midst of a database call; it ends unheard."""
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait((task,), timeout=CHECK_SECONDS)
        if not done:
            self._work.keep(task)
            raise TimeoutError
        return task.result()
