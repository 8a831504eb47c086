"""The part of AdminService that is about the whole server: its status, and reloads of the agents."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final, TypeVar

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import system_status_pb2
from responsa_server.agents.config.tools import LiveTools
from responsa_server.calls.call import caller
from responsa_server.calls.convert import agents, people
from responsa_server.domain.agents import Catalogue
from responsa_server.domain.background import Background
from responsa_server.domain.counters import Counters
from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.parts import Health, Installation, MigrationState, PartReport, ReportedPart
from responsa_server.domain.people import AuditEvent
from responsa_server.domain.words import in_seconds
from responsa_server.stores.postgres.audit import PostgresAuditTrail
from responsa_server.stores.postgres.migrate import PostgresMigrations

Result = TypeVar("Result")

CHECK_SECONDS: Final = 2.0


class SystemService:
    """The system's status, and reloads of the agents."""

    def __init__(
        self,
        installation: Installation,
        migrations: PostgresMigrations,
        parts: Sequence[ReportedPart],
        counters: Counters,
        catalogue: Catalogue,
        tools: LiveTools,
        audit: PostgresAuditTrail,
        work: Background,
    ) -> None:
        self._installation = installation
        self._migrations = migrations
        self._parts = tuple(parts)
        self._counters = counters
        self._catalogue = catalogue
        self._tools = tools
        self._audit = audit
        self._work = work

    async def GetSystemStatus(self, request: pb.GetSystemStatusRequest) -> system_status_pb2.SystemStatus:
        migration, reports = await asyncio.gather(
            self._migration(), asyncio.gather(*(self._report(part) for part in self._parts))
        )
        named = [(part.name, report) for part, report in zip(self._parts, reports, strict=True)]
        # The counters are sums over all tenants.
        counts = self._counters.read() if caller().owner else ()
        return people.system_status(self._installation, migration, named, counts)

    async def ReloadAgents(self, request: pb.ReloadAgentsRequest) -> pb.ReloadAgentsResponse:
        """Read the files of all tools and agents again. The event is written first, so that no reload is missing in the audit log."""
        await self._audit.record(AuditEvent.of(caller(), "agents.reload", "agents/-"))
        return agents.reloads(await self._catalogue.reload(), self._tools.problems())

    async def _migration(self) -> MigrationState:
        try:
            return await self._bounded(self._migrations.state())
        except (ResponsaError, TimeoutError):
            # The database's own entry in the status reports that the database is down.
            return MigrationState("", pending=False)

    async def _report(self, part: ReportedPart) -> PartReport:
        """Ask one part for its health. If the part raises an error, the error becomes its report: the status is most needed when something is broken."""
        try:
            return await self._bounded(part.check())
        except TimeoutError:
            return PartReport(Health.DOWN, detail=f"did not answer within {in_seconds(CHECK_SECONDS)}")
        except ResponsaError as error:
            return PartReport(Health.DOWN, detail=error.message)
        except Exception as error:
            # A broken part must not hide the others. The error's text may hold addresses, so report only its type.
            return PartReport(Health.DOWN, detail=f"failed with {type(error).__name__}")

    async def _bounded(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Wait at most two seconds. Late work continues, so no database call is interrupted, but the result of late work is dropped."""
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait((task,), timeout=CHECK_SECONDS)
        if not done:
            self._work.hold(task)
            raise TimeoutError
        return task.result()
