"""Tools and their problems."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from responsa.chat.v1 import tool_pb2
from responsa_server.calls.convert import enums, messages, structs
from responsa_server.domain import names
from responsa_server.domain.tools import ToolEntry, ToolProblem


def tool(entry: ToolEntry, agents: Sequence[str], *, problems: bool) -> tool_pb2.Tool:
    """Convert a tool. agents: the ids of the agents through which the caller may use it. problems: whether the caller sees its problems."""
    card = entry.card
    return tool_pb2.Tool(
        name=names.tool(card.id),
        title=card.title or card.id,
        description=card.description,
        kind=entry.kind,
        effect=enums.EFFECT.number(entry.effect if entry.usable else None),
        parameters_schema=structs.of(card.parameters),
        returns_schema=None if card.returns is None else structs.of(card.returns),
        timeout=timedelta(seconds=entry.timeout_seconds),
        agents=[names.agent(agent) for agent in agents],
        problems=[problem(item) for item in entry.problems] if problems else (),
    )


def problem(problem: ToolProblem) -> tool_pb2.ToolProblem:
    return messages.message(tool_pb2.ToolProblem, problem)
