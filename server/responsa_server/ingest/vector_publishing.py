"""Ingestion with vectors outside the database: the job writes and publishes them in addition to the transactions of the passages.

The database decides what search finds: a passage becomes a candidate only when the lexical index confirms that it is live. So the order is

1. store the passages (not live) and their vectors (not published);
2. publish the vectors, under the epoch of the operation; searches find them but discard them, since their passages are not live;
3. commit the version: passages, statistics, document and operation change in one transaction, and from then on the whole version is searched;
4. remove the vectors of older versions.

A worker that is lost after 1 or 2 leaves the former version unchanged. The next attempt has a greater epoch, removes the lost worker's vectors and starts
over. A worker that is lost after 3 leaves vectors of passages that are not live; the prune job removes them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from responsa_server.domain.errors import ResponsaError
from responsa_server.domain.knowledge import CanonicalText, Claim, Documents, Ingestions, IngestTask
from responsa_server.domain.passages import IndexingAttempt, NewPassage, PassageVectors, VectorStore


class VectorPublishing:
    """Implements the port `Ingestions` around another one, which stores no vectors."""

    def __init__(self, ingestions: Ingestions, vectors: VectorStore, model: str) -> None:
        """model: the name of the model that makes the vectors."""
        self._ingestions = ingestions
        self._vectors = vectors
        self._model = model

    async def begin(self, tenant_id: str, operation_id: UUID) -> IngestTask | None:
        """Begin an attempt, and remove the vectors of earlier attempts."""
        task = await self._ingestions.begin(tenant_id, operation_id)
        if task is not None:
            claim = task.claim
            await self._vectors.drop_attempts(tenant_id, claim.document_id, claim.version, claim.epoch)
        return task

    async def parsed(self, claim: Claim, text: CanonicalText, passages_total: int) -> None:
        """Pass the parsed text on; it has no vectors."""
        await self._ingestions.parsed(claim, text, passages_total)

    async def write(self, claim: Claim, passages: Sequence[NewPassage], passages_done: int | None) -> None:
        """Write the passages, then their vectors. In this order OwnershipLost is raised before a vector is stored."""
        await self._ingestions.write(claim, [replace(one, vectors=()) for one in passages], passages_done)
        vectors = [PassageVectors(one.passage.id, one.vectors) for one in passages]
        await self._vectors.put(self._attempt(claim), vectors)

    async def publish(self, claim: Claim) -> bool:
        """Publish the vectors, then the version. Remove the vectors of older versions, or this version's if it is not searched."""
        await self._vectors.publish(self._attempt(claim))
        searched = await self._ingestions.publish(claim)
        if searched:
            await self._vectors.drop_versions(claim.tenant_id, claim.document_id, claim.version)
        else:
            await self._vectors.drop_attempts(claim.tenant_id, claim.document_id, claim.version, None)
        return searched

    async def fail(self, claim: Claim, error: ResponsaError) -> None:
        """End the operation with an error, and remove the vectors of its attempts."""
        await self._ingestions.fail(claim, error)
        await self._vectors.drop_attempts(claim.tenant_id, claim.document_id, claim.version, claim.epoch + 1)

    async def give_up(self, tenant_id: str, operation_id: UUID, error: ResponsaError) -> None:
        """End the operation with an error. The vectors of its attempts stay unpublished; the prune job removes them."""
        await self._ingestions.give_up(tenant_id, operation_id, error)

    def _attempt(self, claim: Claim) -> IndexingAttempt:
        return IndexingAttempt(
            claim.tenant_id, claim.collection_id, claim.document_id, claim.version, claim.epoch, self._model
        )


async def prune_vectors(
    documents: Documents, vectors: VectorStore, tenant_id: str, document_id: UUID
) -> None:
    """Remove the vectors of versions older than the one that is searched; for a deleted document, all its vectors."""
    document = (await documents.find(tenant_id, [document_id])).get(document_id)
    await vectors.drop_versions(tenant_id, document_id, None if document is None else document.version)
