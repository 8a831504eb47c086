"""The twin of knowledge_calls.py for asyncio, call for call."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence

from google.longrunning import operations_pb2

from responsa.knowledge.v1 import collection_pb2, document_pb2, format_pb2, knowledge_service_pb2
from responsa_client import requests
from responsa_client.nonblocking import AsyncPart


class AsyncKnowledgeCalls(AsyncPart):
    """As `KnowledgeCalls`."""

    async def create_collection(
        self,
        collection_id: str,
        display_name: str = "",
        chunking: collection_pb2.Chunking | None = None,
        request_id: str | None = None,
    ) -> collection_pb2.Collection:
        """As `Responsa.create_collection`."""
        made = request_id or requests.new_request_id()
        request = requests.create_collection(collection_id, display_name, chunking, made)
        return await self._calls.unary(self._stubs.knowledge.CreateCollection, request)

    async def get_collection(self, collection: str) -> collection_pb2.Collection:
        """As `Responsa.get_collection`."""
        request = knowledge_service_pb2.GetCollectionRequest(name=requests.collection_name(collection))
        return await self._calls.unary(self._stubs.knowledge.GetCollection, request)

    def collections(
        self, filter_by: str = "", order_by: str = ""
    ) -> AsyncIterator[collection_pb2.Collection]:
        """As `Responsa.collections`."""
        request = knowledge_service_pb2.ListCollectionsRequest(
            page_size=requests.PAGE_SIZE, filter=filter_by, order_by=order_by
        )
        return self._calls.paged(
            self._stubs.knowledge.ListCollections, request, lambda page: page.collections
        )

    async def update_collection(
        self, collection: str, display_name: str, etag: str = ""
    ) -> collection_pb2.Collection:
        """As `Responsa.update_collection`."""
        request = requests.update_collection(collection, display_name, etag)
        return await self._calls.unary(self._stubs.knowledge.UpdateCollection, request, repeatable=not etag)

    async def delete_collection(self, collection: str, etag: str = "", *, force: bool = False) -> None:
        """As `Responsa.delete_collection`."""
        request = knowledge_service_pb2.DeleteCollectionRequest(
            name=requests.collection_name(collection), etag=etag, force=force
        )
        await self._calls.unary(self._stubs.knowledge.DeleteCollection, request, repeatable=False)

    async def upload(
        self,
        source: str | os.PathLike[str] | bytes,
        *,
        collection: str = "",
        source_key: str = "",
        title: str = "",
        uri: str = "",
        media_type: str = "",
        request_id: str | None = None,
        timeout: float | None = None,  # noqa: ASYNC109 - a deadline of gRPC
    ) -> operations_pb2.Operation:
        """As `Responsa.upload`."""
        metadata = requests.metadata(collection, source_key, title, uri, media_type)
        upload = requests.Upload.of(source, metadata, request_id or requests.new_request_id())
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
        request_id: str | None = None,
    ) -> operations_pb2.Operation:
        """As `Responsa.create_document`."""
        metadata = requests.metadata(collection, source_key, title, uri, media_type)
        made = request_id or requests.new_request_id()
        request = knowledge_service_pb2.CreateDocumentRequest(metadata=metadata, text=text, request_id=made)
        return await self._calls.unary(self._stubs.knowledge.CreateDocument, request)

    async def wait(
        self,
        operation: operations_pb2.Operation | str,
        timeout: float | None = None,  # noqa: ASYNC109 - a deadline of gRPC
        on_progress: Callable[[document_pb2.IngestMetadata], None] | None = None,
    ) -> document_pb2.IngestResult:
        """As `Responsa.wait`."""
        known = await self.get_operation(operation) if isinstance(operation, str) else operation
        return await self._calls.wait(known, timeout, on_progress)

    async def get_operation(self, name: str) -> operations_pb2.Operation:
        """As `Responsa.get_operation`."""
        request = operations_pb2.GetOperationRequest(name=name)
        return await self._calls.unary(self._stubs.operations.GetOperation, request)

    async def cancel_operation(self, name: str) -> None:
        """As `Responsa.cancel_operation`."""
        request = operations_pb2.CancelOperationRequest(name=name)
        await self._calls.unary(self._stubs.operations.CancelOperation, request)

    async def get_document(self, name: str) -> document_pb2.Document:
        """As `Responsa.get_document`."""
        request = knowledge_service_pb2.GetDocumentRequest(name=name)
        return await self._calls.unary(self._stubs.knowledge.GetDocument, request)

    def documents(
        self, collection: str = "default", filter_by: str = "", order_by: str = ""
    ) -> AsyncIterator[document_pb2.Document]:
        """As `Responsa.documents`."""
        request = knowledge_service_pb2.ListDocumentsRequest(
            parent=requests.collection_name(collection),
            page_size=requests.PAGE_SIZE,
            filter=filter_by,
            order_by=order_by,
        )
        return self._calls.paged(self._stubs.knowledge.ListDocuments, request, lambda page: page.documents)

    async def delete_document(self, name: str, etag: str = "") -> None:
        """As `Responsa.delete_document`."""
        request = knowledge_service_pb2.DeleteDocumentRequest(name=name, etag=etag)
        await self._calls.unary(self._stubs.knowledge.DeleteDocument, request, repeatable=False)

    async def document_content(self, name: str) -> str:
        """As `Responsa.document_content`."""
        return await self._calls.content(knowledge_service_pb2.GetDocumentContentRequest(name=name))

    async def get_passage(self, name: str) -> document_pb2.Passage:
        """As `Responsa.get_passage`."""
        request = knowledge_service_pb2.GetPassageRequest(name=name)
        return await self._calls.unary(self._stubs.knowledge.GetPassage, request)

    async def list_formats(self) -> list[format_pb2.Format]:
        """As `Responsa.list_formats`."""
        request = knowledge_service_pb2.ListFormatsRequest()
        return list((await self._calls.unary(self._stubs.knowledge.ListFormats, request)).formats)

    async def search(
        self,
        terms: str | Sequence[str],
        collections: Sequence[str] = (),
        top_k: int = 10,
        threshold: float = 0.0,
        mode: knowledge_service_pb2.SearchMode.ValueType = knowledge_service_pb2.SEARCH_MODE_HYBRID,
    ) -> list[knowledge_service_pb2.SearchHit]:
        """As `Responsa.search`."""
        request = requests.search(terms, collections, top_k, threshold, mode)
        return list((await self._calls.unary(self._stubs.knowledge.Search, request)).hits)
