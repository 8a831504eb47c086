"""Scripts that store documents. As far as the command line can observe, the scripts follow the contract: keys, versions and refusals."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.longrunning import operations_pb2
from google.protobuf import empty_pb2

from clients.conformance.server import Context, abort, status
from responsa.knowledge.v1 import collection_pb2, document_pb2, format_pb2, knowledge_service_pb2
from tests.clients.scripted import (
    KNOWLEDGE,
    OPERATIONS,
    Scripted,
    operation,
)


@dataclass
class StoredDocument:
    """A document and its bytes."""

    document: document_pb2.Document
    data: bytes


@dataclass
class ScriptedLibrary:
    """The stored documents, by collection and source_key. `in_flight` is the largest number of documents that were sent but not yet waited
    for.
    """

    documents: dict[tuple[str, str], StoredDocument] = field(
        default_factory=dict[tuple[str, str], StoredDocument]
    )
    collections: set[str] = field(default_factory=lambda: {"collections/default"})
    made: list[str] = field(default_factory=list[str])
    titles: dict[str, str] = field(default_factory=dict[str, str])
    in_flight: int = 0
    _now: int = 0
    _results: dict[str, operations_pb2.Operation] = field(default_factory=dict[str, operations_pb2.Operation])

    def keys(self, collection: str = "collections/default") -> list[str]:
        return sorted(key for kept_in, key in self.documents if kept_in == collection)

    def serve(self, server: Scripted) -> None:
        """Install the scripts on the server."""
        for path, script in {
            f"{KNOWLEDGE}/ListFormats": self._list_formats,
            f"{KNOWLEDGE}/GetCollection": self._get_collection,
            f"{KNOWLEDGE}/CreateCollection": self._create_collection,
            f"{KNOWLEDGE}/DeleteCollection": self._delete_collection,
            f"{KNOWLEDGE}/CreateDocument": self._create_document,
            f"{KNOWLEDGE}/UploadDocument": self._upload,
            f"{KNOWLEDGE}/ListDocuments": self._list,
            f"{KNOWLEDGE}/GetDocument": self._get,
            f"{KNOWLEDGE}/GetDocumentContent": self._content,
            f"{KNOWLEDGE}/UpdateDocument": self._update,
            f"{KNOWLEDGE}/DeleteDocument": self._delete,
            f"{OPERATIONS}/WaitOperation": self.serve_wait,
        }.items():
            server.on(path, script)

    async def _list_formats(self, request: Any, _: Context) -> knowledge_service_pb2.ListFormatsResponse:
        formats = [
            format_pb2.Format(display_name="Markdown", suffixes=[".md"]),
            format_pb2.Format(display_name="plain text", suffixes=[".txt"]),
            format_pb2.Format(display_name="HTML", suffixes=[".html"]),
        ]
        return knowledge_service_pb2.ListFormatsResponse(formats=formats)

    async def _get_collection(self, request: Any, context: Context) -> collection_pb2.Collection:
        if request.name not in self.collections:
            await abort(
                context, status(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", "Collection not found")
            )
        return collection_pb2.Collection(
            name=request.name,
            chosen_id=request.name.removeprefix("collections/"),
            document_count=len(self.keys(request.name)),
            readable=True,
        )

    async def _create_collection(self, request: Any, _: Context) -> collection_pb2.Collection:
        name = f"collections/{request.collection_id}"
        self.collections.add(name)
        self.made.append(name)
        return collection_pb2.Collection(name=name, chosen_id=request.collection_id)

    async def _delete_collection(self, request: Any, context: Context) -> empty_pb2.Empty:
        if self.keys(request.name) and not request.force:
            await abort(
                context,
                status(grpc.StatusCode.FAILED_PRECONDITION, "COLLECTION_NOT_EMPTY", "It holds documents."),
            )
        self.collections.discard(request.name)
        self.documents = {at: kept for at, kept in self.documents.items() if at[0] != request.name}
        return empty_pb2.Empty()

    async def _create_document(self, request: Any, _: Context) -> operations_pb2.Operation:
        return self._take(request.metadata, request.text.encode())

    async def _upload(self, messages: Any, context: Context) -> operations_pb2.Operation:
        start, *chunks = messages
        data = b"".join(chunk.chunk for chunk in chunks)
        if data.startswith(b"MZ"):
            refusal = status(
                grpc.StatusCode.INVALID_ARGUMENT,
                "DOCUMENT_TYPE_MISMATCH",
                "The content is a Windows program.",
            )
            await abort(context, refusal)
        return self._take(start.start.metadata, data)

    def _take(self, metadata: document_pb2.DocumentMetadata, data: bytes) -> operations_pb2.Operation:
        place = (metadata.collection, metadata.source_key)
        self.titles[metadata.source_key] = metadata.title
        name = f"operations/{uuid.uuid4()}"
        self._now += 1
        self.in_flight = max(self.in_flight, self._now)
        if b"unreadable" in data:
            error = status(grpc.StatusCode.INVALID_ARGUMENT, "DOCUMENT_MALFORMED", "It cannot be read.")
            self._results[name] = operation(error=error, name=name)
            return operation(name=name)
        before = self.documents.get(place)
        unchanged = before is not None and before.data == data
        if before is None or not unchanged:
            document = document_pb2.Document(
                name=before.document.name if before else f"documents/{uuid.uuid4()}",
                collection=metadata.collection,
                source_key=metadata.source_key,
                title=metadata.title,
                version=before.document.version + 1 if before else 1,
                state=document_pb2.DOCUMENT_STATE_READY,
                labels=metadata.labels,
                metadata=metadata.metadata,
            )
            self.documents[place] = StoredDocument(document, data)
        result = document_pb2.IngestResult(document=self.documents[place].document, unchanged=unchanged)
        if b"remark" in data:
            result.left_out.add(kind=document_pb2.LEFT_OUT_KIND_COMMENT, count=2)
            result.left_out.add(kind=document_pb2.LEFT_OUT_KIND_HIDDEN_SHEET, count=1)
            result.guessed_charset = "windows-1250"
            result.ocr_pages = 3
        self._results[name] = operation(result, name=name)
        return operation(name=name)

    async def serve_wait(self, request: Any, _: Context) -> operations_pb2.Operation:
        """The script of WaitOperation, for tests that run another script before this one."""
        await asyncio.sleep(0)
        self._now -= 1
        return self._results[request.name]

    async def _list(self, request: Any, context: Context) -> knowledge_service_pb2.ListDocumentsResponse:
        if request.parent not in self.collections:
            await abort(
                context, status(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", "Collection not found")
            )
        wanted = request.filter.removeprefix('source_key = "').removesuffix('"')
        found = [
            self.documents[request.parent, key].document
            for key in self.keys(request.parent)
            if not request.filter or key == wanted or (wanted.endswith("*") and key.startswith(wanted[:-1]))
        ]
        return knowledge_service_pb2.ListDocumentsResponse(documents=found)

    async def _get(self, request: Any, context: Context) -> document_pb2.Document:
        for kept in self.documents.values():
            if kept.document.name == request.name:
                return kept.document
        await abort(context, status(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", "Document not found"))
        return document_pb2.Document()

    async def _content(
        self, request: Any, _: Context
    ) -> AsyncIterator[knowledge_service_pb2.GetDocumentContentResponse]:
        name = request.name.partition("/versions/")[0]
        (text,) = (kept.data.decode() for kept in self.documents.values() if kept.document.name == name)
        yield knowledge_service_pb2.GetDocumentContentResponse(text=text)

    async def _update(self, request: Any, _: Context) -> document_pb2.Document:
        (kept,) = (
            document
            for document in self.documents.values()
            if document.document.name == request.document.name
        )
        for path in request.update_mask.paths:
            kept.document.ClearField(path)
        chosen = document_pb2.Document()
        request.update_mask.MergeMessage(request.document, chosen)
        kept.document.MergeFrom(chosen)
        return kept.document

    async def _delete(self, request: Any, _: Context) -> empty_pb2.Empty:
        self.documents = {
            at: kept for at, kept in self.documents.items() if kept.document.name != request.name
        }
        return empty_pb2.Empty()
