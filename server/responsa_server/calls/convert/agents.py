"""Agents, and results of reloading them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from responsa.admin.v1 import admin_service_pb2
from responsa.chat.v1 import agent_pb2
from responsa_server.calls.convert import messages, structs, tools
from responsa_server.domain.agents import AgentCard, AgentVersion, Reloaded
from responsa_server.domain.tools import ToolProblem


def agent(card: AgentCard, schema: Mapping[str, object]) -> agent_pb2.Agent:
    """Convert an agent. schema: the JSON Schema of the agent's parameters to show to this caller."""
    return messages.message(
        agent_pb2.Agent,
        card,
        parameters_schema=structs.of(schema),
    )


def version(
    agent_version: AgentVersion, current: Collection[str], *, with_content: bool = False
) -> agent_pb2.AgentVersion:
    """Convert a version of an agent. current: the names of the versions that answer new questions."""
    content = (
        structs.of_text(agent_version.content.decode()) if with_content and agent_version.content else None
    )
    card = structs.of_text(agent_version.card) if agent_version.card else None
    return messages.message(
        agent_pb2.AgentVersion,
        agent_version,
        is_current=agent_version.name in current,
        content=content,
        card=card,
    )


def reloads(
    outcomes: Sequence[Reloaded], problems: Sequence[ToolProblem]
) -> admin_service_pb2.ReloadAgentsResponse:
    """Convert the results of a reload. problems: the problems of the tools."""
    return admin_service_pb2.ReloadAgentsResponse(
        tool_problems=[tools.problem(problem) for problem in problems],
        agents=[messages.message(admin_service_pb2.AgentReload, outcome) for outcome in outcomes],
    )
