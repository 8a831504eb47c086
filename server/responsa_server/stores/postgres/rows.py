"""Rows of statements, and the values that are built of them."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any, LiteralString, TypeVar, get_args, get_type_hints

from psycopg.rows import dict_row
from psycopg.sql import Composed

from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.database import Connection

Item = TypeVar("Item")


async def one_row(
    connection: Connection, query: LiteralString | Composed, parameters: Mapping[str, object]
) -> dict[str, Any] | None:
    """The first row of a query, by column; None if there are no rows."""
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(query, parameters)
    return await cursor.fetchone()


async def all_rows(
    connection: Connection, query: LiteralString, parameters: Mapping[str, object]
) -> list[dict[str, Any]]:
    """The rows of a query, each by column."""
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(query, parameters)
    return await cursor.fetchall()


def to_row(row: Mapping[str, Any], **others: object) -> Row:
    """A row as it is, with further attributes."""
    return Row(**{**row, **others})


def build(kind: type[Item], row: Mapping[str, Any], **others: object) -> Item:
    """Build a dataclass from the columns with the names of its fields; the value of a field whose type is an enum
    becomes its member. others: fields that do not come from such a column. A field with a default needs no column.
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
