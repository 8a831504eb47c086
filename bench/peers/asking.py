"""An agent that only calls the model of the server `models.servers.bench`, and looks for citation marks as any agent does."""

from __future__ import annotations

import os
from typing import Final

from responsa_server.agents.engine.agent import AgentOptions, PlannedAgent
from responsa_server.agents.engine.graph import BEGIN, FINISH, Plan, Route
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.nodes.prompt import Prompt, PromptOptions
from responsa_server.providers.table import ModelTable

MODEL: Final = "bench:stamps"


def agent(models: ModelTable) -> PlannedAgent:
    """The agent. Its version belongs to this process, so that no other process takes over its open turns. Raises KeyError if the server is not configured."""
    chain = models.chain([MODEL])
    assert chain is not None
    write = Prompt(NodeParts(model=chain), "write", PromptOptions(cites=True))
    options = AgentOptions(
        version=f"agents/default/versions/asking-{os.getpid()}", time_limit_seconds=600.0, history_messages=0
    )
    return PlannedAgent(
        Plan({"write": write}, [Route(BEGIN, ("write",)), Route("write", (FINISH,))]), options
    )
