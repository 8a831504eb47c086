"""The parts that both peers use: the instance's own PostgreSQL, Redis and embedding model, which are opened from the
instance's data folder."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum

from bench.agents import OPTIONS, GraphAgent
from bench.embedders import OneEmbedder
from bench.peers import deltas, paced
from bench.peers.evidence import MemoryEvidence
from responsa_local.embedded import LocalLayout
from responsa_server.agents.engine.agent import PlannedAgent
from responsa_server.app.caches import Caches
from responsa_server.app.process import configure_logs
from responsa_server.app.resources import database_urls, redis_url
from responsa_server.app.settings import Settings
from responsa_server.app.settings import load as load_settings
from responsa_server.providers.minilm import load as load_model
from responsa_server.search.answering import LibraryEvidence
from responsa_server.search.embedder import Embedder
from responsa_server.search.retrieve import Retriever
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.passages import PostgresLexicalIndex
from responsa_server.stores.redis import RedisCache


class EvidenceKind(StrEnum):
    """The agent that a peer runs. With LIBRARY and MEMORY, this is the default agent's graph; its evidence comes from the
    instance's documents or from memory. The other agents use no evidence. DELTAS sends three statuses and 64 deltas at once.
    PACED sends pieces of text at the pace that the question sets.
    """

    LIBRARY = "library"
    MEMORY = "memory"
    DELTAS = "deltas"
    PACED = "paced"


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of a peer."""

    settings: Settings
    layout: LocalLayout
    database: Database
    retriever: Retriever
    embedder: Embedder
    agent: PlannedAgent


@asynccontextmanager
async def opened(kind: EvidenceKind) -> AsyncGenerator[Parts]:
    """The parts of the instance that RESPONSA_HOME names, made in the same way as in the server (`responsa_server.app.serve`)."""
    settings = load_settings()
    # Without this call, logs would go to stdout, where the caller reads the line READY.
    configure_logs(settings.log_level.value)
    layout = LocalLayout.of(settings.home)
    urls = database_urls(settings, layout)
    async with AsyncExitStack() as stack:
        database = Database(urls.app, urls.log, size=settings.database_pool)
        await database.open()
        stack.push_async_callback(database.close)
        cache = RedisCache(redis_url(settings, layout))
        stack.push_async_callback(cache.close)
        embedder = await asyncio.to_thread(
            load_model, layout.data / "models", threads=settings.retrieval.embedding_threads
        )
        stack.callback(embedder.close)
        seconds = settings.retrieval.search_seconds
        lexical = PostgresLexicalIndex(
            database, search_seconds=seconds, breadth=settings.retrieval.hnsw_ef_search
        )
        retriever = Retriever(lexical, OneEmbedder(embedder), Caches(settings, layout, cache).vectors)
        evidence = LibraryEvidence(retriever) if kind is EvidenceKind.LIBRARY else MemoryEvidence()
        match kind:
            case EvidenceKind.DELTAS:
                agent = deltas.agent(OPTIONS)
            case EvidenceKind.PACED:
                agent = paced.agent()
                agent.asks_models = (
                    True  # it stands for a model that writes: it waits, and takes no slot of those that work
                )
            case EvidenceKind.LIBRARY | EvidenceKind.MEMORY:
                agent = GraphAgent(evidence, OPTIONS)
        yield Parts(settings, layout, database, retriever, embedder, agent)
