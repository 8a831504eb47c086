"""The bounds of schemas of others. `tests/security/parser_probes.py` tries that they hold time and memory."""

from __future__ import annotations

import json

import pytest

from responsa_server.agents.engine.calling import fits, schema_problem
from responsa_server.agents.engine.schemas import CheckedSchema

TREE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
            "required": ["name"],
        }
    },
    "$ref": "#/$defs/node",
}  # fmt: skip


def complaints(schema: dict[str, object], value: object) -> list[str]:
    found = CheckedSchema(schema).error(value)
    return [] if found is None else [found.message]


def test_a_tree_is_checked_on_each_level() -> None:
    tree = {"name": "a", "children": [{"name": "b", "children": [{"name": "c"}] * 20}] * 20}
    assert complaints(TREE, tree) == []
    assert complaints(TREE, {"name": "a", "children": [{"children": []}]}) == [
        '"name" is a required property'
    ]


@pytest.mark.parametrize(
    ("schema", "complaint"),
    [
        ({"oneOf": [{"$ref": "#"}]}, "refers to itself without a step"),
        ({"$ref": "https://a.example/b"}, "refer to a schema within"),
        ({"$ref": "#/$defs/none"}, "refer to a schema within"),
        ({"$dynamicRef": "#a"}, "dynamicRef"),
        ({"properties": {"a": {"$id": "https://a.example/b"}}}, "[$]id"),
        ({"anyOf": [{"minLength": 1}] * 2000}, "more than 2,000 tables"),
        ({"anyOf": [{"pattern": "a"}] * 101}, "more than 100 regular expressions"),
        ({"pattern": "(a{1000}){9}"}, "regex"),
        ({"pattern": "(?=a)a"}, "regex"),
        # A regular expression may take a thousand times its length in memory.
        ({"pattern": r"\p{L}" * 201}, "more than 1,000 characters"),
        ({"properties": {"a": {"anyOf": [{"pattern": "a" * 1001}]}}}, "more than 1,000 characters"),
        ({"patternProperties": {"a" * 1001: {}}}, "more than 1,000 characters"),
    ],
)
def test_what_cannot_be_bounded_is_no_schema(schema: dict[str, object], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        CheckedSchema(schema)
    assert schema_problem(schema) is not None
    assert not fits(schema, "a")


def test_a_parameter_may_be_called_pattern() -> None:
    schema: dict[str, object] = {
        "properties": {"pattern": {"type": "string"}, "patternProperties": {"type": "string"}}
    }
    assert schema_problem(schema) is None
    assert fits(schema, {"pattern": "a" * 2000})


def test_a_value_to_which_too_many_subschemas_apply_is_not_checked() -> None:
    branch = {"properties": {"a": {"$ref": "#/$defs/n"}}}
    schema: dict[str, object] = {"$defs": {"n": {"anyOf": [branch, branch]}}, "$ref": "#/$defs/n"}
    assert complaints(schema, {"a": {"a": 1}}) == []
    with pytest.raises(ValueError, match="too many subschemas for a value of this size and depth"):
        complaints(schema, json.loads('{"a":' * 25 + "1" + "}" * 25))


def test_one_mistake_is_told_however_many_there_are() -> None:
    names = [f"name{number}" for number in range(2000)]
    (said,) = complaints({"items": {"required": names}}, [{}] * 10)
    assert "name" in said
    with pytest.raises(ValueError, match="too many subschemas"):
        complaints({"items": {"required": names}}, [{}] * 40_000)
