"""The whole server behind Envoy: all transports give the same results."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest
from psycopg import sql

from responsa.auth.v1.auth_service_pb2 import GetMeRequest
from responsa.auth.v1.user_pb2 import User
from responsa.chat.v1.chat_service_pb2 import AskRequest
from responsa_local.embedded import EmbeddedPostgres, LocalLayout, purge
from responsa_local.envoy.envoy_config import EnvoyConfig
from responsa_server.app.resources import ensure_administrator, open_identity
from responsa_server.app.settings import load
from responsa_server.domain import names
from responsa_server.domain.people import Role
from responsa_server.transports.ws.bridge import MESSAGE_BYTES
from tests import seeds
from tests.conftest import urls_of
from tests.gateway.conftest import ROOT, endpoints, start_envoy
from tests.gateway.sockets import LIBRARIES, Client, reason_of
from tests.gateway.wire import OWN, Problem, grpc_web, of_rest
from tests.instance import LIFTED, free_port
from tests.tied import tied

ME = "/responsa.auth.v1.AuthService/GetMe"
ASK = "/responsa.chat.v1.ChatService/Ask"
ORIGINAL_HEADERS = {
    "content-type": "text/html",
    "content-disposition": "attachment; filename=\"_ber _Pacht_.html\"; filename*=UTF-8''%C3%9Cber%20%E2%80%9EPacht%E2%80%9C.html",
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
TEXT = b"# Lighthouses\n\nThe lighthouse of Alexandria stood on the island of Pharos. It was built in the third century BC.\n"


@dataclass(frozen=True)
class Server:
    """key: the administrator's key. stranger: the key of a user of another tenant. user, service: the key and the name of
    another user, and of a service. systemd: the socket on which systemd would hear of the server."""

    port: int
    key: str
    stranger: str
    user: tuple[str, str]
    service: tuple[str, str]
    process: subprocess.Popen[bytes]
    systemd: socket.socket

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def bearer(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.key}"}


@pytest.fixture(scope="module")
def server(
    postgres: EmbeddedPostgres, template: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    create = sql.SQL("CREATE DATABASE gateway_test OWNER responsa_owner TEMPLATE {}").format(
        sql.Identifier(template)
    )
    with psycopg.connect(postgres.dsn("superuser", database="postgres"), autocommit=True) as connection:
        connection.execute(create)
    urls = urls_of(postgres, "gateway_test")
    folder = Path(tempfile.mkdtemp(prefix="rgs"))
    home = tmp_path_factory.mktemp("gateway") / "home"
    port = free_port()
    values = {
        "RESPONSA_HOME": str(home),
        "RESPONSA_GRPC_LISTEN": f"unix:{folder / 's.sock'}",
        "RESPONSA_HTTP_LISTEN": f"unix:{folder / 'g.sock'}",
        "DATABASE_URL": urls.owner,
        "DATABASE_APP_URL": urls.app,
        "DATABASE_LOG_URL": urls.log,
        "REDIS_URL": redis_url,
        # The gateway itself checks Host and Origin, so it must know Envoy's port.
        "RESPONSA_PORT": str(port),
    }
    layout = LocalLayout.of(home).prepare()
    seeds.plant_model(layout)

    async def keys() -> tuple[str, tuple[str, str], tuple[str, str]]:
        settings = load(
            home=home, DATABASE_URL=urls.owner, DATABASE_APP_URL=urls.app, DATABASE_LOG_URL=urls.log
        )
        async with open_identity(settings, layout) as identity:
            await ensure_administrator(identity, layout.api_key)
            await identity.create_tenant("strangers", "Strangers")

            async def made(tenant: str, role: Role) -> tuple[str, str]:
                user = await identity.create_user(tenant, "Pat", "", role)
                _, secret = await identity.create_key(tenant, user.id, "Pat")
                return secret, names.user(user.id)

            stranger, _ = await made("strangers", Role.USER)
            return stranger, await made("default", Role.USER), await made("default", Role.SERVICE)

    stranger, user, service = asyncio.run(keys())
    log = (folder / "server.log").open("wb")
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(folder / "systemd.sock"))
    systemd.settimeout(60)
    # Without a reader, the socket holds eleven messages, and those before the first test must fit.
    watched = {"NOTIFY_SOCKET": str(folder / "systemd.sock"), "WATCHDOG_USEC": "9000000"}
    process = subprocess.Popen(
        tied(sys.executable, "-m", "responsa_server", "serve"),
        cwd=ROOT,
        env={**os.environ, **LIFTED, **values, **watched},
        stdout=log,
        stderr=log,
    )
    envoy: subprocess.Popen[bytes] | None = None
    try:
        wait_until(lambda: listens(folder / "g.sock", process, folder / "server.log"))
        config = EnvoyConfig(port, endpoints(folder), "127.0.0.1")
        envoy = start_envoy(config, folder)
        yield Server(
            config.port, layout.api_key.read_text().strip(), stranger, user, service, process, systemd
        )
    finally:
        for one in (envoy, process):
            if one is not None:
                one.terminate()
                one.wait(30)
        log.close()
        systemd.close()
        purge(layout)
        shutil.rmtree(folder)


def listens(path: Path, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)  # between two checks of the condition


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"http://{server.target}", timeout=60) as client:
        yield client


def ingest(http: httpx2.Client, server: Server, key: str, content: bytes) -> dict[str, object]:
    answer = http.put("/v1/uploads", params={"source_key": key}, content=content, headers=server.bearer)
    assert answer.status_code == 200, answer.text
    name = answer.json()["name"]
    wait_until(lambda: http.get(f"/v1/{name}", headers=server.bearer).json().get("done") is True)
    return http.get(f"/v1/{name}", headers=server.bearer).json()


def test_systemd_hears_that_the_server_is_ready_and_then_alive(server: Server) -> None:
    wait_until(lambda: server.systemd.recv(64) == b"READY=1")
    wait_until(lambda: server.systemd.recv(64) == b"WATCHDOG=1")


def test_a_browsers_session(server: Server, http: httpx2.Client) -> None:
    code = http.post("/v1/sessionCodes", json={}, headers=server.bearer).json()["code"]
    opened = http.post("/v1/sessions", json={"code": code})
    assert opened.status_code == 200
    cookie = {"cookie": opened.headers["set-cookie"].partition(";")[0], **OWN}
    http.cookies.clear()
    me = http.get("/v1/users/me", headers=server.bearer).json()
    assert http.get("/v1/users/me", headers=cookie).json() == me
    web = grpc_web(http, ME, GetMeRequest(), headers=cookie)
    assert User.FromString(web.messages[0]).name == me["name"]
    upload = http.put("/v1/uploads?source_key=session.md", content=TEXT, headers=cookie)
    assert upload.status_code == 200
    again = http.post("/v1/sessions", json={"code": code})
    assert of_rest(again).reason == "SESSION_CODE_INVALID"
    assert http.delete("/v1/sessions", headers=cookie).status_code == 200
    after = http.get("/v1/users/me", headers=cookie)
    assert (after.status_code, of_rest(after).code) == (401, 16)


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_same_answer_over_a_socket(server: Server, http: httpx2.Client, library: str) -> None:
    ingest(http, server, "lighthouses.md", TEXT)
    question = {
        "text": "Where did the lighthouse of Alexandria stand?",
        "agent": "agents/default",
        "requestId": f"0192f3c8-0000-7000-8000-0000000000{len(library):02}",
    }
    turn = http.post("/v1/turns:answer", json=question, headers=server.bearer).json()
    answer = turn["terminalEvent"]["answer"]
    with Client(server.target, library, key=server.key) as client:
        # The same request_id attaches to the turn that was asked over REST.
        client.say(content=question["text"], agent="default", request_id=question["requestId"], deltas=True)
        frames = client.turn()
        assert {frame["turn"] for frame in frames} == {turn["name"]}
        assert "".join(frame["text"] for frame in frames if frame["type"] == "delta") == answer["text"]
        end = frames[-1]
        assert end["seq"] == int(turn["lastSeq"])
        assert end["metadata"]["conversation_id"] == turn["conversation"].removeprefix("conversations/")
        sources = end["metadata"]["sources"]
        assert [source["quote"] for source in sources] == [one["quote"] for one in answer["citations"]]
        assert end["metadata"]["source_chunks"] == [*dict.fromkeys(source["passage"] for source in sources)]
        # A stream that is cut after a seq and resumed has the same remaining frames.
        for place, frame in enumerate(frames[:-1]):
            client.say(type="resume", turn=turn["name"], after_seq=frame["seq"], deltas=True)
            assert client.turn()[-1] == end, place
        frame = client.say(type="resume", turn=turn["name"], after_seq=99).hear()
        assert (frame["code"], reason_of(frame)) == ("INVALID_INPUT", "AFTER_SEQ_BEYOND_END")
        # Continue the conversation.
        conversation = end["metadata"]["conversation_id"]
        client.say(content="When was it built?", agent="default", conversation_id=conversation)
        assert "third century" in client.turn()[-1]["content"]


def test_a_socket_that_names_no_agent_asks_the_chat_agent(server: Server) -> None:
    with Client(server.target, key=server.key) as client:
        first, *_, end = client.say(content="Hello!").turn()
        assert (first["type"], first["step"], first["message"]) == ("status", "routing", "Classifying your query...")  # fmt: skip
        assert end["metadata"]["intent"] == "chitchat"


def test_a_conversation_that_is_not_a_uuid_is_refused(server: Server) -> None:
    with Client(server.target, key=server.key) as client:
        frame = client.say(content="Why?", conversation_id="last").hear()
        assert (frame["code"], reason_of(frame)) == ("INVALID_INPUT", "INVALID_FIELD")
        assert frame["message"].startswith("conversation_id: ")
        (bad,) = [one for one in frame["status"]["details"] if "fieldViolations" in one]
        assert [one["field"] for one in bad["fieldViolations"]] == ["conversation_id"]


def test_a_page_that_is_drawn_for_another_user_does_nothing_over_any_transport(
    server: Server, http: httpx2.Client
) -> None:
    """The cookie of the page's session has been replaced by another user's."""
    code = http.post("/v1/sessionCodes", json={}, headers=server.bearer).json()["code"]
    opened = http.post("/v1/sessions", json={"code": code})
    cookie = {"cookie": opened.headers["set-cookie"].partition(";")[0], **OWN}
    http.cookies.clear()
    own = http.get("/v1/users/me", headers=cookie).json()["name"]
    other = server.user[1]

    def counts() -> tuple[int, int]:
        found = (http.get(path, headers=server.bearer).json() for path in ("/v1/turns", "/v1/documents"))
        turns, documents = found
        return len(turns.get("turns", [])), documents.get("totalSize", len(documents.get("documents", [])))

    before = counts()
    question = {"text": "What is a lease?"}
    stream = {"accept": "text/event-stream"}
    for named in (other, own.upper(), "", f"{own}, {other}"):
        headers = {**cookie, "responsa-user": named}
        web = grpc_web(http, ASK, AskRequest(text=question["text"]), headers=headers)
        refused = [
            http.post("/v1/turns:ask", json=question, headers=headers | stream),
            http.post("/v1/turns:answer", json=question, headers=headers),
            http.put("/v1/uploads?source_key=other.md", content=TEXT, headers=headers),
            http.delete("/v1/sessions", headers=headers),
        ]
        problems = [web.problem, *map(of_rest, refused)]
        assert {(problem.code, problem.reason) for problem in problems} == {
            (16, "CREDENTIAL_OF_OTHER_USER")
        }, named
    for query, headers in ((f"?user={other}", {}), ("", {"responsa-user": other})):
        with Client(server.target, key=None, headers=cookie | headers, query=query) as client:
            frame = client.hear()
            assert (frame["code"], reason_of(frame)) == ("UNAUTHENTICATED", "CREDENTIAL_OF_OTHER_USER")
    assert counts() == before
    # The right name changes nothing.
    with Client(server.target, key=None, headers=cookie, query=f"?user={own}") as client:
        assert client.say(content="What is a lease?").turn()[-1]["type"] == "message"
    assert http.get("/v1/users/me", headers={**cookie, "responsa-user": own}).json()["name"] == own
    assert http.delete("/v1/sessions", headers={**cookie, "responsa-user": own}).status_code == 200


def posted(http: httpx2.Client, path: str, body: object, headers: Mapping[str, str]) -> Any:
    reply = http.post(path, json=body, headers=headers)
    assert reply.status_code == 200, reply.text
    return reply.json()


def limit_sockets(http: httpx2.Client, server: Server, user: str, most: int) -> None:
    """Limit the sockets of a user."""
    reply = http.patch(
        f"/v1/{user}/limits",
        params={"updateMask": "exceptions.sockets"},
        json={"exceptions": {"sockets": most}},
        headers=server.bearer,
    )
    assert reply.status_code == 200, reply.text


def test_an_idle_socket_closes_when_its_credential_ends(server: Server, http: httpx2.Client) -> None:
    """The client sends nothing after the end. The server would send a heartbeat only after 15 seconds."""
    opening = {"authorization": f"Bearer {server.user[0]}"}
    (own,) = http.get("/v1/apiKeys", headers=opening).json()["apiKeys"]
    with (
        Client(server.target, key=server.user[0]) as client,
        Client(server.target, key=server.key) as other,
    ):
        for one in (client, other):
            # The answer shows that the server knows the socket's user.
            assert one.say(type="ping").hear() == {"type": "pong"}
        posted(http, f"/v1/{own['name']}:revoke", {}, opening)
        frame = client.hear()
        assert (frame["code"], reason_of(frame)) == ("UNAUTHENTICATED", "CREDENTIAL_REVOKED")
        assert client.closed() == 1008
        assert other.say(type="ping").hear() == {"type": "pong"}


def test_a_socket_counts_for_the_service_that_opened_it_on_behalf_of_a_user(
    server: Server, http: httpx2.Client
) -> None:
    (key, service), (_, user) = server.service, server.user
    posted(http, "/v1/serviceGrants", {"serviceGrant": {"service": service, "user": user}}, server.bearer)
    headers = {"authorization": f"Bearer {key}", "responsa-on-behalf-of": user}
    limit_sockets(http, server, service, 1)
    with Client(server.target, key=None, headers=headers) as first:
        assert first.say(type="ping").hear() == {"type": "pong"}
        with Client(server.target, key=None, headers=headers) as second:
            frame = second.hear()
            assert (frame["code"], reason_of(frame)) == ("RATE_LIMIT", "LIMIT_REACHED")
            assert second.closed() == 1013


def test_a_token_in_the_first_message_acts_for_the_user_of_the_handshake(server: Server) -> None:
    """Otherwise, a service would ask as itself where it meant to ask as a user."""
    behalf = {"responsa-on-behalf-of": "users/0192aaaa-0000-7000-8000-000000000000"}
    with Client(server.target, key=None, headers=behalf) as client:
        frame = client.say(type="auth", token=server.key).hear()
        assert reason_of(frame) == "ON_BEHALF_NOT_ALLOWED"
        assert client.closed() == 1008


def test_sockets_have_the_limits_of_their_user(server: Server, http: httpx2.Client) -> None:
    limit_sockets(http, server, http.get("/v1/users/me", headers=server.bearer).json()["name"], 3)
    with ExitStack() as stack:
        clients = [stack.enter_context(Client(server.target, key=server.key)) for _ in range(3)]
        for client in clients:
            # An answer shows that the server knows the socket's user.
            assert client.say(type="ping").hear() == {"type": "pong"}
        with Client(server.target, key=server.key) as fourth:
            frame = fourth.hear()
            assert (frame["code"], reason_of(frame)) == ("RATE_LIMIT", "LIMIT_REACHED")
            assert fourth.closed() == 1013
        with Client(server.target, key=server.stranger) as other:
            assert other.say(type="ping").hear() == {"type": "pong"}
        frame = clients[0].say(content="x" * MESSAGE_BYTES).hear()
        assert (frame["code"], reason_of(frame)) == ("INVALID_INPUT", "MALFORMED_MESSAGE")
        assert "256 KiB" in frame["message"]


def test_an_original_is_a_download_that_cannot_run(server: Server, http: httpx2.Client) -> None:
    # More than one piece, of which nothing is indexed.
    comment = "ä\r\n" * 100_000
    page = f"<!doctype html><title>Leases</title><script>alert(1)</script><!--{comment}--><p>A lease ends.".encode()
    operation: Any = ingest(http, server, "leases/Über „Pacht“.html", page)
    document = operation["response"]["document"]["name"]
    for path in (f"/v1/{document}/original", f"/v1/{document}/versions/1/original"):
        sent = http.get(path, headers=server.bearer)
        assert (sent.status_code, sent.content) == (200, page)
        told = {name: sent.headers[name] for name in ORIGINAL_HEADERS}
        assert told == ORIGINAL_HEADERS
        assert sent.headers["content-length"] == str(len(page))
        hidden = http.get(path, headers={"authorization": f"Bearer {server.stranger}"})
        assert (hidden.status_code, of_rest(hidden).reason) == (404, "RESOURCE_NOT_FOUND")
        assert http.get(path).status_code == 401
        assert b"Leases" not in hidden.content
    refused = http.get(f"/v1/{document}/original?download=1", headers=server.bearer)
    assert (refused.status_code, of_rest(refused).reason) == (400, "INVALID_FIELD")


def test_problems_of_uploads_are_told_by_field(server: Server, http: httpx2.Client) -> None:
    def problem(query: str, content: bytes) -> Problem:
        return of_rest(http.put(f"/v1/uploads?{query}", content=content, headers=server.bearer))

    assert problem("", TEXT).reason == "INVALID_FIELD"
    assert problem("source_key=a.md&request_id=none", TEXT).reason == "INVALID_FIELD"
    assert problem("source_key=a.md&collection=collections/none", TEXT).reason == "RESOURCE_NOT_FOUND"
    assert problem("source_key=a.md", b"").reason == "DOCUMENT_EMPTY"
    assert problem("source_key=a.md", b"MZ\x90\0" + bytes(1000)).reason.startswith("DOCUMENT_TYPE_")


def test_at_its_end_it_sends_sockets_elsewhere(server: Server) -> None:
    """This must be the last test of this file, because it stops the server."""
    with Client(server.target, key=server.key) as client:
        assert client.say(content="What is a lease?").turn()[-1]["type"] == "message"
        server.process.terminate()
        assert client.closed() == 1012
    assert server.process.wait(60) == 0
