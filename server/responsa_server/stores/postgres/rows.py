"""Rows of statements."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, LiteralString

from psycopg.rows import dict_row
from psycopg.sql import Composed

from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.database import Connection


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
