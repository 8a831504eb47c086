"""The gateway's own checks of Host and Origin, without Envoy in front."""

from __future__ import annotations

from collections.abc import AsyncIterator, MutableMapping
from pathlib import Path
from typing import Any

import httpx2
import pytest
from starlette.types import ASGIApp

from responsa_server.domain.addresses import LOOPBACK_HOSTS, hosts_of, origins_of
from responsa_server.transports.doors import GatewaySettings, build_app
from responsa_server.transports.http.guard import AllowedCallers
from tests.gateway.in_process import calls_of
from tests.gateway.stand_in import Codes
from tests.gateway.wire import of_rest

OTHER = "https://chat.example.org"


@pytest.fixture
def app(tmp_path: Path) -> ASGIApp:
    hosts = hosts_of(8080, LOOPBACK_HOSTS)
    return build_app(
        GatewaySettings(tmp_path, AllowedCallers(hosts, (*origins_of(hosts), OTHER)), secure_cookie=False),
        calls_of(),
        Codes(),
    )


@pytest.fixture
async def http(app: ASGIApp) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app), base_url="http://localhost:8080"
    ) as client:
        yield client


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"host": "LOCALHOST:8080"}, True),
        ({"host": "evil.example"}, False),
        ({"host": "evil.example", "authorization": "Bearer rsp_x"}, True),
        ({"host": "[", "authorization": "Bearer rsp_x"}, False),
        ({"host": "evil.example", "authorization": "Bearer rsp_x", "origin": "http://evil.example"}, False),
        ({"host": "evil.example", "authorization": "Bearer rsp_x", "sec-fetch-site": "cross-site"}, False),
        ({"host": "localhost:1"}, True),
        ({"host": "localhost:1", "origin": "http://localhost:1"}, False),
        ({"origin": "http://localhost:8080"}, True),
        ({"origin": OTHER}, True),
        ({"origin": "https://evil.example"}, False),
        ({"sec-fetch-site": "cross-site"}, False),
    ],
)
async def test_requests(http: httpx2.AsyncClient, headers: dict[str, str], allowed: bool) -> None:
    for method, path in (
        ("DELETE", "/v1/turns/x"),
        ("PUT", "/v1/uploads"),
        ("GET", "/v1/turns/x/events"),
    ):
        answer = await http.request(method, path, headers=headers)
        refused = answer.status_code == 403 and of_rest(answer).reason == "ORIGIN_NOT_ALLOWED"
        assert refused is not allowed, (method, path, answer.text)
    # Health checks name no host.
    for path in ("/health", "/health/live", "/health/ready"):
        assert (await http.get(path, headers=headers)).status_code == 200
    if allowed:  # without the setting, nobody sees the metrics here
        assert (await http.get("/metrics", headers=headers)).status_code == 404


@pytest.mark.parametrize("origin", ["https://evil.example", "http://localhost:8081"])
async def test_sockets(app: ASGIApp, origin: str) -> None:
    sent: list[MutableMapping[str, Any]] = []

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, Any]) -> None:
        sent.append(message)

    headers = [(b"host", b"localhost:8080"), (b"origin", origin.encode())]
    await app(
        {"type": "websocket", "path": "/ws/chat", "query_string": b"", "headers": headers}, receive, send
    )
    # If the app closes a socket before it accepts the socket, the server answers 403.
    assert [one["type"] for one in sent] == ["websocket.close"]
