"""Puts texts into a real PostgreSQL, as passages with their vectors."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from math import isnan
from uuid import UUID

import numpy as np
import psycopg
from uuid_utils.compat import uuid7

from bench.embedders import OneEmbedder
from responsa_formats.text.canonical import Block, BlockKind
from responsa_formats.text.languages import language_of
from responsa_server.domain.events import ByteRange
from responsa_server.domain.passages import (
    CandidateQuery,
    NewPassage,
    Passage,
    PassageCosines,
    PassagePiece,
    PassageVector,
    QuestionVector,
    SearchScope,
    VectorKind,
)
from responsa_server.domain.people import Reader
from responsa_server.ingest.indexing import lexical_form, plan_vectors
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.search.embedder import Embedder, Embedders
from responsa_server.search.retrieve import Retriever
from responsa_server.search.settings import RetrievalSettings
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.passages import PassageTable, PostgresLexicalIndex
from responsa_server.text.lexical import Analyzer
from responsa_server.text.sentences import pieces

RETRIEVAL = RetrievalSettings()


def made(
    embedder: MiniLmEmbedder,
    text: str,
    *,
    document: UUID,
    version: int = 1,
    collection: str = "default",
    title: str = "",
    ordinal: int = 0,
) -> NewPassage:
    source = ByteRange(0, len(text.encode()))
    language = language_of(text)
    passage = Passage(uuid7(), collection, document, version, title, "", source, text)
    planned = plan_vectors(
        embedder, passage, pieces(text, [Block(BlockKind.PARAGRAPH, 0, source.end)], language)
    )
    # Embed each distinct text once, as the cache by hash does in production.
    distinct = list(dict.fromkeys(one.text for one in planned))
    vectors = dict(zip(distinct, embedder.embed_sync(distinct), strict=True))
    form = lexical_form(Analyzer(), title, (), text, language)
    return NewPassage(
        passage,
        ordinal,
        language,
        len(embedder.token_offsets(text)),
        form.terms,
        form.length,
        [PassageVector(one.kind, one.source, vectors[one.text].astype("<f4").tobytes()) for one in planned],
    )


def retriever_of(
    database: Database, embedder: Embedder | Embedders, *, search_seconds: float | None = None
) -> Retriever:
    """A retriever that uses PostgreSQL's two indexes. search_seconds: None for the setting's default."""
    embedders = OneEmbedder(embedder) if isinstance(embedder, Embedder) else embedder
    seconds = RETRIEVAL.search_seconds if search_seconds is None else search_seconds
    return Retriever(lexical_of(database, seconds), embedders)


def lexical_of(
    database: Database,
    search_seconds: float = RETRIEVAL.search_seconds,
    *,
    breadth: int = RETRIEVAL.hnsw_ef_search,
) -> PostgresLexicalIndex:
    """PostgreSQL's index."""
    return PostgresLexicalIndex(database, search_seconds=search_seconds, breadth=breadth)


class VectorsOf:
    """PostgreSQL's index, asked by vectors alone, as a `VectorStore` is asked."""

    def __init__(self, database: Database, *, breadth: int = RETRIEVAL.hnsw_ef_search) -> None:
        self._index = lexical_of(database, breadth=breadth)

    async def nearest(
        self, scope: SearchScope, question: QuestionVector, limit: int, named: Collection[UUID] = ()
    ) -> Mapping[UUID, PassageCosines]:
        query = CandidateQuery(
            scope.collections, question=question, nearest=limit, documents=scope.documents, ids=named
        )
        [found] = await self._index.candidates(scope.reader, [query])
        return {
            id_: PassageCosines(*(None if isnan(cosine) else float(cosine) for cosine in cosines))
            for of in found.values()
            for id_, *cosines in zip(of.ids, of.windows, of.pieces, strict=True)
            if not all(map(isnan, cosines))
        }

    async def pieces(
        self, reader: Reader, ids: Sequence[UUID], question: QuestionVector | None
    ) -> Mapping[UUID, Sequence[PassagePiece]]:
        found = await self._index.passages(reader, {question: dict.fromkeys(ids, True)})
        return {one.passage.id: one.pieces for one in found[question] if one.pieces}


async def matching(database: Database, reader: Reader, query: CandidateQuery) -> set[UUID]:
    """The passages that PostgreSQL's index finds."""
    [found] = await lexical_of(database).candidates(reader, [query])
    return {id_ for of in found.values() for id_ in of.ids}


class IndexWriter:
    """Puts documents of one tenant into the index."""

    def __init__(self, database: Database, embedder: MiniLmEmbedder, tenant: str = "acme") -> None:
        self.database, self.table, self.embedder, self.tenant = database, PassageTable(), embedder, tenant

    async def write(
        self, text: str, document: UUID, version: int, collection: str = "default", title: str = ""
    ) -> UUID:
        new = made(
            self.embedder, text, document=document, version=version, collection=collection, title=title
        )
        async with self.database.tenant(self.tenant) as connection:
            await self.table.write(connection, self.tenant, [new])
        return new.passage.id

    async def publish(self, document: UUID, version: int, collection: str = "default") -> None:
        async with self.database.tenant(self.tenant) as connection:
            await self.table.publish(connection, self.tenant, collection, document, version)

    async def open(self, collection: str = "default") -> None:
        """Make a collection that everyone in the tenant reads, unless it is there."""
        async with self.database.tenant(self.tenant) as connection:
            await connection.execute(
                """WITH made AS (
                    INSERT INTO responsa.collection (tenant_id, id, slug, owner_id, max_tokens, overlap_tokens, embedding)
                    SELECT tenant_id, %(id)s, %(id)s, id, 500, 50, %(embedding)s
                    FROM responsa.app_user WHERE tenant_id = %(tenant)s ORDER BY id LIMIT 1
                    ON CONFLICT DO NOTHING RETURNING tenant_id, id)
                INSERT INTO responsa.collection_reader (tenant_id, collection_id) SELECT tenant_id, id FROM made""",
                {"id": collection, "tenant": self.tenant, "embedding": self.embedder.name},
            )

    async def put(self, text: str, collection: str = "default", title: str = "") -> UUID:
        await self.open(collection)
        document = uuid7()
        await self.write(text, document, 1, collection, title)
        await self.publish(document, 1, collection)
        return document


async def fill(
    index_writer: IndexWriter,
    vectors: Sequence[np.ndarray[tuple[int], np.dtype[np.float32]]],
    document: UUID | None = None,
    *,
    version: int = 1,
    live: bool = True,
) -> list[UUID]:
    """Write one passage for each vector, all in one document."""
    document = document or uuid7()
    new = [
        NewPassage(
            Passage(uuid7(), "default", document, version, "", "", ByteRange(0, 1), "x"),
            ordinal,
            "en",
            1,
            "'x':1",
            1,
            [PassageVector(VectorKind.WINDOW, ByteRange(0, 1), vector.astype("<f4").tobytes())],
        )
        for ordinal, vector in enumerate(vectors)
    ]
    async with index_writer.database.tenant(index_writer.tenant) as connection:
        await index_writer.table.write(connection, index_writer.tenant, new)
        if live:
            await index_writer.table.publish(connection, index_writer.tenant, "default", document, version)
    return [one.passage.id for one in new]


@asynccontextmanager
async def indexed_at_once(url: str) -> AsyncGenerator[None]:
    """The block stores many vectors. Their graph is built at its end, which takes a tenth of the time. url: the
    database, as a superuser. Searches that have returned end their transactions in the background, so the loop must
    run while the index is dropped."""
    index = "responsa.passage_vector_embedding"
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        row = await (await connection.execute("SELECT pg_get_indexdef(%s::regclass)", (index,))).fetchone()
        assert row is not None
        await connection.execute(f"DROP INDEX {index}".encode())
        yield
        await connection.execute(str(row[0]).encode())
        await connection.execute("VACUUM ANALYZE responsa.passage, responsa.passage_vector")


def unit_vectors(seed: int, count: int) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    """Random vectors of length 1, a row each."""
    vectors = np.random.default_rng(seed).normal(size=(count, 384)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
