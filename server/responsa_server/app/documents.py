"""Documents and search, put together."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from responsa_server.app.places import database_urls, new_id
from responsa_server.app.settings import ServeRole, Settings
from responsa_server.embedded import Layout
from responsa_server.ingest.indexing import Indexer
from responsa_server.ingest.ingest import Ingest
from responsa_server.ingest.jobs import KnowledgeJobs
from responsa_server.ingest.sandbox.limits import ParseLimits
from responsa_server.ingest.sandbox.pool import ParserPool
from responsa_server.ingest.waiting import Waiting
from responsa_server.library.library import Library
from responsa_server.providers.minilm import MiniLmEmbedder
from responsa_server.providers.minilm import load as load_minilm
from responsa_server.search.answering import LibraryEvidence
from responsa_server.search.cached_embedder import CachedEmbedder
from responsa_server.search.retrieve import Retriever
from responsa_server.search.search import KnowledgeSearch
from responsa_server.search.support import DEFAULT_SUPPORT
from responsa_server.stores.postgres.collections import CollectionStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.documents import DocumentStore
from responsa_server.stores.postgres.ingestions import IngestionStore
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.operations import OperationStore
from responsa_server.stores.postgres.passages import PassageStore
from responsa_server.stores.redis import RedisCache


@dataclass(frozen=True, slots=True)
class Knowledge:
    """What stands on documents. jobs: None where documents are not taken in by this process."""

    embedder: MiniLmEmbedder
    collections: CollectionStore
    documents: DocumentStore
    library: Library
    evidence: LibraryEvidence
    jobs: KnowledgeJobs | None


async def knowledge(
    settings: Settings, layout: Layout, database: Database, cache: RedisCache, stack: AsyncExitStack
) -> Knowledge:
    """Build it; what must be closed is closed by the stack. The model is loaded in every role: a search embeds its question."""
    threads = settings.retrieval.embedding_threads
    embedder = await asyncio.to_thread(load_minilm, layout.data / "models", threads=threads)
    stack.callback(embedder.close)
    passages = PassageStore(database, search_seconds=settings.retrieval.search_seconds)
    retriever = Retriever(
        passages, CachedEmbedder(embedder, cache), breadth=settings.retrieval.hnsw_ef_search
    )
    queue = JobQueue(database_urls(settings, layout).log, concurrency=settings.ingestion.concurrency)
    documents = DocumentStore(database, passages, queue, new_id)
    operations = OperationStore(database, passages)
    collections = CollectionStore(database, passages)
    waiting = Waiting()
    library = Library(
        collections,
        documents,
        operations,
        KnowledgeSearch(retriever),
        waiting,
        embedding=embedder.name,
        spool_dir=layout.data,
    )
    threshold = settings.retrieval.support_threshold
    evidence = LibraryEvidence(
        retriever, embedder, support=DEFAULT_SUPPORT if threshold is None else threshold
    )
    jobs: KnowledgeJobs | None = None
    if settings.role is not ServeRole.RPC:
        parser = await _parser(settings, stack)
        ingestions = IngestionStore(database, passages, queue)
        ingest = Ingest(ingestions, parser, Indexer(embedder, ingestions, new_id), waiting)
        jobs = KnowledgeJobs(queue, ingest, documents, operations)
    return Knowledge(embedder, collections, documents, library, evidence, jobs)


async def _parser(settings: Settings, stack: AsyncExitStack) -> ParserPool:
    parser = ParserPool(
        concurrency=settings.ingestion.concurrency,
        limits=ParseLimits(
            memory_bytes=settings.ingestion.parser_memory_mib << 20,
            cpu_seconds=max(1, int(settings.ingestion.parser_seconds)),
            wall_seconds=settings.ingestion.parser_seconds * 1.5,
        ),
    )
    await parser.start()
    stack.push_async_callback(parser.close)
    return parser
