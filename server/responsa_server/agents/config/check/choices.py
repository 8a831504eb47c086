"""Prompts that the value of a field chooses: a field that there is, and values that it can have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

from pydantic import BaseModel

from responsa_server.agents.config.check import types
from responsa_server.agents.config.check.files import Surroundings
from responsa_server.agents.config.check.keys import options_of
from responsa_server.agents.config.check.problems import AGENT_FILE, Key, Problem, listed, meant
from responsa_server.agents.engine.config import AgentConfig
from responsa_server.agents.engine.options import BY, DEFAULT, Names


def choices(config: AgentConfig, surroundings: Surroundings) -> Iterator[Problem]:
    """Problems of tables that choose among prompts. Nodes of unknown kinds must have been sorted out before."""
    written: dict[str, set[str]] = {}
    for table in config.nodes.values():
        kind = surroundings.kinds[table.kind]
        options = options_of(kind.options, table)
        values: Mapping[str, Sequence[str]] = {}
        if kind.values is not None and options is not None:
            values = kind.values(options)
        for field in kind.output_model.model_fields:
            written.setdefault(table.writes.get(field, field), set()).update(values.get(field, ()))
    for name, table in config.nodes.items():
        for field, info in surroundings.kinds[table.kind].options.model_fields.items():
            given = table.options.get(field)
            if Names.PROMPT in info.metadata and isinstance(given, dict):
                prompts = cast("Mapping[str, Any]", given)
                yield from _table(("nodes", name, field), prompts, written, surroundings)


def _table(
    key: Key, given: Mapping[str, Any], written: Mapping[str, set[str]], surroundings: Surroundings
) -> Iterator[Problem]:
    for needed, what in ((BY, "the field that chooses"), (DEFAULT, "the prompt for all other values")):
        if needed not in given:
            yield Problem(AGENT_FILE, f"“{needed}” is missing: {what}", key)
    by = given.get(BY)
    if not isinstance(by, str):
        return
    if by not in written:
        yield from _unwritten(by, (*key, BY), written, surroundings)
        return
    values = written[by]
    for value in given:
        if values and value not in values and value not in (BY, DEFAULT):
            yield Problem(
                AGENT_FILE,
                f"“{by}” is never “{value}”; it is one of {listed(sorted(values))}",
                (*key, value),
                meant(value, values),
            )


def _unwritten(
    by: str, key: Key, written: Mapping[str, set[str]], surroundings: Surroundings
) -> Iterator[Problem]:
    """A field that nobody writes; it may be one that a node of another kind would."""
    if close := meant(by, written):
        yield Problem(AGENT_FILE, f"no node writes a field “{by}”", key, close)
        return
    fields = {field: name for name, one in surroundings.kinds.items() for field in _texts(one.output_model)}
    close = by if by in fields else meant(by, fields)
    hint = f"; a node of the kind “{fields[close]}” writes “{close}”" if close else ""
    yield Problem(AGENT_FILE, f"no node writes a field “{by}”{hint}", key, close if close != by else "")


def _texts(model: type[BaseModel]) -> Sequence[str]:
    return [name for name, info in model.model_fields.items() if types.scalar(info.annotation) is str]
