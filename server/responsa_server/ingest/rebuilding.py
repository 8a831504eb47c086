"""Fills a vector store with the vectors of all passages: after the store has lost them, or when the server begins to use it."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from responsa_server.domain.generations import GenerationTask
from responsa_server.ingest.indexing import Indexers, SeenVectors
from responsa_server.search.embedder import undeclared_embedding
from responsa_server.stores.postgres.generations import GenerationBuildStore
from responsa_server.stores.postgres.passages import PassageWordsStore

_AT_ONCE: Final = 16
_COUNTED: Final = 4_096


class Rebuild:
    """Looks for passages that lack vectors in the active generation of their collection, and stops when none is left,
    so it needs to remember nothing. Searches and uploads go on meanwhile."""

    def __init__(self, passages: GenerationBuildStore, words: PassageWordsStore, indexers: Indexers) -> None:
        self._passages = passages
        self._words = words
        self._indexers = indexers

    async def run(self) -> int:
        """Work through all tenants. Returns the number of passages. Raises Unavailable, and Precondition if the
        settings do not declare a collection's model."""
        done = 0
        for tenant in await self._words.tenants():
            for task in await self._passages.active(tenant):
                done += await self._fill(task)
        return done

    async def _fill(self, task: GenerationTask) -> int:
        indexer, tenant = await self._indexers.of_name(task.embedding), task.tenant_id
        if indexer is None:
            raise undeclared_embedding(task.collection_id, task.embedding, self._indexers.configured)
        seen, done = SeenVectors(_COUNTED), 0
        after: UUID | None = None
        while passages := await self._passages.missing(task, after, _AT_ONCE):
            after = passages[-1].passage.id
            vectors = await indexer.vectors(tenant, passages, seen)
            if not await self._passages.refill(task, vectors):
                break  # the operation that made another generation active has filled that one
            # The words of a passage are stored piece by piece, and the pieces of these passages may differ from the lost ones.
            cut_again = [row.passage.id for row in passages if not row.pieces]
            await self._words.write(tenant, dict.fromkeys(cut_again))
            done += len(passages)
        return done
