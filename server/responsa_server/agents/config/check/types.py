"""Types of the state's fields: what a dotted path leads to, which values it can have, and whether one type fits another. Pure."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from functools import cache
from typing import Annotated, Any, Final, Literal, Union, cast, get_args, get_origin, get_type_hints

from pydantic import BaseModel, TypeAdapter

UNKNOWN: Final[Any] = object
"""A type of which nothing is known: everything fits it."""

_NOTES: Final = frozenset({"title", "description", "default", "examples"})


def plain(kind: Any) -> Any:
    """A type without its annotations and without None."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        inner = [one for one in get_args(kind) if one is not type(None)]
        return plain(inner[0]) if len(inner) == 1 else kind
    return kind


def members(kind: Any) -> Mapping[str, Any] | None:
    """The fields of a type that has named ones, None where it may have any, or is unknown."""
    kind = plain(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: info.annotation for name, info in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return get_type_hints(kind)
    if kind in (Any, UNKNOWN) or _origin(kind, Mapping):
        return None
    return {}


def values(kind: Any) -> Sequence[str | int | bool] | None:
    """All values that a type can have, None where they are not listed."""
    kind = plain(kind)
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [one.value for one in kind]
    return None


def scalar(kind: Any) -> type | None:
    """Which of bool, float (any number) and str a type is; None for others, and for the unknown."""
    kind = plain(kind)
    listed = values(kind)
    if listed:
        kind = type(listed[0])
    if not isinstance(kind, type):
        return None
    if issubclass(kind, bool):
        return bool
    if issubclass(kind, int | float):
        return float
    return str if issubclass(kind, str) else None


def known(kind: Any) -> bool:
    """Whether anything is known of a type."""
    return plain(kind) not in (Any, UNKNOWN)


def sized(kind: Any) -> bool:
    """Whether something of the type can be empty."""
    kind = plain(kind)
    return scalar(kind) is str or any(_origin(kind, one) for one in (Sequence, Mapping, set, frozenset))


@cache
def fits(given: Any, wanted: Any) -> bool:
    """Whether what has one type can be read as the other."""
    if not known(given) or not known(wanted):
        return True
    if _absent(given) and not _absent(wanted):
        return False
    one, other = plain(given), plain(wanted)
    if isinstance(one, type) and isinstance(other, type) and issubclass(one, other):
        return True
    found, allowed = _schema(one), _schema(other)
    return (
        found == allowed
        or found in allowed.get("anyOf", ())
        or (found.get("type") == "integer" and allowed.get("type") == "number")
        or _narrower(found, allowed)
    )


def _absent(kind: Any) -> bool:
    """Whether None is one of the type's values."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    return get_origin(kind) in (Union, types.UnionType) and type(None) in get_args(kind)


def name(kind: Any) -> str:
    """A type in a message."""
    kind = plain(kind)
    words = {str: "text", bool: "true or false", int: "whole number", float: "number"}
    if isinstance(kind, type) and not get_args(kind):
        return words.get(kind, kind.__name__)
    inner = [one for one in get_args(kind) if one is not Ellipsis]
    if any(_origin(kind, one) for one in (tuple, list, Sequence)) and inner:
        return f"list of {name(inner[0])}"
    if _origin(kind, Mapping):
        return "table"
    return str(kind).replace("typing.", "")


def _narrower(found: Mapping[str, Any], allowed: Mapping[str, Any]) -> bool:
    """A list of known texts among texts, a bounded number among numbers: the type is the same, the bounds are looser."""
    return (
        found.get("type") in ("string", "integer", "number", "boolean")
        and set(allowed) == {"type"}
        and found["type"] == allowed["type"]
    )


def _origin(kind: Any, wanted: type) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, wanted) and not issubclass(origin, str | bytes)


@cache
def _schema(kind: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", _without_notes(TypeAdapter(kind).json_schema()))


def _without_notes(value: Any) -> Any:
    if isinstance(value, dict):
        pairs = cast("dict[str, Any]", value).items()
        return {
            key: _without_notes(one)
            for key, one in pairs
            if key not in _NOTES or not isinstance(one, str | int | float | bool | list | None)
        }
    if isinstance(value, list):
        return [_without_notes(one) for one in cast("list[Any]", value)]
    return value
