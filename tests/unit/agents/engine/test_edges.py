"""Conditions of edges: when they hold, which fields they require, and how they are displayed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from responsa_server.agents.config.files import examine
from responsa_server.agents.engine.config import WhenTable
from responsa_server.agents.engine.edges import (
    compile_condition,
    constant_value,
    describe,
    fields_needed_by,
    mermaid,
)
from tests.unit.agents.configured import SURROUNDINGS, write

STATE: dict[str, object] = {
    "a": {"b": True, "n": 3, "list": [], "text": "x"},
    "zero": 0,
    "no": False,
    "question": "Why?",
}


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({"field": "a.b", "is": True}, True),
        ({"field": "a.b", "is": 1}, False),  # true is not a number
        ({"field": "a.text.deep", "is": "x"}, False),
        ({"field": "gone", "is": False}, True),
        ({"field": "zero", "is": False}, False),
        ({"field": "a.text", "in": ["y", "x"]}, True),
        ({"field": "gone", "in": ["y", False]}, True),
        ({"field": "a.n", "above": 2.5}, True),
        ({"field": "gone", "below": 4}, False),
        ({"field": "a.b", "above": 0}, False),
        ({"field": "a.list", "empty": True}, True),
        ({"field": "a.text", "empty": False}, True),
        ({"field": "zero", "empty": True}, False),
        ({"all": [{"field": "a.b", "is": True}, {"field": "a.n", "is": 3}]}, True),
        ({"any": [{"field": "a.b", "is": False}, {"field": "a.n", "is": 3}]}, True),
        ({"any": [{"field": "a.b", "is": False}, {"model": False}]}, False),
        ({"all": [{"field": "a.b", "is": True}, {"model": True}]}, True),
    ],
)
def test_a_condition_holds(when: dict[str, Any], holds: bool) -> None:
    test = compile_condition(WhenTable.model_validate(when), model=True)
    assert test is not None
    assert test(STATE) is holds


@pytest.mark.parametrize(
    ("when", "with_model", "without"),
    [
        ({"model": True}, True, False),
        ({"model": False}, False, True),
        ({"all": [{"model": True}, {"field": "a", "is": True}]}, None, False),
        ({"any": [{"model": True}, {"field": "a", "is": True}]}, True, None),
        ({"field": "a", "is": True}, None, None),
    ],
)
def test_what_depends_on_the_model_alone_is_known_before(
    when: dict[str, Any], with_model: bool | None, without: bool | None
) -> None:
    table = WhenTable.model_validate(when)
    assert (constant_value(table, model=True), constant_value(table, model=False)) == (with_model, without)
    assert constant_value(None, model=True) is True
    assert compile_condition(None, model=True) is None


@pytest.mark.parametrize(
    ("when", "fields"),
    [
        ({"field": "a.b", "is": True}, {"a"}),
        ({"field": "a", "is": False}, set[str]()),
        ({"field": "a", "empty": True}, set[str]()),
        ({"field": "a", "in": ["x", False]}, set[str]()),
        ({"all": [{"field": "a", "is": True}, {"field": "b", "is": True}]}, {"a", "b"}),
        (
            {
                "any": [
                    {"field": "a", "is": True},
                    {"all": [{"field": "a", "is": 1}, {"field": "b", "is": 1}]},
                ]
            },
            {"a"},
        ),
    ],
)
def test_a_condition_demands_fields(when: dict[str, Any], fields: set[str]) -> None:
    assert fields_needed_by(WhenTable.model_validate(when)) == fields


SUPPORTED, POST = {"field": "ranking.near", "is": True}, {"field": "intent", "is": "post"}


@pytest.mark.parametrize(
    ("when", "sentence"),
    [
        (
            {
                "any": [
                    {"model": False},
                    {"field": "a", "in": ["x", True]},
                    {"field": "b", "above": 0.5},
                    {"field": "c", "empty": True},
                ]
            },
            "no model or a in x, true or b above 0.5 or c is empty",
        ),
        # What belongs together stands in parentheses.
        (
            {"any": [{"all": [{"model": True}, SUPPORTED]}, POST]},
            "(a model and ranking.near is true) or intent is post",
        ),
        (
            {"all": [{"model": True}, {"any": [SUPPORTED, POST]}]},
            "a model and (ranking.near is true or intent is post)",
        ),
        ({"all": [{"any": [POST]}]}, "intent is post"),
    ],
)
def test_a_condition_reads_as_a_sentence(when: dict[str, Any], sentence: str) -> None:
    assert describe(WhenTable.model_validate(when)) == sentence


# The picture of a graph.
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
