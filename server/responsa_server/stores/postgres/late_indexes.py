"""Indexes that a migration makes only in a small table: a large one could not be written while it gets its index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, LiteralString

import psycopg
from psycopg import sql

from responsa_server.stores.postgres.locks import Lock

_INDEXES: Final[Mapping[LiteralString, tuple[str, LiteralString]]] = {
    "passage_postings": (
        "the words",
        "responsa.passage USING gin (responsa.postings(tenant_id, collection_id, terms, length)) WHERE live",
    ),
    "turn_of_tenant": (
        "the turns by their time",
        "responsa.turn (tenant_id, create_time, id) WHERE end_time IS NOT NULL",
    ),
}
"""By the name of an index: of what it is, and where it is."""


async def build_late_indexes(url: str) -> Sequence[str]:
    """Build these indexes where they are missing, as in a database that is older than they are. Returns of what they
    are. Meanwhile, the tables can be written, and the statements that would read an index do without it.

    url: the database's URL with the role that owns the tables. After an interrupted build, the next call starts over.
    """
    built: list[str] = []
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SELECT pg_advisory_lock(%s)", (Lock.LATE_INDEXES,))
        for name, (what, where) in _INDEXES.items():
            cursor = await connection.execute(
                "SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", (f"responsa.{name}",)
            )
            if await cursor.fetchone() == (True,):
                continue
            await connection.execute(
                sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS {}").format(sql.Identifier("responsa", name))
            )
            await connection.execute(
                sql.SQL("CREATE INDEX CONCURRENTLY {} ON " + where).format(sql.Identifier(name))
            )
            built.append(what)
    return built
