"""Vectors of passages in PostgreSQL, searched by pgvector's HNSW graph.

The vectors are written in the same transactions as the passages (`PassageTable`), so this index never disagrees with the lexical index.
"""

from __future__ import annotations

import struct
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any, Final
from uuid import UUID

import numpy as np
import psycopg
from psycopg import sql
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from responsa_server.domain.events import ByteRange
from responsa_server.domain.generations import INDEXED_DIMENSIONS
from responsa_server.domain.knowledge import FIRST_DIMENSIONS
from responsa_server.domain.passages import (
    VECTORS_PART,
    DocumentSet,
    PassageCosines,
    PassagePiece,
    QuestionVector,
    SearchScope,
    VectorKind,
)
from responsa_server.domain.people import Reader
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    Statement,
    shielded,
    uuid_array,
)
from responsa_server.stores.postgres.locks import Lock

EXACT_PASSAGES: Final = 2_000
"""If the documents of a filter have at most this number of passages, a search compares all vectors of these passages."""
_REAL_OID: Final = 700
_UUID_OID: Final = 2950
# A piece in `pieces` of vectors.sql, and the kinds of pieces by their first letters.
_PIECE: Final = struct.Struct(">ciid")
_KINDS: Final = {
    kind.value[:1].encode(): kind for kind in VectorKind if kind not in (VectorKind.WINDOW, VectorKind.TITLE)
}


class HalfVector(bytes):
    """A vector of 32-bit floats that is sent as pgvector's `halfvec`."""


class _HalfVectorDumper(Dumper):
    """Encodes the binary form of `halfvec`: the number of dimensions (16 bits), a zero (16 bits), then 16-bit floats. All numbers are
    big-endian.

    The type's id differs from database to database, so the driver sends no id. The cast in the query gives the parameter's type.
    """

    format = Format.BINARY
    oid = 0

    def dump(self, obj: bytes) -> Buffer:
        values = np.frombuffer(obj, "<f4")
        return np.array([len(values), 0], ">i2").tobytes() + values.astype(">f2").tobytes()


class RealArray(bytes):
    """32-bit floats, little-endian, that are sent as `real[]`."""


class _RealArrayDumper(Dumper):
    """Encodes the binary form of `real[]`."""

    format = Format.BINARY
    oid = 1021

    def dump(self, obj: bytes) -> Buffer:
        values = np.frombuffer(obj, "<f4")
        rows = np.empty(len(values), [("size", ">i4"), ("value", ">f4")])
        rows["size"] = 4
        rows["value"] = values
        return struct.pack(">iiIii", 1, 0, _REAL_OID, len(values), 1) + rows.tobytes()


class _DocumentSetDumper(Dumper):
    """Encodes the binary form of `uuid[]`. psycopg needs a hundred times as long to encode a list."""

    format = Format.BINARY
    oid = 2951

    def dump(self, obj: DocumentSet) -> Buffer:
        count = len(obj)
        if not count:
            return struct.pack(">iiI", 0, 0, _UUID_OID)
        rows = np.empty(count, [("size", ">i4"), ("id", "V16")])
        rows["size"] = 16
        rows["id"] = np.frombuffer(obj.packed, "V16")
        return struct.pack(">iiIii", 1, 0, _UUID_OID, count, 1) + rows.tobytes()


def vector_cursor(connection: Connection) -> psycopg.AsyncCursor[tuple[Any, ...]]:
    """A cursor whose parameters may be vectors, arrays of floats and sets of documents, and whose rows are sent in binary form."""
    cursor = connection.cursor(binary=True)
    cursor.adapters.register_dumper(HalfVector, _HalfVectorDumper)
    cursor.adapters.register_dumper(RealArray, _RealArrayDumper)
    cursor.adapters.register_dumper(DocumentSet, _DocumentSetDumper)
    return cursor


class PostgresVectorIndex:
    """Implements the port `VectorIndex`.

    search_seconds: the maximum time of one statement, including the wait for locks. breadth: HNSW's ef_search, from 1 to
    1,000. A larger value finds more passages and takes longer.
    """

    def __init__(self, database: Database, *, search_seconds: float, breadth: int) -> None:
        self._database = database
        self._search_seconds = search_seconds
        self._breadth = breadth
        self._queries = Queries("vectors.sql")

    @shielded
    async def nearest(
        self, scope: SearchScope, question: QuestionVector, limit: int, named: Collection[UUID] = ()
    ) -> Mapping[UUID, PassageCosines]:
        values = {
            "collections": None if scope.collections is None else list(scope.collections),
            "limit": limit,
            "breadth": self._breadth,
            "named": uuid_array(named),
            "documents": scope.documents,
            "exact": scope.documents is not None and scope.documents.passages <= EXACT_PASSAGES,
        }
        names = ["nearest"] if _in_first(question) else []
        names += ["nearest_of_generations"] if _later(question) else []
        rows = await self._search(scope.reader, names, values, question) if names else ()
        return {id_: PassageCosines(window, piece) for of_table in rows for id_, window, piece in of_table}

    @shielded
    async def pieces(
        self, reader: Reader, ids: Sequence[UUID], question: QuestionVector | None
    ) -> Mapping[UUID, Sequence[PassagePiece]]:
        first = question if question and _in_first(question) else None
        found = await self._stored_pieces(reader, "pieces", ids, first)
        # Pieces are the same in all generations of a passage, but their cosines are not.
        later = ids if question and _later(question) else [one for one in ids if one not in found]
        if later:
            found |= await self._stored_pieces(reader, "pieces_of_generations", later, question)
        return found

    async def _stored_pieces(
        self, reader: Reader, name: str, ids: Sequence[UUID], question: QuestionVector | None
    ) -> dict[UUID, list[PassagePiece]]:
        [rows] = await self._search(reader, [name], {"ids": uuid_array(ids)}, question)
        return {
            id_: [
                PassagePiece(_KINDS[kind], ByteRange(start, end), None if isnan(cosine) else cosine)
                for kind, start, end, cosine in _PIECE.iter_unpack(pieces)
            ]
            for id_, pieces in rows
        }

    async def _search(
        self,
        reader: Reader,
        names: Sequence[str],
        values: Mapping[str, object],
        question: QuestionVector | None,
    ) -> Sequence[Sequence[tuple[Any, ...]]]:
        parameters = {
            **values,
            "tenant": reader.tenant_id,
            "model": "" if question is None else question.model,
            "vector": None if question is None else HalfVector(question.data),
            "generations": uuid_array(() if question is None else _later(question)),
        }
        statements: list[Statement] = [(self._queries[name], parameters) for name in names]
        return await self._database.search(
            reader, VECTORS_PART, statements, self._search_seconds, vector_cursor
        )


def _in_first(question: QuestionVector) -> bool:
    """Whether the question can be compared with vectors of the first table."""
    return None in question.generations and len(question.data) == FIRST_DIMENSIONS * 4


def _later(question: QuestionVector) -> list[UUID]:
    """The generations that are not in the first table."""
    return [generation for generation in question.generations if generation is not None]


async def fit_index(url: str, *, m: int, ef_construction: int) -> bool:
    """Rebuild the HNSW graphs that were built with other parameters. Returns whether one was rebuilt. During the build, searches use the old graph.

    url: the database's URL with the role that owns the tables. m: the number of links per node, from 2 to 100. ef_construction: the breadth of the
    search during the build, at least 2 * m. These are pgvector's limits. After an interrupted build, the next call starts over.
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
    """Drop the HNSW graph of `passage_vector` if this table never had a row. Many vectors are stored much faster without the graph, and `fit_index` then builds it.

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
