"""Checks the graph's shape: where edges lead, which nodes they reach, cycles, and the route around a missing model. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from responsa_server.agents.config.check.inputs import Surroundings
from responsa_server.agents.config.problems import Key, Problem, closest, in_config
from responsa_server.agents.engine.config import (
    BEGIN,
    DEFAULT_MODEL,
    FINISH,
    PASSAGES,
    AgentConfig,
    EdgeTable,
)
from responsa_server.agents.engine.edges import edges_from, fixed, possible_edges, reachable

Edges = Mapping[str, Sequence[EdgeTable]]
"""The edges from BEGIN and from each node, in order."""


def shape(config: AgentConfig, surroundings: Surroundings) -> Iterator[Problem]:
    """Problems of the edges. If every edge joins existing nodes, also problems of the whole graph."""
    wrong = [*_names(config), *_start(config)]
    yield from wrong
    yield from _detours(config, surroundings)
    if not wrong:
        untaken = [*_untaken_start(config), *_order(config)]
        yield from untaken
        # If the checks above found a problem, this check is not strict. A strict check would also report every node
        # behind an edge that no turn takes.
        yield from _unreachable(config, strict=not untaken)
    yield from _cycles(config)


def known_edges(config: AgentConfig) -> Edges:
    """All edges between nodes that exist."""
    known = {*config.nodes, FINISH}
    return {
        name: [edge for edge in edges_from(config, name) if edge.target in known]
        for name in (BEGIN, *config.nodes)
    }


def path(
    edges: Edges, start: str, goals: set[str], closed: Callable[[EdgeTable], bool] = lambda _: False
) -> Sequence[str] | None:
    """A shortest path of at least one edge that avoids closed edges; None if no path exists."""
    left: list[list[str]] = [[start]]
    visited = set[str]()
    while left:
        taken = left.pop(0)
        for edge in edges.get(taken[-1], ()):
            if edge.target in visited or closed(edge):
                continue
            if edge.target in goals:
                return [*taken, edge.target]
            visited.add(edge.target)
            left.append([*taken, edge.target])
    return None


def without_model(config: AgentConfig, surroundings: Surroundings) -> Iterator[Problem]:
    """Nodes that turns reach even without a model, although they need a model and “passages” promises a route around them.

    The kinds of all nodes must be known.
    """
    chain = config.model.chain
    if PASSAGES not in chain:
        return
    alone = set(chain) == {PASSAGES}
    unsure = set(chain) == {PASSAGES, DEFAULT_MODEL}
    without = reachable(possible_edges(config, model=False)) if alone or unsure else set[str]()
    edges = possible_edges(config, model=True)
    reached = set[str]() if alone else reachable(edges)
    for name, table in config.nodes.items():
        if not surroundings.kinds[table.kind].needs_model:
            continue
        if name in without:
            why = (
                "model.chain names only “passages”, which is not a model; name a model there, or let only"
                if alone
                else "“default” in model.chain may stand for no model; let only"
            )
            yield in_config(
                ("nodes", name), f"asks a model, but {why} edges with when = {{ model = true }} lead here"
            )
        elif name in reached and not any(edge.on is not None for edge in edges[name]):
            yield in_config(
                ("nodes", name),
                "asks a model, but no edge leads around it when no model is available, although "
                "model.chain has “passages”; add an edge with "
                'on = "unavailable", or remove “passages”',
            )


def _names(config: AgentConfig) -> Iterator[Problem]:
    for name in (BEGIN, FINISH):
        if name in config.nodes:
            yield in_config(
                ("nodes", name),
                f"“{name}” is the graph's own {'beginning' if name == BEGIN else 'end'}; give the node another name",
            )
    for place, edge in enumerate(config.graph.edges):
        if edge.source not in config.nodes and edge.source != BEGIN:
            yield in_config(
                _key(place, "from"),
                f"the edge comes from “{edge.source}”, but there is no such node",
                closest(edge.source, config.nodes),
            )
        if edge.target not in config.nodes and edge.target != FINISH:
            yield in_config(
                _key(place, "to"),
                f"the edge leads to “{edge.target}”, but there is no such node",
                closest(edge.target, config.nodes),
            )


def _start(config: AgentConfig) -> Iterator[Problem]:
    if config.start not in config.nodes:
        suggestion = closest(config.start, config.nodes)
        yield in_config(("start",), f"there is no node “{config.start}”", suggestion)


def _untaken_start(config: AgentConfig) -> Iterator[Problem]:
    """A problem if every turn takes the same edge from BEGIN, so that no turn reaches the start node."""
    for place, edge in _numbered(config, BEGIN):
        if _always(edge):
            yield in_config(
                _key(place),
                (
                    f"this edge from “{BEGIN}” is always taken, so “start” (“{config.start}”) is never "
                    "reached; give the edge a condition (when), or "
                )
                + (f"write start = “{edge.target}” instead" if edge.target != FINISH else "remove it"),
            )
            return


def _order(config: AgentConfig) -> Iterator[Problem]:
    """A node's last edge must always match, and no other edge of the node may always match."""
    for name in config.nodes:
        edges = _numbered(config, name)
        for number, (place, edge) in enumerate(edges, 1):
            if number == len(edges) and not _always(edge):
                why = "a limit" if edge.limit is not None and edge.when is None else "a condition"
                yield in_config(
                    _key(place, "limit" if why == "a limit" else "when"),
                    f"the last edge from “{name}” has {why}, so a turn may not be able to continue; add a last edge without one",
                )
            elif number < len(edges) and _always(edge):
                yield in_config(
                    _key(place),
                    f"this edge from “{name}” is always taken, so the edges after it are never taken",
                )


def _always(edge: EdgeTable) -> bool:
    return edge.limit is None and all(fixed(edge.when, model=model) is True for model in (True, False))


def _detours(config: AgentConfig, surroundings: Surroundings) -> Iterator[Problem]:
    for place, edge in enumerate(config.graph.edges):
        table = config.nodes.get(edge.source)
        kind = surroundings.kinds.get(table.kind) if table is not None else None
        if edge.on is not None and (edge.source == BEGIN or (kind is not None and kind.fallback is None)):
            message = f"“{edge.source}” is never unavailable, so this edge is never taken"
            yield in_config(_key(place, "on"), message)
        if edge.source == BEGIN and edge.limit is not None:
            yield in_config(_key(place, "limit"), "a turn begins once, so this edge needs no limit")


def _unreachable(config: AgentConfig, *, strict: bool) -> Iterator[Problem]:
    """Nodes that no path leads to. strict: whether to ignore edges that no turn takes, with or without a model."""
    found = reachable(known_edges(config))
    if strict:
        with_model, without = (possible_edges(config, model=model) for model in (True, False))
        found = reachable(with_model) | reachable(without)
    for name in config.nodes:
        if name not in found:
            yield in_config(("nodes", name), f"no path leads to the node “{name}”")


def _cycles(config: AgentConfig) -> Iterator[Problem]:
    after: dict[str, list[tuple[int, EdgeTable]]] = {name: [] for name in config.nodes}
    for place, edge in enumerate(config.graph.edges):
        if edge.limit is None and edge.source in after and edge.target in after:
            after[edge.source].append((place, edge))
    done = set[str]()

    def closing(name: str, taken: list[str]) -> Iterator[Problem]:
        if name in done:
            return
        for place, edge in after[name]:
            if edge.target in taken:
                cycle = [*taken[taken.index(edge.target) :], edge.target]
                yield in_config(
                    _key(place),
                    f"the cycle {' → '.join(cycle)} has no limit; set limit = n on one of its edges",
                )
            else:
                yield from closing(edge.target, [*taken, edge.target])
        done.add(name)

    for name in config.nodes:
        yield from closing(name, [name])


def _numbered(config: AgentConfig, name: str) -> Sequence[tuple[int, EdgeTable]]:
    """A node's edges, except fallback edges, with their positions in the file."""
    edges = enumerate(config.graph.edges)
    return [(place, edge) for place, edge in edges if edge.source == name and edge.on is None]


def _key(place: int, *rest: str) -> Key:
    return ("graph", "edges", place, *rest)
