"""Converts google.protobuf.Struct to plain JSON values. Equal objects get the same form, and whole numbers become integers."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Final, TypeAlias, cast

from google.protobuf import json_format
from google.protobuf.struct_pb2 import Struct, Value

from responsa_server.domain.errors import FieldViolation, InvalidRequest

MAX_BYTES: Final = 4096
"""The largest object in a request, in bytes of JSON."""
# A Value's number is a double, which does not represent every whole number above this limit exactly. Larger numbers therefore stay doubles.
_WHOLE: Final = 2.0**53
_MAX_DEPTH: Final = 16
# A number of one digit takes 2 bytes of JSON and 11 bytes of protobuf. No other value has a higher ratio of
# protobuf bytes to JSON bytes.
_MAX_ENCODED_BYTES: Final = 6 * MAX_BYTES
_SIZE_RULE: Final = "struct.max_bytes"

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"


def text(field: str, value: Struct) -> str:
    """Return a Struct as JSON with sorted keys, so that equal objects give equal texts; "" for an empty Struct. Raises
    the same errors as `plain`."""
    content = plain(field, value)
    return _to_json(content) if content else ""


def of_text(value: str) -> Struct:
    """Return the Struct that `text` encoded."""
    return of(cast("Mapping[str, object]", json.loads(value)))


def plain(field: str, value: Struct) -> dict[str, Json]:
    """Return a Struct as plain values. field: the path of the Struct in the request.

    Raises InvalidRequest if the Struct has more than 4 KiB as JSON, is nested more than 16 levels deep, or holds a
    number that is not finite.
    """
    for violation in too_large(field, value):
        raise InvalidRequest.of_field(violation.field, violation.rule, violation.description)
    result = _StructReader(field).object(value)
    size = len(_to_json(result).encode())
    if size > MAX_BYTES:
        raise InvalidRequest.of_field(
            field, _SIZE_RULE, f"must be at most {MAX_BYTES} bytes of JSON, but has {size}; shorten it"
        )
    return result


def whole(field: str, value: Struct) -> dict[str, Json]:
    """Like `plain`, for an object that only the size of its message limits."""
    return _StructReader(field).object(value)


def too_large(field: str, value: Struct) -> Sequence[FieldViolation]:
    """A violation if the Struct is certainly too large, otherwise empty. This check does not compute the size as JSON."""
    if value.ByteSize() <= _MAX_ENCODED_BYTES:
        return ()
    return (
        FieldViolation(
            field, _SIZE_RULE, f"must be at most {MAX_BYTES} bytes of JSON, but has many more; shorten it"
        ),
    )


def of(value: Mapping[str, object]) -> Struct:
    """Return plain JSON values as a Struct."""
    return json_format.ParseDict(dict(value), Struct())


def _to_json(value: Mapping[str, Json]) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


class _StructReader:
    """Turns a Struct into plain values. The path to the current value is kept as keys and indexes, which are joined to
    a text only for an error."""

    def __init__(self, field: str) -> None:
        self._field = field
        self._way: list[str | int] = []

    def object(self, value: Struct) -> dict[str, Json]:
        return {key: self._value(key, item) for key, item in value.fields.items()}

    def _value(self, step: str | int, value: Value) -> Json:
        self._way.append(step)
        if len(self._way) > _MAX_DEPTH:
            raise self._invalid("depth", f"is nested more than {_MAX_DEPTH} levels deep; flatten it")
        result: Json
        match value.WhichOneof("kind"):
            case "bool_value":
                result = value.bool_value
            case "number_value":
                result = self._number(value.number_value)
            case "string_value":
                result = value.string_value
            case "list_value":
                result = [self._value(index, item) for index, item in enumerate(value.list_value.values)]
            case "struct_value":
                result = self.object(value.struct_value)
            case _:
                result = None
        self._way.pop()
        return result

    def _number(self, number: float) -> int | float:
        if not math.isfinite(number):
            raise self._invalid("number", "must be a finite number; JSON has no NaN and no infinity")
        return int(number) if number.is_integer() and abs(number) <= _WHOLE else number

    def _invalid(self, rule: str, remedy: str) -> InvalidRequest:
        steps = (f"[{step}]" if isinstance(step, int) else f".{step}" for step in self._way)
        return InvalidRequest.of_field(self._field + "".join(steps), f"struct.{rule}", remedy)
