"""The ways between an agent's nodes: which edges a turn can take at all, and what they lead to. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from responsa_server.agents.engine.conditions import fixed
from responsa_server.agents.engine.config import BEGIN, AgentConfig, EdgeTable


def ways_out(config: AgentConfig, name: str) -> Sequence[EdgeTable]:
    """The edges from a node, in order; from BEGIN, `start` last."""
    given = [edge for edge in config.graph.edges if edge.source == name]
    if name == BEGIN:
        given.append(EdgeTable.model_validate({"from": BEGIN, "to": config.start}))
    return given


def possible(config: AgentConfig, *, model: bool) -> Mapping[str, Sequence[EdgeTable]]:
    """By BEGIN and each node, the edges from it that can be taken, as the agent has a model or not; none after one that always is."""
    return {name: _possible(config, name, model=model) for name in (BEGIN, *config.nodes)}


def _possible(config: AgentConfig, name: str, *, model: bool) -> Sequence[EdgeTable]:
    found, ended = list[EdgeTable](), set[str | None]()
    for edge in ways_out(config, name):
        settled = fixed(edge.when, model=model)
        if settled is False or edge.on in ended:
            continue
        found.append(edge)
        if settled and edge.limit is None:
            ended.add(edge.on)
    return found


def beyond(edges: Mapping[str, Sequence[EdgeTable]], start: str) -> set[str]:
    """All that some way of at least one edge leads to from a node."""
    found, left = set[str](), [start]
    while left:
        for edge in edges.get(left.pop(), ()):
            if edge.target not in found:
                found.add(edge.target)
                left.append(edge.target)
    return found


def reached(edges: Mapping[str, Sequence[EdgeTable]], start: str = BEGIN) -> set[str]:
    """Where one comes to from a node by edges, and the node itself."""
    return {start, *beyond(edges, start)}
