"""The fields of the state as nodes read and write them, and ways through the graph. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from annotated_types import MinLen
from pydantic import JsonValue

from responsa_server.agents.config.check.files import Surroundings
from responsa_server.agents.config.check.keys import options_of
from responsa_server.agents.config.check.problems import Key
from responsa_server.agents.engine.citing import AnswerModel
from responsa_server.agents.engine.config import AgentConfig, EdgeTable, NodeTable
from responsa_server.agents.engine.node import NodeModel
from responsa_server.agents.engine.options import BY
from responsa_server.agents.engine.registry import Kind
from responsa_server.agents.engine.state import Said
from responsa_server.agents.nodes.refuse import RefusalModel
from responsa_server.domain.answers import Extraction
from responsa_server.domain.events import Fallback

CHOICE: Final = "choice"
"""The input of a node that a field chooses a prompt for."""


class TaskFields(NodeModel):
    """What every turn begins with."""

    question: str
    collections: tuple[str, ...]
    history: tuple[Said, ...]
    older: tuple[Said, ...]
    parameters: dict[str, JsonValue]


class EngineFields(NodeModel):
    """What the engine writes, and nodes may read."""

    fallbacks: tuple[Fallback, ...]


class EndFields(NodeModel):
    """What a turn's end is read from, whatever node has written it."""

    answer: AnswerModel
    refusal: RefusalModel
    text: str
    complete: bool
    shown: int
    extraction: Extraction


GIVEN: Final[Mapping[str, Any]] = {
    name: info.annotation for model in (TaskFields, EngineFields) for name, info in model.model_fields.items()
}
"""Types of what no node need write."""


@dataclass(frozen=True, slots=True)
class Input:
    """field: as the node calls it, key: of the state, type, whether it must be there, whether it must have something in it; place: where the file says so."""

    field: str
    key: str
    type: Any
    required: bool
    filled: bool
    place: Key


@dataclass(frozen=True, slots=True)
class Node:
    """A node of the graph; tells: whether it tells text as it works."""

    name: str
    kind: Kind
    values: Mapping[str, Sequence[str]]
    tells: bool
    inputs: Sequence[Input]
    outputs: Mapping[str, Any]
    """By key of the state: the type."""
    filled: frozenset[str]
    """Those of them that always have something in them."""


def node_of(config: AgentConfig, name: str, surroundings: Surroundings) -> Node:
    """What a node reads and writes. Its kind must be known."""
    table = config.nodes[name]
    kind = surroundings.kinds[table.kind]
    options = options_of(kind.options, table)
    found: Mapping[str, Sequence[str]] = {}
    if kind.values is not None and options is not None:
        found = kind.values(options)
    values = {table.writes.get(field, field): one for field, one in found.items()}
    outputs = kind.output_model.model_fields.items()
    # Who may ask for tools need not write.
    filled = frozenset[str]() if getattr(options, "tools", False) else kind.filled
    return Node(
        name,
        kind,
        values,
        kind.tells and getattr(options, "stream", True),
        list(_reads(name, table, kind)),
        {table.writes.get(key, key): info.annotation for key, info in outputs},
        frozenset(table.writes.get(key, key) for key in filled),
    )


def _reads(name: str, table: NodeTable, kind: Kind) -> Iterator[Input]:
    chosen = dict[str, tuple[str, Key]]()
    for option, given in table.options.items():
        by = cast("dict[str, object]", given).get(BY) if isinstance(given, dict) else None
        if isinstance(by, str):
            chosen[CHOICE] = by, ("nodes", name, option, BY)
    for field, info in kind.input_model.model_fields.items():
        place: Key = ("nodes", name)
        key = field
        if field in table.reads:
            key, place = table.reads[field], ("nodes", name, "reads", field)
        elif field in chosen:
            key, place = chosen[field]
        bound = any(isinstance(one, MinLen) for one in info.metadata)
        yield Input(field, key, info.annotation, info.is_required(), bound, place)


def implied(field: str, nodes: Mapping[str, Node], seen: frozenset[str] = frozenset()) -> frozenset[str]:
    """What is there wherever a field is: what each node that writes it writes beside it, and had to read. Nothing is ever taken out of the state."""
    each: list[frozenset[str]] = []
    for node in nodes.values():
        if field in node.outputs and node.name not in seen:
            needed = [one.key for one in node.inputs if one.required]
            before = [implied(name, nodes, seen | {node.name}) for name in needed]
            each.append(frozenset(node.outputs).union(*before))
    return frozenset({field}) | (each[0].intersection(*each[1:]) if each else frozenset[str]())


def way(
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
