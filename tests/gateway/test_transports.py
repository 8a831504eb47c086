from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import suppress

import grpc
import httpx2
import pytest
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from responsa.auth.v1.auth_service_pb2 import GetMeRequest
from responsa.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from responsa.chat.v1.chat_service_pb2 import AnswerRequest, AskRequest, AskResponse
from responsa.chat.v1.chat_service_pb2_grpc import ChatServiceStub
from tests.gateway.conftest import Place
from tests.gateway.stand_in import TURN
from tests.gateway.wire import metadata_seen, of_rest
from tests.raising import raises


@pytest.fixture
async def channel(place: Place) -> AsyncIterator[grpc.aio.Channel]:
    async with grpc.aio.insecure_channel(place.target, [("grpc.use_local_subchannel_pool", 1)]) as channel:
        yield channel


async def test_health_and_reflection(channel: grpc.aio.Channel) -> None:
    check: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
        "/grpc.health.v1.Health/Check"
    )
    assert (
        health_pb2.HealthCheckResponse.FromString(await check(b"")).status
        == health_pb2.HealthCheckResponse.SERVING
    )
    ask: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
    )
    request = reflection_pb2.ServerReflectionRequest(list_services="*")
    answers = [
        reflection_pb2.ServerReflectionResponse.FromString(one)
        async for one in ask(iter([request.SerializeToString()]))
    ]
    services = answers[0].list_services_response.service
    assert "responsa.chat.v1.ChatService" in [service.name for service in services]


async def test_the_deadline_of_a_grpc_client_arrives_and_holds(channel: grpc.aio.Channel) -> None:
    stub = ChatServiceStub(channel)
    assert (await stub.Answer(AnswerRequest(text="why"))).last_seq == -1
    # gRPC may round a long deadline up by as much as one percent on the way.
    assert 0 < (await stub.Answer(AnswerRequest(text="why"), timeout=3000)).last_seq <= 3100
    raised = await raises(grpc.aio.AioRpcError, stub.Answer(AnswerRequest(text="wait"), timeout=0.3))
    assert raised.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def test_the_deadline_of_a_rest_client_arrives_and_holds(http: httpx2.Client) -> None:
    answer = http.post("/v1/turns:answer", json={"text": "why"}, headers={"grpc-timeout": "3000S"})
    assert 0 < int(answer.json()["lastSeq"]) <= 3000
    for _ in range(3):
        # Envoy cuts a reply that is on its way when its own timer fires, 30 ms after the server's.
        with suppress(httpx2.RemoteProtocolError, httpx2.ReadError):
            answer = http.post("/v1/turns:answer", json={"text": "wait"}, headers={"grpc-timeout": "300m"})
            break
    else:
        pytest.fail("every reply was cut")
    assert answer.status_code == 504
    assert of_rest(answer).code == 4


async def test_identity_headers_of_clients_are_stripped(channel: grpc.aio.Channel) -> None:
    sent = [
        ("x-responsa-user", "root"),
        ("x-responsa-tenant", "other"),
        ("x-forwarded-for", "10.9.8.7"),
        ("x-forwarded-user", "root"),
        ("x-real-ip", "10.9.8.7"),
        ("forwarded", "for=10.9.8.7"),
        ("x-envoy-original-path", "/v1/documents"),
        ("x-request-id", "mine"),
        ("x-other", "stays"),
    ]
    call = AuthServiceStub(channel).GetMe(GetMeRequest(), metadata=sent)
    seen = metadata_seen((await call).display_name)
    assert seen["x-other"] == ["stays"]
    for name in ("x-responsa-user", "x-responsa-tenant", "x-forwarded-user", "x-real-ip", "forwarded"):
        assert name not in seen
    assert "x-envoy-original-path" not in seen
    assert "10.9.8.7" not in str(seen)
    assert seen["x-forwarded-for"] == ["127.0.0.1"]
    assert len(seen["x-request-id"]) == 1
    assert seen["x-request-id"] != ["mine"]
    answered = dict(await call.initial_metadata())
    assert answered["x-request-id"] == seen["x-request-id"][0]


async def test_credentials_arrive_on_every_way(channel: grpc.aio.Channel, http: httpx2.Client) -> None:
    sent = [("authorization", "Bearer rsp_x"), ("cookie", "a=1; responsa_session=rss_y")]
    seen = metadata_seen((await AuthServiceStub(channel).GetMe(GetMeRequest(), metadata=sent)).display_name)
    rest = metadata_seen(http.get("/v1/users/me", headers=dict(sent)).json()["displayName"])
    assert seen["authorization"] == rest["authorization"] == ["Bearer rsp_x"]
    assert seen["cookie"] == ["a=1; responsa_session=rss_y"]
    # Over HTTP, only the cookie of a session is passed on.
    assert rest["cookie"] == ["responsa_session=rss_y"]


def test_rest_unary(http: httpx2.Client) -> None:
    answer = http.post("/v1/turns:answer", json={"text": "wé", "conversation": ""})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["x-content-type-options"] == "nosniff"
    # Proto-JSON: names in lowerCamelCase, 64-bit integers as strings, and no fields with default values.
    assert answer.json() == {"name": TURN, "text": "wé", "lastSeq": "-1"}
    assert http.get(f"/v1/{TURN}").json() == {"name": TURN}


def test_rest_lists_take_both_spellings_of_a_field(http: httpx2.Client) -> None:
    for name in ("pageSize", "page_size"):
        turns = http.get("/v1/turns", params={name: 2, "filter": 'state = READY AND title = "a+b"'}).json()[
            "turns"
        ]
        assert [turn["text"] for turn in turns] == ['state = READY AND title = "a+b"'] * 2


def test_ask_over_rest_is_a_line_a_frame_as_they_come(http: httpx2.Client) -> None:
    with http.stream("POST", "/v1/turns:ask", json={"text": "hang"}) as answer:
        # The server sends one frame and then waits for ever: Envoy must not delay the frame.
        first = json.loads(next(answer.iter_lines()))
    assert first["throughSeq"] == "1"
    lines = [json.loads(line) for line in http.post("/v1/turns:ask", json={"text": "why"}).text.splitlines()]
    assert [line["throughSeq"] for line in lines] == ["1", "2", "3"]
    assert lines[0]["events"] == [{"seq": "1", "status": {"message": "why 1"}}]


def test_the_description_of_rest_is_served(http: httpx2.Client) -> None:
    for encoding, sent in (("gzip", "gzip"), ("identity", None)):
        answer = http.get("/openapi.json", headers={"accept-encoding": encoding})
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers.get("content-encoding") == sent
        assert answer.json()["openapi"] == "3.1.0"


def test_head_and_etag(http: httpx2.Client) -> None:
    whole = http.get(f"/v1/{TURN}")
    head = http.head(f"/v1/{TURN}")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("content-length", "content-type", "etag"):
        assert head.headers[name] == whole.headers[name]
    for known in (whole.headers["etag"], f'"other", {whole.headers["etag"]}', "*"):
        again = http.get(f"/v1/{TURN}", headers={"if-none-match": known})
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", whole.headers["etag"])
    assert http.get(f"/v1/{TURN}", headers={"if-none-match": '"other"'}).status_code == 200
    assert "etag" not in http.post("/v1/turns:answer", json={"text": "why"}).headers


def test_a_large_response_is_compressed_for_those_who_accept_it(http: httpx2.Client) -> None:
    parameters = {"pageSize": 200, "filter": "x"}
    packed = http.get("/v1/turns", params=parameters, headers={"accept-encoding": "br, gzip;q=0.5"})
    plain = http.get("/v1/turns", params=parameters, headers={"accept-encoding": "gzip;q=0"})
    assert (packed.headers["content-encoding"], packed.headers["vary"]) == ("gzip", "accept-encoding")
    assert "content-encoding" not in plain.headers
    assert packed.json() == plain.json()
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 10
    assert "content-encoding" not in http.get(f"/v1/{TURN}", headers={"accept-encoding": "gzip"}).headers


def test_a_stream_that_fails_in_mid_answer_ends_with_the_error(http: httpx2.Client) -> None:
    lines = http.post("/v1/turns:ask", json={"text": "break"}).text.splitlines()
    assert json.loads(lines[0])["throughSeq"] == "1"
    assert json.loads(lines[-1])["error"]["details"][0]["reason"] == "CONVERSATION_BUSY"


async def test_more_streams_at_once_than_envoys_defaults_allow(place: Place) -> None:
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.aio.insecure_channel(place.target, options) for _ in range(12)]
    calls = [ChatServiceStub(channels[n % 12]).Ask(AskRequest(text="hang")) for n in range(1100)]
    try:
        frames = await asyncio.gather(*(call.read() for call in calls))
    finally:
        for call in calls:
            call.cancel()
        await asyncio.gather(*(channel.close() for channel in channels))
    assert all(isinstance(frame, AskResponse) and frame.through_seq == 1 for frame in frames)
