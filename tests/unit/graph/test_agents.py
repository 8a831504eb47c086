from __future__ import annotations

from dataclasses import replace

import pytest

from bench.agents import OPTIONS, AgentTable, GraphAgent
from responsa_server.domain.agents import Agents
from responsa_server.domain.errors import NotFound, Reason
from tests.unit.graph.evidence import Shelf


def agent(version: str) -> GraphAgent:
    shelf = Shelf()
    return GraphAgent(shelf, replace(OPTIONS, version=version))


def test_agents_are_found_by_id_and_by_version() -> None:
    one, other = agent("agents/default/versions/1"), agent("agents/testing/versions/3")
    table: Agents = AgentTable({"default": one, "testing": other})
    assert table.named("") is table.named("default") is one
    assert table.named("testing") is table.at("agents/testing/versions/3") is other
    assert list(table.versions) == ["agents/default/versions/1", "agents/testing/versions/3"]
    with pytest.raises(NotFound) as caught:
        table.named("nobody")
    assert caught.value.reason is Reason.RESOURCE_NOT_FOUND
    assert caught.value.metadata == {
        "resource_type": "agent",
        "resource_name": "agents/nobody",
        "known": "default,testing",
    }
    with pytest.raises(KeyError):
        table.at("agents/default/versions/2")


def test_a_table_must_fit_its_agents() -> None:
    with pytest.raises(ValueError, match="no agent default"):
        AgentTable({})
    with pytest.raises(ValueError, match="under the id other"):
        AgentTable(
            {"default": agent("agents/default/versions/1"), "other": agent("agents/default/versions/1")}
        )
