"""Calls about collections, documents, passages and search."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from google.longrunning import operations_pb2

from responsa.knowledge.v1 import (
    collection_pb2,
    document_pb2,
    document_version_pb2,
    format_pb2,
    generation_pb2,
    knowledge_service_pb2,
    reader_pb2,
    subject_profile_pb2,
)
from responsa_client import requests
from responsa_client.aio.calls import AsyncPart
from responsa_client.requests import Parameters
from responsa_client.results import (
    generation_progress,
    generation_result,
    ingest_progress,
    ingest_result,
)


class AsyncKnowledgeCalls(AsyncPart):
    """The calls of KnowledgeService."""

    async def create_collection(
        self,
        collection_id: str,
        display_name: str = "",
        chunking: collection_pb2.Chunking | None = None,
        request_id: str | None = None,
        *,
        readers: Sequence[reader_pb2.Reader] = (),
    ) -> collection_pb2.Collection:
        """Create an empty collection of the caller's. readers: who may read it too; nobody by default. Raises AlreadyExists, InvalidRequest."""
        made = request_id or requests.new_request_id()
        request = requests.create_collection(collection_id, display_name, chunking, made, readers)
        return await self._calls.unary(self._stubs.knowledge.CreateCollection, request)

    async def get_collection(self, collection: str) -> collection_pb2.Collection:
        """The collection with this id or name. Raises NotFound."""
        request = knowledge_service_pb2.GetCollectionRequest(name=requests.collection_name(collection))
        return await self._calls.unary(self._stubs.knowledge.GetCollection, request)

    def collections(
        self, filter_by: str = "", order_by: str = ""
    ) -> AsyncIterator[collection_pb2.Collection]:
        """The collections that the caller may read, by default in order of their names."""
        request = knowledge_service_pb2.ListCollectionsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(
            self._stubs.knowledge.ListCollections, request, lambda page: page.collections
        )

    async def update_collection(
        self,
        collection: str,
        display_name: str | None = None,
        etag: str = "",
        *,
        synonyms: str | None = None,
        readers: Sequence[reader_pb2.Reader] | None = None,
        without: Sequence[str] = (),
    ) -> collection_pb2.Collection:
        """Change a collection. Values that are None stay as they are. Raises NotFound, PermissionDenied; Conflict if the collection has another etag.

        Args:
            synonyms: a text with one group of synonyms per line, separated by commas; "" to remove the synonyms. If a line has a mistake,
                the call raises InvalidRequest with one violation for each such line, and changes nothing.
            readers: all those with whom the collection is shared from now on; () makes it private.
            without: the e-mail addresses of users to leave out of these readers. If an address belongs to no user, the call raises InvalidRequest.
        """
        request = requests.update_collection(collection, display_name, etag, synonyms, readers, without)
        return await self._calls.unary(self._stubs.knowledge.UpdateCollection, request, repeatable=not etag)

    async def delete_collection(self, collection: str, etag: str = "", *, force: bool = False) -> None:
        """Delete a collection; with `force`, delete its documents too. Raises NotFound; FailedPrecondition if the collection is not empty; Conflict if it has another etag."""
        request = knowledge_service_pb2.DeleteCollectionRequest(
            name=requests.collection_name(collection), etag=etag, force=force
        )
        await self._calls.unary(self._stubs.knowledge.DeleteCollection, request, repeatable=False)

    async def generations(self, collection: str) -> Sequence[generation_pb2.Generation]:
        """The generations of a collection, the newest first. Raises NotFound."""
        request = knowledge_service_pb2.ListGenerationsRequest(parent=requests.collection_name(collection))
        return (await self._calls.unary(self._stubs.knowledge.ListGenerations, request)).generations

    async def reindex_collection(
        self,
        collection: str,
        embedding: str = "",
        *,
        keep_active: bool = False,
        request_id: str | None = None,
    ) -> operations_pb2.Operation:
        """Begin to build another generation of a collection, while searches use the active one. To wait until it is complete, call `wait_generation`.

        Args:
            collection: id or name of the collection.
            embedding: the embedding model, `provider:model`; "" for the server's model of new collections.
            keep_active: whether the generation becomes READY instead of active.
            request_id: a UUID. With the id of an earlier call, the server returns the operation of that call. None generates a new id.

        Raises:
            NotFound, PermissionDenied, InvalidRequest: see ReindexCollection in the contract.
            FailedPrecondition: another operation builds a generation, or the collection cannot have a further generation.
        """
        request = knowledge_service_pb2.ReindexCollectionRequest(
            name=requests.collection_name(collection),
            embedding=embedding,
            keep_active=keep_active,
            request_id=request_id or requests.new_request_id(),
        )
        return await self._calls.unary(self._stubs.knowledge.ReindexCollection, request)

    async def activate_generation(self, name: str, request_id: str | None = None) -> operations_pb2.Operation:
        """Begin to complete a generation, `collections/{id}/generations/{n}`, and to make it active. To wait until it is active, call `wait_generation`. Raises NotFound,
        PermissionDenied, InvalidRequest, FailedPrecondition.
        """
        request = knowledge_service_pb2.ActivateGenerationRequest(
            name=name, request_id=request_id or requests.new_request_id()
        )
        return await self._calls.unary(self._stubs.knowledge.ActivateGeneration, request)

    async def delete_generation(self, name: str) -> None:
        """Delete a generation that is neither active nor being built. Raises NotFound, PermissionDenied, FailedPrecondition."""
        request = knowledge_service_pb2.DeleteGenerationRequest(name=name)
        await self._calls.unary(self._stubs.knowledge.DeleteGeneration, request, repeatable=False)

    async def wait_generation(
        self,
        operation: operations_pb2.Operation | str,
        timeout: float | None = None,
        on_progress: Callable[[generation_pb2.ReindexMetadata], None] | None = None,
    ) -> generation_pb2.Generation:
        """Wait until a generation is complete and, unless `keep_active` was given, active. The arguments and errors are those of `wait`."""
        known = await self.get_operation(operation) if isinstance(operation, str) else operation
        return generation_result(await self._calls.ended(known, timeout, generation_progress, on_progress))

    async def upload(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        collection: str = "",
        source_key: str = "",
        title: str = "",
        uri: str = "",
        media_type: str = "",
        labels: Mapping[str, str] | None = None,
        metadata: Parameters | None = None,
        subject: str = "",
        request_id: str | None = None,
        timeout: float | None = None,
    ) -> operations_pb2.Operation:
        """Send a document in chunks of at most 256 KiB. To wait until search finds the document, call `wait`.

        Args:
            source: the path of a file, or the bytes themselves; at most 64 MiB.
            collection: id or name of the collection; "" means `default`.
            source_key: the key that identifies the document in its collection; "" for the file's name. If the key
                exists already, it names the existing document: equal bytes change nothing, and other bytes become a new version.
            title: the document's title; "" for the title that the document contains.
            uri: the document's address outside Responsa.
            media_type: e.g. "text/markdown"; with "", the server derives it from the key's suffix and the bytes.
            labels: short texts for filters. An existing document keeps its labels if there are none.
            metadata: JSON values of the caller's own. An existing document keeps its values if there are none.
            subject: the person whom the document is about, if only this person may read it: `users/{uuid}`, or a text that users have as their subject. Only administrators and
                services may set a subject. Without one, an existing document keeps the subject that it has.
            request_id: a UUID. With the id of an earlier call, the server returns the operation of that call.
                None generates a new id.
            timeout: the maximum time of the whole upload in seconds; None for no limit.

        Raises:
            OSError: the file cannot be read.
            ValueError: `source` contains bytes, and there is no source_key; or `metadata` holds a value that is not JSON.
            DocumentRejected: the document is empty, too large, or not of an accepted type.
            PermissionDenied: the caller may not upload to the collection, or gave a subject.
            InvalidRequest, NotFound: see UploadDocument in the contract.
        """
        stated = requests.metadata(collection, source_key, title, uri, media_type, labels, metadata, subject)
        upload = requests.Upload.of(source, stated, request_id or requests.new_request_id())
        return await self._calls.upload(upload, timeout)

    async def create_document(
        self,
        text: str,
        *,
        source_key: str,
        collection: str = "",
        title: str = "",
        uri: str = "",
        media_type: str = "",
        labels: Mapping[str, str] | None = None,
        metadata: Parameters | None = None,
        subject: str = "",
        request_id: str | None = None,
    ) -> operations_pb2.Operation:
        """Create a document from a text of at most 1 MiB, by default Markdown, in one call. The other arguments are the same as for `upload`."""
        stated = requests.metadata(collection, source_key, title, uri, media_type, labels, metadata, subject)
        made = request_id or requests.new_request_id()
        request = knowledge_service_pb2.CreateDocumentRequest(metadata=stated, text=text, request_id=made)
        return await self._calls.unary(self._stubs.knowledge.CreateDocument, request)

    async def wait(
        self,
        operation: operations_pb2.Operation | str,
        timeout: float | None = None,
        on_progress: Callable[[document_pb2.IngestMetadata], None] | None = None,
    ) -> document_pb2.IngestResult:
        """Wait until search finds a document, or until the server finds that the document is unchanged.

        Args:
            operation: the operation that `upload` or `create_document` returned, or the operation's name.
            timeout: the maximum time to wait in seconds; None for no limit.
            on_progress: a function to call about once a second with the progress.

        Raises:
            DeadlineExceeded: the time is up, but the operation continues.
            ResponsaError: the operation failed, e.g. DocumentRejected.
        """
        known = await self.get_operation(operation) if isinstance(operation, str) else operation
        return ingest_result(await self._calls.ended(known, timeout, ingest_progress, on_progress))

    def watch_operation(
        self, operation: operations_pb2.Operation | str, after_seq: int = 0
    ) -> AsyncIterator[knowledge_service_pb2.WatchOperationResponse]:
        """The states of an operation as they change, up to the final state (`operation.done`), over any number of connections.

        `ingest_progress` reads the stage, the counts and the estimated time left from a state. States that follow each other quickly may be
        left out, but not the final state.

        Args:
            operation: the operation, or its name.
            after_seq: the seq of a state that the caller already has; the client yields only later states.

        Raises:
            NotFound: the operation does not exist.
            ResponsaError: the stream cannot be resumed.
        """
        return self._calls.watch(operation if isinstance(operation, str) else operation.name, after_seq)

    def operations(self) -> AsyncIterator[operations_pb2.Operation]:
        """The caller's operations, newest first; for an administrator, all operations of the tenant."""
        request = operations_pb2.ListOperationsRequest(page_size=requests.PAGE_SIZE)
        return self._calls.paged(self._stubs.operations.ListOperations, request, lambda page: page.operations)

    async def get_operation(self, name: str) -> operations_pb2.Operation:
        """The operation with this name, `operations/{uuid}`. Raises NotFound."""
        request = operations_pb2.GetOperationRequest(name=name)
        return await self._calls.unary(self._stubs.operations.GetOperation, request)

    async def cancel_operation(self, name: str) -> None:
        """Cancel an operation. Afterwards, `wait` raises Cancelled unless the operation had already ended. Raises NotFound."""
        request = operations_pb2.CancelOperationRequest(name=name)
        await self._calls.unary(self._stubs.operations.CancelOperation, request)

    async def get_document(self, name: str) -> document_pb2.Document:
        """The document with this name, `documents/{uuid}`. Raises NotFound."""
        request = knowledge_service_pb2.GetDocumentRequest(name=name)
        return await self._calls.unary(self._stubs.knowledge.GetDocument, request)

    def documents(
        self, collection: str = "default", filter_by: str = "", order_by: str = ""
    ) -> AsyncIterator[document_pb2.Document]:
        """A collection's documents, by default in order of their source_key. Raises NotFound."""
        request = knowledge_service_pb2.ListDocumentsRequest(
            parent=requests.collection_name(collection),
            page_size=requests.PAGE_SIZE,
            filter=filter_by,
            order_by=order_by,
        )
        return self._calls.paged(self._stubs.knowledge.ListDocuments, request, lambda page: page.documents)

    async def update_document(
        self,
        name: str,
        *,
        title: str | None = None,
        labels: Mapping[str, str] | None = None,
        metadata: Parameters | None = None,
        subject: str | None = None,
        etag: str = "",
    ) -> document_pb2.Document:
        """Change a document. Values that are None stay as they are; labels and metadata are replaced as a whole. subject: as for `upload`; with "", the document has no subject. After a new title, the document
        is indexed again: searches use the title once the document's state is READY. Raises NotFound, PermissionDenied, InvalidRequest;
        Conflict if the document has another etag.
        """
        request = requests.update_document(name, title, labels, metadata, subject, etag)
        return await self._calls.unary(self._stubs.knowledge.UpdateDocument, request, repeatable=not etag)

    async def delete_document(self, name: str, etag: str = "") -> None:
        """Delete a document, so that new answers cannot use it. Raises NotFound, PermissionDenied; Conflict if the document has another etag."""
        request = knowledge_service_pb2.DeleteDocumentRequest(name=name, etag=etag)
        await self._calls.unary(self._stubs.knowledge.DeleteDocument, request, repeatable=False)

    async def document_content(self, name: str, *, read_offset: int = 0) -> str:
        """The canonical text of `documents/{uuid}` or `documents/{uuid}/versions/{n}`, from `read_offset` to its end.

        The ranges of citations and `read_offset` count the bytes of this text in UTF-8. If `read_offset` is within a character, the result begins with this
        character. Raises NotFound; InvalidRequest if `read_offset` is beyond the end.
        """
        request = knowledge_service_pb2.GetDocumentContentRequest(name=name, read_offset=read_offset)
        return await self._calls.content(request)

    async def document_original(self, name: str) -> tuple[str, bytes]:
        """The original of `documents/{uuid}` or `documents/{uuid}/versions/{n}`: a name for its file, and its bytes. Raises NotFound."""
        return await self._calls.original(name)

    async def document_page(
        self, name: str, page: int, width: int | None = None
    ) -> knowledge_service_pb2.DocumentPage:
        """A page of a PDF as an image (PNG). Boxes of citations are positions on this image.

        Args:
            name: `documents/{uuid}` or `documents/{uuid}/versions/{n}`.
            page: the number of the page, from 1.
            width: the width of the image in pixels, from 100 to 2,000; None for 1,000. A very high or very large image is narrower.

        Raises:
            NotFound: there is no such document or version.
            FailedPrecondition: the document is not a PDF.
            InvalidRequest: the document has fewer pages.
            DocumentRejected: the page is damaged, or takes too long to draw.
        """
        request = knowledge_service_pb2.GetDocumentPageRequest(name=name, page=page, width=width)
        return await self._calls.unary(self._stubs.knowledge.GetDocumentPage, request)

    def document_versions(self, name: str) -> AsyncIterator[document_version_pb2.DocumentVersion]:
        """The stored versions of `documents/{uuid}`, the newest first. Raises NotFound."""
        request = knowledge_service_pb2.ListDocumentVersionsRequest(parent=name, page_size=requests.PAGE_SIZE)
        return self._calls.paged(
            self._stubs.knowledge.ListDocumentVersions, request, lambda page: page.versions
        )

    async def compare_document_versions(
        self, name: str, other_version: int | None = None
    ) -> knowledge_service_pb2.CompareDocumentVersionsResponse:
        """The differences between the texts of two versions of a document. Raises NotFound.

        Args:
            name: the first version, `documents/{uuid}/versions/{n}`.
            other_version: the number of the second version; None for the searchable version.
        """
        request = knowledge_service_pb2.CompareDocumentVersionsRequest(name=name, other_version=other_version)
        return await self._calls.unary(self._stubs.knowledge.CompareDocumentVersions, request)

    async def restore_document_version(
        self, name: str, etag: str = "", request_id: str | None = None
    ) -> operations_pb2.Operation:
        """Make a new version from the bytes of `documents/{uuid}/versions/{n}`. To wait until search finds it, call `wait`. Raises NotFound, PermissionDenied;
        Conflict if the document has another etag.
        """
        request = knowledge_service_pb2.RestoreDocumentVersionRequest(
            name=name, etag=etag, request_id=request_id or requests.new_request_id()
        )
        return await self._calls.unary(self._stubs.knowledge.RestoreDocumentVersion, request)

    async def reindex_document(
        self, name: str, etag: str = "", request_id: str | None = None
    ) -> operations_pb2.Operation:
        """Read the original of `documents/{uuid}` again with the server's present parser. The result of `wait` says whether the text was unchanged. Raises
        NotFound, PermissionDenied; Conflict if the document has another etag; FailedPrecondition if no version could be read.
        """
        request = knowledge_service_pb2.ReindexDocumentRequest(
            name=name, etag=etag, request_id=request_id or requests.new_request_id()
        )
        return await self._calls.unary(self._stubs.knowledge.ReindexDocument, request)

    async def get_passage(self, name: str) -> document_pb2.Passage:
        """The passage with this name, `passages/{uuid}`. Raises NotFound."""
        request = knowledge_service_pb2.GetPassageRequest(name=name)
        return await self._calls.unary(self._stubs.knowledge.GetPassage, request)

    async def subject_profile(self, subject: str = "") -> subject_profile_pb2.SubjectProfile:
        """What is held about a person: the documents with this subject that the caller may read, by source and kind.

        Args:
            subject: the subject of documents, or `users/{uuid}`; "" for the caller. Only administrators and services may name somebody else.

        Raises:
            NotFound: neither a user nor a document has this subject, or the caller may not see the profile.
        """
        request = knowledge_service_pb2.GetSubjectProfileRequest(subject=subject)
        return await self._calls.unary(self._stubs.knowledge.GetSubjectProfile, request)

    async def list_formats(self) -> list[format_pb2.Format]:
        """The formats of documents that the server reads, with their suffixes and media types."""
        request = knowledge_service_pb2.ListFormatsRequest()
        return list((await self._calls.unary(self._stubs.knowledge.ListFormats, request)).formats)

    async def search(
        self,
        terms: str | Sequence[str],
        collections: Sequence[str] = (),
        top_k: int = 10,
        threshold: float = 0.0,
        mode: knowledge_service_pb2.SearchMode.ValueType = knowledge_service_pb2.SEARCH_MODE_HYBRID,
        *,
        rerank: bool = True,
        filter_by: str = "",
    ) -> list[knowledge_service_pb2.SearchHit]:
        """The best-matching passages, best first.

        Args:
            terms: one search term, or a list of up to 8. The term that matches a passage best determines the passage's score.
            collections: ids or names of the collections to search; empty for all collections that the caller may read.
            top_k: the maximum number of passages, from 1 to 100.
            threshold: the minimum score of a passage, from 0 to 1.
            mode: the indexes to search.
            rerank: whether the first ten passages are ranked again by their best piece.
            filter_by: a filter on documents, e.g. "labels.team = legal AND date >= 2025"; only matching documents are searched. See Scope.filter in the contract.

        Raises:
            InvalidRequest: the filter has a mistake (FILTER_INVALID), or see Search in the contract.
        """
        request = requests.search(
            terms, collections, top_k, threshold, mode, rerank=rerank, filter_by=filter_by
        )
        return list((await self._calls.unary(self._stubs.knowledge.Search, request)).hits)

    async def batch_search(
        self, searches: Sequence[knowledge_service_pb2.SearchRequest]
    ) -> list[list[knowledge_service_pb2.SearchHit]]:
        """The results of 1 to 64 searches, in the order of the searches. `search_request` makes a search. If one search fails, the call fails. Raises NotFound, InvalidRequest."""
        request = knowledge_service_pb2.BatchSearchRequest(requests=searches)
        response = await self._calls.unary(self._stubs.knowledge.BatchSearch, request)
        return [list(one.hits) for one in response.responses]
