"""The library: collections and documents, as callers keep and read them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Final
from uuid import UUID

from responsa_server.domain.errors import InvalidRequest, NotPermitted, Reason
from responsa_server.domain.knowledge import (
    DEFAULT_COLLECTION,
    Chunking,
    Collection,
    Document,
    DocumentMetadata,
    Hit,
    Operation,
    Passage,
    SearchQuery,
)
from responsa_server.domain.listing import ListQuery, Page, Position
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.ports.knowledge import Collections, Documents, NewDocument, Operations, Searcher
from responsa_server.ingest import uploads
from responsa_server.ingest.waiting import Waiting, rung

CONTENT_CHUNK_BYTES: Final = 64 * 1024
_READ_BYTES: Final = 1024 * 1024
# How often somebody who waits looks whether another process ended the operation.
_LOOK_SECONDS: Final = 0.5


class Library:
    """What users do with collections and documents. Who belongs to a tenant reads all of it; changing is for owners and administrators.

    An operation follows its document: the tenant's members get it and wait for it, and whoever started it, uploaded the document or
    owns the collection, or an administrator, cancels and deletes it. A list of operations holds one's own, an administrator's all.
    """

    def __init__(
        self,
        collections: Collections,
        documents: Documents,
        operations: Operations,
        searcher: Searcher,
        waiting: Waiting,
        *,
        embedding: str,
        spool_dir: Path | None = None,
        uploads_at_once: int = 2,
    ) -> None:
        """embedding: the model of new collections. spool_dir: for uploads on their way (None: the system's).

        uploads_at_once: how many may be held in memory whole, each of 64 MiB at most; more wait.
        """
        self._collections = collections
        self._documents = documents
        self._operations = operations
        self._searcher = searcher
        self._waiting = waiting
        self._embedding = embedding
        self._spool_dir = spool_dir
        self._whole = asyncio.Semaphore(uploads_at_once)

    async def create_collection(
        self,
        who: Principal,
        collection_id: str,
        display_name: str,
        chunking: Chunking,
        request_id: UUID | None = None,
    ) -> Collection:
        """Make a collection. Raises AlreadyExists, InvalidRequest."""
        if chunking.overlap_tokens * 2 >= chunking.max_tokens:
            raise InvalidRequest.of_field(
                "collection.chunking.overlap_tokens",
                "chunking.overlap",
                f"must be less than half of max_tokens, which is {chunking.max_tokens}",
            )
        return await self._collections.create(
            who, collection_id, display_name, chunking, self._embedding, request_id
        )

    async def get_collection(self, who: Principal, collection_id: str) -> Collection:
        """Read a collection. Raises NotFound."""
        return await self._collections.get(who.tenant_id, collection_id)

    async def list_collections(self, who: Principal, query: ListQuery) -> Page[Collection]:
        """A page of collections. Raises InvalidRequest."""
        return await self._collections.list(who.tenant_id, query)

    async def update_collection(
        self,
        who: Principal,
        collection_id: str,
        *,
        display_name: str | None,
        etag: str = "",
    ) -> Collection:
        """Change what is not None. Raises NotFound, NotPermitted, Conflict."""
        collection = await self._collections.get(who.tenant_id, collection_id)
        _require(who, collection.owner_id)
        return await self._collections.update(
            who.tenant_id, collection_id, display_name=display_name, etag=etag
        )

    async def delete_collection(
        self,
        who: Principal,
        collection_id: str,
        etag: str = "",
        force: bool = False,
    ) -> None:
        """Delete a collection, with force also what is in it. Raises NotFound, NotPermitted, Conflict, Precondition."""
        collection = await self._collections.get(who.tenant_id, collection_id)
        _require(who, collection.owner_id)
        self._waiting.ended(await self._collections.delete(who.tenant_id, collection_id, etag, force=force))

    async def upload(
        self,
        who: Principal,
        metadata: DocumentMetadata,
        chunks: AsyncIterator[bytes],
        size: int | None = None,
        request_id: UUID | None = None,
    ) -> Operation:
        """Take in a document's bytes, all of them or none.

        metadata.collection_id "" means the default collection. size: the bytes announced; None or 0: not told.
        Raises InvalidRequest (UPLOAD_INCOMPLETE, INVALID_FIELD), DocumentRejected, NotFound (collection), AlreadyExists (REQUEST_ID_REUSED).
        """
        told = DocumentMetadata(
            metadata.collection_id or DEFAULT_COLLECTION,
            metadata.source_key,
            metadata.title,
            metadata.uri,
            metadata.media_type,
        )
        if told.collection_id != DEFAULT_COLLECTION:
            # Before all the bytes come; the transaction that keeps them looks again.
            await self._collections.require(who.tenant_id, [told.collection_id])
        async with uploads.receive(told, chunks, size or None, self._spool_dir) as received, self._whole:
            content = await received.read()
            media_type = await uploads.look(told, content)
            new = NewDocument(told, content, received.sha256, media_type)
            return await self._documents.accept(who, new, self._embedding, request_id)

    async def get_document(self, who: Principal, document_id: UUID) -> Document:
        """Read a document. Raises NotFound."""
        return await self._documents.get(who.tenant_id, document_id)

    async def find_documents(self, who: Principal, document_ids: Sequence[UUID]) -> Mapping[UUID, Document]:
        """Those of these documents that are there."""
        return await self._documents.find(who.tenant_id, document_ids)

    async def list_documents(self, who: Principal, collection_id: str, query: ListQuery) -> Page[Document]:
        """A page of a collection's documents. Raises NotFound, InvalidRequest."""
        return await self._documents.list(who.tenant_id, collection_id, query)

    async def delete_document(self, who: Principal, document_id: UUID, etag: str = "") -> None:
        """Delete a document with all its versions. Raises NotFound, NotPermitted, Conflict."""
        document = await self._documents.get(who.tenant_id, document_id)
        await self._require_over(who, document)
        self._waiting.ended(await self._documents.delete(who.tenant_id, document_id, etag))

    async def content(
        self, who: Principal, document_id: UUID, version: int | None = None
    ) -> AsyncGenerator[tuple[int, str], None]:
        """Canonical text as (byte offset, piece of at most 64 KiB of UTF-8), in order. Raises NotFound, before the first piece or, when the document is deleted meanwhile, later."""
        start = 0
        while True:
            piece = await self._documents.canonical(who.tenant_id, document_id, version, start, _READ_BYTES)
            version = piece.version  # the one that was current at first
            last = start + len(piece.data) >= piece.length
            offset = 0
            while offset < len(piece.data):
                end = _character_end(piece.data, min(offset + CONTENT_CHUNK_BYTES, len(piece.data)))
                if end <= offset:
                    break
                yield start + offset, piece.data[offset:end].decode()
                offset = end
            start += offset
            if last or offset == 0:
                return

    async def passage(self, who: Principal, passage_id: UUID) -> Passage:
        """Read a passage; one of an older version as long as an answer cites it. Raises NotFound."""
        return await self._documents.passage(who.tenant_id, passage_id)

    async def search(self, who: Principal, query: SearchQuery) -> Sequence[Hit]:
        """The passages that match best, best first. Raises NotFound (a collection), Unavailable."""
        if query.collections:
            await self._collections.require(who.tenant_id, query.collections)
        return await self._searcher.search(who.tenant_id, query)

    async def get_operation(self, who: Principal, operation_id: UUID) -> Operation:
        """Read an operation of the caller's tenant. Raises NotFound."""
        return await self._operations.get(who.tenant_id, operation_id)

    async def list_operations(
        self, who: Principal, limit: int, after: Position | None = None
    ) -> Page[Operation]:
        """A page of the caller's operations, of all of the tenant for an administrator; newest first. Raises InvalidRequest."""
        user_id = None if who.role is Role.ADMIN else who.user_id
        return await self._operations.list(who.tenant_id, user_id, limit, after)

    async def wait_operation(self, who: Principal, operation_id: UUID, timeout_seconds: float) -> Operation:
        """Wait until an operation of the caller's tenant has ended, at most so long, and return it as it then is. Raises NotFound."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        with self._waiting.bell(operation_id) as bell:
            while True:
                bell.clear()
                operation = await self._operations.get(who.tenant_id, operation_id)
                left = deadline - loop.time()
                if operation.done or left <= 0:
                    return operation
                await rung(bell, min(left, _LOOK_SECONDS))

    async def cancel_operation(self, who: Principal, operation_id: UUID) -> None:
        """End it with OPERATION_CANCELLED; nothing happens when it has ended. Raises NotFound, NotPermitted."""
        operation = await self._operations.get(who.tenant_id, operation_id)
        await self._require_over_operation(who, operation)
        if operation.done:
            return
        await self._operations.cancel(who.tenant_id, operation_id)
        self._waiting.ended([operation_id])

    async def delete_operation(self, who: Principal, operation_id: UUID) -> None:
        """Forget one that has ended. Raises NotFound, NotPermitted, Precondition."""
        operation = await self._operations.get(who.tenant_id, operation_id)
        await self._require_over_operation(who, operation)
        await self._operations.delete(who.tenant_id, operation_id)

    async def _require_over_operation(self, who: Principal, operation: Operation) -> None:
        """Who started it, who uploaded its document, who owns the collection, or an administrator."""
        if who.user_id == operation.user_id or who.role is Role.ADMIN:
            return
        # Once the document is deleted there is nobody who owns it.
        found = await self._documents.find(who.tenant_id, [operation.document_id])
        document = found.get(operation.document_id)
        if document is None:
            _require(who, operation.user_id)
        else:
            await self._require_over(who, document)

    async def _require_over(self, who: Principal, document: Document) -> None:
        """Who uploaded it, who owns its collection, or an administrator."""
        if who.user_id == document.owner_id or who.role is Role.ADMIN:
            return
        collection = await self._collections.get(who.tenant_id, document.collection_id)
        _require(who, collection.owner_id)


def _require(who: Principal, owner_id: UUID) -> None:
    if who.role is not Role.ADMIN and who.user_id != owner_id:
        raise NotPermitted(
            Reason.ROLE_REQUIRED,
            "Only its owner or an administrator may do this; ask one of them.",
            {"required_role": Role.ADMIN.name},
        )


def _character_end(data: bytes, end: int) -> int:
    """The greatest place up to `end` that does not lie within a character of UTF-8 text."""
    if end == len(data):
        # The data may itself have been cut: step back over a character that is not whole.
        for back in range(1, min(4, end) + 1):
            lead = data[end - back]
            if lead & 0xC0 != 0x80:
                width = 1 if lead < 0x80 else 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
                return end if width <= back else end - back
        return end
    while end > 0 and data[end] & 0xC0 == 0x80:
        end -= 1
    return end
