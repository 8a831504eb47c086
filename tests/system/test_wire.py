"""The services that gRPC tools find at the single port (reflection, health and keepalive), and the values that logs never contain."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import ParseDict
from google.protobuf.message_factory import GetMessageClass
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

from responsa.chat.v1 import chat_service_pb2 as chat
from tests.callers import Credential, Registry, Tenant
from tests.docs.reader import block_with
from tests.instance import ROOT, Instance
from tests.system.test_journey import ISLANDS, answer, ingest
from tests.transports import SERVICES, Ways, stub_of


def serialized(message: Any) -> bytes:
    return message.SerializeToString()


def health_of(channel: grpc.Channel) -> Any:
    """A stub of the health service."""
    return health_pb2_grpc.HealthStub(channel)


def test_a_call_by_reflection(instance: Instance, ways: Ways, tenant: Tenant) -> None:
    """The call that the docs show with grpcurl, made in the same way: knowing only the address."""
    shown = shlex.split(block_with(ROOT / "docs" / "first-calls.md", "grpcurl"))
    headers = tenant.headers(Credential.USER)
    ingest(ways, headers, "islands.md", ISLANDS)
    with grpc.insecure_channel(instance.target) as channel:
        database = ProtoReflectionDescriptorDatabase(channel)
        served = set(database.get_services())
        assert {service.full_name for service, _ in SERVICES.values()} <= served
        assert "grpc.health.v1.Health" in served
        pool = DescriptorPool(database)
        for name in served:
            assert pool.FindServiceByName(name).methods
        assert {"grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection"} <= served
        asked = database.FindFileContainingSymbol("responsa.chat.v1.ChatService.Ask")
        assert asked.name == "responsa/chat/v1/chat_service.proto"
        # The page asks about its own documents.
        words = [word.replace("Who may cancel a turn?", "How high does the Cuillin rise?") for word in shown]
        header, body = (words[words.index(option) + 1] for option in ("-H", "-d"))
        name, _, bearer = header.replace("$(cat .responsa/api-key)", tenant.key(Credential.USER)).partition(
            ": "
        )
        method = pool.FindMethodByName(words[-1].replace("/", "."))
        call: Any = channel.unary_stream(
            f"/{words[-1]}",
            request_serializer=serialized,
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        request = ParseDict(json.loads(body), GetMessageClass(method.input_type)())
        frames = [*call(request, metadata=[(name, bearer)], timeout=60)]
    assert "992 metres" in frames[-1].events[-1].answer.text


def test_a_client_that_pings_is_not_sent_away(instance: Instance, tenant: Tenant, registry: Registry) -> None:
    """A client pings all the time, as mobile clients do, while its turn sends nothing."""
    options: Sequence[tuple[str, int]] = (
        ("grpc.keepalive_time_ms", 100),
        ("grpc.keepalive_timeout_ms", 5_000),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.http2.max_pings_without_data", 0),
    )
    headers = tenant.headers(Credential.USER)
    with grpc.insecure_channel(instance.target, options) as channel:
        stub = stub_of(channel, "ChatService")
        with registry.holding("collection_stat"):
            call = stub.Ask(chat.AskRequest(text="What burns?"), metadata=[*headers.items()], timeout=60)
            frames = [next(call)]
            # For two seconds there are pings without data. Other calls on the same connection show that it is still
            # open.
            others = [health_of(channel).Watch(health_pb2.HealthCheckRequest(), timeout=2) for _ in range(2)]
            for other in others:
                next(other)
            for other in others:
                with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
                    next(other)
        frames.extend(call)
    assert frames[-1].events[-1].HasField("refused")


def test_logs_hold_no_question_no_text_and_no_secret(instance: Instance, ways: Ways, tenant: Tenant) -> None:
    headers = tenant.headers(Credential.USER)
    ingest(
        ways,
        headers,
        "secret.md",
        "The treasure of Quillfeather lies under the third oak.",
        title="Quillfeather",
    )
    turn = answer(ways, headers, "Where does the treasure of Quillfeather lie?")
    assert turn["state"] == "TURN_STATE_ANSWERED"
    ways.call("KnowledgeService/Search", {"terms": ["Quillfeather"]}, headers)
    ways.call("ChatService/Answer", {"text": "Quillfeather? " * 2_000}, headers)
    for path in ("/v1/turns:answer", "/v1/passages:search"):
        broken = {**headers, "content-type": "application/json"}
        ways.http.post(path, content=b'{"text": "Quillfeather', headers=broken)
    code = ways.call("AuthService/CreateSessionCode", {}, headers).message["code"]
    opened = ways.http.post("/v1/sessions", json={"code": code})
    assert opened.status_code == 200
    session = opened.headers["set-cookie"].partition("=")[2].partition(";")[0]
    ways.http.cookies.clear()
    made = ways.call("AuthService/CreateApiKey", {}, headers).message
    ways.call("AuthService/GetMe", {}, {"authorization": f"Bearer {made['secret']}x"})
    logs = (
        "".join(path.read_text(errors="replace") for path in (instance.home / "logs").iterdir())
        + instance.said()
    )
    assert turn["name"].removeprefix("turns/") in logs or "/Answer" in logs, "there are logs of these calls"
    page_code = instance.page().partition("#code=")[2]
    for secret in ("Quillfeather", "third oak", tenant.key(), code, session, made["secret"], instance.key):
        assert secret not in logs, secret[:8]
    assert page_code not in logs.replace(instance.page(), ""), (
        "the page's code is in the line for the user alone"
    )
    lines = [json.loads(line) for line in instance.log("server").splitlines() if "/Answer" in line]
    assert {line["code"] for line in lines} >= {"OK", "INVALID_ARGUMENT"}
    assert all(line["call_id"] for line in lines)
