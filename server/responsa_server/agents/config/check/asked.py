"""What conditions on edges ask for: fields that there are, and values that they can have."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, cast

from responsa_server.agents.config.check import types
from responsa_server.agents.config.check.fields import Node, TaskFields
from responsa_server.agents.config.check.problems import AGENT_FILE, Key, Problem, listed, meant
from responsa_server.agents.engine.conditions import REFERS_BACK, leaves
from responsa_server.agents.engine.config import AgentConfig, WhenTable

_JSON: Final[Mapping[str, Any]] = {"string": str, "integer": int, "number": float, "boolean": bool}


def conditions(config: AgentConfig, nodes: Mapping[str, Node]) -> Iterator[Problem]:
    """Problems of all conditions."""
    fields: dict[str, Any] = {name: info.annotation for name, info in TaskFields.model_fields.items()}
    fields[REFERS_BACK] = bool
    values: dict[str, Sequence[str]] = {}
    for node in nodes.values():
        for name, kind in node.outputs.items():
            fields[name] = kind if name not in fields or types.fits(kind, fields[name]) else types.UNKNOWN
        for name, some in node.values.items():
            values[name] = [*values.get(name, ()), *some]
    for number, edge in enumerate(config.graph.edges):
        if edge.when is None:
            continue
        for key, leaf in leaves(edge.when, ("graph", "edges", number, "when")):
            yield from _leaf(config, leaf, key, fields, values)


def _leaf(
    config: AgentConfig,
    leaf: WhenTable,
    key: Key,
    fields: Mapping[str, Any],
    values: Mapping[str, Sequence[str]],
) -> Iterator[Problem]:
    path = (leaf.field or "").split(".")
    kind, allowed = types.UNKNOWN, values.get(leaf.field or "")
    if path[0] == "parameters" and len(path) > 1:
        properties = config.parameters.properties
        if path[1] not in properties:
            yield Problem(
                AGENT_FILE,
                f"the agent has no parameter “{path[1]}”",
                (*key, "field"),
                meant(path[1], properties),
            )
            return
        schema = properties[path[1]]
        kind = _JSON.get(str(schema.get("type")), types.UNKNOWN)
        listed_values = schema.get("enum")
        if isinstance(listed_values, list) and all(isinstance(one, str) for one in listed_values):
            allowed = [str(one) for one in listed_values]
        path = path[:2]
    else:
        members: Mapping[str, Any] | None = fields
        for place, part in enumerate(path):
            if members is None:
                kind = types.UNKNOWN
                break
            if part not in members:
                where = (
                    f"no node writes a field “{part}”"
                    if place == 0
                    else f"“{'.'.join(path[:place])}” has no field “{part}”"
                )
                yield Problem(AGENT_FILE, where, (*key, "field"), meant(part, members))
                return
            kind = members[part]
            members = types.members(kind)
    yield from _value(leaf, key, kind, allowed)


def _value(leaf: WhenTable, key: Key, kind: Any, allowed: Sequence[str] | None) -> Iterator[Problem]:
    ((test, wanted),) = leaf.tests.items()
    if not types.known(kind) and allowed is None:
        return
    all_values = allowed if allowed is not None else types.values(kind)
    scalar = types.scalar(kind) if types.known(kind) else str
    match test:
        case "above" | "below":
            if scalar is not float:
                yield Problem(AGENT_FILE, f"“{leaf.field}” is no number but {types.name(kind)}", (*key, test))
        case "empty":
            if not types.sized(kind):
                yield Problem(
                    AGENT_FILE, f"“{leaf.field}” is {types.name(kind)}, which is never empty", (*key, test)
                )
        case _:
            each = cast("Sequence[object]", wanted if isinstance(wanted, tuple) else (wanted,))
            for one in each:
                if one is False and scalar is not bool:  # absent
                    continue
                given = float if isinstance(one, int | float) and not isinstance(one, bool) else type(one)
                if given is not scalar:
                    is_ = types.name(kind) if types.known(kind) else "text"
                    yield Problem(
                        AGENT_FILE, f"“{leaf.field}” is {is_}, and so never {_shown(one)}", (*key, test)
                    )
                elif all_values is not None and one not in all_values:
                    yield Problem(
                        AGENT_FILE,
                        f"“{leaf.field}” is never {_shown(one)}; it is one of {listed(all_values)}",
                        (*key, test),
                        meant(one, map(str, all_values)),
                    )


def _shown(value: object) -> str:
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"“{value}”"
        if isinstance(value, str)
        else str(value)
    )
