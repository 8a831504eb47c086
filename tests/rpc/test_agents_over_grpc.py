"""Agents and teachers, as callers see them."""

from __future__ import annotations

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa_server.domain.problems import FileProblem
from tests.rpc.served import Served


async def test_a_reload_tells_of_each_agent(served: Served) -> None:
    served.cards.problems_of = [FileProblem("agent.toml", 7, "nodes.x", "There is no kind x", "extract")]
    found = await served.ann.ReloadAgents()
    assert [(agent.agent, agent.version, agent.changed) for agent in found.agents] == [
        ("agents/default", "agents/scripted/versions/1", True),
        ("agents/other", "agents/other/versions/7", False),
    ]
    (problem,) = found.agents[0].problems
    assert problem == admin.AgentProblem(
        file="agent.toml", line=7, key="nodes.x", message="There is no kind x", suggestion="extract"
    )
