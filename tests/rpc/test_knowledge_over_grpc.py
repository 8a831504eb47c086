"""Documents over gRPC, and the operations of uploads. An upload is stored completely or not at all."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Any

import grpc
import psycopg
import pytest
from google.longrunning import operations_proto_pb2 as operations
from google.protobuf.duration_pb2 import Duration

from responsa.knowledge.v1 import document_pb2
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
    for message in messages:
        yield message
    if not any(message.HasField("finish") for message in messages):
        yield finish(sum(len(message.chunk) for message in messages))


async def finished(served: Served, operation: operations.Operation) -> operations.Operation:
    request = operations.WaitOperationRequest(name=operation.name, timeout=Duration(seconds=60))
    return await served.operations.WaitOperation(request, metadata=served.bob.metadata)


def result(operation: operations.Operation) -> document_pb2.IngestResult:
    found = document_pb2.IngestResult()
    assert operation.response.Unpack(found), operation
    return found


def documents(served: Served) -> int:
    with psycopg.connect(served.harness.urls.superuser) as connection:
        row = connection.execute("SELECT count(*) FROM responsa.document").fetchone()
    assert row is not None
    return row[0]


async def test_composed_and_decomposed_names_are_one_document(served: Served) -> None:
    async with served.harness.working():
        found = [
            result(await finished(served, await served.bob.CreateDocument(request)))
            for key in ("Geb\u00fchren.md", "Gebu\u0308hren.md")
            for request in [
                pb.CreateDocumentRequest(metadata=document_pb2.DocumentMetadata(source_key=key), text=TEXT)
            ]
        ]
    assert [one.document.source_key for one in found] == ["Geb\u00fchren.md"] * 2
    assert [one.unchanged for one in found] == [False, True]
    longer = document_pb2.DocumentMetadata(source_key="\u0344" * 512)  # twice as long in NFC
    with pytest.raises(grpc.aio.AioRpcError, match="NFC"):
        await served.bob.CreateDocument(metadata=longer, text=TEXT)


async def test_uploads_that_are_refused_leave_nothing(served: Served) -> None:
    whole = TEXT.encode()
    big = b"x" * 262_144
    cases: list[tuple[str, list[pb.UploadDocumentRequest], str]] = [
        ("nothing at all", [], "UPLOAD_METADATA_MISSING"),
        ("an empty message", [start(), pb.UploadDocumentRequest()], "INVALID_FIELD"),
        ("a bad message in mid-stream", [start(), chunk(whole), chunk(b"")], "INVALID_FIELD"),
        ("a size of 0", [start(size=0), chunk(whole)], "UPLOAD_INCOMPLETE"),
        ("announced over the limit", [start(size=65 * 1024 * 1024)], "DOCUMENT_TOO_LARGE"),
        ("over the limit", [start(), *(chunk(big) for _ in range(257))], "DOCUMENT_TOO_LARGE"),
    ]
    for what, messages, reason in cases:
        error = await failed(served.bob.UploadDocument(each(messages)))
        assert error.reason == reason, what
    assert documents(served) == 0
    assert list(served.harness.spool.iterdir()) == []


async def test_an_upload_is_whole_by_its_finish_alone(served: Served) -> None:
    caller, data = served.bob, TEXT.encode()
    digest = hashlib.sha256(data).digest()

    async def cut(*messages: pb.UploadDocumentRequest) -> AsyncIterator[pb.UploadDocumentRequest]:
        for message in messages:
            yield message

    wrong = {
        "finish": cut(start(), chunk(data)),
        "finish.size_bytes": cut(start(), chunk(data), finish(len(data) + 1)),
        "finish.sha256": cut(start(), chunk(data), finish(len(data), digest[::-1])),
    }
    for field, messages in wrong.items():
        error = await failed(caller.UploadDocument(messages))
        assert (error.code, error.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "UPLOAD_INCOMPLETE")
        assert list(error.violations) == [field]
        assert "Send the document again" in error.message
        assert error.metadata["received_bytes"] == str(len(data))
    # The announced size alone does not make an upload complete: without `finish`, it counts as interrupted.
    error = await failed(caller.UploadDocument(cut(start(size=len(data)), chunk(data))))
    assert (error.reason, list(error.violations)) == ("UPLOAD_INCOMPLETE", ["finish"])
    assert documents(served) == 0
    assert list(served.harness.spool.iterdir()) == []
    whole = cut(start(), chunk(data), finish(len(data), digest))
    assert (await caller.UploadDocument(whole)).name


async def test_an_upload_whose_sender_leaves_keeps_nothing(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stream seems complete, but it is not. No length was announced, so only the cancellation shows that bytes are missing."""
    read = asyncio.Event()
    upload = served.harness.library.upload

    async def watched(
        caller: Principal, metadata: DocumentMetadata, chunks: AsyncIterator[bytes], *more: Any
    ) -> Operation:
        async def watching() -> AsyncIterator[bytes]:
            async for one in chunks:
                read.set()
                yield one

        return await upload(caller, metadata, watching(), *more)

    async def half() -> AsyncIterator[pb.UploadDocumentRequest]:
        yield start()
        yield chunk(TEXT.encode())
        await asyncio.Event().wait()

    monkeypatch.setattr(served.harness.library, "upload", watched)
    for _ in range(5):
        read.clear()
        served.lines.kept.clear()
        call = served.bob.UploadDocument(half())
        await read.wait()
        call.cancel()
        line = await served.lines.call()
        # The server may see the end of the stream before the cancellation. Then the upload lacks its `finish`.
        assert line["code"] in ("CANCELLED", "INVALID_ARGUMENT")
    await served.server.drain(10.0)
    assert documents(served) == 0
    assert list(served.harness.spool.iterdir()) == []


async def test_the_longest_source_key_can_be_asked_for(served: Served) -> None:
    who = served.bob
    key = "*" * 1024
    await who.CreateDocument(metadata=document_pb2.DocumentMetadata(source_key=key), text=TEXT)
    escaped = key.replace("*", "\\*")
    listed = await who.ListDocuments(parent="collections/default", filter=f'source_key = "{escaped}"')
    assert [document.source_key for document in listed.documents] == [key]
