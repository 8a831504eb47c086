"""Calls about collections, documents, passages and search."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence

from google.longrunning import operations_pb2

from responsa.knowledge.v1 import (
    document_pb2,
    generation_pb2,
    knowledge_service_pb2,
)
from responsa_client import requests
from responsa_client.aio.methods import AsyncKnowledgeMethods
from responsa_client.requests import Parameters
from responsa_client.results import (
    generation_progress,
    generation_result,
    ingest_progress,
    ingest_result,
)


class AsyncKnowledgeCalls(AsyncKnowledgeMethods):
    """The calls of KnowledgeService."""

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
            subject: the person whom the document is about, if only this person may read it: `users/{uuid}`, or a text
                that users have as their subject. Only administrators and
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
        """Create a document from a text of at most 1 MiB, by default Markdown, in one call. The other arguments are the
        same as for `upload`."""
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

    def operations(self, *, filter_by: str = "") -> AsyncIterator[operations_pb2.Operation]:
        """The caller's operations, newest first; for an administrator, all operations of the tenant. filter_by: a
        filter, e.g. "done = false". Raises InvalidRequest."""
        request = operations_pb2.ListOperationsRequest(filter=filter_by, page_size=requests.PAGE_SIZE)
        return self._calls.paged(self._stubs.operations.ListOperations, request, lambda page: page.operations)

    async def get_operation(self, name: str) -> operations_pb2.Operation:
        """The operation with this name, `operations/{uuid}`. Raises NotFound."""
        request = operations_pb2.GetOperationRequest(name=name)
        return await self._calls.unary(self._stubs.operations.GetOperation, request)

    async def cancel_operation(self, name: str) -> None:
        """Cancel an operation. Afterwards, `wait` raises Cancelled unless the operation had already ended. Raises NotFound."""
        request = operations_pb2.CancelOperationRequest(name=name)
        await self._calls.unary(self._stubs.operations.CancelOperation, request)

    async def document_content(self, name: str, *, read_offset: int = 0) -> str:
        """The canonical text of `documents/{uuid}` or `documents/{uuid}/versions/{n}`, from `read_offset` to its end.

        The ranges of citations and `read_offset` count the bytes of this text in UTF-8. If `read_offset` is within a
        character, the result begins with this character. Raises NotFound; InvalidRequest if `read_offset` is beyond the
        end.
        """
        request = knowledge_service_pb2.GetDocumentContentRequest(name=name, read_offset=read_offset)
        return await self._calls.content(request)

    async def document_original(self, name: str) -> tuple[str, bytes]:
        """The original of `documents/{uuid}` or `documents/{uuid}/versions/{n}`: a name for its file, and its bytes. Raises NotFound."""
        return await self._calls.original(name)

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
            rerank: whether the reranking model, if one is configured, orders the passages.
            filter_by: a filter on documents, e.g. "labels.team = legal AND date >= 2025"; only matching documents are
                searched. See Scope.filter in the contract.

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
        """The results of 1 to 64 searches, in the order of the searches. `search_request` makes a search. If one search
        fails, the call fails. Raises NotFound, InvalidRequest."""
        request = knowledge_service_pb2.BatchSearchRequest(requests=searches)
        response = await self._calls.unary(self._stubs.knowledge.BatchSearch, request)
        return [list(one.hits) for one in response.responses]
