"""Agents as users see them, and what became of reading them anew."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AgentCard:
    """An agent that may be asked. version: `agents/{id}/versions/{n}`; schema: of its parameters, a JSON Schema of one flat object; examples: questions to try.

    collections: where it searches when a question does not say (empty: all that the caller may read); models: `provider:model` in the order they are asked,
    empty for none.
    """

    id: str
    display_name: str
    description: str
    version: str
    schema: Mapping[str, object] = field(default_factory=dict[str, object])
    examples: Sequence[str] = ()
    collections: Sequence[str] = ()
    models: Sequence[str] = ()
    history_messages: int = 0
    is_default: bool = False


@dataclass(frozen=True, slots=True)
class AgentProblem:
    """Something wrong in an agent's files. file: relative to its folder; line: from 1, 0 where there is none; suggestion: what was meant, "" for no idea."""

    file: str
    line: int
    key: str
    message: str
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """What became of one agent when all were read anew. version: that serves now, "" where none does; problems: why what was read does not."""

    agent: str
    version: str
    changed: bool
    problems: Sequence[AgentProblem] = ()
