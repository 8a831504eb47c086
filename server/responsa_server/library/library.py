"""The library: callers manage and read collections and documents here."""

from __future__ import annotations

import asyncio
import hashlib
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import IO, Final
from uuid import UUID

from responsa_server.domain.errors import DocumentRejected, InvalidRequest, NotPermitted, Reason
from responsa_server.domain.knowledge import (
    DEFAULT_COLLECTION,
    MAX_DOCUMENT_BYTES,
    Chunking,
    Collection,
    Collections,
    Document,
    DocumentMetadata,
    Documents,
    Hit,
    NewDocument,
    Operation,
    Operations,
    Searcher,
    SearchQuery,
)
from responsa_server.domain.listing import Page, Position
from responsa_server.domain.people import Principal, Role
from responsa_server.ingest import rejections
from responsa_server.ingest.formats.table import FORMATS, Formats
from responsa_server.ingest.jobs import EndedOperations
from responsa_server.ingest.sniff import decide_format

CONTENT_CHUNK_BYTES: Final = 64 * 1024
_UPLOAD_CHUNK_BYTES: Final = 256 * 1024
_IN_MEMORY_BYTES: Final = 1024 * 1024
_READ_BYTES: Final = 1024 * 1024
# How often a waiting call checks whether another process has ended the operation.
_LOOK_SECONDS: Final = 0.5


class Library:
    """The users' operations on collections and documents. Members of a tenant may read all of it; only owners and administrators may change it.

    Reads without extra rules go directly to `collections`, `documents` and `operations`. All members of the tenant may read an
    operation and wait for it. The user who started it, the uploader of its document, the owner of its collection and administrators may cancel
    and delete it. A list of operations holds the caller's; for an administrator, all of the tenant's.
    """

    def __init__(
        self,
        collections: Collections,
        documents: Documents,
        operations: Operations,
        searcher: Searcher,
        ended: EndedOperations,
        *,
        embedding: str,
        formats: Formats = FORMATS,
        spool_dir: Path | None = None,
        uploads_at_once: int = 2,
    ) -> None:
        """embedding: the model of new collections. spool_dir: the folder for uploads in progress (None: the system's).

        uploads_at_once: how many whole uploads, of at most 64 MiB each, may be in memory at a time; others wait.
        """
        self.collections = collections
        self.documents = documents
        self.operations = operations
        self.formats = formats
        self._searcher = searcher
        self._ended = ended
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
        """Create a collection. Raises AlreadyExists, InvalidRequest."""
        if chunking.overlap_tokens * 2 >= chunking.max_tokens:
            raise InvalidRequest.of_field(
                "collection.chunking.overlap_tokens",
                "chunking.overlap",
                f"must be less than half of max_tokens, which is {chunking.max_tokens}",
            )
        return await self.collections.create(
            who, collection_id, display_name, chunking, self._embedding, request_id
        )

    async def update_collection(
        self,
        who: Principal,
        collection_id: str,
        *,
        display_name: str | None,
        etag: str = "",
    ) -> Collection:
        """Change the values that are not None. Raises NotFound, NotPermitted, Conflict."""
        collection = await self.collections.get(who.tenant_id, collection_id)
        _require(who, collection.owner_id)
        return await self.collections.update(
            who.tenant_id, collection_id, display_name=display_name, etag=etag
        )

    async def delete_collection(
        self,
        who: Principal,
        collection_id: str,
        etag: str = "",
        force: bool = False,
    ) -> None:
        """Delete a collection; with force, its content too. Raises NotFound, NotPermitted, Conflict, Precondition."""
        collection = await self.collections.get(who.tenant_id, collection_id)
        _require(who, collection.owner_id)
        self._ended.ended(await self.collections.delete(who.tenant_id, collection_id, etag, force=force))

    async def upload(
        self,
        who: Principal,
        metadata: DocumentMetadata,
        chunks: AsyncIterator[bytes],
        size: int | None = None,
        request_id: UUID | None = None,
    ) -> Operation:
        """Store a document's bytes for ingestion, all of them or none.

        metadata.collection_id "" means the default collection. size: the announced number of bytes; None or 0 if none was announced.
        Raises InvalidRequest (UPLOAD_INCOMPLETE, INVALID_FIELD), DocumentRejected, NotFound (collection), AlreadyExists (REQUEST_ID_REUSED).
        """
        metadata = DocumentMetadata(
            metadata.collection_id or DEFAULT_COLLECTION,
            metadata.source_key,
            metadata.title,
            metadata.uri,
            metadata.media_type,
        )
        if metadata.collection_id != DEFAULT_COLLECTION:
            # Check before the bytes arrive; the transaction that stores them checks again.
            await self.collections.require(who.tenant_id, [metadata.collection_id])
        async with _receive(metadata, chunks, size or None, self._spool_dir) as received, self._whole:
            content = await received.read()
            media_type = await asyncio.to_thread(
                decide_format, content, metadata.source_key, metadata.media_type, self.formats
            )
            new = NewDocument(metadata, content, received.sha256, media_type)
            return await self.documents.accept(who, new, self._embedding, request_id)

    async def delete_document(self, who: Principal, document_id: UUID, etag: str = "") -> None:
        """Delete a document with all its versions. Raises NotFound, NotPermitted, Conflict."""
        document = await self.documents.get(who.tenant_id, document_id)
        await self._require_over(who, document)
        self._ended.ended(await self.documents.delete(who.tenant_id, document_id, etag))

    async def content(
        self, who: Principal, document_id: UUID, version: int | None = None
    ) -> AsyncGenerator[tuple[int, str], None]:
        """Canonical text as (byte offset, piece of at most 64 KiB of UTF-8), in order. Raises NotFound: before the first piece, or later after a deletion."""
        start = 0
        while True:
            piece = await self.documents.canonical(who.tenant_id, document_id, version, start, _READ_BYTES)
            version = piece.version  # the version that was current at the first piece
            offset = 0
            # A character that the end of a chunk splits is ignored here, and begins the next chunk.
            while text := piece.data[offset : offset + CONTENT_CHUNK_BYTES].decode(errors="ignore"):
                yield start + offset, text
                offset += len(text.encode())
            start += offset
            if offset == 0 or start >= piece.length:
                return

    async def search(self, who: Principal, query: SearchQuery) -> Sequence[Hit]:
        """The best matching passages, best first. Raises NotFound (a collection), Unavailable."""
        if query.collections:
            await self.collections.require(who.tenant_id, query.collections)
        return await self._searcher.search(who.tenant_id, query)

    async def list_operations(
        self, who: Principal, limit: int, after: Position | None = None
    ) -> Page[Operation]:
        """A page of the caller's operations, or of all the tenant's for an administrator; newest first. Raises InvalidRequest."""
        user_id = None if who.role is Role.ADMIN else who.user_id
        return await self.operations.list(who.tenant_id, user_id, limit, after)

    async def wait_operation(self, who: Principal, operation_id: UUID, timeout_seconds: float) -> Operation:
        """Wait at most `timeout_seconds` for an operation of the caller's tenant to end; return its state at that moment. Raises NotFound."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout_seconds
        with self._ended.waiting(operation_id) as event:
            while True:
                event.clear()
                operation = await self.operations.get(who.tenant_id, operation_id)
                left = deadline - loop.time()
                if operation.done or left <= 0:
                    return operation
                with suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), min(left, _LOOK_SECONDS))

    async def cancel_operation(self, who: Principal, operation_id: UUID) -> None:
        """End an operation with OPERATION_CANCELLED unless it has ended. Raises NotFound, NotPermitted."""
        operation = await self.operations.get(who.tenant_id, operation_id)
        await self._require_over_operation(who, operation)
        if operation.done:
            return
        await self.operations.cancel(who.tenant_id, operation_id)
        self._ended.ended([operation_id])

    async def delete_operation(self, who: Principal, operation_id: UUID) -> None:
        """Delete an operation that has ended. Raises NotFound, NotPermitted, Precondition."""
        operation = await self.operations.get(who.tenant_id, operation_id)
        await self._require_over_operation(who, operation)
        await self.operations.delete(who.tenant_id, operation_id)

    async def _require_over_operation(self, who: Principal, operation: Operation) -> None:
        """Raise NotPermitted unless the caller started it, uploaded its document, owns the collection or is an administrator."""
        if who.user_id == operation.user_id or who.role is Role.ADMIN:
            return
        # A deleted document has no owner.
        found = await self.documents.find(who.tenant_id, [operation.document_id])
        document = found.get(operation.document_id)
        if document is None:
            _require(who, operation.user_id)
        else:
            await self._require_over(who, document)

    async def _require_over(self, who: Principal, document: Document) -> None:
        """Raise NotPermitted unless the caller uploaded it, owns its collection or is an administrator."""
        if who.user_id == document.owner_id or who.role is Role.ADMIN:
            return
        collection = await self.collections.get(who.tenant_id, document.collection_id)
        _require(who, collection.owner_id)


def _require(who: Principal, owner_id: UUID) -> None:
    if who.role is not Role.ADMIN and who.user_id != owner_id:
        raise NotPermitted(
            Reason.ROLE_REQUIRED,
            "Only its owner or an administrator may do this; ask one of them.",
            {"required_role": Role.ADMIN.name},
        )


class _Received:
    """A complete upload. sha256: of all its bytes."""

    def __init__(self, spool: IO[bytes], size: int, sha256: bytes) -> None:
        self._spool = spool
        self._size = size
        self.sha256 = sha256

    async def read(self) -> bytes:
        """All bytes, read into memory."""
        self._spool.seek(0)
        return (
            self._spool.read()
            if self._size <= _IN_MEMORY_BYTES
            else await asyncio.to_thread(self._spool.read)
        )


@asynccontextmanager
async def _receive(
    metadata: DocumentMetadata, chunks: AsyncIterator[bytes], size: int | None, spool_dir: Path | None
) -> AsyncGenerator[_Received, None]:
    """Receive all chunks and keep them until the block ends. size: the announced number of bytes, None if none was announced.

    Bytes beyond 1 MiB go to a file without a name (mode 0600 where the file system requires a name), so that the file
    never outlives the process. Raises InvalidRequest: INVALID_FIELD (a chunk over 256 KiB), UPLOAD_INCOMPLETE; DocumentRejected: DOCUMENT_TOO_LARGE,
    DOCUMENT_EMPTY.
    """
    if size is not None and size > MAX_DOCUMENT_BYTES:
        raise _rejected(DocumentRejected.too_large(MAX_DOCUMENT_BYTES), metadata)
    digest = hashlib.sha256()
    received = 0
    with tempfile.SpooledTemporaryFile(
        max_size=_IN_MEMORY_BYTES, dir=None if spool_dir is None else str(spool_dir)
    ) as spool:
        async for chunk in chunks:
            if len(chunk) > _UPLOAD_CHUNK_BYTES:
                limit = f"a chunk holds at most {_UPLOAD_CHUNK_BYTES} bytes; send more of them"
                raise InvalidRequest.of_field("chunk", "bytes.max_len", limit)
            received += len(chunk)
            if received > MAX_DOCUMENT_BYTES:
                raise _rejected(DocumentRejected.too_large(MAX_DOCUMENT_BYTES), metadata)
            if size is not None and received > size:
                raise _incomplete(size, received)
            digest.update(chunk)
            if received > _IN_MEMORY_BYTES:
                await asyncio.to_thread(spool.write, chunk)
            else:
                spool.write(chunk)
        if size is not None and received != size:
            raise _incomplete(size, received)
        if received == 0:
            raise _rejected(rejections.empty(), metadata)
        yield _Received(spool, received, digest.digest())


def _rejected(error: DocumentRejected, metadata: DocumentMetadata) -> DocumentRejected:
    return replace(error, metadata={"source_key": metadata.source_key, **error.metadata})


def _incomplete(size: int, received: int) -> InvalidRequest:
    return InvalidRequest(
        Reason.UPLOAD_INCOMPLETE,
        f"{size} bytes were announced and {received} came; nothing was kept. Send the document again.",
        {"size_bytes": str(size), "received_bytes": str(received)},
    )
