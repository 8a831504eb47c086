"""What a turn tells and how it ends: text that is told once, is not taken back, and an end on every way."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence

from responsa_server.agents.config.check.fields import Node, implied, way
from responsa_server.agents.config.check.problems import AGENT_FILE, Problem
from responsa_server.agents.engine.conditions import demanded
from responsa_server.agents.engine.config import BEGIN, FINISH, AgentConfig, EdgeTable
from responsa_server.agents.engine.ways import beyond


def telling(
    config: AgentConfig, nodes: Mapping[str, Node], edges: Mapping[str, Sequence[EdgeTable]]
) -> Iterator[Problem]:
    """Problems of what is told on each way, and of where it ends."""
    yield from _told_twice(nodes, edges)
    yield from _told_and_refused(nodes, edges)
    yield from _never_told(nodes, edges)
    yield from _endless(config, nodes, edges)


def _told_twice(nodes: Mapping[str, Node], edges: Mapping[str, Sequence[EdgeTable]]) -> Iterator[Problem]:
    for first in nodes.values():
        if not first.tells:
            continue
        for second in nodes.values():
            # One that reads the text goes on where it ends, unless it is there to tell it, or what was told stands elsewhere.
            reads = any(one.key == "text" for one in second.inputs)
            goes_on = reads and "text" in first.outputs and not second.kind.tells_anew
            if not second.tells or goes_on:
                continue
            if (path := _way_told(edges, first.name, second.name)) is not None:
                yield Problem(
                    AGENT_FILE,
                    f"tells the answer's text, and so has “{first.name}” on the way {' → '.join(path)}; one of them must not (stream = false)",
                    ("nodes", second.name),
                )


def _told_and_refused(
    nodes: Mapping[str, Node], edges: Mapping[str, Sequence[EdgeTable]]
) -> Iterator[Problem]:
    """Refusals of what was told. Where a later node fails, one is better than no word at all."""
    for first in nodes.values():
        if not first.tells:
            continue
        for second in nodes.values():
            path = way(edges, first.name, {second.name}, lambda edge: edge.on is not None)
            if "refusal" in second.outputs and path is not None:
                yield Problem(
                    AGENT_FILE,
                    f"refuses a turn whose answer “{first.name}” has told by then, on the way {' → '.join(path)}; refuse before it, or let it not tell "
                    "(stream = false) and a node of the kind “output” do it where there is an answer",
                    ("nodes", second.name),
                )


def _way_told(edges: Mapping[str, Sequence[EdgeTable]], first: str, second: str) -> Sequence[str] | None:
    """A way from a node that has told its text; by a fallback edge it has told nothing."""
    return way(edges, first, {second}, lambda edge: edge.source == first and edge.on is not None)


def _never_told(nodes: Mapping[str, Node], edges: Mapping[str, Sequence[EdgeTable]]) -> Iterator[Problem]:
    """Text that is kept for others to tell, on a way where nobody does."""
    telling = {name for name, node in nodes.items() if node.tells and node.kind.tells_anew}
    # What is refused is not to be told.
    refusing = {name for name, node in nodes.items() if "refusal" in node.outputs}
    for name, node in nodes.items():
        if not node.kind.tells or node.tells:
            continue
        # By a fallback edge it has written nothing.
        ends = {FINISH} | {one for one in nodes if not any(edge.on is None for edge in edges[one])}
        path = (
            [name]
            if name in ends
            else way(
                edges,
                name,
                ends - telling - refusing,
                lambda edge, name=name: (
                    edge.target in telling
                    or edge.source in refusing
                    or (edge.source == name and edge.on is not None)
                ),
            )
        )
        if path is not None:
            yield Problem(
                AGENT_FILE,
                f"does not tell its text, and nobody does on the way {' → '.join(path)}; add a node of the kind “output”, or let it tell (stream = true)",
                ("nodes", name),
            )


def _endless(
    config: AgentConfig, nodes: Mapping[str, Node], edges: Mapping[str, Sequence[EdgeTable]]
) -> Iterator[Problem]:
    """Ways to a turn's end on which nobody has written what it is made of."""

    def provides(edge: EdgeTable) -> bool:
        source = nodes.get(edge.source)
        if source is not None and edge.on is None and _ended(source.outputs):
            return True
        return any(_ended(implied(one, nodes)) for one in demanded(edge.when))

    for number, edge in enumerate(config.graph.edges):
        if edge.source == BEGIN and edge.target == FINISH:
            yield Problem(
                AGENT_FILE,
                "the turn would end here before any node has written an answer or a refusal",
                ("graph", "edges", number),
            )
    for name, node in nodes.items():
        last = [edge for edge in edges[name] if edge.target == FINISH]
        ends = not any(edge.on is None for edge in edges[name])
        # On its way out it has written; round it, it has not.
        bare = [edge for edge in last if not provides(edge)]
        if not bare and not (ends and not _ended(node.outputs)):
            continue
        if (path := way(edges, BEGIN, {name}, provides)) is None:
            continue
        before = [one for one in nodes.values() if name in beyond(edges, one.name)]
        which = (
            "no node on the way has written an answer or a refusal"
            if not any(_ended(one.outputs) for one in before)
            else f"on the way {' → '.join(path)} no node has written an answer or a refusal"
        )
        yield Problem(AGENT_FILE, f"the turn can end here, and {which}", ("nodes", name))


def _ended(fields: Container[str]) -> bool:
    """Whether a turn's end can be made of these fields."""
    return "answer" in fields or "refusal" in fields or ("text" in fields and "complete" in fields)
