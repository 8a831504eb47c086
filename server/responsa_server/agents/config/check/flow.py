"""Checks what flows through the graph: the fields that nodes and conditions read, the answer's text, and the turn's end. Pure."""

from __future__ import annotations

import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from annotated_types import MinLen
from pydantic import JsonValue, ValidationError

from responsa_server.agents.config.check import field_types
from responsa_server.agents.config.check.inputs import Surroundings
from responsa_server.agents.config.check.shape import Edges, known_edges, path
from responsa_server.agents.config.problems import Key, Problem, closest, in_config, quoted
from responsa_server.agents.engine.citations import AnswerModel, RefusalModel
from responsa_server.agents.engine.config import BEGIN, FINISH, AgentConfig, EdgeTable, NodeTable, WhenTable
from responsa_server.agents.engine.edges import REFERS_BACK, beyond, demanded, leaves
from responsa_server.agents.engine.kinds import NodeKind
from responsa_server.agents.engine.node import BY, DEFAULT, Names, NodeOptions
from responsa_server.agents.engine.state import ENGINE_KEYS, TASK_KEYS, Said
from responsa_server.domain.answers import Extraction
from responsa_server.domain.events import Fallback

CHOICE: Final = "choice"
"""The input of a node whose value chooses among its prompts."""

TASK_FIELDS: Final[Mapping[str, Any]] = {
    "question": str,
    "collections": tuple[str, ...],
    "history": tuple[Said, ...],
    "older": tuple[Said, ...],
    "parameters": dict[str, JsonValue],
}
"""The fields that every turn begins with."""
GIVEN: Final[Mapping[str, Any]] = {**TASK_FIELDS, "fallbacks": tuple[Fallback, ...]}
"""The fields that need no node: those, and what the engine writes."""
_END: Final[Mapping[str, Any]] = {
    "answer": AnswerModel,
    "refusal": RefusalModel,
    "text": str,
    "complete": bool,
    "shown": int,
    "extraction": Extraction,
}
"""The fields that a turn's end is made from, whichever node wrote them."""
_JSON: Final[Mapping[str, Any]] = {"string": str, "integer": int, "number": float, "boolean": bool}
_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True, slots=True)
class InputField:
    """An input of a node. field: its own name; key: its name in the state; filled: whether it must not be empty; place: where the file says so."""

    field: str
    key: str
    type: Any
    required: bool
    filled: bool
    place: Key


@dataclass(frozen=True, slots=True)
class NodeFields:
    """What a node reads and writes. outputs: types by name in the state; filled: outputs that are never empty; values: the possible values of an output;
    streams: whether it sends the answer's text to the reader.
    """

    name: str
    kind: NodeKind
    streams: bool
    inputs: Sequence[InputField]
    outputs: Mapping[str, Any]
    filled: frozenset[str]
    values: Mapping[str, Sequence[str]]


def options_of(kind: NodeKind, table: NodeTable) -> NodeOptions | None:
    """A node's options as their model, None where they are wrong."""
    try:
        return kind.options.model_validate(table.options)
    except ValidationError:
        return None


def fields_of(name: str, table: NodeTable, kind: NodeKind) -> NodeFields:
    """What a node reads and writes."""
    options = options_of(kind, table)
    values: Mapping[str, Sequence[str]] = {}
    if kind.values is not None and options is not None:
        values = kind.values(options)
    # A node that may ask for tools need not write text.
    filled = frozenset[str]() if getattr(options, "tools", False) else kind.filled
    return NodeFields(
        name,
        kind,
        kind.tells and getattr(options, "stream", True),
        list(_inputs(name, table, kind)),
        {
            table.writes.get(field, field): info.annotation
            for field, info in kind.output_model.model_fields.items()
        },
        frozenset(table.writes.get(field, field) for field in filled),
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
        filled = any(isinstance(one, MinLen) for one in info.metadata)
        yield InputField(field, key, info.annotation, info.is_required(), filled, place)


class Flow:
    """The fields of a graph whose nodes are all of known kinds."""

    def __init__(self, config: AgentConfig, surroundings: Surroundings) -> None:
        self._config = config
        self._kinds = surroundings.kinds
        self._nodes = {
            name: fields_of(name, table, surroundings.kinds[table.kind])
            for name, table in config.nodes.items()
        }
        self._edges: Edges = known_edges(config)

    def problems(self) -> Iterator[Problem]:
        """All problems of fields, of the answer's text and of the turn's end."""
        yield from self._conditions()
        yield from self._renamed()
        for node in self._nodes.values():
            yield from self._missing(node)
            yield from self._types(node)
            yield from self._unasked(node)
        yield from self._end_types()
        yield from self._streamed_twice()
        yield from self._streamed_and_refused()
        yield from self._never_streamed()
        yield from self._endless()

    def choices(self) -> Iterator[Problem]:
        """Problems of tables that choose a prompt by the value of a field."""
        values = {name: set[str]() for node in self._nodes.values() for name in node.outputs}
        for node in self._nodes.values():
            for name, some in node.values.items():
                values[name].update(some)
        for name, table in self._config.nodes.items():
            for field, info in self._kinds[table.kind].options.model_fields.items():
                given = table.options.get(field)
                if Names.PROMPT in info.metadata and isinstance(given, dict):
                    yield from self._choice(("nodes", name, field), cast("dict[str, Any]", given), values)

    def _choice(
        self, key: Key, given: Mapping[str, Any], values: Mapping[str, set[str]]
    ) -> Iterator[Problem]:
        for needed, what in ((BY, "the field that chooses"), (DEFAULT, "the prompt for all other values")):
            if needed not in given:
                yield in_config(key, f"“{needed}” is missing: {what}")
        by = given.get(BY)
        if not isinstance(by, str):
            return
        if by not in values:
            hint, suggestion = "", closest(by, values)
            if not suggestion:  # a node of another kind may write it
                kinds = {
                    field: kind
                    for kind, one in self._kinds.items()
                    for field, info in one.output_model.model_fields.items()
                    if field_types.scalar(info.annotation) is str
                }
                close = by if by in kinds else closest(by, kinds)
                hint = f"; a node of the kind “{kinds[close]}” writes “{close}”" if close else ""
                suggestion = close if close != by else ""
            yield in_config((*key, BY), f"no node writes a field “{by}”{hint}", suggestion)
            return
        for value in given:
            if values[by] and value not in values[by] and value not in (BY, DEFAULT):
                yield in_config(
                    (*key, value),
                    f"“{by}” is never “{value}”; it is one of {quoted(sorted(values[by]))}",
                    closest(value, values[by]),
                )

    def _conditions(self) -> Iterator[Problem]:
        """Conditions on fields that do not exist, and on values that a field never has."""
        fields: dict[str, Any] = {**TASK_FIELDS, REFERS_BACK: bool}
        values: dict[str, Sequence[str]] = {}
        for node in self._nodes.values():
            for name, kind in node.outputs.items():
                same = name not in fields or field_types.fits(kind, fields[name])
                fields[name] = kind if same else field_types.UNKNOWN
            for name, some in node.values.items():
                values[name] = [*values.get(name, ()), *some]
        for place, edge in enumerate(self._config.graph.edges):
            if edge.when is not None:
                for key, leaf in leaves(edge.when, ("graph", "edges", place, "when")):
                    yield from self._leaf(leaf, key, fields, values)

    def _leaf(
        self, leaf: WhenTable, key: Key, fields: Mapping[str, Any], values: Mapping[str, Sequence[str]]
    ) -> Iterator[Problem]:
        parts = (leaf.field or "").split(".")
        allowed = values.get(leaf.field or "")
        if parts[0] == "parameters" and len(parts) > 1:
            properties = self._config.parameters.properties
            if parts[1] not in properties:
                message = f"the agent has no parameter “{parts[1]}”"
                yield in_config((*key, "field"), message, closest(parts[1], properties))
                return
            schema = properties[parts[1]]
            kind, listed = _JSON.get(str(schema.get("type")), field_types.UNKNOWN), schema.get("enum")
            if isinstance(listed, list) and all(isinstance(one, str) for one in listed):
                allowed = [str(one) for one in listed]
            yield from _value(leaf, key, kind, allowed)
            return
        kind, members = field_types.UNKNOWN, fields
        for place, part in enumerate(parts):
            if part not in members:
                parent = ".".join(parts[:place])
                message = f"“{parent}” has no field “{part}”" if place else f"no node writes a field “{part}”"
                yield in_config((*key, "field"), message, closest(part, members))
                return
            kind = members[part]
            inner = field_types.members(kind)
            if inner is None:  # a table, which may have any field
                kind = kind if place == len(parts) - 1 else field_types.UNKNOWN
                break
            members = inner
        yield from _value(leaf, key, kind, allowed)

    def _renamed(self) -> Iterator[Problem]:
        """Names under `reads` that no node writes, and names under `writes` that are not available."""
        written = {*GIVEN, *(field for node in self._nodes.values() for field in node.outputs)}
        for name, table in self._config.nodes.items():
            kind = self._nodes[name].kind
            for field, key in table.reads.items():
                info = kind.input_model.model_fields.get(field)
                # A required input is reported with the path that does not provide it.
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
                        f"puts “{taken[key]}” and “{field}” under the same name, “{key}”; give one of them another",
                    )
                elif field in table.writes and key in ENGINE_KEYS | TASK_KEYS:
                    yield in_config(
                        place, f"“{key}” is written by the engine alone; put “{field}” under another name"
                    )
                elif field in table.writes and not _FIELD.fullmatch(key):
                    yield in_config(
                        place,
                        f"“{key}” is no name for a field: letters, digits and _, the first one no digit",
                    )
                taken.setdefault(key, field)

    def _missing(self, node: NodeFields) -> Iterator[Problem]:
        """Required inputs that some path to the node does not provide."""
        for one in node.inputs:
            field = one.key
            if not one.required or field in TASK_FIELDS:
                continue

            def provides(edge: EdgeTable, field: str = field) -> bool:
                source = self._nodes.get(edge.source)
                written = source is not None and edge.on is None and field in source.outputs
                return written or any(field in self._implied(asked) for asked in demanded(edge.when))

            if (taken := path(self._edges, BEGIN, {node.name}, provides)) is not None:
                written = {name for other in self._nodes.values() for name in other.outputs}
                yield in_config(
                    one.place,
                    f"needs “{field}”, which the way {' → '.join(taken)} does not provide",
                    "" if field in written else closest(field, written),
                )

    def _implied(self, field: str, above: frozenset[str] = frozenset()) -> frozenset[str]:
        """The fields that exist wherever a field does: what each of its writers writes and had to read. Fields are never removed from the state."""
        each: list[frozenset[str]] = []
        for node in self._nodes.values():
            if field in node.outputs and node.name not in above:
                needed = [one.key for one in node.inputs if one.required]
                before = [self._implied(name, above | {node.name}) for name in needed]
                each.append(frozenset(node.outputs).union(*before))
        return frozenset({field}) | (each[0].intersection(*each[1:]) if each else frozenset[str]())

    def _types(self, node: NodeFields) -> Iterator[Problem]:
        """Inputs that another node, or the turn, writes as another type."""
        for one in node.inputs:
            wanted = field_types.name(one.type)
            if one.key in GIVEN and not field_types.fits(GIVEN[one.key], one.type):
                given = field_types.name(GIVEN[one.key])
                yield in_config(one.place, f"reads “{one.key}” as {wanted}, and every turn has it as {given}")
                continue
            for writer in self._nodes.values():
                if one.key not in writer.outputs:
                    continue
                fit = field_types.fits(writer.outputs[one.key], one.type)
                sure = one.key in writer.filled or not one.filled
                if (fit and sure) or path(self._edges, writer.name, {node.name}) is None:
                    continue
                why = (
                    f" that is never empty, and “{writer.name}” may leave it so; read what a model has written"
                    if fit
                    else f", and “{writer.name}” writes it as {field_types.name(writer.outputs[one.key])}"
                )
                yield in_config(one.place, f"reads “{one.key}” as {wanted}{why}")

    def _unasked(self, node: NodeFields) -> Iterator[Problem]:
        """Paths on which a node gets a result that may be empty, and no edge tests it."""
        for one in node.inputs:
            if not node.kind.asked or one.field != node.kind.asked:
                continue

            def tests(edge: EdgeTable, field: str = one.key) -> bool:
                # A turn that passes an earlier edge of the same node has been tested by that edge.
                before = self._edges[edge.source]
                return any(
                    (leaf.field or "").split(".")[0] == field
                    for each in before[: before.index(edge) + 1]
                    if each.when is not None
                    for _, leaf in leaves(each.when)
                )

            writers = [each for each in self._nodes.values() if one.key in each.outputs]
            # A field of another type is another problem.
            if not all(field_types.fits(each.outputs[one.key], one.type) for each in writers):
                continue
            for writer in writers:
                if (taken := path(self._edges, writer.name, {node.name}, tests)) is not None:
                    yield in_config(
                        ("nodes", node.name),
                        f"answers with what “{writer.name}” has found, and on the way {' → '.join(taken)} no edge asks whether there is any; "
                        f'give one when = {{ field = "{one.key}.supported", is = true }}',
                    )

    def _end_types(self) -> Iterator[Problem]:
        """Fields of the turn's end that a node writes as another type."""
        for node in self._nodes.values():
            for field, given in node.outputs.items():
                if field not in _END or field_types.fits(given, _END[field]):
                    continue
                inputs = (one for other in self._nodes.values() for one in other.inputs if one.key == field)
                # Where a node that reads it is reported, that is enough.
                if all(field_types.fits(given, one.type) for one in inputs):
                    yield in_config(
                        ("nodes", node.name, "writes"),
                        f"writes “{field}” as {field_types.name(given)}, and a turn's end is made of it as {field_types.name(_END[field])}; put it under another name",
                    )

    def _streamed_twice(self) -> Iterator[Problem]:
        streaming = [node for node in self._nodes.values() if node.streams]
        for first in streaming:
            for second in streaming:
                # A node that reads the text continues it, unless it repeats the text, or the text is elsewhere.
                reads = any(one.key == "text" for one in second.inputs)
                if reads and "text" in first.outputs and not second.kind.tells_anew:
                    continue
                # By its fallback edge the first one has sent nothing.
                taken = path(
                    self._edges,
                    first.name,
                    {second.name},
                    lambda edge, first=first: edge.source == first.name and edge.on is not None,
                )
                if taken is not None:
                    yield in_config(
                        ("nodes", second.name),
                        f"tells the answer's text, and so has “{first.name}” on the way {' → '.join(taken)}; one of them must not (stream = false)",
                    )

    def _streamed_and_refused(self) -> Iterator[Problem]:
        """Refusals of an answer that was sent. After a later node's failure a refusal is better than nothing."""
        for first in self._nodes.values():
            for second in self._nodes.values() if first.streams else ():
                taken = path(self._edges, first.name, {second.name}, lambda edge: edge.on is not None)
                if "refusal" in second.outputs and taken is not None:
                    yield in_config(
                        ("nodes", second.name),
                        f"refuses a turn whose answer “{first.name}” has told by then, on the way {' → '.join(taken)}; refuse before it, or let it not tell "
                        "(stream = false) and a node of the kind “output” do it where there is an answer",
                    )

    def _never_streamed(self) -> Iterator[Problem]:
        """Text that is kept for a later node to send, on a path where no node does."""
        senders = {name for name, node in self._nodes.items() if node.streams and node.kind.tells_anew}
        refusing = {name for name, node in self._nodes.items() if "refusal" in node.outputs}
        ends = {FINISH} | {name for name in self._nodes if self._is_end(name)}
        for name, node in self._nodes.items():
            if not node.kind.tells or node.streams:
                continue

            def closed(edge: EdgeTable, name: str = name) -> bool:
                fell_back = edge.source == name and edge.on is not None  # and has written nothing
                return edge.target in senders or edge.source in refusing or fell_back

            taken = [name] if name in ends else path(self._edges, name, ends - senders - refusing, closed)
            if taken is not None:
                yield in_config(
                    ("nodes", name),
                    f"does not tell its text, and nobody does on the way {' → '.join(taken)}; add a node of the kind “output”, or let it tell (stream = true)",
                )

    def _is_end(self, name: str) -> bool:
        """Whether a turn ends behind the node when the node has done its work."""
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
            # By a fallback edge the node itself has written nothing.
            bare = any(edge.target == FINISH and not provides(edge) for edge in self._edges[name])
            if not bare and (_ended(node.outputs) or not self._is_end(name)):
                continue
            if (taken := path(self._edges, BEGIN, {name}, provides)) is None:
                continue
            before = [one for one in self._nodes.values() if name in beyond(self._edges, one.name)]
            which = (
                f"on the way {' → '.join(taken)} no node has written an answer or a refusal"
                if any(_ended(one.outputs) for one in before)
                else "no node on the way has written an answer or a refusal"
            )
            yield in_config(("nodes", name), f"the turn can end here, and {which}")


def _ended(fields: Container[str]) -> bool:
    """Whether these fields make a turn's end."""
    return "answer" in fields or "refusal" in fields or ("text" in fields and "complete" in fields)


def _value(leaf: WhenTable, key: Key, kind: Any, allowed: Sequence[str] | None) -> Iterator[Problem]:
    """A test that a field of this type cannot meet. allowed: the field's values, None where only the type limits them."""
    ((test, wanted),) = leaf.tests.items()
    if not field_types.known(kind) and allowed is None:
        return
    scalar = field_types.scalar(kind) if field_types.known(kind) else str
    word = field_types.name(kind) if field_types.known(kind) else "text"
    possible = allowed if allowed is not None else field_types.values(kind)
    match test:
        case "above" | "below":
            if scalar is not float:
                yield in_config((*key, test), f"“{leaf.field}” is no number but {word}")
        case "empty":
            if not field_types.can_be_empty(kind):
                yield in_config((*key, test), f"“{leaf.field}” is {word}, which is never empty")
        case _:
            for one in cast("Sequence[object]", wanted if isinstance(wanted, tuple) else (wanted,)):
                if one is False and scalar is not bool:  # a test for an absent field
                    continue
                if field_types.scalar(type(one)) is not scalar:
                    yield in_config((*key, test), f"“{leaf.field}” is {word}, and so never {_literal(one)}")
                elif possible is not None and one not in possible:
                    yield in_config(
                        (*key, test),
                        f"“{leaf.field}” is never {_literal(one)}; it is one of {quoted(possible)}",
                        closest(one, map(str, possible)),
                    )


def _literal(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"“{value}”" if isinstance(value, str) else str(value)
