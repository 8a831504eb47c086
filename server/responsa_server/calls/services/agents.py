"""ChatService: the agents that there are to ask."""

from __future__ import annotations

from collections.abc import Sequence

from responsa.chat.v1 import agent_pb2
from responsa.chat.v1 import chat_service_pb2 as pb
from responsa.chat.v1.chat_service_pb2_grpc import ChatServiceServicer
from responsa_server.calls import listing
from responsa_server.calls.call import Context, caller
from responsa_server.calls.convert import agents
from responsa_server.calls.convert.basics import named_slug
from responsa_server.calls.listing import Listing
from responsa_server.domain.agents import AgentCard
from responsa_server.domain.listing import Comparison, ListQuery, Operator, Page
from responsa_server.domain.ports.catalogue import Catalogue


class AgentCalls(ChatServiceServicer):
    """The calls of ChatService that tell of agents."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    async def ListAgents(self, request: pb.ListAgentsRequest, context: Context) -> pb.ListAgentsResponse:
        """List the agents."""
        asked = Listing(listing.AGENTS, caller(), request)
        page = page_of(self._catalogue.cards(), asked.query)
        return pb.ListAgentsResponse(
            agents=[agents.agent(one, one.schema) for one in page.items], next_page_token=asked.token(page)
        )

    async def GetAgent(self, request: pb.GetAgentRequest, context: Context) -> agent_pb2.Agent:
        """Return one agent, with what the caller may choose from."""
        card = self._catalogue.card(named_slug("name", "agents", request.name))
        return agents.agent(card, await self._catalogue.schema(caller(), card))


def page_of(cards: Sequence[AgentCard], query: ListQuery) -> Page[AgentCard]:
    """A page of what is in memory, by name, as the lists of the database are cut."""
    descending = query.order.descending
    found = sorted(
        (one for one in cards if all(_fits(one.display_name, asked) for asked in query.filters)),
        key=lambda one: one.id,
        reverse=descending,
    )
    if query.after is not None:
        last = query.after[1]
        found = [one for one in found if (one.id < last if descending else one.id > last)]
    shown = found[: query.limit]
    return Page(shown, (shown[-1].id, shown[-1].id) if len(found) > query.limit else None)


def _fits(text: str, asked: Comparison) -> bool:
    value = asked.value
    match asked.operator:
        case Operator.EQ:
            return text == value
        case Operator.NE:
            return text != value
        case Operator.LT:
            return text < value
        case Operator.LE:
            return text <= value
        case Operator.GT:
            return text > value
        case Operator.GE:
            return text >= value
        case Operator.HAS:
            return text != "" if value == "*" else value.lower() in text.lower()
