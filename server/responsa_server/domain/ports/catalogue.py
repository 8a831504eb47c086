"""The catalogue of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from responsa_server.domain.agents import AgentCard, Reloaded
from responsa_server.domain.people import Principal


class Catalogue(Protocol):
    """The agents of this installation, each in its last valid version."""

    def cards(self) -> Sequence[AgentCard]:
        """Return all agents, ordered by id."""
        ...

    def card(self, identity: str) -> AgentCard:
        """Return the agent with this id, "" for the default. Raises NotFound, whose message lists the agents."""
        ...

    async def schema(self, who: Principal, card: AgentCard) -> Mapping[str, object]:
        """Return the schema of an agent's parameters. A parameter that names a resource (`x-resource`) lists those that the caller may choose. Raises Unavailable."""
        ...

    def problems(self) -> Sequence[Reloaded]:
        """Return the agents whose files have mistakes now, whether or not an older version still serves."""
        ...

    async def reload(self) -> Sequence[Reloaded]:
        """Reload all files and replace the valid agents in one step; results are ordered by agent id. Raises Unavailable when versions cannot be stored: then nothing has changed."""
        ...
