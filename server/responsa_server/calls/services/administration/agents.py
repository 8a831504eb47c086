"""The parts of AdminService that are about the versions of agents, the default model, and the whole server: its status,
reloads of the agents, and the audit log."""

from __future__ import annotations

import asyncio

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.admin.v1 import model_settings_pb2, system_status_pb2
from responsa.chat.v1 import agent_pb2
from responsa_server.agents.engine.config import PASSAGES
from responsa_server.calls.call import caller
from responsa_server.calls.convert import agents, people, structs
from responsa_server.calls.convert.values import unmask
from responsa_server.calls.listing import Listing
from responsa_server.calls.services.parts import Services
from responsa_server.domain import lists, names
from responsa_server.domain.errors import NotFound, ResponsaError
from responsa_server.domain.parts import MigrationState
from responsa_server.domain.people import AuditEvent
from responsa_server.stores.postgres.agent_versions import PostgresAgentVersions
from responsa_server.stores.postgres.audit import PostgresAuditTrail
from responsa_server.stores.postgres.migrate import PostgresMigrations


class InstallationService:
    """The versions of agents, the default model, the system's status, reloads of the agents, and the audit log."""

    def __init__(self, parts: Services) -> None:
        self._parts = parts
        self._versions = PostgresAgentVersions(parts.database)
        self._catalogue = parts.catalogue
        self._models = parts.models
        self._migrations = PostgresMigrations(parts.database)
        self._audit = PostgresAuditTrail(parts.database)

    async def ListAgentVersions(self, request: pb.ListAgentVersionsRequest) -> pb.ListAgentVersionsResponse:
        listing = Listing(lists.AGENT_VERSIONS, caller(), request, parent=request.parent)
        agent = names.parse_slug("agents", request.parent)
        page = await self._versions.list(agent, listing.query)
        if not page.items:  # an agent may be gone, and its versions still there
            self._catalogue.card(agent)
        current = self._current()
        return listing.answer(pb.ListAgentVersionsResponse, page, lambda item: agents.version(item, current))

    async def GetAgentVersion(self, request: pb.GetAgentVersionRequest) -> agent_pb2.AgentVersion:
        return await self._get(*names.parse_version(request.name))

    async def PublishAgentVersion(self, request: pb.PublishAgentVersionRequest) -> agent_pb2.Agent:
        agent, number = names.parse_version(request.name)
        event = AuditEvent.of_call(caller(), request.name)
        await self._catalogue.publish(agent, number, event, request.etag)
        return await self._agent(agent)

    async def UpdateAgent(self, request: pb.UpdateAgentRequest) -> agent_pb2.Agent:
        unmask(request.update_mask, ("listed",), request.agent)
        agent = names.parse_slug("agents", request.agent.name)
        event = AuditEvent.of_call(caller(), request.agent.name)
        await self._catalogue.list_agent(
            agent, listed=request.agent.listed, event=event, etag=request.agent.etag
        )
        return await self._agent(agent)

    async def RollbackAgentVersion(self, request: pb.RollbackAgentVersionRequest) -> agent_pb2.Agent:
        agent, number = names.parse_version(request.name)
        await self._catalogue.roll_back(agent, number, AuditEvent.of_call(caller(), request.name))
        return await self._agent(agent)

    async def _agent(self, identity: str) -> agent_pb2.Agent:
        if all(
            card.id != identity for card in self._catalogue.cards()
        ):  # it was rolled back, and has no files
            return agent_pb2.Agent(name=names.agent(identity))
        card = self._catalogue.card(identity)
        return agents.agent(card, await self._catalogue.schema(caller(), card))

    async def _get(self, agent: str, number: int) -> agent_pb2.AgentVersion:
        version = await self._versions.get(agent, number)
        if version is None:
            raise NotFound.of("agent_version", names.agent_version(agent, number))
        # Files of the installation may hold what administrators of other tenants must not see.
        return agents.version(version, self._current(), with_content=caller().owner)

    async def CreateAgentVersion(self, request: pb.CreateAgentVersionRequest) -> agent_pb2.AgentVersion:
        agent = names.parse_slug("agents", request.parent)
        version = request.agent_version
        stored = await self._catalogue.create(
            agent,
            structs.whole("agent_version.content", version.content),
            structs.text("agent_version.card", version.card),
            AuditEvent.of_call(caller(), request.parent),
        )
        return await self._get(stored.agent, stored.number)

    def _current(self) -> frozenset[str]:
        return frozenset(card.version for card in self._catalogue.cards())

    async def GetModels(self, request: pb.GetModelsRequest) -> model_settings_pb2.ModelSettings:
        return agents.model_settings(await self._models.read())

    async def SetDefaultModel(self, request: pb.SetDefaultModelRequest) -> model_settings_pb2.ModelSettings:
        wanted = agents.to_default_model(request.default_model)
        await self._models.store(caller(), wanted, skip_test=request.skip_test)
        # The agents' versions name their models, so a reload takes the model over, here and on the other servers.
        await self._catalogue.reload()
        return agents.model_settings(await self._models.read())

    async def TestModel(self, request: pb.TestModelRequest) -> pb.TestModelResponse:
        return agents.test_of_model(
            await self._models.test(caller(), agents.to_default_model(request.default_model))
        )

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
