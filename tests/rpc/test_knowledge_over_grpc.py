"""Documents over gRPC, and the operations of uploads. An upload is stored completely or not at all."""

# The standard services' stubs are untyped, and requests are written as plain literals here.
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportAttributeAccessIssue=false, reportArgumentType=false, reportCallIssue=false

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import uuid4

import grpc
import psycopg
import pytest
from google.longrunning import operations_proto_pb2 as operations
from google.protobuf.duration_pb2 import Duration
from google.protobuf.field_mask_pb2 import FieldMask

from responsa.knowledge.v1 import collection_pb2, document_pb2
from responsa.knowledge.v1 import knowledge_service_pb2 as pb
from responsa_server.domain.knowledge import DocumentMetadata, Operation
from responsa_server.domain.people import Principal
from tests.rpc.served import Served, failed

TEXT = "# Rivers\n\nThe Ister is seven kilometres long. It flows to the east.\n"


def start(key: str = "rivers.md", size: int | None = None, **fields: str) -> pb.UploadDocumentRequest:
    request_id = fields.pop("request_id", "")
    metadata = document_pb2.DocumentMetadata(source_key=key, **fields)
    return pb.UploadDocumentRequest(
        start=pb.UploadStart(metadata=metadata, size_bytes=size, request_id=request_id)
    )


def chunk(data: bytes) -> pb.UploadDocumentRequest:
    return pb.UploadDocumentRequest(chunk=data)


def finish(size: int, sha256: bytes = b"") -> pb.UploadDocumentRequest:
    return pb.UploadDocumentRequest(finish=pb.UploadFinish(size_bytes=size, sha256=sha256))


async def each(messages: Sequence[pb.UploadDocumentRequest]) -> AsyncIterator[pb.UploadDocumentRequest]:
    """The messages of an upload; a `finish` is added if none is given."""
    for one in messages:
        yield one
    if not any(one.HasField("finish") for one in messages):
        yield finish(sum(len(one.chunk) for one in messages))


async def finished(served: Served, operation: operations.Operation) -> operations.Operation:
    request = operations.WaitOperationRequest(name=operation.name, timeout=Duration(seconds=60))
    return await served.operations.WaitOperation(request, metadata=served.bob.metadata)


def result(operation: operations.Operation) -> document_pb2.IngestResult:
    found = document_pb2.IngestResult()
    assert operation.response.Unpack(found), operation
    return found


def documents(served: Served) -> int:
    with psycopg.connect(served.house.urls.superuser) as connection:
        row = connection.execute("SELECT count(*) FROM responsa.document").fetchone()
    assert row is not None
    return row[0]


async def test_from_upload_to_passage(served: Served) -> None:
    who = served.bob.metadata
    data = TEXT.encode()
    async with served.house.working():
        operation = await served.knowledge.UploadDocument(
            each([start(size=len(data)), chunk(data[:10]), chunk(data[10:])]), metadata=who
        )
        done = await finished(served, operation)
        again = await finished(
            served, await served.knowledge.UploadDocument(each([start(), chunk(data)]), metadata=who)
        )
    assert done.done
    document = result(done).document
    assert (document.collection, document.state, document.version) == ("collections/default", 2, 1)
    assert result(again).unchanged
    assert result(again).document.name == document.name

    pieces = served.knowledge.GetDocumentContent(
        pb.GetDocumentContentRequest(name=document.name), metadata=who
    )
    assert "".join([one.text async for one in pieces]) == TEXT
    version = pb.GetDocumentContentRequest(name=f"{document.name}/versions/1")
    assert [one.byte_offset async for one in served.knowledge.GetDocumentContent(version, metadata=who)] == [
        0
    ]
    missing = pb.GetDocumentContentRequest(name=f"{document.name}/versions/7")
    assert (
        await failed(served.knowledge.GetDocumentContent(missing, metadata=who))
    ).reason == "RESOURCE_NOT_FOUND"

    found = await served.knowledge.Search(pb.SearchRequest(terms=["how long is the Ister"]), metadata=who)
    (hit,) = found.hits
    assert "seven kilometres" in hit.passage.text
    assert (
        await served.knowledge.GetPassage(pb.GetPassageRequest(name=hit.passage.name), metadata=who)
        == hit.passage
    )
    listed = await served.knowledge.ListDocuments(
        pb.ListDocumentsRequest(parent="collections/default", filter="state = READY"), metadata=who
    )
    assert [one.name for one in listed.documents] == [document.name]
    # Another tenant sees no part of it.
    for name, stub, kind in (
        (document.name, served.knowledge.GetDocument, pb.GetDocumentRequest),
        (document.name, served.knowledge.DeleteDocument, pb.DeleteDocumentRequest),
        (hit.passage.name, served.knowledge.GetPassage, pb.GetPassageRequest),
        (operation.name, served.operations.GetOperation, operations.GetOperationRequest),
        (operation.name, served.operations.CancelOperation, operations.CancelOperationRequest),
        (operation.name, served.operations.DeleteOperation, operations.DeleteOperationRequest),
    ):
        error = await failed(stub(kind(name=name), metadata=served.eve.metadata))
        assert error.reason == "RESOURCE_NOT_FOUND", name
    assert not (
        await served.knowledge.Search(pb.SearchRequest(terms=["Ister"]), metadata=served.eve.metadata)
    ).hits

    await served.knowledge.DeleteDocument(pb.DeleteDocumentRequest(name=document.name), metadata=who)
    assert not (await served.knowledge.Search(pb.SearchRequest(terms=["Ister"]), metadata=who)).hits


async def test_a_text_in_the_request(served: Served) -> None:
    metadata = document_pb2.DocumentMetadata(source_key="note")
    request = pb.CreateDocumentRequest(metadata=metadata, text=TEXT, request_id=str(uuid4()))
    async with served.house.working():
        first = await served.knowledge.CreateDocument(request, metadata=served.bob.metadata)
        document = result(await finished(served, first)).document
        assert (document.media_type, document.title) == ("text/markdown", "Rivers")
        second = await served.knowledge.CreateDocument(request, metadata=served.bob.metadata)
    assert second.name == first.name


async def test_composed_and_decomposed_names_are_one_document(served: Served) -> None:
    async with served.house.working():
        found = [
            result(
                await finished(
                    served, await served.knowledge.CreateDocument(request, metadata=served.bob.metadata)
                )
            )
            for key in ("Geb\u00fchren.md", "Gebu\u0308hren.md")
            for request in [
                pb.CreateDocumentRequest(metadata=document_pb2.DocumentMetadata(source_key=key), text=TEXT)
            ]
        ]
    assert [one.document.source_key for one in found] == ["Geb\u00fchren.md"] * 2
    assert [one.unchanged for one in found] == [False, True]
    longer = document_pb2.DocumentMetadata(source_key="\u0344" * 512)  # twice as long in NFC
    with pytest.raises(grpc.aio.AioRpcError, match="NFC"):
        await served.knowledge.CreateDocument(
            pb.CreateDocumentRequest(metadata=longer, text=TEXT), metadata=served.bob.metadata
        )


async def test_uploads_that_are_refused_leave_nothing(served: Served) -> None:
    whole = TEXT.encode()
    big = b"x" * 262_144
    cases: list[tuple[str, list[pb.UploadDocumentRequest], str]] = [
        ("nothing at all", [], "UPLOAD_METADATA_MISSING"),
        ("bytes first", [chunk(whole)], "UPLOAD_METADATA_MISSING"),
        ("metadata twice", [start(), chunk(whole), start()], "UPLOAD_METADATA_MISSING"),
        ("no metadata", [pb.UploadDocumentRequest(start=pb.UploadStart())], "INVALID_FIELD"),
        ("no key", [start(key="")], "INVALID_FIELD"),
        ("an empty message", [start(), pb.UploadDocumentRequest()], "INVALID_FIELD"),
        ("a bad message in mid-stream", [start(), chunk(whole), chunk(b"")], "INVALID_FIELD"),
        ("a chunk too large", [start(), chunk(big + b"x")], "INVALID_FIELD"),
        ("no bytes", [start()], "DOCUMENT_EMPTY"),
        ("fewer bytes than announced", [start(size=1000), chunk(whole)], "UPLOAD_INCOMPLETE"),
        ("more bytes than announced", [start(size=10), chunk(whole)], "UPLOAD_INCOMPLETE"),
        ("announced over the limit", [start(size=65 * 1024 * 1024)], "DOCUMENT_TOO_LARGE"),
        ("over the limit", [start(), *(chunk(big) for _ in range(257))], "DOCUMENT_TOO_LARGE"),
        (
            "a program",
            [start(key="a.exe"), chunk(b"MZ\x90\x00" + b"\x00" * 100)],
            "DOCUMENT_TYPE_UNSUPPORTED",
        ),
        (
            "an unknown collection",
            [start(collection="collections/nowhere"), chunk(whole)],
            "RESOURCE_NOT_FOUND",
        ),
    ]
    for what, messages, reason in cases:
        error = await failed(served.knowledge.UploadDocument(each(messages), metadata=served.bob.metadata))
        assert error.reason == reason, what
        assert error.code in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND), what
    assert documents(served) == 0
    assert list(served.house.spool.iterdir()) == []


async def test_an_upload_is_whole_by_its_finish_alone(served: Served) -> None:
    who, data = served.bob.metadata, TEXT.encode()
    digest = hashlib.sha256(data).digest()

    async def cut(*messages: pb.UploadDocumentRequest) -> AsyncIterator[pb.UploadDocumentRequest]:
        for one in messages:
            yield one

    wrong = {
        "finish": cut(start(), chunk(data)),
        "finish.size_bytes": cut(start(), chunk(data), finish(len(data) + 1)),
        "finish.sha256": cut(start(), chunk(data), finish(len(data), digest[::-1])),
    }
    for field, messages in wrong.items():
        error = await failed(served.knowledge.UploadDocument(messages, metadata=who))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UPLOAD_INCOMPLETE")
        assert list(error.violations) == [field]
        assert "Send the document again" in error.message
        assert error.metadata["received_bytes"] == str(len(data))
    # The announced size alone does not make an upload complete: without `finish`, it counts as interrupted.
    error = await failed(
        served.knowledge.UploadDocument(cut(start(size=len(data)), chunk(data)), metadata=who)
    )
    assert (error.reason, list(error.violations)) == ("UPLOAD_INCOMPLETE", ["finish"])
    assert documents(served) == 0
    assert list(served.house.spool.iterdir()) == []
    whole = cut(start(), chunk(data), finish(len(data), digest))
    assert (await served.knowledge.UploadDocument(whole, metadata=who)).name


async def test_an_upload_whose_sender_leaves_keeps_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream seems complete, but it is not. No length was announced, so only the cancellation shows that bytes are missing."""
    read = asyncio.Event()
    upload = served.house.library.upload

    async def watched(
        who: Principal, metadata: DocumentMetadata, chunks: AsyncIterator[bytes], *more: Any
    ) -> Operation:
        async def watching() -> AsyncIterator[bytes]:
            async for one in chunks:
                read.set()
                yield one

        return await upload(who, metadata, watching(), *more)

    async def half() -> AsyncIterator[pb.UploadDocumentRequest]:
        yield start()
        yield chunk(TEXT.encode())
        await asyncio.Event().wait()

    monkeypatch.setattr(served.house.library, "upload", watched)
    for _ in range(5):
        read.clear()
        served.lines.kept.clear()
        call = served.knowledge.UploadDocument(half(), metadata=served.bob.metadata)
        await read.wait()
        call.cancel()
        line = await served.lines.call()
        # The server may see the end of the stream before the cancellation. Then the upload lacks its `finish`.
        assert line["code"] in ("CANCELLED", "INVALID_ARGUMENT")
    await served.server.drain(10.0)
    assert documents(served) == 0
    assert list(served.house.spool.iterdir()) == []


async def test_operations_are_cancelled_and_forgotten(served: Served) -> None:
    who = served.bob.metadata
    # No job runs, so the operation stays queued.
    operation = await served.knowledge.UploadDocument(each([start(), chunk(TEXT.encode())]), metadata=who)
    get = operations.GetOperationRequest(name=operation.name)
    metadata = document_pb2.IngestMetadata()
    assert (await served.operations.GetOperation(get, metadata=who)).metadata.Unpack(metadata)
    assert metadata.stage == document_pb2.INGEST_STAGE_QUEUED
    error = await failed(
        served.operations.DeleteOperation(
            operations.DeleteOperationRequest(name=operation.name), metadata=who
        )
    )
    assert (error.code, error.reason) == (grpc.StatusCode.FAILED_PRECONDITION, "OPERATION_RUNNING")
    waited = await served.operations.WaitOperation(
        operations.WaitOperationRequest(name=operation.name, timeout=Duration()), metadata=who
    )
    assert not waited.done

    await served.operations.CancelOperation(
        operations.CancelOperationRequest(name=operation.name), metadata=who
    )
    ended = await served.operations.GetOperation(get, metadata=who)
    assert (ended.done, ended.error.code) == (True, grpc.StatusCode.CANCELLED.value[0])
    listed = await served.operations.ListOperations(
        operations.ListOperationsRequest(page_size=1), metadata=who
    )
    assert [one.name for one in listed.operations] == [operation.name]
    await served.operations.DeleteOperation(
        operations.DeleteOperationRequest(name=operation.name), metadata=who
    )
    assert (await failed(served.operations.GetOperation(get, metadata=who))).reason == "RESOURCE_NOT_FOUND"


async def test_collections(served: Served) -> None:
    who = served.bob.metadata
    wanted = collection_pb2.Collection(
        display_name="Handbook", chunking=collection_pb2.Chunking(max_tokens=100)
    )
    made = await served.knowledge.CreateCollection(
        pb.CreateCollectionRequest(collection_id="handbook", collection=wanted), metadata=who
    )
    assert (made.name, made.owner) == ("collections/handbook", f"users/{served.bob.who.user_id}")
    assert (made.chunking.max_tokens, made.chunking.overlap_tokens) == (100, 49)
    error = await failed(
        served.knowledge.CreateCollection(pb.CreateCollectionRequest(collection_id="handbook"), metadata=who)
    )
    assert (error.code, error.reason) == (grpc.StatusCode.ALREADY_EXISTS, "RESOURCE_ALREADY_EXISTS")
    made.display_name = "The handbook"
    update = pb.UpdateCollectionRequest(collection=made, update_mask=FieldMask(paths=["display_name"]))
    assert (await served.knowledge.UpdateCollection(update, metadata=who)).display_name == "The handbook"
    listed = await served.knowledge.ListCollections(
        pb.ListCollectionsRequest(order_by="name desc"), metadata=who
    )
    assert "collections/handbook" in [one.name for one in listed.collections]
    await served.knowledge.DeleteCollection(pb.DeleteCollectionRequest(name=made.name), metadata=who)
    error = await failed(
        served.knowledge.GetCollection(pb.GetCollectionRequest(name=made.name), metadata=who)
    )
    assert error.reason == "RESOURCE_NOT_FOUND"


async def test_the_longest_source_key_can_be_asked_for(served: Served) -> None:
    who = served.bob.metadata
    key = "*" * 1024
    request = pb.CreateDocumentRequest(metadata=document_pb2.DocumentMetadata(source_key=key), text=TEXT)
    await served.knowledge.CreateDocument(request, metadata=who)
    escaped = key.replace("*", "\\*")
    listed = await served.knowledge.ListDocuments(
        pb.ListDocumentsRequest(parent="collections/default", filter=f'source_key = "{escaped}"'),
        metadata=who,
    )
    assert [one.source_key for one in listed.documents] == [key]
