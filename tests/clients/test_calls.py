"""All calls except streams of turns: typed errors, lists with several pages, uploads, and waiting for operations."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import grpc
import pytest
from google.longrunning import operations_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

import responsa_client
from clients.conformance.server import Context, abort, packed, status
from responsa.auth.v1 import auth_service_pb2, user_pb2
from responsa.chat.v1 import chat_service_pb2, citation_pb2, turn_pb2
from responsa.knowledge.v1 import (
    document_pb2,
    document_version_pb2,
    generation_pb2,
    knowledge_service_pb2,
)
from responsa_client import (
    AlreadyExists,
    AsyncResponsa,
    BrokenAnswer,
    Cancelled,
    CannotConnect,
    Conflict,
    DeadlineExceeded,
    DocumentRejected,
    FailedPrecondition,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    ResourceExhausted,
    ResponsaError,
    ServerFault,
    Unauthenticated,
    Unavailable,
    error_of_status,
    search_request,
)
from tests.clients.conftest import Driver
from tests.clients.scripted import (
    ASK,
    AUTH,
    CHAT,
    CONVERSATION,
    DOCUMENT,
    KNOWLEDGE,
    OPERATION,
    OPERATIONS,
    TURN,
    Scripted,
    answer,
    citation,
    complete,
    ingested,
    operation,
)
from tests.raising import raises

CODES: Sequence[tuple[grpc.StatusCode, str, type[ResponsaError]]] = [
    (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", InvalidRequest),
    (grpc.StatusCode.INVALID_ARGUMENT, "DOCUMENT_EMPTY", DocumentRejected),
    (grpc.StatusCode.OUT_OF_RANGE, "INVALID_FIELD", InvalidRequest),
    (grpc.StatusCode.UNAUTHENTICATED, "CREDENTIAL_UNKNOWN", Unauthenticated),
    (grpc.StatusCode.PERMISSION_DENIED, "ROLE_REQUIRED", PermissionDenied),
    (grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND", NotFound),
    (grpc.StatusCode.ALREADY_EXISTS, "REQUEST_ID_REUSED", AlreadyExists),
    (grpc.StatusCode.ABORTED, "ETAG_MISMATCH", Conflict),
    (grpc.StatusCode.FAILED_PRECONDITION, "COLLECTION_NOT_EMPTY", FailedPrecondition),
    (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED", ResourceExhausted),
    (grpc.StatusCode.UNAVAILABLE, "PART_UNAVAILABLE", Unavailable),
    (grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED", DeadlineExceeded),
    (grpc.StatusCode.CANCELLED, "OPERATION_CANCELLED", Cancelled),
    (grpc.StatusCode.INTERNAL, "INTERNAL", ServerFault),
    (grpc.StatusCode.UNKNOWN, "INTERNAL", ServerFault),
]


@pytest.mark.parametrize(("code", "reason", "kind"), CODES)
async def test_each_code_has_its_class(
    server: Scripted, driver: Driver, code: grpc.StatusCode, reason: str, kind: type[ResponsaError]
) -> None:
    server.refuse(f"{AUTH}/GetMe", status(code, reason, "Because.", metadata={"a": "b"}, retry_after=0.001))
    error = await raises(ResponsaError, driver.call("me"))
    assert type(error) is kind
    assert (error.code, error.reason, error.message, error.metadata) == (code, reason, "Because.", {"a": "b"})
    assert error.retry_after == pytest.approx(0.001)
    assert error.remedy == "Try again in 1 s."
    assert error.from_server
    assert error.status.code == code.value[0]
    assert str(error) == f"{reason}: Because."


def test_details_that_cannot_be_read_are_passed_over() -> None:
    broken = packed(error_details_pb2.RetryInfo())
    broken.value = b"\xff\xff"
    foreign = packed(
        error_details_pb2.ErrorInfo(reason="QUOTA", domain="googleapis.com", metadata={"x": "y"})
    )
    ours = packed(error_details_pb2.ErrorInfo(reason="DRAINING", domain="responsa"))
    error = error_of_status(status_pb2.Status(code=14, message="m", details=[broken, ours, foreign]))
    assert (type(error), error.reason, error.metadata, error.retry_after) == (
        Unavailable,
        "DRAINING",
        {},
        None,
    )
    assert error.remedy == "Repeat the call."
    odd = error_of_status(status_pb2.Status(code=999))
    assert (type(odd), odd.code, odd.from_server) == (ServerFault, grpc.StatusCode.UNKNOWN, False)
    assert odd.remedy == "Report the error."


async def test_a_detail_for_another_code_is_not_believed(server: Scripted, driver: Driver) -> None:
    async def two_minds(_: Any, context: Context) -> user_pb2.User:
        details = status(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND").SerializeToString()
        context.set_trailing_metadata((("grpc-status-details-bin", details),))
        await context.abort(grpc.StatusCode.PERMISSION_DENIED, "no")
        return user_pb2.User()

    server.on(f"{AUTH}/GetMe", two_minds)
    caught = await raises(PermissionDenied, driver.call("me"))
    assert not caught.from_server


async def test_a_call_that_broke_off_is_repeated(server: Scripted, driver: Driver) -> None:
    async def at_last(_: Any, context: Context) -> user_pb2.User:
        if len(server.requests[f"{AUTH}/GetMe"]) < 3:
            await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
        return user_pb2.User(display_name="Ada")

    server.on(f"{AUTH}/GetMe", at_last)
    assert (await driver.call("me")).display_name == "Ada"
    assert len(server.requests[f"{AUTH}/GetMe"]) == 3


async def test_a_call_that_must_not_happen_twice_is_not_repeated(server: Scripted, driver: Driver) -> None:
    async def cut(_: Any, context: Context) -> auth_service_pb2.CreateSessionCodeResponse:
        await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
        return auth_service_pb2.CreateSessionCodeResponse()

    server.on(f"{AUTH}/CreateSessionCode", cut)
    await raises(ServerFault, driver.call("create_session_code"))
    assert len(server.requests[f"{AUTH}/CreateSessionCode"]) == 1


async def test_a_key_carries_a_request_id_and_is_not_made_again_without_its_secret(
    server: Scripted, driver: Driver
) -> None:
    async def cut(_: Any, context: Context) -> auth_service_pb2.CreateApiKeyResponse:
        await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
        return auth_service_pb2.CreateApiKeyResponse()

    server.on(f"{AUTH}/CreateApiKey", cut)
    given = "6e1a3f0e-6b1b-4a58-8d6d-9a3f7f0e2b11"
    await raises(ServerFault, driver.call("create_api_key", "laptop"))
    await raises(ServerFault, driver.call("create_api_key", "laptop", request_id=given))
    made, again = server.requests[f"{AUTH}/CreateApiKey"]
    assert UUID(made.request_id)
    assert (again.request_id, again.api_key.display_name) == (given, "laptop")


async def test_an_answer_that_is_not_from_responsa_is_reported(server: Scripted, driver: Driver) -> None:
    caught = await raises(CannotConnect, driver.call("me"), "not a Responsa server")
    assert "address" in caught.remedy


async def test_time_is_up(server: Scripted, driver: Driver) -> None:
    async def silent(_: Any, __: Context) -> turn_pb2.Turn:
        await asyncio.Event().wait()
        return turn_pb2.Turn()

    server.on(f"{CHAT}/Answer", silent)
    caught = await raises(
        DeadlineExceeded, driver.call("answer", "Who?", limit=0.2), r"did not answer within 0.2 seconds"
    )
    (asked,) = server.requests[f"{CHAT}/Answer"]
    assert caught.request_id == asked.request_id


async def test_lists_go_through_all_pages(server: Scripted, driver: Driver) -> None:
    async def page(request: Any, _: Context) -> knowledge_service_pb2.ListDocumentsResponse:
        number = int(request.page_token or "0")
        made = [document_pb2.Document(source_key=f"{number}-{i}") for i in range(2 if number else 0)]
        return knowledge_service_pb2.ListDocumentsResponse(
            documents=made, next_page_token=str(number + 1) if number < 2 else ""
        )

    server.on(f"{KNOWLEDGE}/ListDocuments", page)
    found = await driver.call("documents", "notes", filter_by='state = "READY"', order_by="create_time")
    assert [document.source_key for document in found] == ["1-0", "1-1", "2-0", "2-1"]
    asked = server.requests[f"{KNOWLEDGE}/ListDocuments"]
    assert {(one.parent, one.filter, one.order_by) for one in asked} == {
        ("collections/notes", 'state = "READY"', "create_time")
    }
    assert all(1 <= one.page_size <= 200 for one in asked)


async def test_any_method_is_called_by_its_path(server: Scripted, driver: Driver) -> None:
    server.reply(f"{AUTH}/GetMe", user_pb2.User(name="users/a"))
    server.on(ASK, complete)
    request = auth_service_pb2.GetMeRequest()
    assert (await driver.call("call", f"/{AUTH}/GetMe", request, user_pb2.User)).name == "users/a"
    asked = chat_service_pb2.AskRequest(text="Who?")
    frames = await driver.call("call_stream", f"/{ASK}", asked, chat_service_pb2.AskResponse)
    assert [frame.through_seq for frame in frames] == [2, 5, 5, 6]
    await raises(
        ResponsaError, driver.call("call_stream", f"/{CHAT}/ResumeTurn", asked, chat_service_pb2.AskResponse)
    )


async def test_search_and_verdicts(server: Scripted, driver: Driver) -> None:
    async def verify(_: Any, __: Context) -> chat_service_pb2.VerifyCitationsResponse:
        check = chat_service_pb2.CitationCheck(
            citation=citation("q", 0), verdict=citation_pb2.CITATION_VERDICT_SOURCE_DELETED
        )
        return chat_service_pb2.VerifyCitationsResponse(checks=[check])

    server.reply(
        f"{KNOWLEDGE}/Search",
        knowledge_service_pb2.SearchResponse(hits=[knowledge_service_pb2.SearchHit(score=0.5)]),
    )
    server.on(f"{CHAT}/VerifyCitations", verify)
    hits = await driver.call("search", "one term", "default", top_k=3, threshold=0.25)
    assert [hit.score for hit in hits] == [0.5]
    asked = server.requests[f"{KNOWLEDGE}/Search"][0]
    assert (list(asked.terms), list(asked.scope.collections)) == (["one term"], ["collections/default"])
    assert (asked.top_k, asked.threshold) == (3, 0.25)
    assert asked.mode == knowledge_service_pb2.SEARCH_MODE_HYBRID
    assert not asked.HasField("rerank")
    await driver.call("search", "one term", rerank=False, filter_by="labels.team = legal")
    assert server.requests[f"{KNOWLEDGE}/Search"][1].HasField("rerank")
    assert not server.requests[f"{KNOWLEDGE}/Search"][1].rerank
    assert [one.filter for one in server.requests[f"{KNOWLEDGE}/Search"]] == ["", "labels.team = legal"]
    checks = await driver.call("verify_citations", TURN)
    assert [check.verdict for check in checks] == [citation_pb2.CITATION_VERDICT_SOURCE_DELETED]


async def test_several_searches_in_one_call(server: Scripted, driver: Driver) -> None:
    async def batch(request: Any, _: Context) -> knowledge_service_pb2.BatchSearchResponse:
        hits = [[knowledge_service_pb2.SearchHit(score=one.top_k / 100)] for one in request.requests]
        return knowledge_service_pb2.BatchSearchResponse(
            responses=[knowledge_service_pb2.SearchResponse(hits=hit) for hit in hits]
        )

    server.on(f"{KNOWLEDGE}/BatchSearch", batch)
    searches = [
        search_request("rye", ["mills"], 7),
        search_request(["a", "b"], top_k=9, rerank=False, filter_by="title:a"),
    ]
    found = await driver.call("batch_search", searches)
    assert [[hit.score for hit in hits] for hits in found] == [[0.07], [0.09]]
    (asked,) = server.requests[f"{KNOWLEDGE}/BatchSearch"]
    assert list(asked.requests) == searches
    assert list(searches[0].scope.collections) == ["collections/mills"]
    assert [search.filter for search in searches] == ["", "title:a"]


async def test_answer_waits_and_checks(server: Scripted, driver: Driver) -> None:
    turn = turn_pb2.Turn(name=TURN, state=turn_pb2.TURN_STATE_ANSWERED, terminal_event=answer(6))

    server.reply(f"{CHAT}/Answer", turn)
    assert await driver.call("answer", "Who?", conversation=CONVERSATION) == turn
    turn.terminal_event.answer.text += " "
    await raises(BrokenAnswer, driver.call("answer", "Who?"))
    first, second = server.requests[f"{CHAT}/Answer"]
    assert first.conversation == CONVERSATION
    assert first.request_id
    assert first.request_id != second.request_id


async def test_bytes_and_files_go_up_in_chunks(server: Scripted, driver: Driver, tmp_path: Path) -> None:
    server.reply(f"{KNOWLEDGE}/UploadDocument", operation())
    data = bytes(range(256)) * 2500  # 640,000 bytes: two whole chunks and a part of a third
    file = tmp_path / "notes.md"
    file.write_bytes(data)
    await driver.call(
        "upload",
        data,
        source_key="k",
        title="T",
        collection="c",
        media_type="text/plain",
        uri="u",
        subject="emp-7",
    )
    await driver.call("upload", file)
    for messages, key in zip(server.requests[f"{KNOWLEDGE}/UploadDocument"], ("k", "notes.md"), strict=True):
        start, *chunks, finish = messages
        assert start.start.size_bytes == len(data)
        assert start.start.metadata.source_key == key
        assert start.start.request_id
        assert [len(chunk.chunk) for chunk in chunks] == [262144, 262144, 640000 - 2 * 262144]
        assert b"".join(chunk.chunk for chunk in chunks) == data
        assert finish.finish.size_bytes == len(data)
        assert finish.finish.sha256 == hashlib.sha256(data).digest()
    metadata = server.requests[f"{KNOWLEDGE}/UploadDocument"][0][0].start.metadata
    assert (metadata.collection, metadata.title, metadata.uri, metadata.media_type, metadata.subject) == (
        "collections/c",
        "T",
        "u",
        "text/plain",
        "emp-7",
    )


async def test_an_upload_that_broke_off_is_sent_anew_whole(
    server: Scripted, driver: Driver, tmp_path: Path
) -> None:
    file = tmp_path / "a.txt"
    file.write_bytes(b"x" * 300_000)
    path = f"{KNOWLEDGE}/UploadDocument"

    async def take(_: Any, context: Context) -> operations_pb2.Operation:
        if len(server.requests[path]) == 1:
            await context.abort(grpc.StatusCode.INTERNAL, "Received RST_STREAM with error code 2")
        return operation()

    server.on(path, take)
    await driver.call("upload", file)
    first, second = server.requests[path]
    assert first == second


async def test_an_upload_that_the_server_refuses_early_has_its_error(
    server: Scripted, driver: Driver
) -> None:
    class Refusing(grpc.GenericRpcHandler):
        def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
            async def refuse(_: Any, context: Context) -> operations_pb2.Operation:
                await abort(context, status(grpc.StatusCode.INVALID_ARGUMENT, "DOCUMENT_TOO_LARGE"))
                return operation()

            return cast("Any", grpc.stream_unary_rpc_method_handler(cast("Any", refuse)))

    other = aio.server()
    other.add_generic_rpc_handlers((Refusing(),))
    port = other.add_insecure_port("127.0.0.1:0")
    await other.start()
    try:
        caught = await raises(
            DocumentRejected,
            Driver(driver.blocking, f"127.0.0.1:{port}").call("upload", b"x" * 30_000_000, source_key="k"),
        )
        assert caught.reason == "DOCUMENT_TOO_LARGE"
    finally:
        await other.stop(None)


async def test_a_file_that_cannot_be_read_is_an_oserror(
    server: Scripted, driver: Driver, tmp_path: Path
) -> None:
    await raises(FileNotFoundError, driver.call("upload", tmp_path / "missing.md"))
    await raises(IsADirectoryError, driver.call("upload", tmp_path))
    await raises(ValueError, driver.call("upload", b"x"), "source_key")


async def test_a_file_that_vanishes_while_it_is_sent_is_an_oserror(
    server: Scripted, driver: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.reply(f"{KNOWLEDGE}/UploadDocument", operation())
    file = tmp_path / "a.md"
    file.write_bytes(b"x")

    def gone(*_: Any, **__: Any) -> Any:
        raise FileNotFoundError(2, "No such file or directory", str(file))

    monkeypatch.setattr(Path, "open", gone)
    await raises(FileNotFoundError, driver.call("upload", file))


async def test_waiting_ends_with_the_result(server: Scripted, driver: Driver) -> None:
    path = f"{OPERATIONS}/WaitOperation"

    async def wait(_: Any, __: Context) -> operations_pb2.Operation:
        return operation(ingested(3) if len(server.requests[path]) == 3 else None)

    server.on(path, wait)
    server.reply(f"{OPERATIONS}/GetOperation", operation())
    progress: list[document_pb2.IngestMetadata] = []
    result = await driver.call("wait", OPERATION, on_progress=progress.append)
    assert result.document.version == 3
    assert [one.passages_total for one in progress] == [2, 2, 2]
    assert {one.name for one in server.requests[path]} == {OPERATION}
    assert all(one.timeout.seconds <= 1 for one in server.requests[path])


async def test_waiting_for_a_generation(server: Scripted, driver: Driver) -> None:
    path = f"{OPERATIONS}/WaitOperation"
    generation = generation_pb2.Generation(name="collections/notes/generations/2")
    running = operations_pb2.Operation(
        name=OPERATION, metadata=packed(generation_pb2.ReindexMetadata(passages_done=1, passages_total=3))
    )
    ended = operations_pb2.Operation(
        name=OPERATION, done=True, response=packed(generation_pb2.ReindexResult(generation=generation))
    )

    async def wait(_: Any, __: Context) -> operations_pb2.Operation:
        return ended if len(server.requests[path]) == 2 else running

    server.on(path, wait)
    progress: list[generation_pb2.ReindexMetadata] = []
    assert await driver.call("wait_generation", running, on_progress=progress.append) == generation
    assert [one.passages_done for one in progress] == [1]
    await raises(BrokenAnswer, driver.call("wait_generation", operation(ingested())), "without a result")


async def test_an_operation_that_has_ended_is_not_asked_for(driver: Driver) -> None:
    assert (await driver.call("wait", operation(ingested(unchanged=True)))).unchanged


async def test_an_operation_that_failed_raises_its_error(driver: Driver) -> None:
    made = status(grpc.StatusCode.INVALID_ARGUMENT, "DOCUMENT_MALFORMED", metadata={"source_key": "a"})
    caught = await raises(DocumentRejected, driver.call("wait", operation(error=made)))
    assert caught.reason == "DOCUMENT_MALFORMED"
    await raises(
        BrokenAnswer,
        driver.call("wait", operations_pb2.Operation(name=OPERATION, done=True)),
        "without a result",
    )


async def test_waiting_has_an_end(server: Scripted, driver: Driver) -> None:
    server.reply(f"{OPERATIONS}/WaitOperation", operation())

    await raises(DeadlineExceeded, driver.call("wait", operation(), timeout=0.1), "continues")


async def test_watching_goes_on_after_a_cut_and_ends_with_the_final_state(
    server: Scripted, driver: Driver
) -> None:
    path = f"{KNOWLEDGE}/WatchOperation"

    async def watch(request: Any, context: Context) -> Any:
        frame = knowledge_service_pb2.WatchOperationResponse
        match len(server.requests[path]):
            case 1:
                yield frame(operation=operation(), seq=1)
                yield frame(seq=1)
                await abort(context, status(grpc.StatusCode.UNAVAILABLE, "DRAINING", retry_after=0.001))
            case 2:
                yield frame(operation=operation(), seq=4)
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection was lost")
            case _:
                yield frame(seq=4)
                yield frame(operation=operation(ingested(3)), seq=7)

    server.on(path, watch)
    states = await driver.call("watch_operation", OPERATION)
    assert [(state.seq, state.operation.done) for state in states] == [(1, False), (4, False), (7, True)]
    assert [one.after_seq for one in server.requests[path]] == [0, 1, 4]


async def test_watching_what_is_not_there_is_an_error(server: Scripted, driver: Driver) -> None:
    server.refuse(f"{KNOWLEDGE}/WatchOperation", status(grpc.StatusCode.NOT_FOUND, "RESOURCE_NOT_FOUND"))
    await raises(NotFound, driver.call("watch_operation", operation()))


async def test_content_is_put_together_and_holes_are_seen(server: Scripted, driver: Driver) -> None:
    pieces = [(0, "é"), (2, "ab")]

    async def content(_: Any, __: Context) -> Any:
        for offset, text in pieces:
            yield knowledge_service_pb2.GetDocumentContentResponse(byte_offset=offset, text=text)

    server.on(f"{KNOWLEDGE}/GetDocumentContent", content)
    assert await driver.call("document_content", DOCUMENT) == "éab"
    pieces[1] = (3, "ab")
    await raises(BrokenAnswer, driver.call("document_content", DOCUMENT), "gap at byte 2")
    pieces[:] = [(4, "éab"), (8, "c")]
    assert (
        await driver.call("document_content", DOCUMENT, read_offset=5) == "éabc"
    )  # the byte is within the character
    assert server.requests[f"{KNOWLEDGE}/GetDocumentContent"][-1].read_offset == 5
    for offset in (3, 8):
        await raises(
            BrokenAnswer,
            driver.call("document_content", DOCUMENT, read_offset=offset),
            f"gap at byte {offset}",
        )


async def test_an_original_is_put_together_and_holes_are_seen(server: Scripted, driver: Driver) -> None:
    piece = knowledge_service_pb2.GetDocumentOriginalResponse
    version = document_version_pb2.DocumentVersion(size_bytes=4)
    pieces = [piece(version=version, file_name="a.pdf", data=b"ab"), piece(byte_offset=2, data=b"cd")]

    async def original(_: Any, __: Context) -> Any:
        for piece in pieces:
            yield piece

    server.on(f"{KNOWLEDGE}/GetDocumentOriginal", original)
    assert await driver.call("document_original", DOCUMENT) == ("a.pdf", b"abcd")
    pieces[1].byte_offset = 3
    await raises(BrokenAnswer, driver.call("document_original", DOCUMENT), "gap at byte 2")
    del pieces[1]
    await raises(BrokenAnswer, driver.call("document_original", DOCUMENT), "2 of 4 bytes")


def test_all_that_is_exported_is_there() -> None:
    assert sorted(responsa_client.__all__) == list(dict.fromkeys(sorted(responsa_client.__all__)))
    assert all(hasattr(responsa_client, name) for name in responsa_client.__all__)


def test_the_types_of_the_contract_that_arguments_have_are_exported() -> None:
    names = {
        name
        for _, method in inspect.getmembers(AsyncResponsa, inspect.isfunction)
        for parameter in inspect.signature(method).parameters.values()
        for name in re.findall(r"_pb2\.(\w+)", str(parameter.annotation))
    }
    assert {"OnBusy", "Rating", "Reader"} <= names
    # Those two are Google's, from google.protobuf.
    assert names - {"Duration", "Timestamp"} <= set(responsa_client.__all__)
