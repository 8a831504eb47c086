"""Passages and their vectors in PostgreSQL: full text by GIN, vectors by pgvector's HNSW.

Writing methods take a connection in the caller's transaction (role app, tenant set), so that passages become visible together
with whatever else the caller commits. Those that touch all of a document let the rest of the transaction take ten minutes. Reading for a search opens transactions of its own.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar
from uuid import UUID

import numpy as np
import psycopg
from psycopg import errors
from psycopg.abc import Buffer
from psycopg.adapt import Dumper
from psycopg.pq import Format

from responsa_server.domain.errors import Reason, TooSlow, Unavailable
from responsa_server.domain.events import ByteRange
from responsa_server.domain.knowledge import Passage
from responsa_server.domain.passages import (
    TEXT_PART,
    VECTORS_PART,
    Candidate,
    CandidateQuery,
    FoundPassage,
    NewPassage,
    PassageCounts,
    PassagePiece,
    TermStatistics,
    VectorKind,
)
from responsa_server.stores.postgres.database import Connection, Database, uncancelled
from responsa_server.stores.postgres.queries import Queries

Result = TypeVar("Result")

_HASHES_A_QUERY: Final = 1000
# How many unused vectors are forgotten at once besides as many as were kept: the cache shrinks to what is in use, and nobody waits for it.
_FORGOTTEN_AT_ONCE: Final = 256
# A large document's passages are published or deleted in one statement, which may take longer than any call's.
_BULK_TIMEOUT: Final = "10min"
SEARCH_SECONDS: Final = 4.0
"""How long one statement of a search may take unless somebody says otherwise."""
# What the server says of a statement that took too long, by itself or waiting for a lock.
_TOO_SLOW: Final = (errors.QueryCanceled, errors.LockNotAvailable)

_LOG: Final = logging.getLogger(__name__)


class _HalfVector(bytes):
    """A vector as 32-bit floats, to be sent as pgvector's `halfvec`."""


class _HalfVectorDumper(Dumper):
    """Binary form: dimensions and a zero, 16 bits each, then 16-bit floats, big-endian.

    The type's id differs by database, so none is sent: the cast in the query tells the server what the parameter is.
    """

    format = Format.BINARY
    oid = 0

    def dump(self, obj: bytes) -> Buffer:
        values = np.frombuffer(obj, "<f4")
        return np.array([len(values), 0], ">i2").tobytes() + values.astype(">f2").tobytes()


class PassageStore:
    """The passages of all tenants, one tenant a call. search_seconds: how long one statement of a search may take, waiting for locks included."""

    def __init__(self, database: Database, *, search_seconds: float = SEARCH_SECONDS) -> None:
        self._database = database
        self._search_seconds = search_seconds
        self._queries = Queries("passages.sql")

    async def write(self, connection: Connection, tenant_id: str, passages: Sequence[NewPassage]) -> None:
        """Store passages of a version, not live. A second attempt first calls `discard`.

        Raises psycopg.errors.UniqueViolation when a place of the version is taken.
        """
        rows = [
            {
                "id": new.passage.id,
                "tenant": tenant_id,
                "collection": new.passage.collection_id,
                "document": new.passage.document_id,
                "version": new.passage.version,
                "ordinal": new.ordinal,
                "byte_start": new.passage.source.start,
                "byte_end": new.passage.source.end,
                "title": new.passage.title,
                "uri": new.passage.uri,
                "headings": list(new.passage.headings),
                "text": new.passage.text,
                "language": new.language,
                "tokens": new.tokens,
                "length": new.length,
                "terms": new.terms,
            }
            for new in passages
        ]
        vectors = [
            {
                "passage": new.passage.id,
                "ordinal": ordinal,
                "tenant": tenant_id,
                "collection": new.passage.collection_id,
                "kind": vector.kind.value,
                "byte_start": vector.source.start,
                "byte_end": vector.source.end,
                "embedding": _HalfVector(vector.vector),
            }
            for new in passages
            for ordinal, vector in enumerate(new.vectors)
        ]
        async with _cursor(connection) as cursor:
            if rows:
                await cursor.executemany(self._queries["insert_passage"], rows)
            if vectors:
                await cursor.executemany(self._queries["insert_vector"], vectors)

    async def discard(self, connection: Connection, tenant_id: str, document_id: UUID, version: int) -> None:
        """Remove what was written of a version that is not live: the rest of a failed or repeated attempt."""
        await self._take_time(connection)
        values = {"tenant": tenant_id, "document": document_id, "version": version}
        await connection.execute(self._queries["discard_version"], values)

    async def publish(
        self, connection: Connection, tenant_id: str, collection_id: str, document_id: UUID, version: int
    ) -> None:
        """Make a version's passages the document's searchable ones; older ones lose their vectors and stay for citations.

        Repeatable. The caller sees to it that versions are published in order.
        """
        await self._take_time(connection)
        values = self._document(tenant_id, collection_id, document_id) | {"version": version}
        for name in ("lock_statistics", "publish_version", "delete_unused_terms", "delete_retired_vectors"):
            await connection.execute(self._queries[name], values)

    async def retire(
        self, connection: Connection, tenant_id: str, document_id: UUID, version: int, keep: Sequence[UUID]
    ) -> None:
        """Delete passages of versions before this one, except those that are still cited."""
        await self._take_time(connection)
        values = {"tenant": tenant_id, "document": document_id, "version": version, "keep": list(keep)}
        await connection.execute(self._queries["delete_retired_passages"], values)

    async def delete(
        self, connection: Connection, tenant_id: str, collection_id: str, document_id: UUID
    ) -> None:
        """Remove all passages and vectors of a document, in all versions."""
        await self._take_time(connection)
        values = self._document(tenant_id, collection_id, document_id)
        for name in ("lock_statistics", "delete_document", "delete_unused_terms"):
            await connection.execute(self._queries[name], values)

    async def delete_collection(self, connection: Connection, tenant_id: str, collection_id: str) -> None:
        """Remove all passages, vectors and statistics of a collection."""
        await self._take_time(connection)
        values = {"tenant": tenant_id, "collection": collection_id}
        for name in (
            "lock_statistics",
            "delete_collection_passages",
            "delete_collection_terms",
            "delete_collection_statistics",
        ):
            await connection.execute(self._queries[name], values)

    async def get(self, connection: Connection, tenant_id: str, ids: Sequence[UUID]) -> Sequence[Passage]:
        """The passages of these ids, live or not, in the order of the ids; unknown ones are left out."""
        found = await _found(connection, self._queries, tenant_id, "", ids, None)
        return [one.passage for one in found]

    async def reading(
        self, tenant_id: str, model: str, work: Callable[[PassageReader], Awaitable[Result]]
    ) -> Result:
        """What `work` makes of one view of a tenant: all that it reads is from one transaction.

        It runs to its end even when the caller is cancelled. model: whose vectors may be compared.
        Raises Unavailable: the database cannot be reached (part "postgresql"), or cannot search (as `PassageReader` says).
        """

        async def read() -> Result:
            bound = self._search_seconds
            async with self._database.tenant(tenant_id, statement_seconds=bound) as connection:
                return await work(PassageReader(connection, tenant_id, model, self._queries))

        return await uncancelled(read())

    async def cached_vectors(
        self, connection: Connection, tenant_id: str, model: str, hashes: Sequence[bytes]
    ) -> Mapping[bytes, bytes]:
        """Vectors known for texts of these SHA-256 hashes, rounded to 16 bits as the index stores them."""
        found: dict[bytes, bytes] = {}
        ordered = sorted(set(hashes))
        for start in range(0, len(ordered), _HASHES_A_QUERY):
            values = {
                "tenant": tenant_id,
                "model": model,
                "hashes": ordered[start : start + _HASHES_A_QUERY],
            }
            cursor = await connection.execute(self._queries["cached_vectors"], values)
            found |= {
                digest: np.frombuffer(vector, "<f2").astype("<f4").tobytes()
                async for digest, vector in cursor
            }
            await connection.execute(self._queries["touch_vectors"], values)
        return found

    async def cache_vectors(
        self, connection: Connection, tenant_id: str, model: str, vectors: Mapping[bytes, bytes]
    ) -> None:
        """Keep vectors by the SHA-256 of their texts, and forget as many and a few more that nothing asked for in 30 days.

        Those already there stay as they are.
        """
        # In one order everywhere, so that two writers of the same texts wait for each other instead of deadlocking.
        hashes = sorted(vectors)
        halves = [np.frombuffer(vectors[digest], "<f4").astype("<f2").tobytes() for digest in hashes]
        values = {"tenant": tenant_id, "model": model, "hashes": hashes, "vectors": halves}
        await connection.execute(self._queries["cache_vectors"], values)
        most = _FORGOTTEN_AT_ONCE + len(hashes)
        await connection.execute(self._queries["prune_cache"], {"tenant": tenant_id, "most": most})

    async def counts(self, tenant_id: str) -> PassageCounts:
        """How much the tenant has."""

        async def work() -> PassageCounts:
            async with self._database.tenant(tenant_id) as connection:
                cursor = await connection.execute(self._queries["statistics"], {"tenant": tenant_id})
                row = await cursor.fetchone()
            return PassageCounts(*(row or (0, 0, 0)))

        return await uncancelled(work())

    async def _take_time(self, connection: Connection) -> None:
        """Let what follows in this transaction take long."""
        await connection.execute(self._queries["take_time"], {"timeout": _BULK_TIMEOUT})

    @staticmethod
    def _document(tenant_id: str, collection_id: str, document_id: UUID) -> dict[str, object]:
        return {"tenant": tenant_id, "collection": collection_id, "document": document_id}


class PassageReader:
    """What a search reads of one tenant, within one transaction. model: whose vectors may be compared.

    All methods raise Unavailable where the database fails at it, TooSlow where it takes too long: part "vectors" where another search without vectors
    may do better, else "text index". The transaction is at its end then, unless a method says otherwise.
    """

    def __init__(self, connection: Connection, tenant_id: str, model: str, queries: Queries) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._model = model
        self._queries = queries

    async def statistics(self, collections: Sequence[str] | None, terms: Sequence[str]) -> TermStatistics:
        """What BM25 counts, over these collections (None: all of the tenant's)."""
        values = {"tenant": self._tenant_id, "collections": _listed(collections), "terms": list(terms)}
        async with _searching(self._connection, TEXT_PART):
            cursor = await self._connection.execute(self._queries["collection_statistics"], values)
            row = await cursor.fetchone()
            cursor = await self._connection.execute(self._queries["term_frequencies"], values)
            frequencies: dict[str, int] = dict(await cursor.fetchall())
        passages, total = row or (0, 0)
        return TermStatistics(passages, total, frequencies)

    async def candidates(
        self, collections: Sequence[str] | None, query: CandidateQuery
    ) -> Sequence[Candidate]:
        """The passages that full text or vectors find, each with what ranking needs of both; in no order.

        Without a vector nothing is asked of what holds vectors, nor of the function that searches them.
        """
        quoted = [_quoted(term) for term in query.terms]
        values = {
            "tenant": self._tenant_id,
            "collections": _listed(collections),
            "wanted": " | ".join(quoted[: query.gate]) or None,
            "queries": quoted,
            "terms": list(query.terms),
            "weights": list(query.weights),
            "mean_length": max(query.mean_length, 1.0),
            "lexical_most": query.lexical_most,
            "vector": None if query.vector is None else _HalfVector(query.vector),
            "model": self._model,
            "nearest_most": query.nearest_most,
            "breadth": query.breadth,
        }
        name, part = ("word_candidates", TEXT_PART) if query.vector is None else ("candidates", VECTORS_PART)
        async with _searching(self._connection, part), _cursor(self._connection) as cursor:
            await cursor.execute(self._queries[name], values)
            rows = await cursor.fetchall()
        return [
            Candidate(id_, document_id, language, length, places or (), window, piece)
            for id_, document_id, language, length, places, window, piece in rows
        ]

    async def read(self, ids: Sequence[UUID], vector: bytes | None) -> Sequence[FoundPassage]:
        """Passages with their quotable pieces and, given a question's vector, the pieces' cosines; in the order of the ids.

        Without a vector the transaction goes on where it fails: `read_texts` may do then.
        """
        async with _searching(self._connection, VECTORS_PART):
            if vector is not None:
                return await _found(
                    self._connection, self._queries, self._tenant_id, self._model, ids, vector
                )
            async with self._connection.transaction():
                return await _found(self._connection, self._queries, self._tenant_id, self._model, ids, None)

    async def read_texts(self, ids: Sequence[UUID]) -> Sequence[FoundPassage]:
        """Passages without their pieces, which stand beside the vectors; in the order of the ids."""
        async with _searching(self._connection, TEXT_PART):
            return await _texts(self._connection, self._queries, self._tenant_id, ids, {})


@asynccontextmanager
async def _searching(connection: Connection, part: str) -> AsyncGenerator[None]:
    """Turn what the database fails at into Unavailable of this part. What is the request's own fault, or the connection's, passes."""
    try:
        yield
    except psycopg.Error as error:
        slow = isinstance(error, _TOO_SLOW)
        if connection.broken or (part != VECTORS_PART and not slow and _not_the_searchs(error)):
            raise
        _LOG.error("the %s cannot be searched: %s", part, type(error).__name__)
        raise (TooSlow if slow else Unavailable)(
            Reason.PART_UNAVAILABLE,
            "The documents cannot be searched at the moment; try again.",
            {"part": part},
            retry_after=1.0,
        ) from error


def _not_the_searchs(error: psycopg.Error) -> bool:
    """Whether it lies in what was asked (values that are none, statements that are none), or is told of the database as a whole."""
    ours = isinstance(error, (psycopg.DataError, psycopg.InterfaceError, errors.SyntaxError))
    # What the library itself finds wrong has no SQLSTATE.
    return ours or isinstance(error, psycopg.OperationalError) or error.sqlstate is None


async def _found(
    connection: Connection,
    queries: Queries,
    tenant_id: str,
    model: str,
    ids: Sequence[UUID],
    vector: bytes | None,
) -> Sequence[FoundPassage]:
    wanted = None if vector is None else _HalfVector(vector)
    values = {"tenant": tenant_id, "ids": list(ids), "vector": wanted, "model": model}
    pieces: dict[UUID, list[PassagePiece]] = {}
    async with _cursor(connection) as cursor:
        await cursor.execute(queries["pieces"], values)
        for id_, kind, start, end, cosine in await cursor.fetchall():
            pieces.setdefault(id_, []).append(PassagePiece(VectorKind(kind), ByteRange(start, end), cosine))
    return await _texts(connection, queries, tenant_id, ids, pieces)


async def _texts(
    connection: Connection,
    queries: Queries,
    tenant_id: str,
    ids: Sequence[UUID],
    pieces: Mapping[UUID, Sequence[PassagePiece]],
) -> Sequence[FoundPassage]:
    """The passages of these ids, with these pieces."""
    cursor = await connection.execute(queries["passages"], {"tenant": tenant_id, "ids": list(ids)})
    rows = await cursor.fetchall()
    found = {
        id_: FoundPassage(
            Passage(
                id_, collection, document, version, title, uri, ByteRange(start, end), text, tuple(headings)
            ),
            language,
            pieces.get(id_, []),
        )
        for id_, collection, document, version, title, uri, start, end, text, headings, language in rows
    }
    return [found[id_] for id_ in ids if id_ in found]


def _cursor(connection: Connection) -> psycopg.AsyncCursor[tuple[Any, ...]]:
    """A cursor that knows how to send vectors."""
    cursor = connection.cursor()
    cursor.adapters.register_dumper(_HalfVector, _HalfVectorDumper)
    return cursor


def _listed(collections: Sequence[str] | None) -> list[str] | None:
    return None if collections is None else list(collections)


def _quoted(term: str) -> str:
    """A term as a tsquery of that one lexeme."""
    return "'" + term.replace("\\", "\\\\").replace("'", "''") + "'"
