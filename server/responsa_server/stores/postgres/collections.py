"""Collections in PostgreSQL."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound, Precondition, Reason
from responsa_server.domain.kinds import CollectionKind, kind_of
from responsa_server.domain.knowledge import FIRST_DIMENSIONS, Chunking, Collection, JobKind
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import COLLECTIONS
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import Connection, Database, Queries, one_row, shielded
from responsa_server.stores.postgres.generation_table import first_generation
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.passages import PassageTable
from responsa_server.stores.postgres.requests import CreationRequests, already_exists, check_etag

_LIST: Final[SqlList[Collection]] = SqlList(
    COLLECTIONS,
    {
        "name": "c.id",
        "display_name": "c.display_name",
        "create_time": "c.create_time",
        "update_time": "c.update_time",
    },
    identity="c.id",
    position=lambda one, field: (one.create_time if field == "create_time" else one.id, one.id),
)


class CollectionStore:
    """Implements the port `Collections` for all tenants. Each call is for one tenant."""

    def __init__(self, database: Database, pruning: JobQueue | None = None) -> None:
        """pruning: the job queue if a `VectorStore` holds the vectors, else None. With a queue, a deletion enqueues one job per
        document; the job removes the document's vectors.
        """
        self._pruning = pruning
        self._database = database
        self._passages = PassageTable()
        self._queries = Queries("collections.sql")
        self._audit = AuditLog()
        self._requests = CreationRequests()

    @shielded
    async def create(
        self,
        who: Principal,
        collection_id: str,
        display_name: str,
        chunking: Chunking,
        embedding: str,
        request_id: UUID | None,
        *,
        dimensions: int = FIRST_DIMENSIONS,
    ) -> Collection:
        """Create a collection; see the port. Raises AlreadyExists (RESOURCE_ALREADY_EXISTS, REQUEST_ID_REUSED)."""
        body = {
            "collection_id": collection_id,
            "display_name": display_name,
            "max_tokens": str(chunking.max_tokens),
            "overlap_tokens": str(chunking.overlap_tokens),
        }
        async with self._database.tenant(who.tenant_id) as connection:
            earlier = await self._requests.claim(connection, who, request_id, "collection", body)
            if earlier is not None:
                return await self._get(connection, who.tenant_id, names.parse_slug("collections", earlier))
            name = names.collection(collection_id)
            inserted = await connection.execute(
                self._queries["insert"],
                {
                    "tenant": who.tenant_id,
                    "id": collection_id,
                    "owner": who.user_id,
                    "display_name": display_name,
                    "max_tokens": chunking.max_tokens,
                    "overlap_tokens": chunking.overlap_tokens,
                    "embedding": embedding,
                    "kind": kind_of(collection_id).value,
                    "dimensions": dimensions,
                    "generation": first_generation(dimensions),
                },
            )
            if await inserted.fetchone() is None:
                raise already_exists("collection", name)
            await self._requests.record(connection, who, request_id, name)
            return await self._get(connection, who.tenant_id, collection_id)

    @shielded
    async def get(self, tenant_id: str, collection_id: str) -> Collection:
        """Read a collection. Raises NotFound."""
        async with self._database.tenant(tenant_id) as connection:
            return await self._get(connection, tenant_id, collection_id)

    @shielded
    async def require(self, tenant_id: str, collection_ids: Sequence[str]) -> None:
        """Raise NotFound for the first of these collections that does not exist."""
        values = {"tenant": tenant_id, "ids": list(collection_ids)}
        async with self._database.tenant(tenant_id) as connection:
            found = await connection.execute(self._queries["present"], values)
            present = {row[0] for row in await found.fetchall()}
        for collection_id in collection_ids:
            if collection_id not in present:
                raise NotFound.of("collection", names.collection(collection_id))

    @shielded
    async def list(self, tenant_id: str, query: ListQuery) -> Page[Collection]:
        """A page of the tenant's collections."""
        async with self._database.tenant(tenant_id) as connection:
            rows = await _LIST.rows(connection, self._queries["list"], query, {"tenant": tenant_id})
        return _LIST.page([_collection(row) for row in rows], query)

    @shielded
    async def update(
        self,
        tenant_id: str,
        collection_id: str,
        *,
        display_name: str | None,
        synonyms: str | None = None,
        etag: str,
    ) -> Collection:
        """Change the fields that are not None. Raises NotFound, Conflict (ETAG_MISMATCH)."""
        async with self._database.tenant(tenant_id) as connection:
            await self._lock(connection, tenant_id, collection_id, etag)
            if display_name is not None or synonyms is not None:
                digest = hashlib.sha256(synonyms.encode()).digest() if synonyms else b""
                values = {
                    "tenant": tenant_id,
                    "id": collection_id,
                    "display_name": display_name,
                    "synonyms": synonyms,
                    "synonyms_sha256": None if synonyms is None else digest,
                }
                await connection.execute(self._queries["update"], values)
            return await self._get(connection, tenant_id, collection_id)

    @shielded
    async def delete(
        self, tenant_id: str, collection_id: str, etag: str, *, force: bool, audit: AuditEvent | None = None
    ) -> Sequence[UUID]:
        """Delete a collection with its content, and return the operations that the deletion ended.

        Raises NotFound, Conflict (ETAG_MISMATCH, RESOURCE_LOCKED), Precondition (COLLECTION_NOT_EMPTY).
        """
        values: dict[str, object] = {"tenant": tenant_id, "id": collection_id}
        async with self._database.deleting(tenant_id, names.collection(collection_id)) as connection:
            # Take locks in the order that every writer uses: collection, document, operations, statistics.
            await self._lock(connection, tenant_id, collection_id, etag)
            documents = await (await connection.execute(self._queries["lock_documents"], values)).fetchall()
            if documents and not force:
                name = names.collection(collection_id)
                raise Precondition(
                    Reason.COLLECTION_NOT_EMPTY,
                    f"{name} holds {len(documents)} documents; delete them first, or set force.",
                    {"collection": name, "documents": str(len(documents))},
                )
            operations = await self.delete_locked(
                connection, tenant_id, collection_id, [row[0] for row in documents]
            )
            await self._audit.write(connection, audit)
            return operations

    async def delete_locked(
        self, connection: Connection, tenant_id: str, collection_id: str, documents: Sequence[UUID]
    ) -> Sequence[UUID]:
        """Delete a collection that this transaction has locked, and its documents, which it has locked too. Returns the operations that the deletion ended."""
        values: dict[str, object] = {"tenant": tenant_id, "id": collection_id}
        ended = await connection.execute(
            self._queries["end_operations"],
            {
                **values,
                "documents": list(documents),
                "error_reason": Reason.OPERATION_CANCELLED.value,
                "error_message": "The collection was deleted before the operation ended.",
            },
        )
        operations = [row[0] for row in await ended.fetchall()]
        await self._passages.delete_collection(connection, tenant_id, collection_id)
        await connection.execute(self._queries["delete_documents"], values)
        await connection.execute(self._queries["delete"], values)
        if self._pruning is not None:
            for document_id in documents:
                await self._pruning.defer(connection, JobKind.PRUNE, tenant_id, document_id)
        return operations

    async def _lock(self, connection: Connection, tenant_id: str, collection_id: str, etag: str) -> None:
        values = {"tenant": tenant_id, "id": collection_id}
        row = await (await connection.execute(self._queries["lock"], values)).fetchone()
        name = names.collection(collection_id)
        if row is None:
            raise NotFound.of("collection", name)
        check_etag(etag, names.etag(row[0], row[1]), name)

    async def _get(self, connection: Connection, tenant_id: str, collection_id: str) -> Collection:
        row = await one_row(connection, self._queries["get"], {"tenant": tenant_id, "id": collection_id})
        if row is None:
            raise NotFound.of("collection", names.collection(collection_id))
        return _collection(row)


def _collection(row: Mapping[str, Any]) -> Collection:
    return Collection(
        id=row["id"],
        tenant_id=row["tenant_id"],
        owner_id=row["owner_id"],
        display_name=row["display_name"],
        chunking=Chunking(row["max_tokens"], row["overlap_tokens"]),
        embedding=row["embedding"],
        document_count=row["document_count"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        etag=names.etag(row["create_time"], row["revision"]),
        kind=CollectionKind(row["kind"]),
        synonyms=row.get("synonyms", ""),
    )
