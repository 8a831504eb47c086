"""google.protobuf.Struct and plain JSON values: one form for equal values, whole numbers as such."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Final, TypeAlias, cast

from google.protobuf import json_format
from google.protobuf.struct_pb2 import ListValue, Struct, Value

from responsa_server.domain.errors import InvalidRequest

MAX_BYTES: Final = 4096
"""Of an object that somebody sends, as JSON."""
# A Value's number is a double: whole ones beyond this are not exact, and stay what they are.
_WHOLE: Final = 2.0**53
_MAX_DEPTH: Final = 16

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def text(field: str, value: Struct) -> str:
    """A Struct as JSON with sorted keys, "" for an empty one: equal objects give equal texts. Raises as `plain` does."""
    content = plain(field, value)
    return _encoded(content) if content else ""


def of_text(value: str) -> Struct:
    """The Struct that `text` was given."""
    return of(cast("Mapping[str, object]", json.loads(value)))


def plain(field: str, value: Struct) -> dict[str, Json]:
    """A Struct as plain values. field: its path in the request.

    Raises InvalidRequest: it has more than 4 KiB as JSON, is nested more than 16 deep, or holds a number that is none.
    """
    result = _object(field, value, 1)
    size = len(_encoded(result).encode())
    if size > MAX_BYTES:
        raise InvalidRequest.of_field(
            field, "struct.max_bytes", f"must be at most {MAX_BYTES} bytes of JSON and has {size}; shorten it"
        )
    return result


def of(value: Mapping[str, object]) -> Struct:
    """Plain JSON values as a Struct."""
    return json_format.ParseDict(dict(value), Struct())


def _encoded(value: Mapping[str, Json]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _object(field: str, value: Struct, depth: int) -> dict[str, Json]:
    return {key: _value(f"{field}.{key}", item, depth) for key, item in value.fields.items()}


def _value(field: str, value: Value, depth: int) -> Json:
    if depth > _MAX_DEPTH:
        raise InvalidRequest.of_field(
            field, "struct.depth", f"is nested more than {_MAX_DEPTH} deep; make it flatter"
        )
    match value.WhichOneof("kind"):
        case "bool_value":
            return value.bool_value
        case "number_value":
            return _number(field, value.number_value)
        case "string_value":
            return value.string_value
        case "list_value":
            return _list(field, value.list_value, depth + 1)
        case "struct_value":
            return _object(field, value.struct_value, depth + 1)
        case _:
            return None


def _list(field: str, value: ListValue, depth: int) -> list[Json]:
    return [_value(f"{field}[{index}]", item, depth) for index, item in enumerate(value.values)]


def _number(field: str, number: float) -> int | float:
    if not math.isfinite(number):
        raise InvalidRequest.of_field(field, "struct.number", "must be a finite number; JSON has no others")
    return int(number) if number.is_integer() and abs(number) <= _WHOLE else number
