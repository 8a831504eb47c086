"""Limits over gRPC, on two servers with one Redis: addresses, streams, and Redis that is away in the midst."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

import grpc
import httpx2
import pytest

from responsa.auth.v1 import auth_service_pb2 as auth
from responsa.chat.v1 import chat_service_pb2 as chat
from responsa.knowledge.v1 import knowledge_service_pb2 as knowledge
from responsa_local.embedded.redis import EmbeddedRedis
from responsa_server.domain import sharing
from responsa_server.domain.knowledge import Hit
from responsa_server.domain.limits import Limits
from responsa_server.domain.people import Role
from responsa_server.domain.sharing import SHARED
from responsa_server.identity.settings import AddressLimitSettings, LimitSettings
from responsa_server.stores.postgres.database import Database
from responsa_server.transports.doors import GatewaySettings, build_app
from responsa_server.transports.http.guard import AllowedCallers
from tests.contract.library_harness import Harness
from tests.contract.test_limits import limiter, limits
from tests.instance import PATIENCE
from tests.rpc.served import Serve, Served, caller, failed

ADDRESS = (("x-forwarded-for", "2001:db8::9"),)
SETTINGS = limits(streams=3, messages_per_minute=10)
LIMITED = LimitSettings(
    user=SETTINGS.user,
    admin=SETTINGS.admin.model_copy(update={"streams": 3}),
    tenant=SETTINGS.tenant,
    address=AddressLimitSettings(calls_per_minute=20),
)


@pytest.fixture
async def pair(
    serve: Serve, database: Database, redis: EmbeddedRedis
) -> AsyncGenerator[tuple[Served, Served], None]:
    """Two servers on one database and one Redis."""
    async with (
        limiter(database, redis.url, LIMITED) as one,
        limiter(database, redis.url, LIMITED) as other,
        serve(limiter=one) as first,
        serve(replica="t", limiter=other) as second,
    ):
        yield first, second


async def test_an_address_is_limited_whatever_its_credentials(
    pair: tuple[Served, Served], folder: Path
) -> None:
    first, second = pair
    reasons: list[str] = []
    for place in range(30):
        server = pair[place % 2]
        # All addresses of a household's network count together.
        address = ("x-forwarded-for", f"2001:db8::{place + 1:x}")
        metadata = (("authorization", f"Bearer rsp_{place:043}"), address)
        reasons.append((await failed(server.sending(metadata).GetMe())).reason)
    assert reasons == ["CREDENTIAL_UNKNOWN"] * 20 + ["RATE_LIMIT"] * 10
    # A good credential does not help, a sign-in neither; other addresses are not concerned.
    good = (*first.bob.metadata, *ADDRESS)
    error = await failed(second.sending(good).GetMe())
    assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMIT")
    assert error.metadata["scope"] == "address"
    login = auth.LoginRequest(tenant="acme", email="a@example.org", password="x" * 12)
    assert (await failed(first.auth.Login(login, metadata=ADDRESS))).reason == "RATE_LIMIT"
    await second.sending(first.bob.metadata).GetMe()
    # The sign-ins of browsers are not methods of the contract, but they count, too.
    settings = GatewaySettings(folder, AllowedCallers(("localhost",), ()), secure_cookie=False)
    transport = httpx2.ASGITransport(app=build_app(settings, second.calls, second.identity))
    async with httpx2.AsyncClient(transport=transport, base_url="http://localhost") as http:
        body = {"code": f"rsc_{'x' * 43}"}
        refused = await http.post("/v1/sessions", json=body, headers={**dict(ADDRESS), "x-request-id": "one"})
        unknown = await http.post("/v1/sessions", json=body, headers={"x-request-id": "two"})
        ended = await http.delete("/v1/sessions", headers=dict(ADDRESS))
    assert [one.status_code for one in (refused, unknown, ended)] == [429, 401, 429]
    assert refused.json()["details"][0]["metadata"]["scope"] == "address"
    assert int(refused.headers["retry-after"]) >= 1
    lines = {line["call_id"]: line for line in second.lines.of("call")}
    for identity, reason in (("one", "RATE_LIMIT"), ("two", "SESSION_CODE_INVALID")):
        assert (lines[identity]["method"], lines[identity]["reason"]) == ("POST /v1/sessions", reason)


async def test_copies_of_versions_count_as_stored(
    serve: Serve, harness: Harness, database: Database, redis: EmbeddedRedis
) -> None:
    """A user who restores versions or changes a title again and again could otherwise fill the disk."""
    large, small = b"The Nile is long. " * 100, b"The Nile is long."
    settings = limits(storage_bytes=len(small) + 3 * len(large))
    async with (
        limiter(database, redis.url, settings) as one,
        serve(limiter=one) as served,
    ):
        await harness.take_in(served.bob.who, large, "rivers.md")
        done = await harness.take_in(served.bob.who, small, "rivers.md")
        name = f"documents/{done.document_id}"
        restore = knowledge.RestoreDocumentVersionRequest(name=f"{name}/versions/1")
        rename = knowledge.UpdateDocumentRequest(
            document={"name": name, "title": "Rivers"}, update_mask={"paths": ["title"]}
        )
        await served.bob.RestoreDocumentVersion(restore)
        await served.bob.UpdateDocument(rename)
        rename.document.title = "Long rivers"
        for refused in (
            served.bob.UpdateDocument(rename),
            served.bob.RestoreDocumentVersion(restore),
            served.bob.ReindexDocument(name=name),
        ):
            error = await failed(refused)
            assert (error.reason, error.metadata["limit"]) == ("LIMIT_REACHED", "storage_bytes")
        # What stores nothing is not refused.
        rename.document.title = "Rivers"
        await served.bob.UpdateDocument(rename)


async def test_copies_of_versions_count_as_uploads_of_the_day(
    serve: Serve, harness: Harness, database: Database, redis: EmbeddedRedis
) -> None:
    text = b"The Nile is long. " * 100
    fixed = Limits(upload_bytes_per_day=2 * len(text))
    async with (
        limiter(database, redis.url, limits(), fixed=fixed) as one,
        serve(limiter=one) as served,
    ):
        done = await harness.take_in(served.bob.who, text, "rivers.md")
        name = f"documents/{done.document_id}"
        restore = knowledge.RestoreDocumentVersionRequest(name=f"{name}/versions/1")
        for _ in range(2):
            await served.bob.RestoreDocumentVersion(restore)
        for refused in (
            served.bob.RestoreDocumentVersion(restore),
            served.bob.ReindexDocument(name=name),
        ):
            error = await failed(refused)
            assert (error.reason, error.metadata["limit"]) == ("RATE_LIMIT", "upload_bytes_per_day")


async def test_a_service_asks_a_hundred_questions_at_once_under_the_default_limits(
    serve: Serve, database: Database, redis: EmbeddedRedis
) -> None:
    async with (
        limiter(database, redis.url, LimitSettings()) as gate,
        serve(max_calls=200, limiter=gate) as served,
    ):
        service = await caller(served.identity, served.channel, "acme", Role.SERVICE)

        async def ask(place: int) -> str | None:
            stream = service.Ask(text=f"question {place}")
            kinds = [event.WhichOneof("event") async for frame in stream for event in frame.events]
            return kinds[-1]

        assert await asyncio.gather(*map(ask, range(100))) == ["answer"] * 100
        # A person is still limited.
        start = chat.StartTurnRequest(text="How long is the river?")
        for _ in range(10):
            await served.bob.StartTurn(start)
        refused = await failed(served.bob.StartTurn(start))
        assert (refused.reason, refused.metadata["limit"]) == ("RATE_LIMIT", "messages_per_minute")


async def test_searches_of_a_user_wait_for_each_other_and_are_then_refused(
    serve: Serve, harness: Harness, database: Database, redis: EmbeddedRedis, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, both_run, running = asyncio.Event(), asyncio.Event(), 0

    async def search(*_: object) -> list[Hit]:
        nonlocal running
        running += 1
        if running == 2:
            both_run.set()
        await gate.wait()
        return []

    monkeypatch.setattr(harness.library, "search", search)
    monkeypatch.setattr(sharing, "PATIENCE_SECONDS", PATIENCE)
    waiting = SHARED["searches"].waiting
    async with limiter(database, redis.url, limits(searches=2)) as one, serve(limiter=one) as served:
        request = knowledge.SearchRequest(terms=["Nile"])
        first = {asyncio.ensure_future(served.bob.Search(request)) for _ in range(2)}
        await both_run.wait()
        calls = {asyncio.ensure_future(served.bob.Search(request)) for _ in range(waiting + 5)}
        refused = set[asyncio.Future[object]]()
        while len(refused) < 5:
            refused |= (await asyncio.wait(calls - refused, return_when=asyncio.FIRST_COMPLETED))[0]
        for call in refused:
            error = await failed(call)
            assert (error.code, error.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "LIMIT_REACHED")
            assert error.metadata == {"limit": "searches", "scope": "user", "value": "2"}
            assert error.retry_after is not None
        assert running == 2
        # Another user has two of her own.
        other = asyncio.ensure_future(served.ann.Search(request))
        # Callers that leave also leave the line. Only those that wait leave: a slot that became free
        # could go to a call that is about to leave, and that search would run, too.
        left = set(list(calls - refused)[:20])
        for call in left:
            call.cancel()
        await served.lines.calls("CANCELLED", len(left))
        gate.set()
        await other
        await asyncio.gather(*first, *(calls - refused - left))
        assert running == 2 + (waiting - len(left)) + 1


async def test_texts_to_embed_are_limited_by_their_tokens(
    serve: Serve, database: Database, redis: EmbeddedRedis
) -> None:
    fixed = Limits(embedded_tokens_per_minute=20)
    async with limiter(database, redis.url, limits(), fixed=fixed) as one, serve(limiter=one) as served:
        for text, reason in (
            ("Nile " * 12, ""),
            ("Nile " * 12, "RATE_LIMIT"),
            ("Nile " * 30, "LIMIT_REACHED"),
        ):
            call = served.bob.EmbedTexts(texts=[text])
            if not reason:
                assert (await call).tokens == 12
                continue
            error = await failed(call)
            assert (error.reason, error.metadata["limit"]) == (reason, "embedded_tokens_per_minute")
        await served.ann.EmbedTexts(texts=["Nile " * 12])
