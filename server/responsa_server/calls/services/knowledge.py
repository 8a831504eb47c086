"""KnowledgeService."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, AsyncIterator, Generator, Sequence
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    aclosing,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from dataclasses import replace
from functools import partial
from uuid import UUID

from google.longrunning import operations_proto_pb2 as operations_pb2
from google.protobuf.empty_pb2 import Empty

from responsa.knowledge.v1 import collection_pb2, document_pb2
from responsa.knowledge.v1 import knowledge_service_pb2 as pb
from responsa_server.calls.call import caller, current
from responsa_server.calls.convert import chat, knowledge, messages
from responsa_server.calls.convert.values import request_id, slug_of, unmask, uuid_of
from responsa_server.calls.interceptors.access import check_scope
from responsa_server.calls.listing import Listing
from responsa_server.calls.services.operations import encode_operation
from responsa_server.calls.services.parts import Services
from responsa_server.domain import lists, names
from responsa_server.domain.background import Background
from responsa_server.domain.errors import FieldViolation, InvalidRequest, Reason
from responsa_server.domain.knowledge import SearchQuery, file_name
from responsa_server.domain.limits import NO_LIMIT
from responsa_server.domain.people import work_for
from responsa_server.domain.programs import ASK, SEARCH
from responsa_server.identity.limits import Storing
from responsa_server.library.receiving import incomplete

_PIECE_BYTES = 256 * 1024
# Uploaded bytes are counted in steps of this size.
_COUNTED_BYTES = 1024 * 1024
# A little less than the largest message that a client receives by default.
_MAX_BATCH_BYTES = 4_000_000


class KnowledgeService:
    """The collections and documents that the caller may read, and search."""

    def __init__(self, parts: Services, work: Background) -> None:
        """work: holds the tasks that continue when the caller has left."""
        self._parts = parts
        self._library = parts.library
        self._limiter = parts.limiter
        self._work = work

    async def CreateCollection(self, request: pb.CreateCollectionRequest) -> collection_pb2.Collection:
        collection = request.collection
        limit = NO_LIMIT if self._limiter is None else (await self._limiter.book.of(caller())).collections
        created = await self._library.create_collection(
            caller(),
            request.collection_id,
            knowledge.collection_fields(collection, {*knowledge.COLLECTION_FIELDS} - {"synonyms"}),
            knowledge.chunking(collection.chunking),
            request_id(request.request_id),
            limit=limit,
            conversation_id=uuid_of("collection.conversation", "conversations", collection.conversation)
            if collection.conversation
            else None,
        )
        return knowledge.collection(created)

    async def GetCollection(self, request: pb.GetCollectionRequest) -> collection_pb2.Collection:
        return knowledge.collection(
            await self._library.collections.get(caller(), slug_of("name", "collections", request.name))
        )

    async def ListCollections(self, request: pb.ListCollectionsRequest) -> pb.ListCollectionsResponse:
        asked = Listing(lists.COLLECTIONS, caller(), request)
        page = await self._library.collections.list(caller(), asked.query)
        return asked.answer(pb.ListCollectionsResponse, page, knowledge.collection)

    async def UpdateCollection(self, request: pb.UpdateCollectionRequest) -> collection_pb2.Collection:
        collection = request.collection
        wanted = unmask(request.update_mask, knowledge.COLLECTION_FIELDS, collection)
        changes = knowledge.collection_fields(collection, wanted, request.removed_emails)
        changed = await self._library.update_collection(
            caller(),
            slug_of("collection.name", "collections", collection.name),
            changes,
            collection.etag,
            validate_only=request.validate_only,
        )
        return knowledge.collection(changed)

    async def DeleteCollection(self, request: pb.DeleteCollectionRequest) -> Empty:
        """Delete a collection; when forced, with its documents."""
        await self._library.delete_collection(
            caller(),
            slug_of("name", "collections", request.name),
            request.etag,
            request.force,
            over_others=self._parts.accounts.require_recent_session,
        )
        return Empty()

    async def ListGenerations(self, request: pb.ListGenerationsRequest) -> pb.ListGenerationsResponse:
        generations = await self._library.generations.list(
            caller(), slug_of("parent", "collections", request.parent)
        )
        return pb.ListGenerationsResponse(generations=[knowledge.generation(item) for item in generations])

    async def ReindexCollection(self, request: pb.ReindexCollectionRequest) -> operations_pb2.Operation:
        operation = await self._library.reindex_collection(
            caller(),
            slug_of("name", "collections", request.name),
            request.embedding,
            activate=not request.keep_active,
            request_id=request_id(request.request_id),
        )
        return await encode_operation(self._library, caller(), operation)

    async def ActivateGeneration(self, request: pb.ActivateGenerationRequest) -> operations_pb2.Operation:
        collection_id, number = knowledge.generation_name(request.name)
        operation = await self._library.activate_generation(
            caller(), collection_id, number, request_id(request.request_id)
        )
        return await encode_operation(self._library, caller(), operation)

    async def DeleteGeneration(self, request: pb.DeleteGenerationRequest) -> Empty:
        await self._library.delete_generation(caller(), *knowledge.generation_name(request.name))
        return Empty()

    async def UploadDocument(
        self, requests: AsyncIterator[pb.UploadDocumentRequest]
    ) -> operations_pb2.Operation:
        first = await anext(aiter(requests), None)
        if first is None or not first.HasField("start"):
            raise _metadata_missing(
                "The first message of an upload must carry `start` with the document's metadata; the bytes follow in `chunk`."
            )
        start = first.start
        announced = start.size_bytes if start.HasField("size_bytes") else None
        with _blaming("chunk"), self._storing() as storing:
            operation = await self._library.upload(
                caller(),
                knowledge.metadata("start.metadata", start.metadata),
                self._count_chunks(_chunks(requests, announced), announced, storing),
                announced,
                request_id(start.request_id),
            )
        return await encode_operation(self._library, caller(), operation)

    def _storing(self) -> AbstractContextManager[Storing | None]:
        return nullcontext() if self._limiter is None else self._limiter.storing(caller())

    async def _count_chunks(
        self, chunks: AsyncIterator[bytes], announced: int | None, storing: Storing | None
    ) -> AsyncIterator[bytes]:
        """The same chunks, each counted. An upload that has too many bytes for the day ends there. Raises Exhausted
        (RATE_LIMIT, LIMIT_REACHED)."""
        if self._limiter is None or storing is None:
            async for chunk in chunks:
                yield chunk
            return
        # A size that is not announced is checked when all bytes are here.
        if announced is not None:
            await storing.add(announced)
        size = waiting = 0
        async for chunk in chunks:
            waiting += len(chunk)
            if waiting >= _COUNTED_BYTES:
                await self._limiter.count_upload(caller(), waiting)
                size, waiting = size + waiting, 0
            yield chunk
        await self._limiter.count_upload(caller(), waiting)
        if announced is None:
            await storing.add(size + waiting)

    @asynccontextmanager
    async def _copying(
        self, document_id: UUID, version: int | None = None, title: str | None = None
    ) -> AsyncGenerator[None]:
        """Count a new version of a document's earlier bytes like an upload: it takes as much work and room."""
        if self._limiter is None:
            yield
            return
        size = await self._library.size_of_copy(caller(), document_id, version, title)
        with self._limiter.storing(caller()) as storing:
            await storing.add(size)
            await self._limiter.count_upload(caller(), size)
            yield

    async def CreateDocument(self, request: pb.CreateDocumentRequest) -> operations_pb2.Operation:
        data = request.text.encode()
        metadata = knowledge.metadata("metadata", request.metadata)
        with _blaming("text"), self._storing() as storing:
            operation = await self._library.upload(
                caller(),
                knowledge.inline(metadata),
                self._count_chunks(_pieces(data), len(data), storing),
                len(data),
                request_id(request.request_id),
            )
        return await encode_operation(self._library, caller(), operation)

    async def GetDocument(self, request: pb.GetDocumentRequest) -> document_pb2.Document:
        return knowledge.document(
            await self._library.documents.get(caller(), uuid_of("name", "documents", request.name))
        )

    async def ListDocuments(self, request: pb.ListDocumentsRequest) -> pb.ListDocumentsResponse:
        asked = Listing(lists.DOCUMENTS, caller(), request, request.parent)
        page = await self._library.documents.list(
            caller(), slug_of("parent", "collections", request.parent), asked.query
        )
        return asked.answer(pb.ListDocumentsResponse, page, knowledge.document)

    async def UpdateDocument(self, request: pb.UpdateDocumentRequest) -> document_pb2.Document:
        document = request.document
        changes = knowledge.document_changes(
            document, unmask(request.update_mask, ("title", "labels", "metadata", "subject"), document)
        )
        document_id = uuid_of("document.name", "documents", document.name)
        # A new title makes a new version of the same bytes.
        counted = nullcontext() if changes.title is None else self._copying(document_id, title=changes.title)
        async with counted:
            changed = await self._library.update_document(caller(), document_id, changes, document.etag)
        return knowledge.document(changed)

    async def DeleteDocument(self, request: pb.DeleteDocumentRequest) -> Empty:
        await self._library.delete_document(
            caller(),
            uuid_of("name", "documents", request.name),
            request.etag,
            over_others=self._parts.accounts.require_recent_session,
        )
        return Empty()

    async def GetDocumentContent(
        self, request: pb.GetDocumentContentRequest
    ) -> AsyncIterator[pb.GetDocumentContentResponse]:
        document_id, version = knowledge.document_or_version(request.name)
        content = self._library.content(caller(), document_id, version, request.read_offset)
        async with aclosing(content) as pieces:
            async for byte_offset, text in pieces:
                yield pb.GetDocumentContentResponse(byte_offset=byte_offset, text=text)

    async def GetDocumentOriginal(
        self, request: pb.GetDocumentOriginalRequest
    ) -> AsyncIterator[pb.GetDocumentOriginalResponse]:
        original = self._library.original(caller(), *knowledge.document_or_version(request.name))
        async with aclosing(original) as pieces:
            async for version, byte_offset, data in pieces:
                response = pb.GetDocumentOriginalResponse(byte_offset=byte_offset, data=data)
                if byte_offset == 0:
                    response.version.CopyFrom(knowledge.document_version(version))
                    response.file_name = file_name(version.source_key)
                yield response

    async def GetDocumentPage(self, request: pb.GetDocumentPageRequest) -> pb.DocumentPage:
        document_id, version = knowledge.document_or_version(request.name)
        width = request.width if request.HasField("width") else knowledge.DEFAULT_PAGE_WIDTH
        document, image = await self._library.pages.draw(caller(), document_id, version, request.page, width)
        version_name = names.document_version(document_id, document.version)
        return messages.message(
            pb.DocumentPage, image, document_version=version_name, page=request.page, image=image.png
        )

    async def ListDocumentVersions(
        self, request: pb.ListDocumentVersionsRequest
    ) -> pb.ListDocumentVersionsResponse:
        listing = Listing(lists.DOCUMENT_VERSIONS, caller(), request, request.parent)
        page = await self._library.documents.versions(
            caller(), uuid_of("parent", "documents", request.parent), listing.query
        )
        return listing.answer(pb.ListDocumentVersionsResponse, page, knowledge.document_version)

    async def RestoreDocumentVersion(
        self, request: pb.RestoreDocumentVersionRequest
    ) -> operations_pb2.Operation:
        document_id, version = knowledge.version_of_document(request.name)
        async with self._copying(document_id, version):
            operation = await self._library.restore(
                caller(), document_id, version, request.etag, request_id(request.request_id)
            )
        return await encode_operation(self._library, caller(), operation)

    async def ReindexDocument(self, request: pb.ReindexDocumentRequest) -> operations_pb2.Operation:
        document_id = uuid_of("name", "documents", request.name)
        async with self._copying(document_id):
            operation = await self._library.reindex(
                caller(), document_id, request.etag, request_id(request.request_id)
            )
        return await encode_operation(self._library, caller(), operation)

    async def WatchOperation(
        self, request: pb.WatchOperationRequest
    ) -> AsyncIterator[pb.WatchOperationResponse]:
        principal, last = caller(), request.after_seq
        operation_id = uuid_of("name", "operations", request.name)
        async with aclosing(self._library.watching.follow(principal, operation_id, last)) as states:
            async for state in states:
                if state is None:
                    yield pb.WatchOperationResponse(seq=last)
                    continue
                last = state.seq
                operation = await encode_operation(self._library, principal, state)
                yield pb.WatchOperationResponse(operation=operation, seq=last)

    async def GetPassage(self, request: pb.GetPassageRequest) -> document_pb2.Passage:
        passage_id = uuid_of("name", "passages", request.name)
        if (scopes := caller().scopes) is not None:
            check_scope(scopes, frozenset({ASK if request.turn else SEARCH}))
        if not request.turn:
            return knowledge.passage(await self._library.documents.passage(caller(), passage_id))
        turn = await self._parts.turns.store.get(caller(), uuid_of("turn", "turns", request.turn))
        excerpt = chat.excerpt_of(turn, request.name)
        return knowledge.show(excerpt, await self._library.show(caller(), chat.place_of(excerpt, turn)))

    async def ListFormats(self, request: pb.ListFormatsRequest) -> pb.ListFormatsResponse:
        return pb.ListFormatsResponse(
            formats=[knowledge.document_format(item) for item in self._library.formats]
        )

    async def Search(self, request: pb.SearchRequest) -> pb.SearchResponse:
        query = knowledge.search_query(request)
        async with self._at_a_time("searches"):
            hits = await self._library.search(caller(), query)
        self._count([query])
        return pb.SearchResponse(hits=[knowledge.hit(hit) for hit in hits])

    async def BatchSearch(self, request: pb.BatchSearchRequest) -> pb.BatchSearchResponse:
        queries = knowledge.search_queries(request)
        async with self._at_a_time("searches"):
            results = await self._library.search_all(caller(), queries)
        self._count(queries)
        response = pb.BatchSearchResponse(
            responses=[pb.SearchResponse(hits=[knowledge.hit(hit) for hit in hits]) for hits in results]
        )
        if (size := response.ByteSize()) > _MAX_BATCH_BYTES:
            raise InvalidRequest.of_field(
                "requests",
                "requests.max_response_bytes",
                f"find passages of {size} bytes together, and a response holds at most {_MAX_BATCH_BYTES}; "
                "set a smaller top_k, or make several calls",
            )
        return response

    async def EmbedTexts(self, request: pb.EmbedTextsRequest) -> pb.EmbedTextsResponse:
        work_for(caller(), current().deadline, background=True)
        count = None if self._limiter is None else partial(self._limiter.count_embedded, caller())
        async with self._at_a_time("embeddings"):
            vectors = await self._library.embed(request.texts, request.embedding, count)
        return pb.EmbedTextsResponse(
            embedding=vectors.embedding,
            vectors=[pb.TextVector(values=vector) for vector in vectors.vectors],
            tokens=vectors.tokens,
        )

    def _at_a_time(self, name: str) -> AbstractAsyncContextManager[None]:
        return nullcontext() if self._limiter is None else self._limiter.at_a_time(caller(), name)

    def _count(self, queries: Sequence[SearchQuery]) -> None:
        """Count the searches. The caller does not wait for it."""
        who = caller()
        named = [query.collections[0] if len(query.collections) == 1 else "" for query in queries]
        self._work.start(self._parts.insight.store.note_searches(who.tenant_id, who.user_id, named))


@contextmanager
def _blaming(field: str) -> Generator[None]:
    """When the bytes are refused, name the field that held them."""
    try:
        yield
    except InvalidRequest as error:
        if error.violations:
            raise
        raise _blame(field, error) from error


def _blame(field: str, error: InvalidRequest) -> InvalidRequest:
    violation = FieldViolation(field, error.reason.value.lower(), error.message)
    return replace(error, violations=(violation,))


async def _chunks(
    requests: AsyncIterator[pb.UploadDocumentRequest], announced: int | None
) -> AsyncIterator[bytes]:
    """The bytes of an upload up to its `finish`. announced: the size in `start`; None if `start` has no size. Raises
    InvalidRequest: UPLOAD_INCOMPLETE and others."""
    received, digest = 0, hashlib.sha256()
    async for request in requests:
        match request.WhichOneof("part"):
            case "chunk":
                received += len(request.chunk)
                digest.update(request.chunk)
                yield request.chunk
            case "finish":
                size, sha256 = request.finish.size_bytes, request.finish.sha256
                if size != received:
                    raise _blame("finish.size_bytes", incomplete(size, received))
                if sha256 and sha256 != digest.digest():
                    what = "The SHA-256 of the received bytes differs from the SHA-256 in `finish`"
                    raise _blame("finish.sha256", incomplete(size, received, what))
                return
            case _:
                raise _metadata_missing(
                    "Only the first message of an upload may carry `start`; the others carry `chunk`."
                )
    what = "The upload ended without `finish`, so bytes may be missing"
    remedy = "Send the document again, with `finish` after its last chunk."
    raise _blame("finish", incomplete(announced or 0, received, what, remedy))


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for position in range(0, len(data), _PIECE_BYTES):
        yield data[position : position + _PIECE_BYTES]


def _metadata_missing(what: str) -> InvalidRequest:
    return InvalidRequest(
        Reason.UPLOAD_METADATA_MISSING, what, {}, (FieldViolation("start", "upload.start", what),)
    )
