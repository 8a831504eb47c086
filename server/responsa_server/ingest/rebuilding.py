"""Computes the vectors of all passages again and puts them into a vector store: after the store has lost them, or when the server begins to use it."""

from __future__ import annotations

from dataclasses import replace
from typing import Final
from uuid import UUID

from responsa_server.domain.generations import GenerationTask
from responsa_server.domain.passages import IndexingAttempt, VectorStore
from responsa_server.domain.people import Server
from responsa_server.ingest.indexing import Indexers, SeenVectors
from responsa_server.search.embedder import undeclared_embedding
from responsa_server.stores.postgres.generations import GenerationBuildStore
from responsa_server.stores.postgres.passages import PassageWordsStore

_AT_ONCE: Final = 16
_COUNTED: Final = 4_096
_NOTHING: Final = UUID(int=0)


class Rebuild:
    """Fills a vector store from the passages in the database. Searches go on meanwhile: a document's vectors are replaced when the new ones of its collection are complete."""

    def __init__(
        self,
        store: VectorStore,
        passages: GenerationBuildStore,
        words: PassageWordsStore,
        indexers: Indexers,
        epoch: int,
    ) -> None:
        """epoch: greater than that of any earlier rebuild and operation, so that these vectors replace all earlier ones."""
        self._store = store
        self._passages = passages
        self._words = words
        self._indexers = indexers
        self._epoch = epoch

    async def run(self) -> int:
        """Work through all tenants. Returns the number of passages. Raises Unavailable, and Precondition if the settings do not declare a collection's model."""
        done = 0
        for tenant in await self._words.tenants():
            for collection, model in await self._passages.collections(tenant):
                done += await self._collection(tenant, collection, model)
        return done

    async def _collection(self, tenant: str, collection: str, model: str) -> int:
        indexer = await self._indexers.named(model)
        if indexer is None:
            raise undeclared_embedding(collection, model, self._indexers.configured)
        # No generation has this id, so all live passages lack vectors in it.
        task = GenerationTask(
            tenant, _NOTHING, self._epoch, collection, 0, _NOTHING, model, activate=False, passages_done=0
        )
        attempts: dict[tuple[UUID, int], IndexingAttempt] = {}
        seen, done = SeenVectors(_COUNTED), 0
        after: UUID | None = None
        while found := await self._passages.missing(task, after, _AT_ONCE):
            after = found[-1].passage.id
            kept = await self._store.pieces(Server(tenant), [one.passage.id for one in found], None)
            found = [replace(one, pieces=one.pieces or kept.get(one.passage.id, ())) for one in found]
            made = await indexer.vectors(tenant, found, seen)
            for one, vectors in zip(found, made, strict=True):
                version = one.passage.document_id, one.passage.version
                attempts[version] = IndexingAttempt(tenant, collection, *version, self._epoch, model)
                await self._store.put(attempts[version], [vectors])
            # The words of a passage are stored piece by piece, and the pieces of these passages may differ from the lost ones.
            cut_again = [one.passage.id for one in found if not one.pieces]
            await self._words.write(tenant, dict.fromkeys(cut_again))
            done += len(found)
        for attempt in attempts.values():
            await self._store.publish(attempt)
        return done
