"""Agents, results of reloading them, tools, the default model, and tests of models."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

from responsa.admin.v1 import admin_service_pb2
from responsa.admin.v1 import model_settings_pb2 as pb
from responsa.chat.v1 import agent_pb2, tool_pb2
from responsa_server.calls.convert import enums, messages, structs
from responsa_server.domain import names
from responsa_server.domain.agents import AgentCard, AgentVersion, Reloaded
from responsa_server.domain.model_settings import DefaultModel, InstalledModels, ModelTest
from responsa_server.domain.problems import FileProblem
from responsa_server.domain.tools import ToolEntry


def tool(entry: ToolEntry, agents: Sequence[str], *, problems: bool) -> tool_pb2.Tool:
    """Convert a tool. agents: the ids of the agents through which the caller may use it. problems: whether the caller sees its problems."""
    card = entry.card
    return messages.message(
        tool_pb2.Tool,
        card,
        title=card.title or card.id,
        kind=entry.kind,
        effect=enums.EFFECT.number(entry.effect if entry.usable else None),
        parameters_schema=structs.of(card.parameters),
        returns_schema=None if card.returns is None else structs.of(card.returns),
        timeout=timedelta(seconds=entry.timeout_seconds),
        agents=[names.agent(agent) for agent in agents],
        problems=[messages.message(tool_pb2.ToolProblem, problem) for problem in entry.problems]
        if problems
        else (),
    )


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
    outcomes: Sequence[Reloaded], problems: Sequence[FileProblem]
) -> admin_service_pb2.ReloadAgentsResponse:
    """Convert the results of a reload. problems: the problems of the tools."""
    return admin_service_pb2.ReloadAgentsResponse(
        tool_problems=[messages.message(tool_pb2.ToolProblem, problem) for problem in problems],
        agents=[messages.message(admin_service_pb2.AgentReload, outcome) for outcome in outcomes],
    )


def to_default_model(model: pb.DefaultModel) -> DefaultModel:
    """Read the model of a request."""
    fields = [
        field.name
        for field in model.DESCRIPTOR.fields
        if not field.has_presence or model.HasField(cast("Any", field.name))
    ]
    return DefaultModel(**{name: getattr(model, name) for name in fields})


def model_settings(models: InstalledModels) -> pb.ModelSettings:
    model = messages.message(pb.DefaultModel, models.default_model, api_key="")
    return messages.message(pb.ModelSettings, models, default_model=model)


def test_of_model(tested: ModelTest) -> admin_service_pb2.TestModelResponse:
    return messages.message(
        admin_service_pb2.TestModelResponse,
        tested,
        duration=timedelta(milliseconds=round(tested.seconds * 1000)),
        windows={name: window for name, window in tested.models.items() if window},
    )
