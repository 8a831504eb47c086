"""Agents and teachers, as callers see them."""

from __future__ import annotations

import grpc

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa_server.domain.problems import FileProblem
from tests.rpc.served import Served, failed


async def test_parameters_with_what_cannot_be_kept(served: Served) -> None:
    for content, field in (
        ({"level": "l\0w"}, "options.parameters.level"),
        ({"l\0": 1}, "options.parameters"),
        ({"of": {"x": ["a", "\0"]}}, "options.parameters.of.x[1]"),
        ({"x": "y" * 5000}, "options.parameters"),
    ):
        error = await failed(served.bob.Ask(text="Why?", options={"parameters": content}))
        assert (error.code, list(error.violations)) == (grpc.StatusCode.INVALID_ARGUMENT, [field]), content
    error = await failed(served.bob.Ask(text="Why?", options={"max_cost_usd_micros": -1}))
    assert error.violations == {"options.max_cost_usd_micros": "must be 1 or more"}


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


async def test_the_status_tells_what_was_counted(served: Served) -> None:
    for _ in range(2):
        served.counters.add("fallbacks", {"agent": "tutor", "kind": "without_retrieval"})
    served.counters.add("reloads", {})
    found = await served.ann.GetSystemStatus()
    assert [(counter.name, dict(counter.labels), counter.value) for counter in found.counters] == [
        ("fallbacks", {"agent": "tutor", "kind": "without_retrieval"}, 2),
        ("reloads", {}, 1),
    ]
