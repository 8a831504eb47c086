"""Agents that are written in code, for measurements and tests: the graph of the default agent without a model, and a
fixed table of agents."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from responsa_server.agents.config.live import missing
from responsa_server.agents.config.settings import DEFAULT
from responsa_server.agents.engine.agent import AgentOptions, PlannedAgent
from responsa_server.agents.engine.graph import BEGIN, FINISH, Plan, Route
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.state import GraphState
from responsa_server.agents.nodes.searching import RankOutput
from responsa_server.agents.nodes.table import KINDS
from responsa_server.domain import names
from responsa_server.domain.agents import HISTORY_MESSAGES, TIME_LIMIT_SECONDS, Agent
from responsa_server.domain.answers import EvidenceSource
from responsa_server.domain.experiments import Assignment
from responsa_server.domain.faults import Faults

OPTIONS: Final = AgentOptions(f"agents/{DEFAULT}/versions/1", TIME_LIMIT_SECONDS, HISTORY_MESSAGES)
"""The default agent's options."""
_KINDS: Final = {
    "rewrite": "rewriter",
    "retrieve": "retriever",
    "rank": "ranker",
    "passages": "passages",
    "refuse": "refuse",
}


def plan(parts: NodeParts) -> Plan:
    """The default agent's graph without a model. The graph skips steps that it does not need, and does not announce them."""
    return Plan(
        {name: KINDS[kind].make(parts, KINDS[kind].options(), name) for name, kind in _KINDS.items()},
        [
            Route(BEGIN, ("rewrite", "retrieve"), _first),
            Route("rewrite", ("retrieve",)),
            Route("retrieve", ("rank",)),
            Route("rank", ("passages", "refuse"), _verdict),
            Route("passages", (FINISH,)),
            Route("refuse", (FINISH,)),
        ],
        source=parts.source,
    )


def _first(state: GraphState) -> str:
    return "rewrite" if state.get("history") else "retrieve"


def _verdict(state: GraphState) -> str:
    ranking = RankOutput.model_validate({key: state.get(key) for key in ("evidence", "ranking")}).ranking
    return "passages" if ranking.near else "refuse"


class GraphAgent(PlannedAgent):
    """The default agent."""

    def __init__(
        self,
        source: EvidenceSource,
        options: AgentOptions | None = None,
        *,
        faults: Faults | None = None,
    ) -> None:
        super().__init__(plan(NodeParts(source)), options or OPTIONS, faults=faults)


class AgentTable:
    """Implements `Agents` with a fixed table of agents by id. Raises ValueError if the table lacks the default agent,
    or if an id does not match its agent."""

    def __init__(self, agents: Mapping[str, Agent]) -> None:
        if DEFAULT not in agents:
            raise ValueError(f"there is no agent {DEFAULT}")
        for identity, agent in agents.items():
            if not agent.version.startswith(f"{names.agent(identity)}/versions/"):
                raise ValueError(f"the table has the agent {agent.version} under the id {identity}")
        self._agents = dict(agents)
        self._by_version = {agent.version: agent for agent in agents.values()}

    def find(self, identity: str) -> Agent:
        """See `Agents.find`."""
        found = self._agents.get(identity or DEFAULT)
        if found is None:
            raise missing(identity, self._agents, broken=False)
        return found

    def assign(self, identity: str, user_id: UUID, conversation_id: UUID) -> tuple[Agent, Assignment | None]:
        """See `Agents.assign`. There are no experiments."""
        return self.find(identity), None

    async def version(self, identity: str, number: int) -> Agent:
        """See `Agents.version`."""
        return self.at(names.agent_version(identity, number))

    def at(self, version: str) -> Agent:
        """See `Agents.at`."""
        return self._by_version[version]

    @property
    def versions(self) -> Sequence[str]:
        """See `Agents.versions`."""
        return list(self._by_version)
