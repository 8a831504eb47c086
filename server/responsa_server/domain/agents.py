"""Agents as users see them, and the result of reloading them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class AgentCard:
    """An agent that users can ask.

    version: `agents/{id}/versions/{n}`. schema: the JSON Schema of its parameters, one flat object. examples: questions to try. collections: where it
    searches when a question names none (empty: all that the caller may read). models: `provider:model` in the order of use, empty when it needs none.
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
    """A mistake in an agent's files. file: relative to the agent's folder; line: from 1, or 0 when unknown; suggestion: a correction, "" for none."""

    file: str
    line: int
    key: str
    message: str
    suggestion: str = ""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """The result of reloading one agent. version: the one that serves now, "" for none; problems: why the files could not be used."""

    agent: str
    version: str
    changed: bool
    problems: Sequence[AgentProblem] = ()
