"""The library, through which callers manage and read collections and documents."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Final, TypeAlias
from uuid import UUID

from responsa_formats.parsers.sniff import decide_format
from responsa_formats.parsers.table import Formats
from responsa_formats.rejections import Rejected
from responsa_server.domain import names
from responsa_server.domain.errors import (
    FieldViolation,
    InvalidRequest,
    NotFound,
    NotPermitted,
    Reason,
)
from responsa_server.domain.formatting import is_visible
from responsa_server.domain.knowledge import (
    DEFAULT_COLLECTION,
    Chunking,
    Collection,
    CollectionFields,
    Document,
    DocumentChanges,
    DocumentMetadata,
    DocumentVersion,
    ExcerptPlace,
    Hit,
    NewDocument,
    Operation,
    OperationKind,
    SearchQuery,
    ShownPart,
)
from responsa_server.domain.limits import NO_LIMIT
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import AuditEvent, Principal, Role
from responsa_server.domain.runs import RunUpload
from responsa_server.ingest.formats import FORMATS
from responsa_server.ingest.indexing import SHORT_BYTES
from responsa_server.ingest.jobs import MAX_TITLE_BYTES
from responsa_server.ingest.parsing import document_error
from responsa_server.ingest.watching import Watching
from responsa_server.library.pages import PageImages
from responsa_server.library.receiving import IN_MEMORY_BYTES, receive
from responsa_server.search.embedder import Embedders, Vectors, unknown_embedding
from responsa_server.search.hits import KnowledgeSearch
from responsa_server.stores.postgres.collections import CollectionStore, require_private
from responsa_server.stores.postgres.documents import DocumentStore
from responsa_server.stores.postgres.generations import GenerationStore
from responsa_server.stores.postgres.operations import OperationStore
from responsa_server.text.synonyms import read_synonyms

CONTENT_CHUNK_BYTES: Final = 64 * 1024
ORIGINAL_CHUNK_BYTES: Final = 256 * 1024
_READ_BYTES: Final = 1024 * 1024
# The maximum number of uploads of more than 1 MiB that are written to the database at the same time.
_STORED_AT_ONCE: Final = 4
# The longest canonical text: an office file may expand to more text than its bytes (ParseLimits.result_bytes).
MAX_TEXT_BYTES: Final = 256 * 1024 * 1024
# The number of violations that a status describes.
_MOST_MISTAKES: Final = 16
Check: TypeAlias = Callable[[Principal], Awaitable[None]]
"""A check of a caller before an act; it raises the error that refuses the act."""


@dataclass(frozen=True, slots=True)
class EmbeddedTexts:
    """The vectors of texts. embedding: the model, `provider:model`. tokens: how many tokens the model read."""

    embedding: str
    vectors: Vectors
    tokens: int


class Library:
    """What users can do with collections and documents.

    Collections are read by their owners and by those with whom they are shared, and changed by owners and
    administrators. What a caller may not read does not exist for it; administrators see collections without what is in
    them. Reads that need no further check go directly to `collections`, `documents`, `operations`, `generations`,
    `pages` and `watching`, which know who reads.

    Whoever may read a document or a collection may read its operations and wait for them. An operation may be cancelled
    and deleted by the user who started it, the uploader of its document, the owner of the collection, and
    administrators. A list of operations contains only the caller's operations, or all operations of the tenant if the
    caller is an administrator.
    """

    def __init__(
        self,
        collections: CollectionStore,
        documents: DocumentStore,
        operations: OperationStore,
        searcher: KnowledgeSearch,
        watching: Watching,
        pages: PageImages,
        *,
        embedders: Embedders,
        generations: GenerationStore,
        spool_dir: Path | None = None,
    ) -> None:
        """embedders: the server's embedding models. spool_dir: the folder for uploads in progress, or None for the
        system's temporary folder."""
        self.collections = collections
        self.documents = documents
        self.operations = operations
        self.generations = generations
        self.formats = FORMATS
        self.pages = pages
        self._searcher = searcher
        self.watching = watching
        self._embedders = embedders
        self._spool_dir = spool_dir
        self._storing = asyncio.Semaphore(_STORED_AT_ONCE)

    async def create_collection(
        self,
        caller: Principal,
        collection_id: str,
        fields: CollectionFields,
        chunking: Chunking,
        request_id: UUID | None = None,
        *,
        limit: int = NO_LIMIT,
        conversation_id: UUID | None = None,
    ) -> Collection:
        """Create a collection, which only its owner and its readers may read. limit: the maximum number of the caller's
        collections. conversation_id: see `Collection`. Raises AlreadyExists, InvalidRequest, NotFound (the
        conversation), Exhausted (LIMIT_REACHED); Unavailable, Precondition (the embedding model).
        """
        require_private(conversation_id, fields.readers)
        embedder = await self._embedders.of_model()
        return await self.collections.create(
            caller,
            collection_id,
            fields,
            chunking,
            embedder.name,
            request_id,
            dimensions=embedder.dimensions,
            conversation_id=conversation_id,
            limit=limit,
        )

    async def update_collection(
        self,
        caller: Principal,
        collection_id: str,
        changes: CollectionFields,
        etag: str = "",
        *,
        validate_only: bool = False,
    ) -> Collection:
        """Change a collection. validate_only: store nothing, but return the collection as it would be. A change of the
        readers applies from the next call on, and is written to the audit log. Raises NotFound, NotPermitted, Conflict,
        InvalidRequest (one violation for each mistake in the synonyms).
        """
        if changes.synonyms is not None:
            _check_synonyms(changes.synonyms)
        collection = await self._get_managed(caller, collection_id)
        name = names.collection(collection.shared_id)
        audit = _audit_of(caller, name, collection.owner_id)
        if changes.readers is not None:
            audit = AuditEvent.of(caller, "collection.share", name, about=collection.owner_id)
        return await self.collections.update(
            caller, collection_id, changes, etag=etag, audit=audit, validate_only=validate_only
        )

    async def delete_collection(
        self,
        caller: Principal,
        collection_id: str,
        etag: str = "",
        force: bool = False,
        *,
        over_others: Check | None = None,
    ) -> None:
        """Delete a collection; with force, its content too. over_others: the check of an administrator who deletes what
        belongs to another user, or None. Raises NotFound, NotPermitted, Conflict, Precondition, and the errors of the
        check.
        """
        collection = await self._get_managed(caller, collection_id)
        await _check_over_others(caller, collection.owner_id, over_others)
        name = names.collection(collection.shared_id)
        audit = _audit_of(caller, name, collection.owner_id)
        # A collection of the same name that somebody makes or deletes meanwhile must not change which one is deleted.
        ended = await self.collections.delete(
            caller, collection_id, etag, force=force, audit=audit, owner_id=collection.owner_id
        )
        self.watching.report_end(ended)

    async def reindex_collection(
        self,
        caller: Principal,
        collection_id: str,
        embedding: str = "",
        *,
        activate: bool = True,
        request_id: UUID | None = None,
    ) -> Operation:
        """Begin to build a generation with the embedding model `provider:model`; by default, the model of new
        collections. activate: whether the generation becomes active as soon as it is complete.

        Raises NotFound, NotPermitted, InvalidRequest (EMBEDDING_UNKNOWN), Unavailable or Precondition (the model;
        REINDEX_RUNNING, GENERATION_STATE), AlreadyExists.
        """
        await self._require_over_collection(caller, collection_id)
        embedder = await self._embedders.of_model(embedding)
        return await self.generations.build(
            caller,
            collection_id,
            embedder.name,
            embedder.dimensions,
            activate=activate,
            request_id=request_id,
        )

    async def embed(
        self, texts: Sequence[str], embedding: str = "", count: Callable[[int], Awaitable[None]] | None = None
    ) -> EmbeddedTexts:
        """The vectors of texts by the model `provider:model`; by default, the model of new collections. count: takes
        the number of tokens before the model reads them. Raises InvalidRequest (EMBEDDING_UNKNOWN), Unavailable,
        Precondition, Exhausted (OVERLOADED), and the errors of `count`."""
        embedder = await self._embedders.of_model(embedding)
        tokens = await asyncio.to_thread(
            lambda: sum(min(len(embedder.token_offsets(text)), embedder.max_tokens) for text in texts)
        )
        if count is not None:
            await count(tokens)
        vectors = await embedder.embed(texts)
        return EmbeddedTexts(embedding or self._embedders.configured, vectors, tokens)

    async def activate_generation(
        self, caller: Principal, collection_id: str, number: int, request_id: UUID | None = None
    ) -> Operation:
        """Begin to complete a generation that lacks newer passages, and to activate it. Raises NotFound, NotPermitted,
        InvalidRequest (EMBEDDING_UNKNOWN), Precondition (REINDEX_RUNNING, GENERATION_STATE), AlreadyExists.
        """
        await self._require_over_collection(caller, collection_id)
        for generation in await self.generations.list(caller, collection_id):
            if generation.number == number and await self._embedders.of_name(generation.embedding) is None:
                raise unknown_embedding(generation.embedding)
        return await self.generations.activate(caller, collection_id, number, request_id=request_id)

    async def delete_generation(self, caller: Principal, collection_id: str, number: int) -> None:
        """Delete a generation that is neither active nor being built. Raises NotFound, NotPermitted, Precondition (GENERATION_STATE)."""
        collection = await self._get_managed(caller, collection_id)
        name = names.generation(collection.shared_id, number)
        audit = _audit_of(caller, name, collection.owner_id)
        await self.generations.delete(caller, collection_id, number, audit)

    async def _get_managed(self, caller: Principal, collection_id: str) -> Collection:
        """The collection, if the caller owns it or is an administrator. Raises NotFound, NotPermitted."""
        collection = await self.collections.get(caller, collection_id)
        _require(caller, collection.owner_id)
        return collection

    async def _require_over_collection(self, caller: Principal, collection_id: str) -> None:
        _require(caller, await self.collections.owner(caller, collection_id))

    async def upload(
        self,
        caller: Principal,
        metadata: DocumentMetadata,
        chunks: AsyncIterator[bytes],
        size: int | None = None,
        request_id: UUID | None = None,
        run: RunUpload | None = None,
    ) -> Operation:
        """Store a document's bytes for ingestion, all of them or none.

        run: the run of a source that makes the document. metadata: its collection_id may be "", which means the default
        collection. size: the announced number of bytes, or None if the caller announced no size. A subject may be set
        by administrators and SERVICE keys. Raises NotPermitted, InvalidRequest (UPLOAD_INCOMPLETE, INVALID_FIELD),
        DocumentRejected, NotFound (collection), AlreadyExists (REQUEST_ID_REUSED), OwnershipLost (the run).
        """
        metadata = replace(metadata, collection_id=metadata.collection_id or DEFAULT_COLLECTION)
        _require_subjects(caller, metadata.subject or None)
        if run is None and metadata.collection_id != DEFAULT_COLLECTION:
            # Check before the bytes arrive; the transaction that stores them checks again. A run has its bytes.
            await self._require_over_collection(caller, metadata.collection_id)
        async with receive(metadata, chunks, size, self._spool_dir) as received:
            asked = received.file, metadata.source_key, metadata.media_type, self.formats
            if received.size <= SHORT_BYTES:
                media_type = _decide(*asked)
            else:
                media_type = await asyncio.to_thread(_decide, *asked)
            new = NewDocument(metadata, received, media_type)
            # An upload may wait for its document's lock, so small ones have no bound other than that of connections.
            async with self._storing if received.size > IN_MEMORY_BYTES else nullcontext():
                return await self._accept(caller, new, request_id, run)

    async def _accept(
        self, caller: Principal, new: NewDocument, request_id: UUID | None, run: RunUpload | None
    ) -> Operation:
        """Accept an upload. The embedding model is asked only if the default collection must be created, because a
        remote one may be down."""
        try:
            return await self.documents.accept(caller, new, "", request_id, run=run)
        except NotFound:
            if new.metadata.collection_id != DEFAULT_COLLECTION:
                raise
        embedder = await self._embedders.of_model()
        return await self.documents.accept(
            caller, new, embedder.name, request_id, dimensions=embedder.dimensions, run=run
        )

    async def update_document(
        self, caller: Principal, document_id: UUID, changes: DocumentChanges, etag: str = ""
    ) -> Document:
        """Change the values that are not None. A caller who may not read the document gets it without its content.
        Raises NotFound, NotPermitted, Conflict, InvalidRequest (a title that is blank or too long).
        """
        if changes.title is not None:
            _check_title(changes.title)
        _require_subjects(caller, changes.subject)
        document = await self.documents.get_managed(caller, document_id)
        audit = _audit_of(caller, names.document(document_id), document.owner_id)
        changed = await self.documents.update(caller, document_id, changes, etag, audit)
        # Administrators change documents that they may not read.
        readable = caller.role is not Role.ADMIN or await self.documents.find(caller, [document_id])
        return changed if readable else changed.without_content(changes)

    async def size_of_copy(
        self, caller: Principal, document_id: UUID, version: int | None = None, title: str | None = None
    ) -> int:
        """Return the number of bytes that a new version stores if it has the bytes of an earlier version: of `version`,
        or of the latest version if the document gets the title. 0 if the document already has this title. Raises
        NotFound, NotPermitted.
        """
        document = await self.documents.get_managed(caller, document_id)
        if title is not None and title == document.title:
            return 0
        return await self.documents.size_of_copy(caller, document_id, version)

    async def delete_document(
        self, caller: Principal, document_id: UUID, etag: str = "", *, over_others: Check | None = None
    ) -> None:
        """Delete a document with all its versions. over_others: as in `delete_collection`. Raises NotFound,
        NotPermitted, Conflict, and the errors of the check."""
        document = await self.documents.get_managed(caller, document_id)
        await _check_over_others(caller, document.owner_id, over_others)
        audit = _audit_of(caller, names.document(document_id), document.owner_id)
        self.watching.report_end(await self.documents.delete(caller.tenant_id, document_id, etag, audit))

    async def content(
        self, caller: Principal, document_id: UUID, version: int | None = None, read_offset: int = 0
    ) -> AsyncGenerator[tuple[int, str], None]:
        """Yield the canonical text in order, as pairs of a byte offset and a piece of at most 64 KiB of UTF-8.

        read_offset: the byte at which the first piece begins; within a character, the first piece begins with this
        character. Raises NotFound and InvalidRequest (READ_OFFSET_BEYOND_END) before the first piece, or NotFound later
        if the document is deleted in the meantime.
        """
        # A character has at most 3 bytes before its last one.
        start = max(min(read_offset, MAX_TEXT_BYTES + 1) - 3, 0)
        while True:
            piece = await self.documents.canonical(caller, document_id, version, start, _READ_BYTES)
            version = piece.version  # later pieces come from the same version as the first
            if read_offset > piece.length:
                raise InvalidRequest(
                    Reason.READ_OFFSET_BEYOND_END,
                    f"The text ends at byte {piece.length}; send a read_offset from 0 to {piece.length}.",
                    {
                        "document_version": names.document_version(document_id, piece.version),
                        "text_bytes": str(piece.length),
                    },
                )
            offset = _border_before(piece.data, read_offset - start) if start < read_offset else 0
            # If the end of a chunk splits a character, the character is left out here and carried over to the next chunk.
            while text := piece.data[offset : offset + CONTENT_CHUNK_BYTES].decode(errors="ignore"):
                yield start + offset, text
                offset += len(text.encode())
            start += offset
            if offset == 0 or start >= piece.length:
                return

    async def original(
        self, caller: Principal, document_id: UUID, version: int | None = None
    ) -> AsyncGenerator[tuple[DocumentVersion, int, bytes], None]:
        """Yield the original in order, as the version, a byte offset and a piece of at most 256 KiB. version: None
        means the searchable version, or the newest if no version is searchable yet.

        Raises NotFound before the first piece, or later if the version is removed in the meantime.
        """
        stored = await self.documents.version(caller, document_id, version)
        for start in range(0, stored.size_bytes, _READ_BYTES):
            data = await self.documents.original(caller, document_id, stored.version, start, _READ_BYTES)
            for offset in range(0, len(data), ORIGINAL_CHUNK_BYTES):
                yield stored, start + offset, data[offset : offset + ORIGINAL_CHUNK_BYTES]

    async def restore(
        self,
        caller: Principal,
        document_id: UUID,
        version: int,
        etag: str = "",
        request_id: UUID | None = None,
    ) -> Operation:
        """Make a new version from an earlier version's bytes. Raises NotFound, NotPermitted, Conflict, AlreadyExists
        (REQUEST_ID_REUSED)."""
        await self.documents.get_managed(caller, document_id)
        return await self.documents.restore(caller, document_id, version, etag, request_id)

    async def reindex(
        self, caller: Principal, document_id: UUID, etag: str = "", request_id: UUID | None = None
    ) -> Operation:
        """Read the searchable version's bytes again. Raises NotFound, NotPermitted, Conflict, Precondition,
        AlreadyExists (REQUEST_ID_REUSED)."""
        await self.documents.get_managed(caller, document_id)
        return await self.documents.reread(caller, document_id, etag, request_id)

    async def show(self, caller: Principal, excerpt: ExcerptPlace) -> ShownPart:
        """What an excerpt shows of a passage now. Raises NotFound (also SOURCE_CHANGED, SOURCE_DELETED) and Unavailable."""
        part = await self._searcher.show(caller, excerpt)
        if part is not None:
            return part
        [source] = await self.documents.sources(caller, [excerpt.reference])
        passage = names.passage(excerpt.passage_id)
        if not source.permitted:
            raise NotFound.of("passage", passage)
        version = names.document_version(excerpt.reference.document_id, excerpt.reference.version)
        metadata = {"passage": passage, "document_version": version}
        if source.current_version is None:
            sentence = "The document has been deleted since this answer."
            raise NotFound(Reason.SOURCE_DELETED, sentence, metadata)
        sentence = "The document has changed since this answer; open the document, or ask again."
        raise NotFound(Reason.SOURCE_CHANGED, sentence, metadata)

    async def search(self, caller: Principal, query: SearchQuery) -> Sequence[Hit]:
        """Return the passages that match best, best first. Raises NotFound (collection), Unavailable."""
        if query.collections:
            await self.collections.require(caller, query.collections)
        return await self._searcher.search(caller, query)

    async def search_all(self, caller: Principal, queries: Sequence[SearchQuery]) -> Sequence[Sequence[Hit]]:
        """Return the result of `search` for each query, in the order of the queries. Raises the errors of `search`.

        If a query fails, the remaining queries are not made.
        """
        if named := {name for query in queries for name in query.collections}:
            await self.collections.require(caller, sorted(named))
        # One after the other, so that a batch takes no more of the server at a time than a single search.
        return [await self._searcher.search(caller, query) for query in queries]

    async def list_operations(self, caller: Principal, query: ListQuery) -> Page[Operation]:
        """Return a page of the caller's operations. An administrator gets all operations of the tenant."""
        user_id = None if caller.role is Role.ADMIN else caller.user_id
        return await self.operations.list(caller, user_id, query)

    async def cancel_operation(self, caller: Principal, operation_id: UUID) -> None:
        """End an operation with OPERATION_CANCELLED unless it has already ended. Raises NotFound, NotPermitted."""
        operation = await self.operations.get(caller, operation_id)
        await self._require_over_operation(caller, operation)
        if operation.done:
            return
        audit = _audit_of(caller, names.operation(operation_id), operation.user_id)
        await self.operations.cancel(caller.tenant_id, operation_id, audit)
        self.watching.report_end([operation_id])

    async def delete_operation(self, caller: Principal, operation_id: UUID) -> None:
        """Delete an operation that has ended. Raises NotFound, NotPermitted, Precondition."""
        operation = await self.operations.get(caller, operation_id)
        await self._require_over_operation(caller, operation)
        audit = _audit_of(caller, names.operation(operation_id), operation.user_id)
        await self.operations.delete(caller.tenant_id, operation_id, audit)

    async def _require_over_operation(self, caller: Principal, operation: Operation) -> None:
        """Raise NotPermitted unless the caller started the operation, uploaded its document, owns the collection or is
        an administrator.
        """
        if caller.user_id == operation.user_id or caller.role is Role.ADMIN:
            return
        if operation.kind is OperationKind.REINDEX:
            await self._require_over_collection(caller, operation.collection_id)
            return
        try:
            await self.documents.get_managed(caller, operation.document_id)
        except NotFound:
            # The document was deleted or may not be read any more.
            _require(caller, operation.user_id)


def _check_title(title: str) -> None:
    if not is_visible(title):
        remedy = "must have a visible character; send the new title, or leave `title` out of the update_mask"
        raise InvalidRequest.of_field("document.title", "title.visible", remedy)
    if (size := len(title.encode())) > MAX_TITLE_BYTES:
        remedy = f"must be at most {MAX_TITLE_BYTES} bytes, but has {size}; shorten it"
        raise InvalidRequest.of_field("document.title", "string.max_bytes", remedy)


def _border_before(data: bytes, offset: int) -> int:
    """The character boundary at or before a byte of UTF-8."""
    while 0 < offset < len(data) and data[offset] & 0xC0 == 0x80:
        offset -= 1
    return offset


def _check_synonyms(text: str) -> None:
    """Raise InvalidRequest if a line of the file of synonyms is not a group."""
    mistakes = read_synonyms(text).mistakes
    if not mistakes:
        return
    field = "collection.synonyms"
    described = [
        FieldViolation(field, "synonyms.group", f"line {mistake.line}: {mistake.remedy}")
        for mistake in mistakes[:_MOST_MISTAKES]
    ]
    more = f" ({len(mistakes) - 1} more)" if len(mistakes) > 1 else ""
    raise InvalidRequest(
        Reason.INVALID_FIELD,
        f"{field}: {described[0].description}{more}",
        {"violations": str(len(mistakes))},
        tuple(described),
    )


def _audit_of(caller: Principal, name: str, owner_id: UUID) -> AuditEvent | None:
    """The audit event for an act on what belongs to another user, or of a service on behalf of the user; None if users
    act on what is their own."""
    own = caller.user_id == owner_id and caller.acting is None
    return None if own else AuditEvent.of_call(caller, name, about=owner_id)


async def _check_over_others(caller: Principal, owner_id: UUID, check: Check | None) -> None:
    if check is not None and caller.role is Role.ADMIN and caller.user_id != owner_id:
        await check(caller)


def _require_subjects(caller: Principal, subject: str | None) -> None:
    """Raise NotPermitted if the caller may not set this subject. None: the caller sets no subject."""
    if subject is not None and caller.role not in (Role.ADMIN, Role.SERVICE):
        raise NotPermitted(
            Reason.ROLE_REQUIRED,
            "Only administrators and SERVICE keys set the subject of a document; leave it out, or ask an administrator.",
            {"required_role": Role.ADMIN.name},
        )


def _require(caller: Principal, owner_id: UUID) -> None:
    if caller.role is not Role.ADMIN and caller.user_id != owner_id:
        raise NotPermitted.owner_only()


def _decide(file: IO[bytes], source_key: str, media_type: str, formats: Formats) -> str:
    try:
        return decide_format(file, source_key, media_type, formats)
    except Rejected as error:
        raise document_error(error, source_key, media_type, formats) from error
