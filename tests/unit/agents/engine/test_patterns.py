"""The bounds of regular expressions in schemas, which may take a thousand times their length in memory."""

from __future__ import annotations

import pytest

from responsa_server.agents.engine.calling import fits, schema_problem


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        ({"pattern": r"\p{L}" * 201}, "more than 1,000 characters"),
        ({"properties": {"a": {"anyOf": [{"pattern": "a" * 1001}]}}}, "more than 1,000 characters"),
        ({"patternProperties": {"a" * 1001: {}}}, "more than 1,000 characters"),
        (
            {"allOf": [{"pattern": f"a{number}"} for number in range(101)]},
            "more than 100 regular expressions",
        ),
    ],
)
def test_a_schema_with_excessive_patterns_is_no_schema(schema: dict[str, object], says: str) -> None:
    found = schema_problem(schema)
    assert found is not None
    assert says in found.message
    assert not fits(schema, "a")


def test_a_parameter_may_be_called_pattern() -> None:
    schema: dict[str, object] = {
        "properties": {"pattern": {"type": "string"}, "patternProperties": {"type": "string"}}
    }
    assert schema_problem(schema) is None
    assert fits(schema, {"pattern": "a" * 2000})
