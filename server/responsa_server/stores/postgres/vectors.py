"""Vectors of passages in PostgreSQL, searched by pgvector's HNSW graph.

The vectors are written in the same transactions as the passages (`PassageTable`) and searched in the same statements
(`PostgresLexicalIndex`), so this index never disagrees with the lexical index.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Final
from uuid import UUID

import numpy as np
import psycopg
from pgvector import HalfVector
from psycopg import sql

from responsa_server.domain.events import ByteRange
from responsa_server.domain.knowledge import FIRST_DIMENSIONS
from responsa_server.domain.models import INDEXED_DIMENSIONS
from responsa_server.domain.passages import COSINE_DIGITS, PassagePiece, QuestionVector, VectorKind
from responsa_server.stores.postgres.database import uuid_array
from responsa_server.stores.postgres.locks import Lock

EXACT_PASSAGES: Final = 2_000
"""If the documents of a filter have at most this number of passages, a search compares all vectors of these passages."""
# A graph that does not fit into this memory takes many times longer to build. It takes about twice the memory of its
# table, which may be larger than needed here after deletions.
_BUILD_MEMORY: Final = """SELECT set_config('maintenance_work_mem', greatest(
    pg_size_bytes(current_setting('maintenance_work_mem')) / 1024,
    least(1048576, 3 * greatest(pg_table_size('responsa.passage_vector'), pg_table_size('responsa.generation_vector')) / 1024)
)::text || 'kB', false)"""
# A piece in `pieces` of vectors.sql, and the kinds of pieces by their first letters.
_PIECE: Final = struct.Struct(">ciid")
_KINDS: Final = {kind.value[:1].encode(): kind for kind in VectorKind if kind is not VectorKind.WINDOW}


def half_vector(data: bytes) -> HalfVector:
    """What is sent as `halfvec` for a vector of 32-bit floats, little-endian."""
    return HalfVector(np.frombuffer(data, "<f4"))


def in_first(question: QuestionVector | None) -> bool:
    """Whether a question can be compared with vectors of the first table."""
    return (
        question is not None and None in question.generations and len(question.data) == FIRST_DIMENSIONS * 4
    )


def later(question: QuestionVector | None) -> list[UUID]:
    """The generations of a question that are not in the first table."""
    return [generation for generation in (question.generations if question else ()) if generation is not None]


def values_of(question: QuestionVector | None) -> dict[str, object]:
    """The parameters that the statements of vectors.sql have of a question."""
    return {
        "model": "" if question is None else question.model,
        "vector": None if question is None else half_vector(question.data),
        "generations": uuid_array(later(question)),
    }


def read_pieces(data: bytes) -> list[PassagePiece]:
    """The pieces of a row of `pieces`."""
    return [
        PassagePiece(
            _KINDS[kind], ByteRange(start, end), None if isnan(cosine) else round(cosine, COSINE_DIGITS)
        )
        for kind, start, end, cosine in _PIECE.iter_unpack(data)
    ]


async def fit_index(url: str, *, m: int, ef_construction: int) -> bool:
    """Rebuild the HNSW graphs that were built with other parameters. Returns whether one was rebuilt. During the build,
    searches use the old graph.

    url: the database's URL with the role that owns the tables. m: the number of links per node, from 2 to 100.
    ef_construction: the breadth of the search during the build, at least 2 * m. These are pgvector's limits. After an
    interrupted build, the next call starts over.
    """
    wanted = {"m": str(m), "ef_construction": str(ef_construction)}
    rebuilt = False
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SELECT pg_advisory_lock(%s)", (Lock.VECTOR_INDEXES,))
        for index in _INDEXES:
            if await _parameters(connection, index.name) == wanted:
                continue
            fresh = f"{index.name}_fresh"
            drop = sql.SQL("DROP INDEX CONCURRENTLY IF EXISTS responsa.{}")
            await connection.execute(drop.format(sql.Identifier(fresh)))
            await connection.execute(_BUILD_MEMORY)
            await connection.execute(
                sql.SQL(
                    "CREATE INDEX CONCURRENTLY {} ON responsa.{} WITH (m = {}, ef_construction = {}) {}"
                ).format(
                    sql.Identifier(fresh),
                    index.columns,
                    sql.Literal(m),
                    sql.Literal(ef_construction),
                    index.condition,
                )
            )
            await connection.execute(drop.format(sql.Identifier(index.name)))
            await connection.execute(
                sql.SQL("ALTER INDEX responsa.{} RENAME TO {}").format(
                    sql.Identifier(fresh), sql.Identifier(index.name)
                )
            )
            rebuilt = True
    return rebuilt


async def drop_unused_index(url: str) -> None:
    """Drop the HNSW graph of `passage_vector` if this table never had a row. Many vectors are stored much faster
    without the graph, and `fit_index` then builds it.

    url: as for `fit_index`. Until the graph is built, searches compare all vectors.
    """
    async with await psycopg.AsyncConnection.connect(url) as connection:
        # Row-level security hides the rows from the owner, but not the size.
        cursor = await connection.execute("SELECT pg_relation_size('responsa.passage_vector') = 0")
        if await cursor.fetchone() == (True,):
            await connection.execute("DROP INDEX IF EXISTS responsa.passage_vector_embedding")


@dataclass(frozen=True, slots=True)
class _Index:
    """An HNSW graph. columns: its table, method and columns, as CREATE INDEX names them. condition: its WHERE, or nothing."""

    name: str
    columns: sql.Composable
    condition: sql.Composable


def _index_of_generations(dimensions: int) -> _Index:
    """The graph of the vectors of one length in generation_vector."""
    length = sql.Literal(dimensions)
    columns = sql.SQL("generation_vector USING hnsw ((embedding::halfvec({})) halfvec_cosine_ops)")
    return _Index(
        f"generation_vector_{dimensions}",
        columns.format(length),
        sql.SQL("WHERE dimensions = {}").format(length),
    )


_INDEXES: Final = (
    _Index(
        "passage_vector_embedding",
        sql.SQL("passage_vector USING hnsw (embedding halfvec_cosine_ops)"),
        sql.SQL(""),
    ),
    *(_index_of_generations(indexed_dimension) for indexed_dimension in INDEXED_DIMENSIONS),
)


async def _parameters(connection: psycopg.AsyncConnection, index: str) -> Mapping[str, str]:
    cursor = await connection.execute(
        "SELECT option_name, option_value FROM pg_class, pg_options_to_table(reloptions) WHERE oid = to_regclass(%s)",
        (f"responsa.{index}",),
    )
    return {str(option): str(value) for option, value in await cursor.fetchall()}
