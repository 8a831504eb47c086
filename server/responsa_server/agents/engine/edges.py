"""Edges between nodes: their conditions, the paths along them, and a picture of the graph. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, cast

from responsa_server.agents.engine.config import BEGIN, FINISH, AgentConfig, EdgeTable, WhenTable
from responsa_server.agents.engine.node import OBJECTS, Plain

Test = Callable[[Plain], bool]


def compile_condition(when: WhenTable | None, *, model: bool) -> Test | None:
    """The condition as a function of the state; None if it holds for every state. model: whether the agent has a model."""
    certain = constant_value(when, model=model)
    if certain is not None:
        return None if certain else lambda _: False
    assert when is not None
    if when.field is not None:
        return _of_field(when)
    parts = [part for part in when.every or when.some or () if constant_value(part, model=model) is None]
    tests = [cast("Test", compile_condition(part, model=model)) for part in parts]
    if when.every is not None:
        return lambda state: all(test(state) for test in tests)
    return lambda state: any(test(state) for test in tests)


def constant_value(when: WhenTable | None, *, model: bool) -> bool | None:
    """True if the condition holds for every state, False if it never holds, None if it depends on the state."""
    if when is None:
        return True
    if when.model is not None:
        return when.model is model
    if when.every is not None:
        values = [constant_value(part, model=model) for part in when.every]
        return False if False in values else None if None in values else True
    if when.some is not None:
        values = [constant_value(part, model=model) for part in when.some]
        return True if True in values else None if None in values else False
    return None


def fields_needed_by(when: WhenTable | None) -> frozenset[str]:
    """The fields that must exist if the condition holds. A nested field is listed by the part of its name before the
    first dot.
    """
    if when is None or when.model is not None:
        return frozenset()
    if when.field is not None:
        absent_fits = (
            when.equals is False or when.empty is True or (when.within is not None and False in when.within)
        )
        return frozenset() if absent_fits else frozenset({when.field.split(".")[0]})
    if when.every is not None:
        return frozenset[str]().union(*(fields_needed_by(part) for part in when.every))
    some = [fields_needed_by(part) for part in when.some or ()]
    return some[0].intersection(*some[1:]) if some else frozenset()


def leaves(
    when: WhenTable, key: tuple[str | int, ...] = ()
) -> Iterator[tuple[tuple[str | int, ...], WhenTable]]:
    """Each test of a field in the condition, with its path in the file."""
    if when.field is not None:
        yield key, when
    for name, parts in (("all", when.every), ("any", when.some)):
        for index, part in enumerate(parts or ()):
            yield from leaves(part, (*key, name, index))


def describe(when: WhenTable) -> str:
    """The condition in words, for the picture."""
    if when.model is not None:
        return "a model" if when.model else "no model"
    if when.every is not None or when.some is not None:
        word = " and " if when.every is not None else " or "
        parts = when.every or when.some or ()
        # “and” next to “or” would be ambiguous without parentheses.
        return word.join(
            f"({describe(part)})" if _has_parts(part) and len(parts) > 1 else describe(part) for part in parts
        )
    ((name, value),) = when.tests.items()
    if name == "empty":
        return f"{when.field} is {'' if value else 'not '}empty"
    return f"{when.field} {name} {_value(value)}"


def _has_parts(when: WhenTable) -> bool:
    """Whether a condition is shown with “and” or “or”."""
    parts = when.every or when.some or ()
    return len(parts) > 1 or any(_has_parts(part) for part in parts)


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(_value(item) for item in cast("tuple[Any, ...]", value))
    return (
        str(value).lower()
        if isinstance(value, bool)
        else f"{value:g}"
        if isinstance(value, float)
        else str(value)
    )


def _of_field(when: WhenTable) -> Test:
    read = _reader(cast("str", when.field))
    ((name, wanted),) = when.tests.items()
    match name:
        case "is":
            return lambda state: _same(read(state), wanted)
        case "in":
            return lambda state: any(_same(read(state), choice) for choice in wanted)
        case "above":
            return lambda state: (value := _number(read(state))) is not None and value > wanted
        case "below":
            return lambda state: (value := _number(read(state))) is not None and value < wanted
        case _:
            return lambda state: _empty(read(state)) is wanted


def _reader(field: str) -> Callable[[Plain], object]:
    first, *rest = field.split(".")

    def read(state: Plain) -> object:
        value = state.get(first)
        for part in rest:
            if isinstance(value, OBJECTS):
                value = getattr(value, part, None)
            elif isinstance(value, Mapping):
                value = cast("Mapping[str, object]", value).get(part)
            else:
                return None
        return value

    return read


def _same(value: object, wanted: object) -> bool:
    if value is None:
        return wanted is False
    # In Python, True equals 1. In a configuration, `true` must not equal 1.
    return isinstance(value, bool) is isinstance(wanted, bool) and value == wanted


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _empty(value: object) -> bool:
    return (
        value is None
        or value is False
        or (isinstance(value, str | Sequence | Mapping) and len(cast("Sequence[object]", value)) == 0)
    )


def edges_from(config: AgentConfig, name: str) -> Sequence[EdgeTable]:
    """A node's edges in order. The last edge from BEGIN leads to `start`."""
    edges = [edge for edge in config.graph.edges if edge.source == name]
    if name == BEGIN:
        edges.append(EdgeTable.model_validate({"from": BEGIN, "to": config.start}))
    return edges


def possible_edges(config: AgentConfig, *, model: bool) -> Mapping[str, Sequence[EdgeTable]]:
    """The edges that a turn can take from BEGIN and from each node, in order, up to the first edge that always matches.

    model: whether the agent has a model.
    """
    return {name: _possible(config, name, model=model) for name in (BEGIN, *config.nodes)}


def _possible(config: AgentConfig, name: str, *, model: bool) -> Sequence[EdgeTable]:
    edges, ended = list[EdgeTable](), set[str | None]()
    for edge in edges_from(config, name):
        certain = constant_value(edge.when, model=model)
        if certain is False or edge.on in ended:
            continue
        edges.append(edge)
        if certain and edge.limit is None:
            ended.add(edge.on)
    return edges


def beyond(edges: Mapping[str, Sequence[EdgeTable]], start: str) -> set[str]:
    """The nodes that can be reached from `start` over at least one edge."""
    reached, left = set[str](), [start]
    while left:
        for edge in edges.get(left.pop(), ()):
            if edge.target not in reached:
                reached.add(edge.target)
                left.append(edge.target)
    return reached


def reachable(edges: Mapping[str, Sequence[EdgeTable]]) -> set[str]:
    """BEGIN and all nodes that can be reached from BEGIN."""
    return {BEGIN, *beyond(edges, BEGIN)}


def mermaid(config: AgentConfig) -> str:
    """The graph as a Mermaid flowchart with conditions on its edges. Fallback edges are dotted."""
    return "\n".join(_lines(config)) + "\n"


def _lines(config: AgentConfig) -> Iterator[str]:
    yield "flowchart TD"
    yield f"    {_id(BEGIN)}(( ))"
    for name, table in config.nodes.items():
        yield f'    {_id(name)}["{name}<br/><i>{table.kind}</i>"]'
    yield f"    {_id(FINISH)}((( )))"
    for name in (BEGIN, *config.nodes):
        edges = edges_from(config, name)
        for edge in edges:
            yield f"    {_id(edge.source)} {_arrow(edge)} {_id(edge.target)}"
        if not any(edge.on is None for edge in edges):
            yield f"    {_id(name)} --> {_id(FINISH)}"


def _arrow(edge: EdgeTable) -> str:
    words = [f"on {edge.on}"] if edge.on else []
    if edge.when is not None:
        words.append(describe(edge.when))
    if edge.limit is not None:
        words.append(f"at most {edge.limit} ×")
    text = ", ".join(words).replace('"', "'").replace("|", "/")
    line = "-.->" if edge.on else "-->"
    return f'{line}|"{text}"|' if text else line


def _id(name: str) -> str:
    # Some words, such as “end”, are keywords of Mermaid.
    return f"n_{name}"
