"""What flows through the graph: fields that conditions ask for, inputs that every way provides, types that fit, and text that is told once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from responsa_server.agents.config.check import types
from responsa_server.agents.config.check.asked import conditions
from responsa_server.agents.config.check.edges import ways
from responsa_server.agents.config.check.fields import (
    GIVEN,
    EndFields,
    Node,
    TaskFields,
    implied,
    node_of,
    way,
)
from responsa_server.agents.config.check.files import Surroundings
from responsa_server.agents.config.check.problems import AGENT_FILE, Key, Problem, meant
from responsa_server.agents.config.check.telling import telling
from responsa_server.agents.engine.conditions import demanded, leaves
from responsa_server.agents.engine.config import BEGIN, AgentConfig, EdgeTable
from responsa_server.agents.engine.state import ENGINE_KEYS, TASK_KEYS

_FIELD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def flow(config: AgentConfig, surroundings: Surroundings) -> Iterator[Problem]:
    """Problems of what nodes and conditions read and write. Nodes of unknown kinds must have been sorted out before."""
    nodes = {name: node_of(config, name, surroundings) for name in config.nodes}
    edges = ways(config)
    yield from conditions(config, nodes)
    yield from _places(config, nodes)
    for node in nodes.values():
        yield from _inputs(node, nodes, edges)
        yield from _types(node, nodes, edges)
        yield from _asked(node, nodes, edges)
    yield from _ends(nodes)
    yield from telling(config, nodes, edges)


def _inputs(
    node: Node, nodes: Mapping[str, Node], edges: Mapping[str, Sequence[EdgeTable]]
) -> Iterator[Problem]:
    for one in node.inputs:
        field = one.key
        if not one.required or field in TaskFields.model_fields:
            continue

        def provides(edge: EdgeTable, field: str = field) -> bool:
            source = nodes.get(edge.source)
            written = source is not None and edge.on is None and field in source.outputs
            return written or any(field in implied(asked, nodes) for asked in demanded(edge.when))

        if (path := way(edges, BEGIN, {node.name}, provides)) is not None:
            yield Problem(
                AGENT_FILE,
                f"needs “{field}”, which the way {' → '.join(path)} does not provide",
                one.place,
                _provider(field, nodes),
            )


def _provider(field: str, nodes: Mapping[str, Node]) -> str:
    """A field of nearly the same name that some node writes, where none writes this one."""
    written = {name for node in nodes.values() for name in node.outputs}
    return "" if field in written else meant(field, written)


def _types(
    node: Node, nodes: Mapping[str, Node], edges: Mapping[str, Sequence[EdgeTable]]
) -> Iterator[Problem]:
    for one in node.inputs:
        field = one.key
        if field in GIVEN and not types.fits(GIVEN[field], one.type):
            given = types.name(GIVEN[field])
            yield Problem(
                AGENT_FILE,
                f"reads “{field}” as {types.name(one.type)}, and every turn has it as {given}",
                one.place,
            )
            continue
        for producer in nodes.values():
            given = producer.outputs.get(field)
            if given is None:
                continue
            fit = types.fits(given, one.type)
            sure = field in producer.filled or not one.filled
            if (fit and sure) or way(edges, producer.name, {node.name}) is None:
                continue
            yield Problem(
                AGENT_FILE,
                f"reads “{field}” as {types.name(one.type)}"
                + (
                    f" that is never empty, and “{producer.name}” may leave it so; read what a model has written"
                    if fit
                    else f", and “{producer.name}” writes it as {types.name(given)}"
                ),
                one.place,
            )


def _asked(
    node: Node, nodes: Mapping[str, Node], edges: Mapping[str, Sequence[EdgeTable]]
) -> Iterator[Problem]:
    """Ways on which a node gets what may be nothing, and no edge has asked."""
    for one in node.inputs if node.kind.asked else ():
        if one.field != node.kind.asked:
            continue

        def asks(edge: EdgeTable, field: str = one.key) -> bool:
            # What falls through an earlier edge of the same node has been asked, too.
            before = edges[edge.source]
            return any(
                (leaf.field or "").split(".")[0] == field
                for each in before[: before.index(edge) + 1]
                if each.when is not None
                for _, leaf in leaves(each.when)
            )

        writers = [each for each in nodes.values() if one.key in each.outputs]
        # Of what is something else altogether it need not be asked.
        if not all(types.fits(each.outputs[one.key], one.type) for each in writers):
            continue
        for writer in writers:
            if (path := way(edges, writer.name, {node.name}, asks)) is not None:
                yield Problem(
                    AGENT_FILE,
                    f"answers with what “{writer.name}” has found, and on the way {' → '.join(path)} no edge asks whether there is any; "
                    f'give one when = {{ field = "{one.key}.supported", is = true }}',
                    ("nodes", node.name),
                )


def _places(config: AgentConfig, nodes: Mapping[str, Node]) -> Iterator[Problem]:
    """Names under `reads` that nobody writes, and under `writes` that are not free."""
    written = {*GIVEN, *(field for node in nodes.values() for field in node.outputs)}
    for name, table in config.nodes.items():
        fields = nodes[name].kind.input_model.model_fields
        for field, key in table.reads.items():
            # What must be there is told of with the way that does not provide it.
            if field in fields and not fields[field].is_required() and key not in written:
                yield Problem(
                    AGENT_FILE,
                    f"no node writes a field “{key}”",
                    ("nodes", name, "reads", field),
                    meant(key, written),
                )
        taken = dict[str, str]()
        for field in nodes[name].kind.output_model.model_fields:
            key = table.writes.get(field, field)
            place: Key = ("nodes", name, "writes", field)
            if key in taken:
                at = place if field in table.writes else ("nodes", name, "writes", taken[key])
                yield Problem(
                    AGENT_FILE,
                    f"puts “{taken[key]}” and “{field}” under the same name, “{key}”; give one of them another",
                    at,
                )
            elif field in table.writes and key in ENGINE_KEYS | TASK_KEYS:
                yield Problem(
                    AGENT_FILE,
                    f"“{key}” is written by the engine alone; put “{field}” under another name",
                    place,
                )
            elif field in table.writes and not _FIELD.fullmatch(key):
                yield Problem(
                    AGENT_FILE,
                    f"“{key}” is no name for a field: letters, digits and _, the first one no digit",
                    place,
                )
            taken.setdefault(key, field)


def _ends(nodes: Mapping[str, Node]) -> Iterator[Problem]:
    """Fields that a turn's end is made from, written as what they are not."""
    for node in nodes.values():
        for field, given in node.outputs.items():
            info = EndFields.model_fields.get(field)
            if info is None or types.fits(given, info.annotation):
                continue
            inputs = (one for other in nodes.values() for one in other.inputs if one.key == field)
            # Where a node that reads it as what it is not has been told of, that is enough.
            if all(types.fits(given, one.type) for one in inputs):
                yield Problem(
                    AGENT_FILE,
                    f"writes “{field}” as {types.name(given)}, and a turn's end is made of it as {types.name(info.annotation)}; put it under another name",
                    ("nodes", node.name, "writes"),
                )
