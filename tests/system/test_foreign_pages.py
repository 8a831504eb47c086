"""Pages of other origins whose calls the settings allow, in the browser of somebody who is signed in: no door takes the
session's cookie from them, and each takes a token."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import grpc
import httpx2
import pytest
from websockets.sync.client import connect

from responsa.auth.v1.auth_service_pb2 import CreateApiKeyRequest, GetMeRequest
from responsa.auth.v1.auth_service_pb2_grpc import AuthServiceStub
from tests.callers import Credential, Registry, Tenant
from tests.gateway.wire import OWN, grpc_web, of_grpc, of_rest
from tests.instance import FOREIGN_ORIGINS, Instance

JSON: Final = "application/json"
INITIALIZE: Final = {
    "jsonrpc": "2.0",
    "id": 1,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "a page", "version": "1"},
    },
}
CHAT: Final = {"model": "chat", "messages": [{"role": "user", "content": "Hello!"}]}
A2A: Final = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}}


@dataclass(frozen=True)
class Door:
    """A request that a token signs in. cookie: whether the session's cookie does so, too, if the own page sends it."""

    method: str
    path: str
    body: object = None
    kind: str = JSON
    cookie: bool = True

    def send(self, http: httpx2.Client, headers: Mapping[str, str]) -> httpx2.Response:
        http.cookies.clear()
        content = self.body if isinstance(self.body, bytes) else json.dumps(self.body)
        sent = {"accept": f"{JSON}, text/event-stream", **headers}
        if self.body is None:
            return http.request(self.method, self.path, headers=sent)
        return http.request(
            self.method, self.path, content=content, headers={"content-type": self.kind, **sent}
        )


def doors(document: str) -> list[Door]:
    """Requests through all doors of HTTP."""
    return [
        Door("GET", "/v1/users/me"),
        Door("POST", "/v1/conversations", {}),
        Door("POST", "/v1/turns:answer", {"text": "Hello!", "agent": "agents/chat"}),
        Door("POST", "/v1/turns:ask", {"text": "Hello!", "agent": "agents/chat"}),
        Door("PUT", "/v1/uploads?source_key=page.md", b"# A page\n\nText.", "text/markdown"),
        Door("GET", f"/v1/{document}/original"),
        Door("GET", "/v1/models"),
        Door("POST", "/v1/chat/completions", CHAT),
        Door("POST", "/v1/responses", {"model": "chat", "input": "Hello!"}),
        Door("POST", "/mcp", INITIALIZE, cookie=False),
        Door("POST", "/a2a", A2A, cookie=False),
        Door("GET", "/a2a/chat/.well-known/agent-card.json", cookie=False),
        Door("GET", "/users/me"),
        Door("PATCH", "/users/me", {"name": "Somebody"}),
        Door("POST", "/chat/question", {"question": "Hello!"}),
    ]


class Harness:
    """A user who is signed in in a browser, and has a document."""

    def __init__(self, instance: Instance, tenant: Tenant, http: httpx2.Client) -> None:
        self.target, self.http = instance.target, http
        self.own = {"origin": instance.url}
        self.cookie = {"cookie": tenant.headers(Credential.SESSION)["cookie"]}
        self.bearer = tenant.headers(Credential.USER)
        operation = http.put("/v1/uploads?source_key=own.md", content=b"# Own\n\nText.", headers=self.bearer)
        assert operation.status_code == 200, operation.text
        waited = http.post(f"/v1/{operation.json()['name']}:wait", json={}, headers=self.bearer).json()
        self.document: str = waited["response"]["document"]["name"]

    def state(self) -> list[object]:
        """What a call that is refused does not change."""
        paths = (
            "/v1/users/me",
            "/v1/users/me/sessions",
            "/v1/apiKeys",
            "/v1/conversations",
            "/v1/turns",
            "/v1/documents",
        )
        found = [self.http.get(path, headers=self.bearer).json() for path in paths]
        for session in found[1].get("sessions", []):
            session.pop("lastUseTime", None)
        return found


@pytest.fixture(scope="module")
def harness(instance: Instance, registry: Registry) -> Iterator[Harness]:
    with httpx2.Client(base_url=instance.url, timeout=60) as http:
        yield Harness(instance, registry.new_tenant(), http)


def opened(harness: Harness, path: str, headers: Mapping[str, str]) -> Mapping[str, str]:
    """The first frame after a question over a socket."""
    with connect(
        f"ws://{harness.target}{path}", additional_headers=dict(headers), close_timeout=0.1, proxy=None
    ) as socket:
        with contextlib.suppress(Exception):
            socket.send(json.dumps({"content": "Hello!", "agent": "chat"}))
        frame: dict[str, str] = json.loads(socket.recv(60))
        return frame


def called(harness: Harness, headers: Mapping[str, str]) -> str:
    """The reason with which gRPC refuses to make an API key."""

    async def call() -> str:
        async with grpc.aio.insecure_channel(harness.target) as channel:
            with pytest.raises(grpc.aio.AioRpcError) as raised:
                await AuthServiceStub(channel).CreateApiKey(
                    CreateApiKeyRequest(), metadata=[*headers.items()]
                )
            return of_grpc(raised.value).reason

    return asyncio.run(call())


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
@pytest.mark.parametrize("site", ["", "same-site"])
def test_no_door_takes_the_cookie_from_the_page_of_another_origin(
    harness: Harness, origin: str, site: str
) -> None:
    before = harness.state()
    foreign = {"origin": origin, **({"sec-fetch-site": site} if site else {}), **harness.cookie}
    # Browsers send this type without asking first.
    simple = Door("POST", "/v1/conversations", {}, "text/plain")
    for door in (*doors(harness.document), simple):
        refused = door.send(harness.http, foreign)
        assert (refused.status_code, "set-cookie" in refused.headers) == (401, False), (door, refused.text)
        assert "CREDENTIAL_MISSING" in refused.text, door
    web = grpc_web(
        harness.http, "/responsa.auth.v1.AuthService/CreateApiKey", CreateApiKeyRequest(), headers=foreign
    )
    assert (web.problem.code, web.problem.reason) == (16, "CREDENTIAL_MISSING")
    assert called(harness, foreign) == "CREDENTIAL_MISSING"
    for path in ("/ws/chat", "/agents/process"):
        assert opened(harness, path, foreign)["code"] == "UNAUTHENTICATED"
    # What sets and removes the cookie serves no such page at all, with a cookie or without it.
    for headers in (foreign, {"origin": origin}):
        for method, path in (("POST", "/v1/sessions"), ("DELETE", "/v1/sessions")):
            refused = harness.http.request(method, path, json={"code": "rsc_x"}, headers=headers)
            assert (refused.status_code, of_rest(refused).reason) == (403, "ORIGIN_NOT_ALLOWED")
            assert "set-cookie" not in refused.headers
    assert harness.state() == before


@pytest.mark.parametrize("origin", FOREIGN_ORIGINS)
def test_every_door_takes_a_token_from_an_allowed_page(harness: Harness, origin: str) -> None:
    foreign = {"origin": origin, "sec-fetch-site": "cross-site", **harness.bearer, **harness.cookie}
    for headers in (foreign, harness.bearer):
        for door in doors(harness.document):
            reply = door.send(harness.http, headers)
            assert reply.status_code == 200, (door, reply.text)
        me = grpc_web(harness.http, "/responsa.auth.v1.AuthService/GetMe", GetMeRequest(), headers=headers)
        assert me.trailers["grpc-status"] == "0"
        assert opened(harness, "/ws/chat", headers)["type"] != "error"


def test_every_door_takes_the_cookie_from_the_own_page(harness: Harness) -> None:
    for shown in (harness.own, OWN):
        for door in doors(harness.document):
            reply = door.send(harness.http, {**harness.cookie, **shown})
            assert reply.status_code == (200 if door.cookie else 401), (door, reply.text)
        assert opened(harness, "/ws/chat", {**harness.cookie, **shown})["type"] != "error"
        web = grpc_web(
            harness.http,
            "/responsa.auth.v1.AuthService/GetMe",
            GetMeRequest(),
            headers={**harness.cookie, **shown},
        )
        assert web.trailers["grpc-status"] == "0"


@pytest.mark.parametrize("shown", [{}, {"sec-fetch-site": "none"}])
def test_a_cookie_changes_nothing_if_nothing_shows_who_sends_it(
    harness: Harness, shown: dict[str, str]
) -> None:
    before = harness.state()
    sent = {**harness.cookie, **shown}
    for door in doors(harness.document):
        reply = door.send(harness.http, sent)
        code = 401 if not door.cookie else 200 if door.method == "GET" else 403
        assert reply.status_code == code, (door, reply.text)
        assert ("ORIGIN_NOT_ALLOWED" in reply.text) == (code == 403), door
    assert called(harness, sent) == "ORIGIN_NOT_ALLOWED"
    for path in ("/ws/chat", "/agents/process"):
        frame = opened(harness, path, sent)
        assert "ORIGIN_NOT_ALLOWED" in json.dumps(frame)
    refused = harness.http.delete("/v1/sessions", headers=sent)
    assert (refused.status_code, of_rest(refused).reason) == (403, "ORIGIN_NOT_ALLOWED")
    assert harness.state() == before


@pytest.mark.parametrize(
    "kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""]
)
def test_json_is_sent_as_json(harness: Harness, kind: str) -> None:
    for who in ({**harness.cookie, **harness.own}, harness.bearer):
        refused = harness.http.post("/v1/conversations", content=b"{}", headers={**who, "content-type": kind})
        assert (refused.status_code, of_rest(refused).reason) == (400, "MALFORMED_MESSAGE")
        good = {**who, "content-type": "Application/JSON; charset=utf-8"}
        assert harness.http.post("/v1/conversations", content=b"{}", headers=good).status_code == 200


def test_a_get_without_tls_shows_a_foreign_page_nothing_and_changes_nothing(harness: Harness) -> None:
    """Browsers send Fetch Metadata to trustworthy addresses alone. To http://192.168.1.5, a page on another port sends a
    GET with the cookie, and nothing that says who sends it."""
    before = harness.state()
    for door in doors(harness.document):
        if door.method == "GET" and door.cookie:
            reply = door.send(harness.http, {**harness.cookie, "referer": "http://127.0.0.1:9/"})
            assert reply.status_code == 200, (door, reply.text)
            shown = reply.headers
            assert shown["cross-origin-resource-policy"] == "same-origin", door
            assert shown["x-content-type-options"] == "nosniff", door
            assert "access-control-allow-origin" not in shown, door
            assert "script" not in shown["content-type"], door
    assert harness.state() == before
