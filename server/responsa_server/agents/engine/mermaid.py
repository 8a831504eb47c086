"""A picture of an agent's graph, as a Mermaid flowchart. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from responsa_server.agents.engine.conditions import edges_from, shown
from responsa_server.agents.engine.config import BEGIN, FINISH, AgentConfig, EdgeTable


def mermaid(config: AgentConfig) -> str:
    """The flowchart, with conditions on its edges; fallback edges are dotted."""
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
        words.append(shown(edge.when))
    if edge.limit is not None:
        words.append(f"at most {edge.limit} ×")
    text = ", ".join(words).replace('"', "'").replace("|", "/")
    line = "-.->" if edge.on else "-->"
    return f'{line}|"{text}"|' if text else line


def _id(name: str) -> str:
    # Some words, "end" among them, mean something to Mermaid.
    return f"n_{name}"
