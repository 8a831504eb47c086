"""The part of ChatService that is about tools."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from responsa.chat.v1 import chat_service_pb2 as pb
from responsa.chat.v1 import tool_pb2
from responsa_server.agents.config.tools import LiveTools
from responsa_server.calls.call import caller
from responsa_server.calls.convert import tools
from responsa_server.calls.listing import Listing
from responsa_server.calls.services.paging import fits, page_of
from responsa_server.domain import lists
from responsa_server.domain.agents import Catalogue
from responsa_server.domain.errors import NotFound
from responsa_server.domain.filters import holds
from responsa_server.domain.people import Principal
from responsa_server.domain.tools import ToolEntry


class ToolService:
    """The tools that agents can call."""

    def __init__(self, tools: LiveTools, agents: Catalogue) -> None:
        self._tools = tools
        self._agents = agents

    async def ListTools(self, request: pb.ListToolsRequest) -> pb.ListToolsResponse:
        """List the tools that the caller may use; for an owner, all."""
        principal = caller()
        listing = Listing(lists.TOOLS, principal, request)
        entries = [
            entry
            for entry in self._tools.entries()
            if self._visible(entry, principal)
            and all(holds(wanted, partial(fits, entry.card.title)) for wanted in listing.query.filters)
        ]
        page = page_of(entries, lambda entry: entry.card.id, listing.query)
        return listing.answer(pb.ListToolsResponse, page, lambda item: self._convert(item, principal))

    async def GetTool(self, request: pb.GetToolRequest) -> tool_pb2.Tool:
        who = caller()
        wanted = request.name.removeprefix("tools/")
        for entry in self._tools.entries():
            if entry.card.id == wanted and self._visible(entry, who):
                return self._convert(entry, who)
        raise NotFound.of("tool", request.name)

    def _visible(self, entry: ToolEntry, caller: Principal) -> bool:
        return caller.owner or (entry.usable and bool(self._users(entry, caller)))

    def _convert(self, entry: ToolEntry, caller: Principal) -> tool_pb2.Tool:
        return tools.tool(entry, self._users(entry, caller), problems=caller.owner)

    def _users(self, entry: ToolEntry, caller: Principal) -> Sequence[str]:
        """The agents through which this user may use the tool."""
        return [
            card.id
            for card in self._agents.cards()
            if entry.allow.chosen(card.tools, entry.names, entry.effect, card.id)
            and entry.allow.allows(caller, card.id)
        ]
