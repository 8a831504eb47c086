"""If the check accepts that a node reads a field of another node, every value of that field is valid for the reader."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, cast

import pytest
from pydantic import TypeAdapter

from responsa_server.agents.config.check.flow import fits
from responsa_server.agents.nodes.table import KINDS

WRITTEN: dict[str, Any] = {
    f"{kind}'s {name}": info.annotation
    for kind, one in KINDS.items()
    for name, info in one.output_model.model_fields.items()
}
READ: dict[str, Any] = {
    f"{kind}'s {name}": info.annotation
    for kind, one in KINDS.items()
    for name, info in one.input_model.model_fields.items()
}
FORMATS = {"uuid": "00000000-0000-4000-8000-000000000001", "date-time": "2026-01-01T00:00:00Z"}


def samples(schema: Mapping[str, Any], defs: Mapping[str, Any], depth: int = 0) -> Iterator[object]:
    """Plain values that a schema allows: the smallest value, and a value with content."""
    if "$ref" in schema:
        yield from samples(defs[schema["$ref"].rsplit("/", 1)[1]], defs, depth + 1)
        return
    if "anyOf" in schema:
        for one in schema["anyOf"]:
            yield from samples(one, defs, depth + 1)
        return
    if "enum" in schema or "const" in schema:
        yield from schema.get("enum", [schema.get("const")])
        return
    match schema.get("type"):
        case "string":
            yield FORMATS.get(schema.get("format", ""), "0" * max(64, schema.get("minLength", 0)))
            if not schema.get("minLength") and "format" not in schema and "pattern" not in schema:
                yield ""
        case "integer":
            yield max(1, schema.get("minimum", 1))
        case "number":
            yield 0.5
        case "boolean":
            yield from (True, False)
        case "array" if "prefixItems" in schema:
            yield [next(samples(one, defs, depth + 1)) for one in schema["prefixItems"]]
        case "array":
            yield []
            if depth < 6:
                yield [next(samples(cast("dict[str, Any]", schema.get("items", {})), defs, depth + 1))]
        case "object":
            wanted = cast("dict[str, Any]", schema.get("properties", {}))
            yield {name: next(samples(one, defs, depth + 1)) for name, one in wanted.items()}
        case "null":
            yield None
        case _:
            yield "anything"


def values(kind: Any) -> list[object]:
    adapter: TypeAdapter[Any] = TypeAdapter(kind)
    schema = adapter.json_schema(mode="validation")
    found = list(samples(schema, schema.get("$defs", {})))
    for one in found:
        adapter.validate_python(one)
    return found


@pytest.mark.parametrize("written", WRITTEN)
def test_what_fits_is_taken(written: str) -> None:
    found, some = values(WRITTEN[written]), 0
    for wanted in READ.values():
        if fits(WRITTEN[written], wanted):
            some += 1
            for one in found:
                TypeAdapter(wanted).validate_python(one)
    assert some or not any(written.endswith(f"'s {name.rsplit(' ', 1)[1]}") for name in READ)


def test_a_whole_number_is_a_number_and_not_the_other_way_round() -> None:
    assert fits(int, float)
    assert not fits(float, int)
    assert not fits(str, bool)
    assert fits(str | None, str)
