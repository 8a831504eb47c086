"""The types of the state's fields: the members that a dotted path names, the possible values, and whether one type fits another. Pure."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel

UNKNOWN: Final[Any] = object
"""The type of a field whose values are not known; it fits every other."""


def plain(kind: Any) -> Any:
    """A type without annotations and without None."""
    while get_origin(kind) is Annotated:
        kind = get_args(kind)[0]
    if get_origin(kind) in (Union, types.UnionType):
        inner = [one for one in get_args(kind) if one is not type(None)]
        return plain(inner[0]) if len(inner) == 1 else kind
    return kind


def members(kind: Any) -> Mapping[str, Any] | None:
    """The fields of a model or dataclass; None for a type that may have any field, empty for one that has none."""
    kind = plain(kind)
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        return {name: info.annotation for name, info in kind.model_fields.items()}
    if isinstance(kind, type) and dataclasses.is_dataclass(kind):
        return get_type_hints(kind)
    return None if kind in (Any, UNKNOWN) or _is(kind, Mapping) else {}


def values(kind: Any) -> Sequence[str | int | bool] | None:
    """All values of a type, None where they are not listed."""
    kind = plain(kind)
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [one.value for one in kind]
    return None


def scalar(kind: Any) -> type | None:
    """bool, float (any number) or str; None for all other types."""
    kind = plain(kind)
    if listed := values(kind):
        kind = type(listed[0])
    if not isinstance(kind, type):
        return None
    if issubclass(kind, bool):
        return bool
    if issubclass(kind, int | float):
        return float
    return str if issubclass(kind, str) else None


def known(kind: Any) -> bool:
    """Whether the type says anything about the values."""
    return plain(kind) not in (Any, UNKNOWN)


def can_be_empty(kind: Any) -> bool:
    """Whether the type is a text, a list or a table."""
    kind = plain(kind)
    return scalar(kind) is str or any(_is(kind, one) for one in (Sequence, Mapping, set, frozenset))


def fits(given: Any, wanted: Any) -> bool:
    """Whether every value of one type can be read as the other, as far as the types tell. Bounds are not compared."""
    if not known(given) or not known(wanted):
        return True
    if _optional(given) and not _optional(wanted):
        return False
    one, other = plain(given), plain(wanted)
    if one == other:
        return True
    same_scalar = scalar(one) is not None and scalar(one) is scalar(other) and values(other) is None
    return same_scalar and not (other is int and one is not int)


def _optional(kind: Any) -> bool:
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
    if any(_is(kind, one) for one in (tuple, list, Sequence)) and inner:
        return f"list of {name(inner[0])}"
    return "table" if _is(kind, Mapping) else str(kind).replace("typing.", "")


def _is(kind: Any, wanted: type) -> bool:
    origin = get_origin(kind) or kind
    return isinstance(origin, type) and issubclass(origin, wanted) and not issubclass(origin, str | bytes)
