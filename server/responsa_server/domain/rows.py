"""What is made of rows: values that nothing but a message of the contract is made from, and dataclasses."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import Enum
from types import SimpleNamespace
from typing import Any, TypeVar, get_args, get_type_hints

Item = TypeVar("Item")


class Row(SimpleNamespace):
    """A row with its columns as attributes. `message` of `calls/convert/messages.py` makes a message from it."""


def build(kind: type[Item], row: Mapping[str, Any], **others: object) -> Item:
    """Build a dataclass from the columns of a row, or the keys of a table, with the names of its fields; the value of a field
    whose type is an enum becomes its member. others: fields that do not come from such a column. A field with a default needs no column.
    """
    values = {
        name: row[name] if member is None or row[name] is None else member(row[name])
        for name, member in _fields(kind)
        if name in row and name not in others
    }
    return kind(**values, **others)


@functools.cache
def _fields(kind: type[Any]) -> Sequence[tuple[str, type[Enum] | None]]:
    """The fields of a dataclass, with the enum in each one's type."""
    types = get_type_hints(kind)
    parts = {field.name: (types[field.name], *get_args(types[field.name])) for field in fields(kind)}
    return [
        (name, next((part for part in of if isinstance(part, type) and issubclass(part, Enum)), None))
        for name, of in parts.items()
    ]
