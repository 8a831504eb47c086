"""The part of AdminService that is about the versions of agents."""

from __future__ import annotations

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa.chat.v1 import agent_pb2
from responsa_server.calls.call import caller
from responsa_server.calls.convert import agents, structs
from responsa_server.calls.convert.values import unmask
from responsa_server.calls.listing import Listing
from responsa_server.domain import lists, names
from responsa_server.domain.agents import Catalogue
from responsa_server.domain.errors import NotFound
from responsa_server.domain.people import AuditEvent
from responsa_server.stores.postgres.agent_versions import PostgresAgentVersions


class AgentVersionService:
    """The versions of agents."""

    def __init__(self, versions: PostgresAgentVersions, catalogue: Catalogue) -> None:
        self._versions = versions
        self._catalogue = catalogue

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
