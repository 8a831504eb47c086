"""Agents as people are shown them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, cast

from responsa_server.agents.config.admission import schema_of
from responsa_server.agents.config.check import Problem
from responsa_server.agents.engine.config import RESOURCE, TEACHERS, AgentConfig
from responsa_server.domain.agents import AgentCard, AgentProblem
from responsa_server.domain.listing import ListQuery, Order
from responsa_server.domain.people import Principal
from responsa_server.domain.ports.teachers import Teachers
from responsa_server.domain.teachers import Teacher

MOST_CHOICES: Final = 200
"""Records that a schema lists; whoever has more names one by its id."""


def card(
    identity: str, version: str, config: AgentConfig, chain: Sequence[str], *, default: bool
) -> AgentCard:
    """The card of an agent. chain: its models, resolved."""
    return AgentCard(
        id=identity,
        display_name=config.name,
        description=config.description,
        version=version,
        schema=schema_of(config.parameters),
        examples=config.questions,
        collections=config.retrieval.collections,
        models=tuple(chain),
        history_messages=config.history.messages,
        is_default=default,
    )


async def with_choices(
    who: Principal, schema: Mapping[str, object], teachers: Teachers | None
) -> Mapping[str, object]:
    """The schema with the records that the caller may choose from, as `oneOf` of `const` and `title`. Raises Unavailable."""
    properties = cast("Mapping[str, Mapping[str, Any]]", schema.get("properties", {}))
    wanted = [name for name, one in properties.items() if one.get(RESOURCE) == TEACHERS]
    if not wanted or teachers is None:
        return schema
    page = await teachers.list(who, ListQuery(MOST_CHOICES, Order("display_name")))
    if not page.items:  # oneOf of nothing is no schema
        return schema
    choices = [_choice(one) for one in page.items]
    chosen = {name: {**properties[name], "oneOf": choices} for name in wanted}
    return {**schema, "properties": {**properties, **chosen}}


def problem(one: Problem) -> AgentProblem:
    """A problem as it is told to administrators."""
    return AgentProblem(one.file, one.line or 0, one.path, one.message, one.suggestion)


def _choice(teacher: Teacher) -> Mapping[str, object]:
    return {"const": str(teacher.id), "title": teacher.display_name}
