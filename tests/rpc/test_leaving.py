"""The end of a stream through the gateway. On every transport, the server distinguishes a client that
disconnects from a deadline that has passed.
"""

from __future__ import annotations

import base64
import json
import struct
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection

import grpc
import pytest

from responsa.chat.v1.chat_service_pb2 import AskRequest, AskResponse
from responsa.knowledge.v1.document_pb2 import DocumentMetadata
from responsa.knowledge.v1.knowledge_service_pb2 import (
    CreateDocumentRequest,
    UploadDocumentRequest,
    UploadFinish,
    UploadStart,
)
from tests.callers import Credential, Registry, Tenant
from tests.instance import Instance, eventually
from tests.transports import Call, Json, Outcome, Way, Ways, method_of, stub_of
from tests.transports_sse import Sse
from tests.transports_ws import Ws

ASK = "/responsa.chat.v1.ChatService/Ask"
QUESTION = AskRequest(text="Which one burns?", cancel_on_disconnect=True)


@pytest.fixture
def ways(instance: Instance) -> Iterator[Ways]:
    with Ways(instance.target) as found:
        yield found


def over_grpc(ways: Ways, headers: dict[str, str], seconds: float | None = None) -> str:
    """Ask, and read the first frame. Then disconnect or, if `seconds` is given, stay until this deadline has passed. Returns the turn."""
    call = stub_of(ways.channel, "ChatService").Ask(QUESTION, metadata=[*headers.items()], timeout=seconds)
    frames = iter(call)
    turn = next(frames).turn
    if seconds is None:
        call.cancel()
    else:
        with pytest.raises(grpc.RpcError) as caught:
            list(frames)
        assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    return turn


def over_web(ways: Ways, headers: dict[str, str], *, text: bool) -> str:
    """Ask over gRPC-Web, read the first frame and disconnect. Here a client can only leave by closing the connection."""
    message = QUESTION.SerializeToString()
    body = struct.pack(">BI", 0, len(message)) + message
    kind = "application/grpc-web-text+proto" if text else "application/grpc-web+proto"
    with ways.http.stream(
        "POST",
        ASK,
        content=base64.b64encode(body) if text else body,
        headers={"content-type": kind, "accept": kind, "x-grpc-web": "1", **headers},
    ) as answer:
        content = b""
        for piece in answer.iter_bytes():
            content += piece
            read = base64.b64decode(content[: len(content) // 4 * 4]) if text else content
            if len(read) >= 5 and len(read) >= 5 + (size := struct.unpack(">BI", read[:5])[1]):
                return AskResponse.FromString(read[5 : 5 + size]).turn
    raise AssertionError("the stream ended without a frame")


def over_rest(ways: Ways, headers: dict[str, str]) -> str:
    """Ask over REST, read the first frame and disconnect."""
    sent = {"text": QUESTION.text, "cancelOnDisconnect": True}
    with ways.http.stream("POST", "/v1/turns:ask", json=sent, headers=headers) as answer:
        return str(json.loads(next(answer.iter_lines()))["turn"])


def over_connect(ways: Ways, headers: dict[str, str]) -> str:
    """Ask over Connect, in a body that never ends, read the first frame and disconnect."""
    message = QUESTION.SerializeToString()
    connection = HTTPConnection(ways.http.base_url.host, ways.http.base_url.port)
    connection.putrequest("POST", ASK)
    for name, value in {
        "content-type": "application/connect+proto",
        "transfer-encoding": "chunked",
        **headers,
    }.items():
        connection.putheader(name, value)
    connection.endheaders()
    envelope = struct.pack(">BI", 0, len(message)) + message
    connection.send(b"%x\r\n%s\r\n" % (len(envelope), envelope))
    with connection.getresponse() as answer:
        _, size = struct.unpack(">BI", answer.read(5))
        turn = AskResponse.FromString(answer.read(size)).turn
    connection.close()
    return turn


def turn_of(ways: Ways, tenant: Tenant, name: str) -> Json:
    return ways.call("ChatService/GetTurn", {"name": name}, tenant.headers(Credential.USER)).message


def test_who_leaves_ends_the_turn_and_whose_time_is_up_does_not(registry: Registry, ways: Ways) -> None:
    tenant = registry.new_tenant()
    headers = tenant.headers(Credential.USER)
    with registry.holding("collection_stat"):
        # Begin with the turn that must continue. If a passed deadline counted as leaving, this turn would
        # therefore be cancelled before the others.
        goes_on = over_grpc(ways, headers, seconds=3.0)
        left = [
            over_grpc(ways, headers),
            over_web(ways, headers, text=False),
            over_web(ways, headers, text=True),
            over_rest(ways, headers),
            over_connect(ways, headers),
        ]
        for name in left:
            eventually(lambda name=name: "terminalEvent" in turn_of(ways, tenant, name), name)
            assert turn_of(ways, tenant, name)["terminalEvent"]["cancelled"] == {
                "by": "CANCEL_CAUSE_DISCONNECT"
            }
        assert turn_of(ways, tenant, goes_on)["state"] == "TURN_STATE_RUNNING"
    # The turn ends normally, even without a follower.
    eventually(lambda: "terminalEvent" in turn_of(ways, tenant, goes_on), goes_on)
    assert "refused" in turn_of(ways, tenant, goes_on)["terminalEvent"]


@pytest.mark.parametrize("way", ["upload", "create", "put", "post"])
def test_what_is_uploaded_by_who_leaves_before_it_is_accepted_is_not_queued(
    registry: Registry, instance: Instance, ways: Ways, way: str
) -> None:
    tenant = registry.new_tenant()
    headers = tenant.headers(Credential.USER)
    stub, metadata = stub_of(ways.channel, "KnowledgeService"), DocumentMetadata(source_key="a.md")
    http = HTTPConnection(instance.target)

    def server_knows() -> bool:
        lines = instance.log("server").splitlines()
        return any('"CANCELLED"' in line and f'"{tenant.name}"' in line for line in lines)

    with registry.holding("document"):
        match way:
            case "upload":
                start = UploadDocumentRequest(start=UploadStart(metadata=metadata))
                finish = UploadDocumentRequest(finish=UploadFinish(size_bytes=4))
                parts = [start, UploadDocumentRequest(chunk=b"Text"), finish]
                leave = stub.UploadDocument.future(iter(parts), metadata=[*headers.items()]).cancel
            case "create":
                request = CreateDocumentRequest(text="Text", metadata=metadata)
                leave = stub.CreateDocument.future(request, metadata=[*headers.items()]).cancel
            case "put":
                http.request("PUT", "/v1/uploads?source_key=a.md", b"Text", headers)
                leave = http.close
            case _:
                body = json.dumps({"metadata": {"sourceKey": "a.md"}, "text": "Text"})
                http.request("POST", "/v1/documents", body, {**headers, "content-type": "application/json"})
                leave = http.close
        eventually(lambda: registry.count_writers("document") == 1, "the upload waits for the table")
        leave()
        eventually(server_knows, "the server knows that the caller is gone")
    eventually(lambda: registry.count_writers("document") == 0, "the upload's transaction has ended")
    assert not {"document", "operation"} & registry.rows(tenant.name).keys()


def test_a_disabled_users_streams_end_on_every_transport(registry: Registry, instance: Instance) -> None:
    tenant = registry.new_tenant()
    headers = tenant.headers(Credential.USER)
    kinds = (Way.GRPC, Way.WEB, Way.WEB_TEXT, Way.REST, Way.SSE, Way.WS)

    def ask(way: Way) -> tuple[Outcome, float]:
        with Ways(instance.target, {Way.WS: Ws(instance.target)}) as found:
            found.add(Way.SSE, Sse(found.http))
            request = AskRequest(text="Which one burns?")
            outcome = found.by_name[way].call(Call(method_of("ChatService/Ask"), [request], headers=headers))
            return outcome, time.monotonic()

    with (
        Ways(instance.target) as ways,
        ThreadPoolExecutor(len(kinds)) as threads,
        registry.holding("collection_stat"),
    ):
        streams = [threads.submit(ask, way) for way in kinds]
        admin = tenant.headers(Credential.ADMIN)
        eventually(
            lambda: (
                len(ways.call("ChatService/ListTurns", {}, headers).message.get("turns", ())) == len(kinds)
            ),
            "all questions are accepted",
        )
        user = ways.call("AuthService/GetMe", {}, headers).message["name"]
        ways.call("AdminService/DisableUser", {"name": user}, admin)
        begun = time.monotonic()
        for way, one in zip(kinds, streams, strict=True):
            outcome, ended = one.result(10)
            # Lines of JSON have no place for a status: such a stream ends without the turn's last event, and the next call gets the reason.
            found = outcome if way is not Way.REST else ways.call("AuthService/GetMe", {}, headers, way)
            assert "USER_DISABLED" in json.dumps(found.problem), (way, outcome)
            assert not any(
                "answer" in event for message in outcome.messages for event in message.get("events", ())
            )
            assert ended - begun < 1, way
