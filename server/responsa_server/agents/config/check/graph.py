"""Checks the graph: where edges lead, cycles, and the fields that nodes and conditions read.

A check is here only if no run would show the mistake, such as a node that no edge reaches or a condition that never
holds. A node that lacks an input or a model fails when it runs. Pure.
"""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Iterable, Iterator, Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, JsonValue, ValidationError
from pydantic.fields import FieldInfo

from responsa_server.agents.config.check.inputs import Surroundings
from responsa_server.agents.config.problems import Key, Problem, closest, in_config
from responsa_server.agents.engine.config import BEGIN, FINISH, AgentConfig, EdgeTable, NodeTable
from responsa_server.agents.engine.edges import (
    beyond,
    constant_value,
    edges_from,
    fields_needed_by,
    leaves,
    possible_edges,
    reachable,
)
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import BY, DEFAULT, FileKind, NodeOptions
from responsa_server.agents.engine.state import ENGINE_KEYS, TASK_KEYS, StateMessage

_TURN_FIELDS: Final[Mapping[str, Any]] = {
    "question": str,
    "collections": tuple[str, ...],
    "document_filter": str,
    "history": tuple[StateMessage, ...],
    "older": tuple[StateMessage, ...],
    "parameters": dict[str, JsonValue],
}
"""The types of the fields with which every turn begins."""
_TESTS: Final = {"ranking": 'near", is = true', "evidence": 'passages", above = 0'}
"""For the inputs of `NodeKind.needs_test`, the rest of a suitable condition."""

_EITHER: Final = (True, False)
"""With a model and without."""


def options_of(kind: NodeKind, table: NodeTable) -> NodeOptions | None:
    """A node's options as their model; None if the options are not valid."""
    try:
        return kind.options.model_validate(table.options)
    except ValidationError:
        return None


def edges(config: AgentConfig, surroundings: Surroundings) -> Iterator[Problem]:
    """Edges of missing nodes, cycles without a limit and, if every edge joins nodes, what no turn takes or reaches."""
    missing = list(_missing_nodes(config))
    yield from missing
    after = {
        name: [edge.target for edge in config.graph.edges if edge.source == name and edge.limit is None]
        for name in config.nodes
    }
    try:
        TopologicalSorter(after).prepare()
    except CycleError as error:
        cycle = " → ".join(cast("Sequence[str]", error.args[1])[::-1])
        message = f"the cycle {cycle} has no limit; set limit = n on one of its edges"
        yield in_config(("graph", "edges"), message)
    if not missing:
        yield from _untaken(config, surroundings)


def _missing_nodes(config: AgentConfig) -> Iterator[Problem]:
    if config.start not in config.nodes:
        message = f"there is no node “{config.start}”"
        yield in_config(("start",), message, closest(config.start, config.nodes))
    for name, what in ((BEGIN, "beginning"), (FINISH, "end")):
        if name in config.nodes:
            message = f"“{name}” is the graph's own {what}; give the node another name"
            yield in_config(("nodes", name), message)
    for index, edge in enumerate(config.graph.edges):
        for key, verb, name, own in (
            ("from", "comes from", edge.source, BEGIN),
            ("to", "leads to", edge.target, FINISH),
        ):
            if name not in config.nodes and name != own:
                message = f"the edge {verb} “{name}”, but there is no such node"
                yield in_config(("graph", "edges", index, key), message, closest(name, config.nodes))


def _untaken(config: AgentConfig, surroundings: Surroundings) -> Iterator[Problem]:
    """Edges that no turn takes and, without these, nodes that no turn reaches; nodes at which a turn may end without an edge."""
    ways = [possible_edges(config, model=model) for model in _EITHER]
    all_taken = True
    for index, edge in enumerate([*config.graph.edges, edges_from(config, BEGIN)[-1]]):
        key: Key = ("graph", "edges", index) if index < len(config.graph.edges) else ("start",)
        kind = None if edge.source == BEGIN else surroundings.kinds.get(config.nodes[edge.source].kind)
        if edge.on is not None and (edge.source == BEGIN or (kind is not None and kind.fallback is None)):
            message = f"“{edge.source}” is never unavailable, so this edge is never taken"
            yield in_config((*key, "on"), message)
        elif not any(edge in way[edge.source] for way in ways):
            all_taken = False
            message = f"no turn goes from “{edge.source}” to “{edge.target}”: its condition never holds, or an edge before it always does"
            yield in_config(key, message)
    reached = reachable(ways[0]) | reachable(ways[1])
    for name in config.nodes if all_taken else ():
        if name not in reached:
            yield in_config(("nodes", name), f"no path leads to the node “{name}”")
        last = next((edge for edge in reversed(edges_from(config, name)) if edge.on is None), None)
        if last is not None and (
            last.limit or any(constant_value(last.when, model=model) is not True for model in _EITHER)
        ):
            message = f"the last edge from “{name}” has a condition or a limit, so a turn may find no way on; add a last edge without one"
            yield in_config(("graph", "edges", config.graph.edges.index(last)), message)


class GraphFields:
    """The fields that nodes write and read. The kinds of all nodes must be known."""

    def __init__(self, config: AgentConfig, surroundings: Surroundings) -> None:
        self._config = config
        self._kinds = {name: surroundings.kinds[table.kind] for name, table in config.nodes.items()}
        self._writes = {
            name: {table.writes.get(field, field): info.annotation for field, info in self._outputs(name)}
            for name, table in config.nodes.items()
        }
        self._types = dict(_TURN_FIELDS)
        for outputs in self._writes.values():
            for name, kind in outputs.items():
                self._types[name] = kind if self._types.get(name, kind) == kind else Any
        known = {*config.nodes, FINISH}
        self._edges = {
            name: [edge for edge in edges_from(config, name) if edge.target in known]
            for name in (BEGIN, *config.nodes)
        }

    def _outputs(self, name: str) -> Iterable[tuple[str, FieldInfo]]:
        return self._kinds[name].output_model.model_fields.items()

    def problems(self) -> Iterator[Problem]:
        for index, edge in enumerate(self._config.graph.edges):
            if edge.when is not None:
                for key, leaf in leaves(edge.when, ("graph", "edges", index, "when")):
                    yield from self._check_test((*key, "field"), (leaf.field or "").split("."))
        for name, table in self._config.nodes.items():
            yield from self._read(name, table)
            yield from self._check_writes(name, table)
            yield from self._check_handling(name, table)

    def choices(self) -> Iterator[Problem]:
        """Problems in tables that choose a prompt by the value of a field."""
        written = self._types.keys() - _TURN_FIELDS.keys()
        for name, table in self._config.nodes.items():
            for option, info in self._kinds[name].options.model_fields.items():
                prompts = table.options.get(option)
                if FileKind.PROMPT not in info.metadata or not isinstance(prompts, dict):
                    continue
                key, by = ("nodes", name, option), cast("dict[str, Any]", prompts).get(BY)
                for needed, what in (
                    (BY, "the field that chooses"),
                    (DEFAULT, "the prompt for all other values"),
                ):
                    if needed not in prompts:
                        yield in_config(key, f"“{needed}” is missing: {what}")
                if isinstance(by, str) and by not in written:
                    yield in_config((*key, BY), f"no node writes a field “{by}”", closest(by, written))

    def _check_test(self, key: Key, names: Sequence[str]) -> Iterator[Problem]:
        """Problems of a condition on the field with this path of names."""
        if names[0] == "parameters" and len(names) > 1:
            properties = self._config.parameters.properties
            if names[1] not in properties:
                message = f"the agent has no parameter “{names[1]}”"
                yield in_config(key, message, closest(names[1], properties))
            return
        fields: Mapping[str, Any] | None = self._types
        for index, name in enumerate(names):
            if fields is None:  # a table, which may have any field
                return
            if name not in fields:
                parent = ".".join(names[:index])
                message = (
                    f"“{parent}” has no field “{name}”" if parent else f"no node writes a field “{name}”"
                )
                yield in_config(key, message, closest(name, fields))
                return
            fields = _members(fields[name])

    def _read(self, name: str, table: NodeTable) -> Iterator[Problem]:
        """Inputs that nothing writes, and paths on which a result that may be empty comes untested to the node."""
        available = {*TASK_KEYS, "fallbacks", *self._types}
        kind = self._kinds[name]
        for field in kind.input_model.model_fields:
            key = table.reads.get(field, field)
            if field in table.reads and key not in available:
                message = f"no node writes a field “{key}”"
                yield in_config(("nodes", name, "reads", field), message, closest(key, available))
            if field != kind.needs_test:
                continue
            untested = {source: self._edges_before(edges, key) for source, edges in self._edges.items()}
            for writer in self._config.nodes:
                if key in self._writes[writer] and name in beyond(untested, writer):
                    yield in_config(
                        ("nodes", name),
                        f"answers with what “{writer}” found, but a path from there tests nowhere whether it found anything; "
                        f'add when = {{ field = "{key}.{_TESTS[field]} }} to an edge of the path',
                    )

    def _edges_before(self, edges: Sequence[EdgeTable], field: str) -> Sequence[EdgeTable]:
        """A node's edges before the first that tests a field. The edges after it are taken when its test fails."""
        tests = [
            edge.when is not None
            and any((leaf.field or "").split(".")[0] == field for _, leaf in leaves(edge.when))
            for edge in edges
        ]
        return edges[: tests.index(True)] if True in tests else edges

    def _check_writes(self, name: str, table: NodeTable) -> Iterator[Problem]:
        """Outputs under names that are taken."""
        taken = dict[str, str]()
        for field, _ in self._outputs(name):
            key = table.writes.get(field, field)
            at: Key = ("nodes", name, "writes", field if field in table.writes else taken.get(key, field))
            if key in taken:
                message = (
                    f"writes both “{taken[key]}” and “{field}” as “{key}”; give one of them another name"
                )
                yield in_config(at, message)
            elif field in table.writes and key in ENGINE_KEYS | TASK_KEYS:
                yield in_config(at, f"only the engine writes “{key}”; write “{field}” under another name")
            taken.setdefault(key, field)

    def _check_handling(self, name: str, table: NodeTable) -> Iterator[Problem]:
        """Nodes whose text may be dropped, although no edge tests it."""
        options = options_of(self._kinds[name], table)
        tested = frozenset[str]().union(*(fields_needed_by(edge.when) for edge in self._edges[name]))
        if "declined" in self._writes[name] and getattr(options, "cites", False) and "declined" not in tested:
            yield in_config(
                ("nodes", name),
                "its model can say that the passages do not answer, but no edge leads on from there; add "
                f"{{ from = “{name}”, to = “refuse”, when = {{ field = "
                "“declined”, is = true } }, where “refuse” is a node of this kind",
            )
        if getattr(options, "hold", False) and "problem" not in tested:
            yield in_config(
                ("nodes", name),
                f"drops a text that the passages do not support, but no edge leads back; add {{ from = "
                f"“{name}”, to = the node that writes, when = {{ field = "
                "“problem”, empty = false }, limit = 1 }",
            )


def _members(kind: Any) -> Mapping[str, Any] | None:
    """The fields of a model or dataclass; None for a type that may have any field, empty for a type without fields."""
    inner = [arg for arg in get_args(kind) if arg is not type(None)]
    if get_origin(kind) is Annotated or (get_origin(kind) in (Union, types.UnionType) and len(inner) == 1):
        return _members(inner[0])
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: info.annotation for name, info in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return get_type_hints(kind)
    origin = cast("object", get_origin(kind) or kind)
    return None if kind is Any or (isinstance(origin, type) and issubclass(origin, Mapping)) else {}
