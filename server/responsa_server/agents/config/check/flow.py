"""Checks the graph's data flow: the fields that nodes and conditions read. Pure."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, JsonValue, ValidationError

from responsa_server.agents.config.check.inputs import Surroundings
from responsa_server.agents.config.check.shape import Edges, known_edges, path
from responsa_server.agents.config.problems import Key, Problem, closest, in_config
from responsa_server.agents.engine.config import BEGIN, AgentConfig, EdgeTable, NodeTable, WhenTable
from responsa_server.agents.engine.edges import REFERS_BACK, demanded, leaves
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import BY, DEFAULT, Names, NodeOptions
from responsa_server.agents.engine.state import ENGINE_KEYS, TASK_KEYS, StateMessage

CHOICE: Final = "choice"
"""The input of a node that chooses among its prompts."""
_GIVEN: Final[Mapping[str, Any]] = {
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
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class InputField:
    """An input of a node. field: the input's name in the node. key: the input's name in the state. place: the key in
    `agent.toml` at which problems are reported.
    """

    field: str
    key: str
    required: bool
    place: Key


@dataclass(frozen=True, slots=True)
class NodeFields:
    """The inputs and outputs of a node. outputs: the type of each output, by its name in the state."""

    name: str
    kind: NodeKind
    inputs: Sequence[InputField]
    outputs: Mapping[str, Any]


def options_of(kind: NodeKind, table: NodeTable) -> NodeOptions | None:
    """A node's options as their model; None if the options are not valid."""
    try:
        return kind.options.model_validate(table.options)
    except ValidationError:
        return None


def fields_of(name: str, table: NodeTable, kind: NodeKind) -> NodeFields:
    """The inputs and outputs of a node."""
    return NodeFields(
        name,
        kind,
        list(_inputs(name, table, kind)),
        {
            table.writes.get(field, field): info.annotation
            for field, info in kind.output_model.model_fields.items()
        },
    )


def _inputs(name: str, table: NodeTable, kind: NodeKind) -> Iterator[InputField]:
    chosen = dict[str, tuple[str, Key]]()
    for option, given in table.options.items():
        by = cast("dict[str, object]", given).get(BY) if isinstance(given, dict) else None
        if isinstance(by, str):
            chosen[CHOICE] = by, ("nodes", name, option, BY)
    for field, info in kind.input_model.model_fields.items():
        key, place = chosen.get(field, (field, ("nodes", name)))
        if field in table.reads:
            key, place = table.reads[field], ("nodes", name, "reads", field)
        yield InputField(field, key, info.is_required(), place)


class Flow:
    """The data flow of a graph. The kinds of all nodes must be known."""

    def __init__(self, config: AgentConfig, surroundings: Surroundings) -> None:
        self._config = config
        self._kinds = surroundings.kinds
        self._nodes = {
            name: fields_of(name, table, surroundings.kinds[table.kind])
            for name, table in config.nodes.items()
        }
        self._written = {field for node in self._nodes.values() for field in node.outputs}
        self._edges: Edges = known_edges(config)

    def problems(self) -> Iterator[Problem]:
        yield from self._conditions()
        yield from self._renamed()
        for node in self._nodes.values():
            yield from self._missing(node)
            yield from self._untested(node)
        yield from self._unheard()

    def choices(self) -> Iterator[Problem]:
        """Problems in tables that choose a prompt by the value of a field."""
        for name, table in self._config.nodes.items():
            for field, info in self._kinds[table.kind].options.model_fields.items():
                given = table.options.get(field)
                if Names.PROMPT in info.metadata and isinstance(given, dict):
                    yield from self._choice(("nodes", name, field), cast("dict[str, Any]", given))

    def _choice(self, key: Key, prompts: Mapping[str, Any]) -> Iterator[Problem]:
        for needed, what in ((BY, "the field that chooses"), (DEFAULT, "the prompt for all other values")):
            if needed not in prompts:
                yield in_config(key, f"“{needed}” is missing: {what}")
        by = prompts.get(BY)
        if not isinstance(by, str):
            return
        if by not in self._written:
            suggestion, hint = closest(by, self._written), ""
            kinds = {
                field: name for name, kind in self._kinds.items() for field in kind.output_model.model_fields
            }
            if not suggestion and (close := by if by in kinds else closest(by, kinds)):
                suggestion = "" if close == by else close
                hint = f"; a node of the kind “{kinds[close]}” writes “{close}”"
            yield in_config((*key, BY), f"no node writes a field “{by}”{hint}", suggestion)

    def _conditions(self) -> Iterator[Problem]:
        fields: dict[str, Any] = {**_GIVEN, REFERS_BACK: Any}
        for node in self._nodes.values():
            for name, kind in node.outputs.items():
                fields[name] = kind if fields.get(name, kind) == kind else Any
        for place, edge in enumerate(self._config.graph.edges):
            if edge.when is not None:
                for key, leaf in leaves(edge.when, ("graph", "edges", place, "when")):
                    yield from self._leaf(leaf, key, fields)

    def _leaf(self, leaf: WhenTable, key: Key, fields: Mapping[str, Any]) -> Iterator[Problem]:
        first, *rest = (leaf.field or "").split(".")
        if first == "parameters" and rest:
            properties = self._config.parameters.properties
            if rest[0] not in properties:
                message = f"the agent has no parameter “{rest[0]}”"
                yield in_config((*key, "field"), message, closest(rest[0], properties))
            return
        if first not in fields:
            yield in_config((*key, "field"), f"no node writes a field “{first}”", closest(first, fields))
            return
        kind = fields[first]
        for place, part in enumerate(rest):
            inner = _members(kind)
            if inner is None:  # a table, which may have any field
                return
            if part not in inner:
                parent = ".".join([first, *rest[:place]])
                yield in_config((*key, "field"), f"“{parent}” has no field “{part}”", closest(part, inner))
                return
            kind = inner[part]

    def _renamed(self) -> Iterator[Problem]:
        """Names under `reads` that no node writes, and names under `writes` that are not available."""
        written = {*TASK_KEYS, "fallbacks", *self._written}
        for name, table in self._config.nodes.items():
            kind = self._nodes[name].kind
            for field, key in table.reads.items():
                info = kind.input_model.model_fields.get(field)
                # `_missing` reports required inputs, together with the path that does not provide them.
                if info is not None and not info.is_required() and key not in written:
                    yield in_config(
                        ("nodes", name, "reads", field),
                        f"no node writes a field “{key}”",
                        closest(key, written),
                    )
            taken = dict[str, str]()
            for field in kind.output_model.model_fields:
                key, place = table.writes.get(field, field), ("nodes", name, "writes", field)
                if key in taken:
                    at = place if field in table.writes else (*place[:-1], taken[key])
                    yield in_config(
                        at,
                        f"writes both “{taken[key]}” and “{field}” as “{key}”; give one of them another name",
                    )
                elif field in table.writes and key in ENGINE_KEYS | TASK_KEYS:
                    yield in_config(
                        place, f"only the engine writes “{key}”; write “{field}” under another name"
                    )
                elif field in table.writes and not _FIELD.fullmatch(key):
                    yield in_config(
                        place,
                        f"“{key}” is not a valid name for a field: use letters, digits and “_”, and no digit first",
                    )
                taken.setdefault(key, field)

    def _missing(self, node: NodeFields) -> Iterator[Problem]:
        for node_input in node.inputs:
            field = node_input.key
            if not node_input.required or field in TASK_KEYS:
                continue

            def provides(edge: EdgeTable, field: str = field) -> bool:
                source = self._nodes.get(edge.source)
                written = source is not None and edge.on is None and field in source.outputs
                return written or any(field in self._implied(name) for name in demanded(edge.when))

            if (taken := path(self._edges, BEGIN, {node.name}, provides)) is not None:
                yield in_config(
                    node_input.place,
                    f"needs “{field}”, which the path {' → '.join(taken)} does not provide",
                    "" if field in self._written else closest(field, self._written),
                )

    def _implied(self, field: str, above: frozenset[str] = frozenset()) -> frozenset[str]:
        """The fields that exist whenever a given field exists. Fields are never removed from the state, so these are the
        fields that all writers of the given field also write or require.
        """
        each: list[frozenset[str]] = []
        for node in self._nodes.values():
            if field in node.outputs and node.name not in above:
                needed = [one.key for one in node.inputs if one.required]
                before = [self._implied(name, above | {node.name}) for name in needed]
                each.append(frozenset(node.outputs).union(*before))
        return frozenset({field}) | (each[0].intersection(*each[1:]) if each else frozenset[str]())

    def _untested(self, node: NodeFields) -> Iterator[Problem]:
        """Paths on which a node gets a result that may be empty, although no edge on the path tests the result."""
        for node_input in node.inputs:
            if not node.kind.needs_test or node_input.field != node.kind.needs_test:
                continue

            def tests(edge: EdgeTable, field: str = node_input.key) -> bool:
                # The node's earlier edges are tried before this edge, so their tests count for this edge, too.
                before = self._edges[edge.source]
                return any(
                    (leaf.field or "").split(".")[0] == field
                    for each in before[: before.index(edge) + 1]
                    if each.when is not None
                    for _, leaf in leaves(each.when)
                )

            writers = [each for each in self._nodes.values() if node_input.key in each.outputs]
            for writer in writers:
                if (taken := path(self._edges, writer.name, {node.name}, tests)) is not None:
                    yield in_config(
                        ("nodes", node.name),
                        f"answers with what “{writer.name}” found, but no edge on the path {' → '.join(taken)} "
                        "tests whether it found anything; "
                        f'add when = {{ field = "{node_input.key}.{_TESTS[node_input.field]} }} to one of them',
                    )

    def _unheard(self) -> Iterator[Problem]:
        for name, node in self._nodes.items():
            options = options_of(node.kind, self._config.nodes[name])
            tested = frozenset[str]().union(*(demanded(edge.when) for edge in self._edges[name]))
            if "declined" in node.outputs and getattr(options, "cites", False) and "declined" not in tested:
                yield in_config(
                    ("nodes", name),
                    "its model can say that the passages do not answer, but no edge leads on from there; add "
                    f"{{ from = “{name}”, to = “refuse”, when = {{ field = "
                    "“declined”, is = true } }, where “refuse” is a node of this kind",
                )
            if not getattr(options, "hold", False):
                continue
            if "problem" not in tested:
                yield in_config(
                    ("nodes", name),
                    f"drops a text that the passages do not support, but no edge leads back; add {{ from = "
                    f"“{name}”, to = the node that writes, when = {{ field = "
                    "“problem”, empty = false }, limit = 1 }",
                )
            if not any(edge.on is not None for edge in self._edges[name]):
                yield in_config(
                    ("nodes", name),
                    "is unavailable if the second text is not supported either, but no edge leads around it; "
                    f"add {{ from = “{name}”, to = a node of the kind passages or "
                    "refuse, on = “unavailable” }",
                )


def _plain(kind: Any) -> Any:
    """A type without annotations and without None."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        inner = [arg for arg in get_args(kind) if arg is not type(None)]
        return _plain(inner[0]) if len(inner) == 1 else kind
    return kind


def _members(kind: Any) -> Mapping[str, Any] | None:
    """The fields of a model or dataclass; None for a type that may have any field, empty for a type without fields."""
    kind = _plain(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: info.annotation for name, info in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return get_type_hints(kind)
    origin = cast("object", get_origin(kind) or kind)
    return None if kind is Any or (isinstance(origin, type) and issubclass(origin, Mapping)) else {}
