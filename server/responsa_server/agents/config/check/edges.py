"""The graph's shape: where its edges lead, what they reach, where they go round, and whether a way out always fits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from responsa_server.agents.config.check.files import Surroundings
from responsa_server.agents.config.check.problems import AGENT_FILE, Key, Problem, meant
from responsa_server.agents.engine.conditions import fixed
from responsa_server.agents.engine.config import BEGIN, FINISH, AgentConfig, EdgeTable
from responsa_server.agents.engine.ways import possible, reached

_WORDS: Final = {BEGIN: "begins", FINISH: "ends"}
Numbered = tuple[int, EdgeTable]


def shape(config: AgentConfig, surroundings: Surroundings) -> Iterator[Problem]:
    """Problems of the edges themselves, then, if each leads somewhere, of the whole."""
    wrong = [*_names(config), *_start(config)]
    yield from wrong
    yield from _detours(config, surroundings)
    if not wrong:
        untaken = [*_starting(config), *_defaults(config)]
        yield from untaken
        # Where edges are never taken, all behind them would be told of for the same reason.
        yield from _unreachable(config, strict=not untaken)
    yield from _cycles(config)


def ways(config: AgentConfig) -> Mapping[str, Sequence[EdgeTable]]:
    """The edges from each node and from BEGIN, fallback edges among them, those alone that lead from and to nodes that are there."""
    known = {*config.nodes, FINISH}
    found: dict[str, list[EdgeTable]] = {name: [] for name in (BEGIN, *config.nodes)}
    for edge in config.graph.edges:
        if edge.source in found and edge.target in known:
            found[edge.source].append(edge)
    if config.start in config.nodes:
        found[BEGIN].append(EdgeTable.model_validate({"from": BEGIN, "to": config.start}))
    return found


def _names(config: AgentConfig) -> Iterator[Problem]:
    for name in (BEGIN, FINISH):
        if name in config.nodes:
            yield Problem(
                AGENT_FILE,
                f"“{name}” stands for where the graph itself {_WORDS[name]}, and is no name for a node",
                ("nodes", name),
            )
    for place, edge in enumerate(config.graph.edges):
        if edge.source not in config.nodes and edge.source != BEGIN:
            yield Problem(
                AGENT_FILE,
                f"there is no node “{edge.source}” for the edge to come from",
                _key(place, "from"),
                meant(edge.source, config.nodes),
            )
        if edge.target not in config.nodes and edge.target != FINISH:
            yield Problem(
                AGENT_FILE,
                f"there is no node “{edge.target}” for the edge to lead to",
                _key(place, "to"),
                meant(edge.target, config.nodes),
            )


def _start(config: AgentConfig) -> Iterator[Problem]:
    if config.start not in config.nodes:
        yield Problem(
            AGENT_FILE,
            f"there is no node “{config.start}” to start at",
            ("start",),
            meant(config.start, config.nodes),
        )


def _starting(config: AgentConfig) -> Iterator[Problem]:
    """Edges from BEGIN that leave nothing for `start`."""
    for number, edge in _numbered(config, BEGIN):
        if _always(edge):
            yield Problem(
                AGENT_FILE,
                f"this edge from “{BEGIN}” always fits, so “start” (“{config.start}”) is never reached; give it a condition (when), "
                + (f"or say start = “{edge.target}” instead" if edge.target != FINISH else "or leave it out"),
                _key(number),
            )
            return


def _always(edge: EdgeTable) -> bool:
    return edge.limit is None and all(fixed(edge.when, model=model) is True for model in (True, False))


def _defaults(config: AgentConfig) -> Iterator[Problem]:
    for name in config.nodes:
        edges = _numbered(config, name)
        for place, (number, edge) in enumerate(edges):
            last = place == len(edges) - 1
            always = _always(edge)
            if last and not always:
                why = "a limit" if edge.limit is not None and edge.when is None else "a condition"
                yield Problem(
                    AGENT_FILE,
                    f"the last edge from “{name}” has {why}, so the turn may find no way on; end with an edge that always fits",
                    _key(number, "limit" if why == "a limit" else "when"),
                )
            elif always and not last:
                yield Problem(
                    AGENT_FILE,
                    f"this edge from “{name}” always fits, so those after it are never taken",
                    _key(number),
                )


def _detours(config: AgentConfig, surroundings: Surroundings) -> Iterator[Problem]:
    for number, edge in enumerate(config.graph.edges):
        table = config.nodes.get(edge.source)
        kind = surroundings.kinds.get(table.kind) if table is not None else None
        if edge.on is not None and (edge.source == BEGIN or (kind is not None and kind.fallback is None)):
            yield Problem(
                AGENT_FILE,
                f"“{edge.source}” is never unavailable, so this edge would never be taken",
                _key(number, "on"),
            )
        if edge.source == BEGIN and edge.limit is not None:
            yield Problem(
                AGENT_FILE, "a turn begins once, so this edge needs no limit", _key(number, "limit")
            )


def _unreachable(config: AgentConfig, *, strict: bool) -> Iterator[Problem]:
    """Nodes that no way leads to. strict: edges that are never taken, with a model or without, are no ways."""
    if strict:
        found = reached(possible(config, model=True)) | reached(possible(config, model=False))
    else:
        found = reached(ways(config))
    for name in config.nodes:
        if name not in found:
            yield Problem(AGENT_FILE, f"no way leads to the node “{name}”", ("nodes", name))


def _cycles(config: AgentConfig) -> Iterator[Problem]:
    """Each edge that closes a cycle in which no edge has a limit, once."""
    after: dict[str, list[Numbered]] = {name: [] for name in config.nodes}
    for number, edge in enumerate(config.graph.edges):
        if edge.limit is None and edge.source in after and edge.target in after:
            after[edge.source].append((number, edge))
    done = set[str]()
    for name in config.nodes:
        yield from _closing(name, after, [], done)


def _closing(
    name: str, after: Mapping[str, Sequence[Numbered]], path: list[str], done: set[str]
) -> Iterator[Problem]:
    if name in done:
        return
    path.append(name)
    for number, edge in after[name]:
        if edge.target in path:
            circle = [*path[path.index(edge.target) :], edge.target]
            yield Problem(
                AGENT_FILE,
                f"the cycle {' → '.join(circle)} has no limit; give one of its edges limit = n",
                _key(number),
            )
        else:
            yield from _closing(edge.target, after, path, done)
    path.pop()
    done.add(name)


def _numbered(config: AgentConfig, name: str) -> Sequence[Numbered]:
    return [
        (number, edge)
        for number, edge in enumerate(config.graph.edges)
        if edge.source == name and edge.on is None
    ]


def _key(place: int, *rest: str) -> Key:
    return ("graph", "edges", place, *rest)
