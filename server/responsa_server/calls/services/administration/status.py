"""The part of AdminService that is about the whole server: its status, reloads of the agents, and the audit log."""

from __future__ import annotations

import asyncio

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import system_status_pb2
from responsa_server.agents.engine.config import PASSAGES
from responsa_server.calls.call import caller
from responsa_server.calls.convert import agents, people
from responsa_server.calls.listing import Listing
from responsa_server.calls.services.parts import Services
from responsa_server.domain import lists
from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.parts import MigrationState
from responsa_server.domain.people import AuditEvent
from responsa_server.stores.postgres.audit import PostgresAuditTrail
from responsa_server.stores.postgres.migrate import PostgresMigrations


class SystemService:
    """The system's status, reloads of the agents, and the audit log."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts
        self._migrations = PostgresMigrations(parts.database)
        self._audit = PostgresAuditTrail(parts.database)

    async def GetSystemStatus(self, request: pb.GetSystemStatusRequest) -> system_status_pb2.SystemStatus:
        migration, reports = await asyncio.gather(self._migration(), self._parts.reports.all())
        # The counters and the errors are those of all tenants.
        owner = caller().owner
        return people.system_status(
            self._parts.installation,
            ", ".join((*self._parts.models.in_use, PASSAGES)),
            migration,
            [*reports.items()],
            self._parts.counters.read() if owner else (),
            self._parts.turns.errors.read() if owner else (),
        )

    async def ReloadAgents(self, request: pb.ReloadAgentsRequest) -> pb.ReloadAgentsResponse:
        """Read the files of all tools and agents again. The event is written first, so that no reload is missing in the audit log."""
        await self._audit.record(AuditEvent.of_call(caller(), "agents/-"))
        return agents.reloads(await self._parts.catalogue.reload(), self._parts.tools.problems())

    async def ListAuditEvents(self, request: pb.ListAuditEventsRequest) -> pb.ListAuditEventsResponse:
        asked = Listing(lists.AUDIT_EVENTS, caller(), request)
        page = await self._audit.list(caller().tenant_id, asked.query)
        return asked.answer(pb.ListAuditEventsResponse, page, people.audit_event)

    async def _migration(self) -> MigrationState:
        try:
            return await self._parts.reports.wait_for(self._migrations.state())
        except (ResponsaError, TimeoutError):
            # The database's own entry in the status reports that the database is down.
            return MigrationState("", pending=False)
