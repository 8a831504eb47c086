"""The HNSW index, held to its settings: built anew, beside the old one, when they change."""

from __future__ import annotations

from collections.abc import Mapping

import psycopg
from psycopg import sql

_NAME = "passage_vector_embedding"
_FRESH = "passage_vector_embedding_fresh"
# Two processes that start at once must not both build; the number is ours alone in this database.
_LOCK = 0x7265_7371


async def fit(url: str, *, m: int, ef_construction: int) -> bool:
    """Build the index anew if it was built with other parameters; tell whether it was. Searches go on meanwhile, on the old one.

    url: of the tables' owner. m: links a node, 2 to 100; ef_construction: breadth while building, at least 2 * m (pgvector's limits). An
    interrupted build is taken up from its beginning by the next call.
    """
    wanted = {"m": str(m), "ef_construction": str(ef_construction)}
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SELECT pg_advisory_lock(%s)", (_LOCK,))
        if await _parameters(connection, _NAME) == wanted:
            return False
        drop = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS responsa.{}")
        await connection.execute(drop.format(sql.Identifier(_FRESH)))
        await connection.execute(
            sql.SQL(
                "CREATE INDEX CONCURRENTLY {} ON responsa.passage_vector USING hnsw (embedding halfvec_cosine_ops) "
                "WITH (m = {}, ef_construction = {})"
            ).format(sql.Identifier(_FRESH), sql.Literal(m), sql.Literal(ef_construction))
        )
        await connection.execute(drop.format(sql.Identifier(_NAME)))
        await connection.execute(
            sql.SQL("ALTER INDEX responsa.{} RENAME TO {}").format(
                sql.Identifier(_FRESH), sql.Identifier(_NAME)
            )
        )
        return True


async def _parameters(connection: psycopg.AsyncConnection, name: str) -> Mapping[str, str]:
    cursor = await connection.execute(
        "SELECT option_name, option_value FROM pg_class, pg_options_to_table(reloptions) WHERE oid = to_regclass(%s)",
        (f"responsa.{name}",),
    )
    return {str(option): str(value) for option, value in await cursor.fetchall()}
