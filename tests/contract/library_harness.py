"""A library with all its real parts, for the contract tests of documents and their ingestion."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from bench.embedders import OneEmbedder
from responsa_formats.sandbox.parsed_file import ParsedFile
from responsa_formats.sandbox.pool import ParserPool
from responsa_server.domain.knowledge import DocumentMetadata, GiveUp, JobKind, Operation, Work
from responsa_server.domain.passages import VectorStore
from responsa_server.domain.people import Principal
from responsa_server.ingest.indexing import Indexers
from responsa_server.ingest.jobs import DOCUMENT_SECONDS, Announce, Ingest, KnowledgeJobs, Parser
from responsa_server.ingest.reindexing import Reindex
from responsa_server.ingest.watching import Watching
from responsa_server.library.library import Library
from responsa_server.library.pages import PageImages
from responsa_server.search.embedder import Embedder, Embedders, Vectors
from responsa_server.search.hits import KnowledgeSearch
from responsa_server.search.retrieve import Retriever
from responsa_server.stores.postgres.collections import CollectionStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.documents import DocumentStore
from responsa_server.stores.postgres.generations import GenerationBuildStore, GenerationStore
from responsa_server.stores.postgres.jobs import JobQueue, QueuePace
from responsa_server.stores.postgres.operations import IngestionStore, OperationStore
from tests.conftest import DatabaseUrls
from tests.contract.index_writer import lexical_of
from tests.contract.people import WithPeople

PACE = QueuePace(poll=0.1, heartbeat=0.2, stalled=1.0, restart=0.1, grace=0.0)
TABLES = (
    "collection",
    "document",
    "document_version",
    "operation",
    "creation_request",
    "passage",
    "passage_vector",
    "collection_generation",
    "generation_vector",
    "term_stat",
)


class Gate:
    """A gate that blocks every task until it is opened. It reports when a task waits."""

    def __init__(self) -> None:
        self.reached = asyncio.Event()
        self.opened = asyncio.Event()

    async def pass_through(self, _: object = None) -> None:
        self.reached.set()
        await self.opened.wait()


class GatedParser:
    """A parser that first runs `before`, which may wait at a gate, raise an error, or return other bytes to parse."""

    def __init__(self, parser: Parser, before: Callable[[bytes], Awaitable[bytes | None]]) -> None:
        self._parser = parser
        self._before = before

    async def read(
        self,
        source: AsyncIterator[bytes],
        declared_name: str = "",
        declared_type: str = "",
        *,
        known_format: str = "",
    ) -> ParsedFile:
        data = b"".join([piece async for piece in source])
        changed = await self._before(data)
        return await self._parser.read(
            pieces_of(data if changed is None else changed),
            declared_name,
            declared_type,
            known_format=known_format,
        )


def other_parser(parser: Parser, before: bytes, after: bytes) -> Parser:
    """A parser that makes another text of the same bytes, as the parser of a newer release may."""

    async def change(data: bytes) -> bytes:
        return data.replace(before, after)

    return GatedParser(parser, change)


class GatedEmbedder:
    """An embedding model that first runs `before`, which may wait at a gate. It counts the texts that it received."""

    def __init__(self, embedder: Embedder, before: Callable[[], Awaitable[None]] | None = None) -> None:
        self._embedder = embedder
        self._before = before
        self.texts = 0

    @property
    def name(self) -> str:
        return self._embedder.name

    @property
    def dimensions(self) -> int:
        return self._embedder.dimensions

    @property
    def max_tokens(self) -> int:
        return self._embedder.max_tokens

    @property
    def languages(self) -> frozenset[str] | None:
        return self._embedder.languages

    def token_offsets(self, text: str) -> list[tuple[int, int]]:
        return self._embedder.token_offsets(text)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        if self._before is not None:
            await self._before()
        self.texts += len(texts)
        return await self._embedder.embed(texts)


class Harness(WithPeople):
    """The library of one database. Jobs run only in a `working` block."""

    def __init__(
        self,
        urls: DatabaseUrls,
        database: Database,
        parser: ParserPool,
        embedder: Embedder,
        spool: Path,
        embedders: Embedders | None = None,
        vectors: VectorStore | None = None,
    ) -> None:
        """embedders: None for the one embedder. vectors: None if PostgreSQL holds the vectors."""
        self.urls = urls
        self.database = database
        self.parser = parser
        self.embedder = embedder
        self.embedders = embedders or OneEmbedder(embedder)
        self.spool = spool
        self.queue = JobQueue(urls.log, concurrency=2, pace=PACE)
        self.vectors = vectors
        outside = vectors is not None
        self.collections = CollectionStore(database, self.queue if outside else None)
        self.documents = DocumentStore(database, self.queue, uuid7, external_vectors=outside)
        self.operations = OperationStore(database, self.queue, external_vectors=outside)
        self.ingestions = IngestionStore(database, self.queue, prune_after=0.0, vectors=vectors)
        self.generations = GenerationStore(database, self.queue, uuid7)
        self.waiting = Watching(self.operations)
        self.library = Library(
            self.collections,
            self.documents,
            self.operations,
            KnowledgeSearch(self.retriever),
            self.waiting,
            PageImages(self.documents, parser),
            embedders=self.embedders,
            generations=self.generations,
            spool_dir=spool,
        )

    @property
    def retriever(self) -> Retriever:
        return Retriever(lexical_of(self.database), self.embedders, outside=self.vectors)

    @property
    def builds(self) -> GenerationBuildStore:
        return GenerationBuildStore(self.database, self.queue, self.vectors)

    def ingest(
        self,
        *,
        parser: Parser | None = None,
        embedder: Embedder | None = None,
        ingestions: IngestionStore | None = None,
        document_seconds: float = DOCUMENT_SECONDS,
    ) -> Ingest:
        """The object that processes operations. The arguments replace its parts."""
        store = ingestions or self.ingestions
        embedders = self.embedders if embedder is None else OneEmbedder(embedder)
        indexers = Indexers(embedders, store, uuid7)
        return Ingest(store, parser or self.parser, indexers, self.waiting, document_seconds=document_seconds)

    def reindex(self, slice_seconds: float = 0.05) -> Reindex:
        """The object that builds generations. Its slices are short, so that most operations need several."""
        indexers = Indexers(self.embedders, self.ingestions, uuid7)
        return Reindex(self.builds, indexers, self.waiting.report_end, slice_seconds=slice_seconds)

    @asynccontextmanager
    async def working(
        self,
        ingest: Ingest | None = None,
        *,
        queue: JobQueue | None = None,
        max_attempts: int = 6,
        announce: Announce | None = None,
    ) -> AsyncGenerator[KnowledgeJobs, None]:
        """Run jobs during the block."""
        jobs = KnowledgeJobs(
            queue or self.queue,
            ingest or self.ingest(),
            self.documents,
            self.operations,
            max_attempts=max_attempts,
            vectors=self.vectors,
            reindex=self.reindex(),
        )
        await jobs.start(announce=announce)
        try:
            yield jobs
        finally:
            await jobs.close()

    async def upload(
        self,
        caller: Principal,
        text: str | bytes,
        key: str = "notes.md",
        *,
        collection: str = "",
        size: int | None = None,
        request_id: UUID | None = None,
        **described: Any,
    ) -> Operation:
        """Upload a document. described: further fields of its metadata."""
        content = text.encode() if isinstance(text, str) else text
        metadata = DocumentMetadata(collection, key, **described)
        return await self.library.upload(caller, metadata, pieces_of(content), size, request_id)

    async def take_in(
        self, caller: Principal, text: str | bytes, key: str = "notes.md", **described: Any
    ) -> Operation:
        """Upload, and run the operation in this task."""
        operation = await self.upload(caller, text, key, **described)
        if not operation.done:
            await self.ingest().run(caller.tenant_id, operation.id)
        return await self.library.operations.get(caller, operation.id)

    async def ended(self, caller: Principal, operation: Operation) -> Operation:
        """Wait until the operation has ended."""
        return await self.library.watching.wait(caller, operation.id, 60.0)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait at most a minute until a condition on the database is true."""
        async with asyncio.timeout(60):
            while not await asyncio.to_thread(condition):  # noqa: ASYNC110 - other sessions send no signal
                await asyncio.sleep(0.02)

    async def finish_jobs(self) -> None:
        """Run jobs until none is left."""
        async with self.working():
            await self.until(lambda: not self.ask("SELECT id FROM procrastinate_jobs"))

    def rows(self, tables: Iterable[str] = TABLES) -> dict[str, int]:
        """The number of rows in each table, over all tenants. Empty tables are left out."""
        counts = self.ask(
            " UNION ALL ".join(f"SELECT '{table}', count(*) FROM responsa.{table}" for table in tables)
        )
        return {table: count for table, count in counts if count}

    def ask(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        """Run SQL as the superuser."""
        return self.urls.ask(query, *values)


@asynccontextmanager
async def running(
    queue: JobQueue, work: Mapping[JobKind, Work], give_up: Mapping[JobKind, GiveUp] | None = None
) -> AsyncGenerator[None]:
    """Run jobs during the block."""
    task = asyncio.create_task(queue.run(work, give_up))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


async def pieces_of(content: bytes, size: int = 64 * 1024) -> AsyncIterator[bytes]:
    """The bytes of an upload, in pieces as they arrive."""
    for start in range(0, len(content), size):
        yield content[start : start + size]
