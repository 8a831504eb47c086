"""Checks the graph's data flow: the fields that nodes and conditions read, the answer's text, and the turn's end. Pure."""

from __future__ import annotations

import dataclasses
import re
import types
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, JsonValue, ValidationError

from responsa_server.agents.config.check.inputs import Surroundings
from responsa_server.agents.config.check.removed import FIELDS
from responsa_server.agents.config.check.shape import Edges, known_edges, path
from responsa_server.agents.config.problems import TYPE_NAMES, Key, Problem, closest, in_config, quoted
from responsa_server.agents.engine.citations import AnswerModel, RefusalModel
from responsa_server.agents.engine.config import BEGIN, FINISH, AgentConfig, EdgeTable, NodeTable, WhenTable
from responsa_server.agents.engine.edges import REFERS_BACK, beyond, demanded, leaves
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import BY, DEFAULT, Names, NodeOptions
from responsa_server.agents.engine.state import ENGINE_KEYS, TASK_KEYS, StateMessage
from responsa_server.domain.answers import Ranking

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
_END: Final[Mapping[str, Any]] = {
    "answer": AnswerModel,
    "refusal": RefusalModel,
    "text": str,
    "complete": bool,
    "shown": int,
    "ranking": Ranking,
}
"""The types of the fields from which a turn's terminal event is made."""
_JSON: Final[Mapping[object, Any]] = {"string": str, "integer": int, "number": float, "boolean": bool}
_TESTS: Final = {"ranking": 'near", is = true', "evidence": 'passages", above = 0'}
"""For the inputs of `NodeKind.needs_test`, the rest of a suitable condition."""
_UNSENT: Final = frozenset({"declined", "problem"})
"""Outputs with which a node says that it has sent no text."""
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class InputField:
    """An input of a node. field: the input's name in the node. key: the input's name in the state. place: the key in
    `agent.toml` at which problems are reported.
    """

    field: str
    key: str
    type: Any
    required: bool
    place: Key


@dataclass(frozen=True, slots=True)
class NodeFields:
    """The inputs and outputs of a node.

    outputs: the type of each output, by its name in the state. values: the possible values of outputs, by name in the
    state. streams: whether the node sends the answer's text to the reader. withholds: whether the node's options say that it does not send its text.
    """

    name: str
    kind: NodeKind
    streams: bool
    withholds: bool
    inputs: Sequence[InputField]
    outputs: Mapping[str, Any]
    values: Mapping[str, Sequence[str]]


def options_of(kind: NodeKind, table: NodeTable) -> NodeOptions | None:
    """A node's options as their model; None if the options are not valid."""
    try:
        return kind.options.model_validate(table.options)
    except ValidationError:
        return None


def fields_of(name: str, table: NodeTable, kind: NodeKind) -> NodeFields:
    """The inputs and outputs of a node."""
    options = options_of(kind, table)
    values: Mapping[str, Sequence[str]] = {}
    sends = getattr(options, "stream", True)
    if kind.values is not None and options is not None:
        values = kind.values(options)
    return NodeFields(
        name,
        kind,
        kind.streams and sends,
        kind.streams and not sends and "stream" in kind.options.model_fields,
        list(_inputs(name, table, kind)),
        {
            table.writes.get(field, field): info.annotation
            for field, info in kind.output_model.model_fields.items()
        },
        {table.writes.get(field, field): one for field, one in values.items()},
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
        yield InputField(field, key, info.annotation, info.is_required(), place)


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
        self._read = dict[str, list[Any]]()
        for node in self._nodes.values():
            for one in node.inputs:
                self._read.setdefault(one.key, []).append(one.type)
        self._values = dict[str, dict[str, None]]()
        for node in self._nodes.values():
            for field, some in node.values.items():
                self._values.setdefault(field, {}).update(dict.fromkeys(some))
        self._edges: Edges = known_edges(config)

    def problems(self) -> Iterator[Problem]:
        """All problems with fields, with the answer's text and with the turn's end."""
        yield from self._conditions()
        yield from self._renamed()
        for node in self._nodes.values():
            yield from self._missing(node)
            yield from self._types(node)
            yield from self._untested(node)
        yield from self._streamed_twice()
        yield from self._streamed_and_refused()
        yield from self._never_streamed()
        yield from self._unheard()
        yield from self._endless()

    def choices(self) -> Iterator[Problem]:
        """Problems in tables that choose a prompt by the value of a field."""
        for name, table in self._config.nodes.items():
            for field, info in self._kinds[table.kind].options.model_fields.items():
                given = table.options.get(field)
                if Names.PROMPT in info.metadata and isinstance(given, dict):
                    yield from self._choice(("nodes", name, field), cast("dict[str, Any]", given))

    def _choice(self, key: Key, given: Mapping[str, Any]) -> Iterator[Problem]:
        for needed, what in ((BY, "the field that chooses"), (DEFAULT, "the prompt for all other values")):
            if needed not in given:
                yield in_config(key, f"“{needed}” is missing: {what}")
        by = given.get(BY)
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
            return
        values = self._values.get(by, {})
        for value in given:
            if values and value not in values and value not in (BY, DEFAULT):
                yield in_config(
                    (*key, value),
                    f"“{by}” is never “{value}”; it is one of {quoted(sorted(values))}",
                    closest(value, values),
                )

    def _conditions(self) -> Iterator[Problem]:
        """Conditions on a field that does not exist, or on a value that the field never has."""
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
            schema = properties[rest[0]]
            listed = schema.get("enum")
            allowed = cast("list[object]", listed) if isinstance(listed, list) else None
            yield from _value(leaf, key, _JSON.get(schema.get("type"), Any), allowed)
            return
        if first not in fields:
            remedy = f"; {FIELDS[first]}" if first in FIELDS else ""
            suggestion = "" if remedy else closest(first, fields)
            yield in_config((*key, "field"), f"no node writes a field “{first}”{remedy}", suggestion)
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
        allowed = self._values.get(leaf.field or "")
        yield from _value(leaf, key, kind, _values(kind) if allowed is None else list(allowed))

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
        """Required inputs that some path to the node does not provide."""
        for one in node.inputs:
            field = one.key
            if not one.required or field in TASK_KEYS:
                continue

            def provides(edge: EdgeTable, field: str = field) -> bool:
                source = self._nodes.get(edge.source)
                written = source is not None and edge.on is None and field in source.outputs
                return written or any(field in self._implied(name) for name in demanded(edge.when))

            if (taken := path(self._edges, BEGIN, {node.name}, provides)) is not None:
                yield in_config(
                    one.place,
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

    def _types(self, node: NodeFields) -> Iterator[Problem]:
        """Inputs whose type differs from the type that a node or the turn writes, and outputs whose type does not fit the
        turn's terminal event.
        """
        for key, given in node.outputs.items():
            if key not in _END or fits(given, _END[key]):
                continue
            # If a node reads the field with a different type, only that node is reported.
            if all(fits(given, kind) for kind in self._read.get(key, ())):
                yield in_config(
                    ("nodes", node.name, "writes"),
                    f"writes “{key}” as {_name(given)}, but the end of a turn needs it as {_name(_END[key])}; write it under another name",
                )
        for one in node.inputs:
            if one.key in _GIVEN and not fits(_GIVEN[one.key], one.type):
                yield in_config(
                    one.place,
                    f"reads “{one.key}” as {_name(one.type)}, but at the start of a turn it has the type {_name(_GIVEN[one.key])}",
                )
            for writer in self._nodes.values():
                if one.key not in writer.outputs or fits(given := writer.outputs[one.key], one.type):
                    continue
                if path(self._edges, writer.name, {node.name}) is not None:
                    yield in_config(
                        one.place,
                        f"reads “{one.key}” as {_name(one.type)}, but “{writer.name}” writes it as {_name(given)}",
                    )

    def _untested(self, node: NodeFields) -> Iterator[Problem]:
        """Paths on which a node gets a result that may be empty, although no edge on the path tests the result."""
        for one in node.inputs:
            if not node.kind.needs_test or one.field != node.kind.needs_test:
                continue

            def tests(edge: EdgeTable, field: str = one.key) -> bool:
                # The node's earlier edges are tried before this edge, so their tests count for this edge, too.
                before = self._edges[edge.source]
                return any(
                    (leaf.field or "").split(".")[0] == field
                    for each in before[: before.index(edge) + 1]
                    if each.when is not None
                    for _, leaf in leaves(each.when)
                )

            writers = [each for each in self._nodes.values() if one.key in each.outputs]
            if not all(fits(each.outputs[one.key], one.type) for each in writers):
                continue  # `_types` reports this
            for writer in writers:
                if (taken := path(self._edges, writer.name, {node.name}, tests)) is not None:
                    yield in_config(
                        ("nodes", node.name),
                        f"answers with what “{writer.name}” found, but no edge on the path {' → '.join(taken)} tests whether it found anything; "
                        f'add when = {{ field = "{one.key}.{_TESTS[one.field]} }} to one of them',
                    )

    def _streamed_twice(self) -> Iterator[Problem]:
        streaming = [node for node in self._nodes.values() if node.streams]
        for first in streaming:
            for second in streaming:
                # If the second node reads the field `text`, it continues the text that the first node sent. There are
                # two exceptions: the second node's kind repeats that text, or the first node writes its text to another
                # field.
                reads = any(one.key == "text" for one in second.inputs)
                if reads and "text" in first.outputs and not second.kind.repeats_text:
                    continue
                # If the turn took the first node's fallback edge, the first node has sent nothing.
                taken = path(
                    self._edges,
                    first.name,
                    {second.name},
                    lambda edge, first=first: (
                        edge.source == first.name and (edge.on is not None or self._unsent(edge))
                    ),
                )
                if taken is not None:
                    yield in_config(
                        ("nodes", second.name),
                        f"sends the answer's text, but “{first.name}” has already sent it on the path {' → '.join(taken)}; set stream = false on one of them",
                    )

    def _streamed_and_refused(self) -> Iterator[Problem]:
        """Refusals after an answer was sent. Paths over fallback edges are allowed: after a node's failure, a refusal is better
        than no answer.
        """
        for first in self._nodes.values():
            for second in self._nodes.values() if first.streams else ():
                taken = path(
                    self._edges,
                    first.name,
                    {second.name},
                    lambda edge: edge.on is not None or self._unsent(edge),
                )
                if "refusal" in second.outputs and taken is not None:
                    yield in_config(
                        ("nodes", second.name),
                        f"refuses a turn after “{first.name}” has sent its answer, on the path {' → '.join(taken)}; refuse before “{first.name}”, or set "
                        "stream = false there and send the answer with a node of the kind “output”",
                    )

    def _unsent(self, edge: EdgeTable) -> bool:
        """Whether the edge is taken only if its node says that it has sent no text."""
        source = self._nodes.get(edge.source)
        return source is not None and not _UNSENT.intersection(source.outputs).isdisjoint(demanded(edge.when))

    def _unheard(self) -> Iterator[Problem]:
        """Nodes that may end without a text, although no edge leads on from there."""
        for name, node in self._nodes.items():
            options = options_of(node.kind, self._config.nodes[name])
            tested = frozenset[str]().union(*(demanded(edge.when) for edge in self._edges[name]))
            if "declined" in node.outputs and getattr(options, "cites", False) and "declined" not in tested:
                yield in_config(
                    ("nodes", name),
                    f"its model can say that the passages do not answer, but no edge leads on from there; add {{ from = “{name}”, to = “refuse”, when = {{ field = "
                    "“declined”, is = true } }, where “refuse” is a node of this kind",
                )
            if not getattr(options, "hold", False):
                continue
            if "problem" not in tested:
                yield in_config(
                    ("nodes", name),
                    f"drops a text that the passages do not support, but no edge leads back; add {{ from = “{name}”, to = the node that writes, when = {{ field = "
                    "“problem”, empty = false }, limit = 1 }",
                )
            if not any(edge.on is not None for edge in self._edges[name]):
                yield in_config(
                    ("nodes", name),
                    f"is unavailable if the second text is not supported either, but no edge leads around it; add {{ from = “{name}”, to = a node of the kind passages or "
                    "refuse, on = “unavailable” }",
                )

    def _never_streamed(self) -> Iterator[Problem]:
        """Nodes that hold back their text, if there is a path on which no later node sends this text."""
        senders = {name for name, node in self._nodes.items() if node.streams and node.kind.repeats_text}
        refusing = {name for name, node in self._nodes.items() if "refusal" in node.outputs}
        ends = {FINISH} | {name for name in self._nodes if self._is_end(name)}
        for name, node in self._nodes.items():
            if not node.withholds:
                continue

            def closed(edge: EdgeTable, name: str = name) -> bool:
                fell_back = (
                    edge.source == name and edge.on is not None
                )  # a node that fell back has written nothing
                source = self._nodes.get(edge.source)
                rejected = edge.on is not None and source is not None and source.kind.rejects_text
                return edge.target in senders or edge.source in refusing or fell_back or rejected

            taken = [name] if name in ends else path(self._edges, name, ends - senders - refusing, closed)
            if taken is not None:
                yield in_config(
                    ("nodes", name),
                    f"does not send its text, and no later node does on the path {' → '.join(taken)}; add a node of the kind “output”, or set stream = true",
                )

    def _is_end(self, name: str) -> bool:
        """Whether a turn ends after this node if the node succeeds."""
        return not any(edge.on is None for edge in self._edges[name])

    def _endless(self) -> Iterator[Problem]:
        """Paths to the turn's end on which no node writes an answer or a refusal."""

        def provides(edge: EdgeTable) -> bool:
            source = self._nodes.get(edge.source)
            if source is not None and edge.on is None and _ended(source.outputs):
                return True
            return any(_ended(self._implied(one)) for one in demanded(edge.when))

        for place, edge in enumerate(self._config.graph.edges):
            if edge.source == BEGIN and edge.target == FINISH:
                yield in_config(
                    ("graph", "edges", place),
                    "the turn would end here before any node has written an answer or a refusal",
                )
        for name, node in self._nodes.items():
            # If the turn took a fallback edge, the node itself has written nothing.
            bare = any(edge.target == FINISH and not provides(edge) for edge in self._edges[name])
            if not bare and (_ended(node.outputs) or not self._is_end(name)):
                continue
            if (taken := path(self._edges, BEGIN, {name}, provides)) is None:
                continue
            before = [one for one in self._nodes.values() if name in beyond(self._edges, one.name)]
            # If a node on another path writes an answer or a refusal, the message names the path that lacks
            # both, because “no node” alone would be wrong.
            which = (
                f"the path {' → '.join(taken)}" if any(_ended(one.outputs) for one in before) else "the way"
            )
            yield in_config(
                ("nodes", name),
                f"the turn can end here, but no node on {which} has written an answer or a refusal",
            )


def _ended(fields: Container[str]) -> bool:
    """Whether these fields are enough to end a turn."""
    return "answer" in fields or "refusal" in fields or ("text" in fields and "complete" in fields)


def _value(leaf: WhenTable, key: Key, kind: Any, allowed: Sequence[object] | None) -> Iterator[Problem]:
    """A problem if a condition tests for a value that the field never has.

    kind: the field's type. allowed: the field's values; None if any value of its type is possible.
    """
    ((test, wanted),) = leaf.tests.items()
    if test == "empty":
        return
    words = [_word(one) for one in allowed or ()]
    for one in cast("Sequence[object]", wanted if isinstance(wanted, tuple) else (wanted,)):
        if one is False and test in ("is", "in"):  # `false` also matches an absent field
            continue
        if allowed is not None and test in ("is", "in"):
            if isinstance(one, str) and bool in map(type, allowed) and one.lower() in words:
                yield in_config(
                    (*key, test),
                    f"“{leaf.field}” is true or false, and “{one}” between quotation marks is a text; leave out the quotation marks",
                )
            elif one not in allowed:
                yield in_config(
                    (*key, test),
                    f"“{leaf.field}” is never “{_word(one)}”; it is one of {quoted(words)}",
                    closest(one, words),
                )
        elif _plain(kind) in (str, bool, int, float) and not _comparable(one, kind):
            yield in_config(
                (*key, test),
                f"compares “{leaf.field}” with a value of the type “{_name(type(one))}”, but the field has the type “{_name(kind)}”",
            )


def _comparable(value: object, kind: Any) -> bool:
    """Whether a field of this scalar type can be compared with the value. Whole numbers can be compared with other numbers."""
    numbers = (int, float)
    return type(value) is _plain(kind) or (type(value) in numbers and _plain(kind) in numbers)


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _plain(kind: Any) -> Any:
    """A type without annotations and without None."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        inner = [arg for arg in get_args(kind) if arg is not type(None)]
        return _plain(inner[0]) if len(inner) == 1 else kind
    return kind


def fits(given: Any, wanted: Any) -> bool:
    """Whether values of the type `given` can be read as the type `wanted`. None and bounds are ignored."""
    if given == wanted:
        return True
    one, other = _plain(given), _plain(wanted)
    return Any in (one, other) or one == other or (one, other) == (int, float)


def _name(kind: Any) -> str:
    """The name of a type in a message."""
    kind = _plain(kind)
    if not isinstance(kind, type) or get_args(kind):
        return "list or table"
    known = (TYPE_NAMES[name].removeprefix("a ") for name, one in _JSON.items() if one is kind)
    return next(known, kind.__name__)


def _members(kind: Any) -> Mapping[str, Any] | None:
    """The fields of a model or dataclass; None for a type that may have any field, empty for a type without fields."""
    kind = _plain(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: info.annotation for name, info in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return get_type_hints(kind)
    origin = cast("object", get_origin(kind) or kind)
    return None if kind is Any or (isinstance(origin, type) and issubclass(origin, Mapping)) else {}


def _values(kind: Any) -> Sequence[object] | None:
    """All values of a type; None if the type does not list them."""
    kind = _plain(kind)
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [one.value for one in kind]
    return (True, False) if kind is bool else None
