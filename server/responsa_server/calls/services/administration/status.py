"""The part of AdminService that is about the whole server: its status, and reloads of the agents."""

from __future__ import annotations

import asyncio

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import system_status_pb2
from responsa_server.agents.config.tools import LiveTools
from responsa_server.agents.engine.config import PASSAGES
from responsa_server.calls.call import caller
from responsa_server.calls.convert import agents, people
from responsa_server.calls.health import PartReports
from responsa_server.domain.agents import Catalogue
from responsa_server.domain.counters import Counters
from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.model_settings import ModelAdministration
from responsa_server.domain.parts import Installation, MigrationState
from responsa_server.domain.people import AuditEvent
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.stores.postgres.audit import PostgresAuditTrail
from responsa_server.stores.postgres.migrate import PostgresMigrations


class SystemService:
    """The system's status, and reloads of the agents."""

    def __init__(
        self,
        installation: Installation,
        migrations: PostgresMigrations,
        reports: PartReports,
        errors: UnexpectedErrors,
        counters: Counters,
        catalogue: Catalogue,
        tools: LiveTools,
        models: ModelAdministration,
        audit: PostgresAuditTrail,
    ) -> None:
        self._installation = installation
        self._migrations = migrations
        self._reports = reports
        self._errors = errors
        self._counters = counters
        self._catalogue = catalogue
        self._tools = tools
        self._models = models
        self._audit = audit

    async def GetSystemStatus(self, request: pb.GetSystemStatusRequest) -> system_status_pb2.SystemStatus:
        migration, reports = await asyncio.gather(self._migration(), self._reports.all())
        # The counters and the errors are those of all tenants.
        owner = caller().owner
        return people.system_status(
            self._installation,
            ", ".join((*self._models.in_use, PASSAGES)),
            migration,
            [*reports.items()],
            self._counters.read() if owner else (),
            self._errors.read() if owner else (),
        )

    async def ReloadAgents(self, request: pb.ReloadAgentsRequest) -> pb.ReloadAgentsResponse:
        """Read the files of all tools and agents again. The event is written first, so that no reload is missing in the audit log."""
        await self._audit.record(AuditEvent.of_call(caller(), "agents/-"))
        return agents.reloads(await self._catalogue.reload(), self._tools.problems())

    async def _migration(self) -> MigrationState:
        try:
            return await self._reports.wait_for(self._migrations.state())
        except (ResponsaError, TimeoutError):
            # The database's own entry in the status reports that the database is down.
            return MigrationState("", pending=False)
