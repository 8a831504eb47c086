"""The table of agents that a process runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound
from responsa_server.domain.ports.agents import Agent

DEFAULT: Final = "default"
"""The id of the agent that answers who names none."""


def unknown(identity: str, known: Iterable[str]) -> NotFound:
    """The error for an agent that there is not; it lists those that there are."""
    error = NotFound.of("agent", names.agent(identity))
    return NotFound(error.reason, error.message, {**error.metadata, "known": ",".join(sorted(known))})


class AgentTable:
    """Implements `Agents`: agents by id, among them the default one. Raises ValueError for a table that does not fit its agents."""

    def __init__(self, agents: Mapping[str, Agent]) -> None:
        if DEFAULT not in agents:
            raise ValueError(f"there is no agent {DEFAULT}")
        for identity, agent in agents.items():
            if not agent.version.startswith(f"{names.agent(identity)}/versions/"):
                raise ValueError(f"the agent {agent.version} stands in the table as {identity}")
        self._agents = dict(agents)
        self._by_version = {agent.version: agent for agent in agents.values()}

    def named(self, identity: str) -> Agent:
        """See `Agents.named`."""
        found = self._agents.get(identity or DEFAULT)
        if found is None:
            raise unknown(identity, self._agents)
        return found

    def at(self, version: str) -> Agent:
        """See `Agents.at`."""
        return self._by_version[version]

    @property
    def versions(self) -> Sequence[str]:
        """See `Agents.versions`."""
        return list(self._by_version)
