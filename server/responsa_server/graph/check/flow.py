"""What flows through the graph: fields that conditions ask for, inputs that every way provides, types that fit, and text that is told once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from responsa_server.graph.check import types
from responsa_server.graph.check.edges import ways
from responsa_server.graph.check.files import Surroundings
from responsa_server.graph.check.keys import options_of
from responsa_server.graph.check.problems import AGENT_FILE, Key, Problem, listed, meant
from responsa_server.graph.conditions import REFERS_BACK, demanded, leaves
from responsa_server.graph.config import BEGIN, FINISH, AgentConfig, EdgeTable, WhenTable
from responsa_server.graph.node import NodeModel
from responsa_server.graph.registry import Kind
from responsa_server.graph.state import Said

ENDS: Final = ("answer", "refusal", "text")
"""The fields that a turn's end is made of; one must be there."""
_JSON: Final[Mapping[str, Any]] = {"string": str, "integer": int, "number": float, "boolean": bool}


class TaskFields(NodeModel):
    """What every turn begins with."""

    question: str
    collections: tuple[str, ...]
    history: tuple[Said, ...]
    older: tuple[Said, ...]
    parameters: Any


@dataclass(frozen=True, slots=True)
class _Node:
    name: str
    kind: Kind
    values: Mapping[str, Sequence[str]]
    tells: bool
    inputs: Mapping[str, tuple[Any, bool]]
    """By key of the state: the type, and whether it must be there."""
    outputs: Mapping[str, Any]
    """By key of the state: the type."""


def flow(config: AgentConfig, surroundings: Surroundings) -> Iterator[Problem]:
    """Problems of what nodes and conditions read and write. Nodes of unknown kinds must have been sorted out before."""
    nodes = {name: _node(config, name, surroundings) for name in config.nodes}
    edges = ways(config)
    yield from _conditions(config, nodes)
    for node in nodes.values():
        yield from _inputs(node, nodes, edges)
        yield from _types(node, nodes, edges)
    yield from _told_twice(nodes, edges)
    yield from _never_told(nodes, edges)
    yield from _endless(nodes, edges)


def _node(config: AgentConfig, name: str, surroundings: Surroundings) -> _Node:
    table = config.nodes[name]
    kind = surroundings.kinds[table.kind]
    options = options_of(kind.options, table)
    found: Mapping[str, Sequence[str]] = {}
    if kind.values is not None and options is not None:
        found = kind.values(options)
    values = {table.writes.get(field, field): one for field, one in found.items()}
    inputs, outputs = kind.input_model.model_fields.items(), kind.output_model.model_fields.items()
    return _Node(
        name,
        kind,
        values,
        kind.tells and getattr(options, "stream", True),
        {table.reads.get(key, key): (info.annotation, info.is_required()) for key, info in inputs},
        {table.writes.get(key, key): info.annotation for key, info in outputs},
    )


# Conditions


def _conditions(config: AgentConfig, nodes: Mapping[str, _Node]) -> Iterator[Problem]:
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


# Fields


def _inputs(
    node: _Node, nodes: Mapping[str, _Node], edges: Mapping[str, Sequence[EdgeTable]]
) -> Iterator[Problem]:
    for field, (_, required) in node.inputs.items():
        if not required or field in TaskFields.model_fields:
            continue

        def provides(edge: EdgeTable, field: str = field) -> bool:
            source = nodes.get(edge.source)
            written = source is not None and edge.on is None and field in source.outputs
            return written or any(field in _implied(one, nodes) for one in demanded(edge.when))

        if (path := _way(edges, BEGIN, {node.name}, provides)) is not None:
            yield Problem(
                AGENT_FILE,
                f"needs “{field}”, which the way {' → '.join(path)} does not provide",
                ("nodes", node.name),
                _provider(field, nodes),
            )


def _implied(field: str, nodes: Mapping[str, _Node], seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """What is there wherever a field is: what each node that writes it writes beside it, and had to read. Nothing is ever taken out of the state."""
    each: list[frozenset[str]] = []
    for node in nodes.values():
        if field in node.outputs and node.name not in seen:
            needed = [name for name, (_, required) in node.inputs.items() if required]
            before = [_implied(name, nodes, seen | {node.name}) for name in needed]
            each.append(frozenset(node.outputs).union(*before))
    return frozenset({field}) | (each[0].intersection(*each[1:]) if each else frozenset[str]())


def _provider(field: str, nodes: Mapping[str, _Node]) -> str:
    """A field of nearly the same name that some node writes, where none writes this one."""
    written = {name for node in nodes.values() for name in node.outputs}
    return "" if field in written else meant(field, written)


def _types(
    node: _Node, nodes: Mapping[str, _Node], edges: Mapping[str, Sequence[EdgeTable]]
) -> Iterator[Problem]:
    for field, (wanted, _) in node.inputs.items():
        if field in TaskFields.model_fields and not types.fits(
            TaskFields.model_fields[field].annotation, wanted
        ):
            given = types.name(TaskFields.model_fields[field].annotation)
            yield Problem(
                AGENT_FILE,
                f"reads “{field}” as {types.name(wanted)}, and every turn has it as {given}",
                ("nodes", node.name),
            )
        for producer in nodes.values():
            given = producer.outputs.get(field)
            if given is None or types.fits(given, wanted) or _way(edges, producer.name, {node.name}) is None:
                continue
            yield Problem(
                AGENT_FILE,
                f"reads “{field}” as {types.name(wanted)}, and “{producer.name}” writes it as {types.name(given)}",
                ("nodes", node.name),
            )


def _told_twice(nodes: Mapping[str, _Node], edges: Mapping[str, Sequence[EdgeTable]]) -> Iterator[Problem]:
    for first in nodes.values():
        if not first.tells:
            continue
        for second in nodes.values():
            # One that reads the text goes on where it ends, unless it is there to tell it, or what was told stands elsewhere.
            goes_on = "text" in second.inputs and "text" in first.outputs and not second.kind.tells_anew
            if not second.tells or goes_on:
                continue
            # By a fallback edge the first has told nothing.
            if (
                path := _way(
                    edges,
                    first.name,
                    {second.name},
                    lambda edge, name=first.name: edge.source == name and edge.on is not None,
                )
            ) is not None:
                yield Problem(
                    AGENT_FILE,
                    f"tells the answer's text, and so has “{first.name}” on the way {' → '.join(path)}; one of them must not (stream = false)",
                    ("nodes", second.name),
                )


def _never_told(nodes: Mapping[str, _Node], edges: Mapping[str, Sequence[EdgeTable]]) -> Iterator[Problem]:
    """Text that is kept for others to tell, on a way where nobody does."""
    telling = {name for name, node in nodes.items() if node.tells and node.kind.tells_anew}
    for name, node in nodes.items():
        if not node.kind.tells or node.tells:
            continue
        # By a fallback edge it has written nothing.
        ends = {FINISH} | {one for one in nodes if not any(edge.on is None for edge in edges[one])}
        path = (
            [name]
            if name in ends
            else _way(
                edges,
                name,
                ends - telling,
                lambda edge, name=name: (
                    edge.target in telling or (edge.source == name and edge.on is not None)
                ),
            )
        )
        if path is not None:
            yield Problem(
                AGENT_FILE,
                f"does not tell its text, and nobody does on the way {' → '.join(path)}; add a node of the kind “output”, or let it tell (stream = true)",
                ("nodes", name),
            )


def _endless(nodes: Mapping[str, _Node], edges: Mapping[str, Sequence[EdgeTable]]) -> Iterator[Problem]:
    reached = {name: _reached(edges, name) for name in nodes}
    for name, node in nodes.items():
        ends = not [edge for edge in edges[name] if edge.on is None] or any(
            edge.target == FINISH for edge in edges[name]
        )
        before = [one for one in nodes.values() if name in reached[one.name]]
        if ends and not any(field in one.outputs for one in (node, *before) for field in ENDS):
            yield Problem(
                AGENT_FILE,
                "the turn can end here, and no node on the way has written an answer or a refusal",
                ("nodes", name),
            )


def _reached(edges: Mapping[str, Sequence[EdgeTable]], start: str) -> set[str]:
    """All that some way of at least one edge leads to."""
    found, left = set[str](), [start]
    while left:
        for edge in edges.get(left.pop(), ()):
            if edge.target not in found:
                found.add(edge.target)
                left.append(edge.target)
    return found


def _way(
    edges: Mapping[str, Sequence[EdgeTable]],
    start: str,
    goals: set[str],
    closed: Callable[[EdgeTable], bool] = lambda _: False,
) -> Sequence[str] | None:
    """A shortest way of at least one edge, None where there is none but by closed edges."""
    left: list[list[str]] = [[start]]
    seen = set[str]()
    while left:
        path = left.pop(0)
        for edge in edges.get(path[-1], ()):
            if edge.target in seen or closed(edge):
                continue
            if edge.target in goals:
                return [*path, edge.target]
            seen.add(edge.target)
            left.append([*path, edge.target])
    return None
