"""Agents and teachers, as callers see them."""

from __future__ import annotations

import grpc
from google.protobuf import json_format

from responsa.admin.v1 import admin_service_pb2 as admin
from responsa_server.domain.agents import AgentProblem
from tests.rpc.served import Served, failed


async def test_agents_are_listed_by_name(served: Served) -> None:
    async def names(**asked: object) -> list[str]:
        found = await served.bob.ListAgents(**asked)
        return [agent.name for agent in found.agents]

    assert await names() == ["agents/default", "agents/other"]
    assert await names(order_by="name desc") == ["agents/other", "agents/default"]
    for text, count in (
        ("display_name = Rivers", 1),
        ("display_name != Rivers", 1),
        ("display_name : RIVERS", 2),
        ("display_name : *", 2),
        ("display_name < P", 1),
        ("display_name <= Rivers", 2),
        ("display_name > 'Other rivers'", 1),
        ("display_name >= 'Other rivers' AND display_name != Rivers", 1),
    ):
        assert len(await names(filter=text)) == count, text


async def test_an_agent_tells_what_it_can_be_asked_with(served: Served) -> None:
    found = await served.bob.GetAgent(name="agents/other")
    assert json_format.MessageToDict(found, preserving_proto_field_name=True) == {
        "name": "agents/other",
        "display_name": "Other rivers",
        "description": "Longer ones.",
        "version": "agents/other/versions/7",
        # The server adds the caller's records to the schema. A list returns the schema without these records.
        "parameters_schema": {"properties": {"level": {"enum": ["low", "high"]}}, "title": "acme"},
        "examples": ["How long is it?"],
        "collections": ["collections/atlas"],
        "models": ["scripted:strong"],
        "history_messages": 4,
    }
    listed = await served.bob.ListAgents()
    assert [agent.is_default for agent in listed.agents] == [True, False]
    assert "title" not in listed.agents[1].parameters_schema


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
    served.cards.problems_of = [AgentProblem("agent.toml", 7, "nodes.x", "There is no kind x", "extract")]
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
