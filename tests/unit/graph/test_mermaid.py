"""The picture of a graph."""

from __future__ import annotations

from pathlib import Path

from responsa_server.agents.config.files import examine
from responsa_server.agents.engine.edges import mermaid
from tests.unit.graph.configured import SURROUNDINGS, write


def test_the_picture_has_every_node_and_every_way(tmp_path: Path) -> None:
    change = (
        "agent.toml",
        '  { from = "retrieve", to = "grade" },\n',
        '  { from = "retrieve", to = "retrieve", limit = 3 },\n  { from = "retrieve", to = "grade" },\n',
    )
    found = examine(write(tmp_path, change), SURROUNDINGS, tmp_path / "none")
    assert found.config is not None
    assert (
        mermaid(found.config)
        == """\
flowchart TD
    n_begin(( ))
    n_route["route<br/><i>router</i>"]
    n_retrieve["retrieve<br/><i>retriever</i>"]
    n_grade["grade<br/><i>ranker</i>"]
    n_write["write<br/><i>prompt</i>"]
    n_quote["quote<br/><i>passages</i>"]
    n_hello["hello<br/><i>template</i>"]
    n_refuse["refuse<br/><i>refuse</i>"]
    n_finish((( )))
    n_begin --> n_route
    n_route -->|"intent is chat"| n_hello
    n_route --> n_retrieve
    n_retrieve -->|"at most 3 ×"| n_retrieve
    n_retrieve --> n_grade
    n_retrieve -.->|"on unavailable"| n_hello
    n_grade -->|"a model and ranking.near is true"| n_write
    n_grade -->|"ranking.near is true"| n_quote
    n_grade --> n_refuse
    n_write -.->|"on unavailable"| n_quote
    n_write --> n_finish
    n_quote --> n_finish
    n_hello --> n_finish
    n_refuse --> n_finish
"""
    )
