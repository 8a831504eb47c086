"""Limits of callers over all transports of a real instance, behind Envoy. The shared instance has no limits, so
administrators set exceptions for the users of these tests."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from queue import SimpleQueue
from typing import Any
from uuid import uuid4

import pytest

from responsa.chat.v1.chat_service_pb2 import AskRequest, ResumeTurnRequest
from responsa.knowledge.v1.document_pb2 import DocumentMetadata
from responsa.knowledge.v1.knowledge_service_pb2 import (
    CreateDocumentRequest,
    UploadDocumentRequest,
    UploadStart,
)
from responsa_client import Responsa
from tests.callers import Credential, Tenant
from tests.instance import Instance, eventually
from tests.transports import Call, Outcome, Way, Ways, method_of, stub_of
from tests.transports_sse import Sse
from tests.transports_ws import Ws

MOST = 10


@pytest.fixture
def every_way(instance: Instance) -> Iterator[Ways]:
    with Ways(instance.target, {Way.WS: Ws(instance.target)}) as found:
        found.add(Way.SSE, Sse(found.http))
        assert set(found.by_name) == set(Way)
        yield found


@pytest.fixture
def admin(instance: Instance, tenant: Tenant) -> Iterator[Responsa]:
    with Responsa(instance.url, tenant.key(Credential.ADMIN)) as client:
        yield client


def details(problem: Any, kind: str) -> Any:
    """The first detail of this kind."""
    return next(one for one in problem["details"] if one["@type"].endswith(f"/google.rpc.{kind}"))


def limit(instance: Instance, tenant: Tenant, admin: Responsa, **changes: int | None) -> str:
    """Set exceptions of the tenant's user. Returns the user's name."""
    with Responsa(instance.url, tenant.key()) as client:
        user = client.me().name
    admin.update_user_limits(user, changes)
    return user


def ask(ways: Ways, way: Way, headers: Mapping[str, str], request_id: str) -> Outcome:
    request = AskRequest(text="How long is the Nile?", request_id=request_id)
    return ways.by_name[way].call(Call(method_of("ChatService/Ask"), [request], headers=headers))


def refusal(outcome: Outcome) -> tuple[Any, str, str, float]:
    """The code, the reason, the limit, and the seconds to wait."""
    assert outcome.problem is not None, outcome.messages
    info = details(outcome.problem, "ErrorInfo")
    wait = float(details(outcome.problem, "RetryInfo")["retryDelay"].removesuffix("s"))
    return outcome.problem["code"], info["reason"], info["metadata"]["limit"], wait


def test_the_eleventh_message_is_refused_over_every_transport_and_attaching_is_free(
    instance: Instance, every_way: Ways, tenant: Tenant, admin: Responsa
) -> None:
    limit(instance, tenant, admin, messages_per_minute=MOST)
    ways, headers = [*Way], tenant.headers(Credential.USER)
    request_ids = [str(uuid4()) for _ in range(MOST)]
    for place, request_id in enumerate(request_ids):
        assert ask(every_way, ways[place % len(ways)], headers, request_id).problem is None
    refused = {way: str(uuid4()) for way in ways}
    rows = tenant.registry.rows(tenant.name)
    for way in ways:
        code, reason, name, wait = refusal(ask(every_way, way, headers, refused[way]))
        assert (code, reason, name) == (8, "RATE_LIMIT", "messages_per_minute"), way
        assert 0 < wait <= 60
    assert tenant.registry.rows(tenant.name) == rows
    # The user's other credential shares the count.
    assert (
        refusal(ask(every_way, Way.GRPC, tenant.headers(Credential.TOKEN), str(uuid4())))[1] == "RATE_LIMIT"
    )
    for place, way in enumerate(ways):
        # A socket's questions have another default agent, so each transport attaches to its own turn.
        assert ask(every_way, way, headers, request_ids[place]).problem is None, way
    turn = next(iter(admin_turns(instance, tenant)))
    for way in (Way.GRPC, Way.REST, Way.SSE, Way.WS):
        resume = ResumeTurnRequest(turn=turn)
        assert (
            every_way.by_name[way]
            .call(Call(method_of("ChatService/ResumeTurn"), [resume], headers=headers))
            .problem
            is None
        ), way
    # A refused request_id is free again, also for another question.
    limit(instance, tenant, admin, messages_per_minute=MOST + 1)
    assert ask(every_way, Way.GRPC, headers, refused[Way.REST]).problem is None
    assert refusal(ask(every_way, Way.GRPC, headers, refused[Way.GRPC]))[1] == "RATE_LIMIT"


def admin_turns(instance: Instance, tenant: Tenant) -> list[str]:
    with Responsa(instance.url, tenant.key()) as client:
        return [turn.name for turn in client.turns()]


def test_rest_replies_have_retry_after(
    instance: Instance, every_way: Ways, tenant: Tenant, admin: Responsa
) -> None:
    limit(instance, tenant, admin, messages_per_minute=1)
    headers = tenant.headers(Credential.USER)
    body = {"text": "How long is the Nile?"}
    assert every_way.http.post("/v1/turns", json=body, headers=headers).status_code == 200
    for path, more in (("", {}), (":ask", {}), (":ask", {"accept": "text/event-stream"})):
        reply = every_way.http.post(f"/v1/turns{path}", json=body, headers={**headers, **more})
        assert reply.status_code == 429, (path, more)
        assert 1 <= int(reply.headers["retry-after"]) <= 60, (path, more)


def test_calls_and_streams_of_a_user_are_limited(
    instance: Instance, every_way: Ways, tenant: Tenant, admin: Responsa
) -> None:
    limit(instance, tenant, admin, calls_per_minute=30)
    headers = tenant.headers(Credential.USER)
    replies = [every_way.http.get("/v1/users/me", headers=headers) for _ in range(40)]
    codes = [reply.status_code for reply in replies]
    assert set(codes) == {200, 429}
    assert codes.count(200) <= 30
    info = details(replies[-1].json(), "ErrorInfo")
    assert info["metadata"] == {"limit": "calls_per_minute", "scope": "user", "value": "30"}
    # Another user of the tenant is not concerned.
    assert every_way.http.get("/v1/users/me", headers=tenant.headers(Credential.COLLEAGUE)).status_code == 200


def test_streams_are_limited_over_every_transport(
    instance: Instance, every_way: Ways, tenant: Tenant, admin: Responsa
) -> None:
    limit(instance, tenant, admin, streams=1)
    headers = tenant.headers(Credential.USER)

    def begun() -> tuple[Any, SimpleQueue[UploadDocumentRequest | None]]:
        parts: SimpleQueue[UploadDocumentRequest | None] = SimpleQueue()
        call = stub_of(every_way.channel, "KnowledgeService").UploadDocument.future(
            iter(parts.get, None), metadata=[(name, value) for name, value in headers.items()]
        )
        metadata = DocumentMetadata(source_key="held.md", media_type="text/markdown")
        parts.put(UploadDocumentRequest(start=UploadStart(metadata=metadata)))
        return call, parts

    upload, parts = begun()

    def counts() -> bool:
        # The upload counts as a stream as soon as it has reached the server. If a question was there first, the upload
        # was the one too many.
        nonlocal upload, parts
        if upload.done():
            parts.put(None)
            upload, parts = begun()
        return ask(every_way, Way.GRPC, headers, str(uuid4())).problem is not None

    try:
        eventually(counts, "the second stream is refused")
        for way in Way:
            code, reason, name, wait = refusal(ask(every_way, way, headers, str(uuid4())))
            assert (code, reason, name) == (8, "LIMIT_REACHED", "streams"), way
            assert wait > 0
        # Calls that do not last are not concerned.
        assert every_way.http.get("/v1/users/me", headers=headers).status_code == 200
    finally:
        parts.put(None)
    assert upload.exception() is not None  # an upload without an end
    eventually(
        lambda: ask(every_way, Way.GRPC, headers, str(uuid4())).problem is None,
        "the end of a stream makes room",
    )


def test_uploads_are_limited_by_the_day_and_by_what_is_stored(
    instance: Instance, every_way: Ways, tenant: Tenant, admin: Responsa
) -> None:
    limit(instance, tenant, admin, upload_bytes_per_day=1000)
    headers, text = tenant.headers(Credential.USER), "The Nile is long. " * 35

    def create(way: Way, key: str) -> Outcome:
        request = CreateDocumentRequest(metadata=DocumentMetadata(source_key=key), text=text)
        call = Call(method_of("KnowledgeService/CreateDocument"), [request], headers=headers)
        return every_way.by_name[way].call(call)

    def put() -> Any:
        reply = every_way.http.put("/v1/uploads?source_key=put.md", content=text, headers=headers)
        return reply.status_code, reply.json()

    assert create(Way.GRPC, "first.md").problem is None
    for way in (Way.GRPC, Way.WEB, Way.REST):
        code, reason, name, wait = refusal(create(way, f"{way}.md"))
        assert (code, reason, name) == (8, "RATE_LIMIT", "upload_bytes_per_day"), way
        assert 0 < wait <= 86_400
    status, problem = put()
    assert (status, details(problem, "ErrorInfo")["reason"]) == (429, "RATE_LIMIT")
    assert details(problem, "RetryInfo")
    # No time makes room for stored documents, so that reply has no time.
    limit(instance, tenant, admin, upload_bytes_per_day=0, storage_bytes=1000)
    problems: list[Any] = [create(way, f"{way}-2.md").problem for way in (Way.GRPC, Way.REST)]
    for problem in (*problems, put()[1]):
        info = details(problem, "ErrorInfo")
        assert (info["reason"], info["metadata"]["limit"]) == ("LIMIT_REACHED", "storage_bytes")
        assert not [one for one in problem["details"] if one["@type"].endswith("/google.rpc.RetryInfo")]
