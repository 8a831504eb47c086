"""The addresses in a card of A2A."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import httpx2
import pytest
from starlette.applications import Starlette

from responsa_server.transports.a2a.routes import a2a_routes


@pytest.mark.parametrize(
    ("base", "secure", "forwarded", "rpc", "grpc"),
    [
        ("http://127.0.0.1:8080", False, {}, "http://127.0.0.1:8080/a2a", "127.0.0.1:8080"),
        ("http://127.0.0.1:8080", True, {}, "http://127.0.0.1:8080/a2a", "127.0.0.1:8080"),
        ("http://host.example", True, {}, "https://host.example/a2a", "host.example:443"),
        ("http://host.example", False, {}, "http://host.example/a2a", "host.example:80"),
        (
            "http://host.example:8443",
            True,
            {"x-forwarded-proto": "https"},
            "https://host.example:8443/a2a",
            "host.example:8443",
        ),
    ],
    ids=["local", "local beside a proxy", "proxy that ends TLS", "port 80", "proxy that says so"],
)
def test_a_card_has_the_addresses_that_its_reader_can_use(
    base: str, secure: bool, forwarded: dict[str, str], rpc: str, grpc: str
) -> None:
    app = Starlette(routes=[*a2a_routes(cast("Any", None), secure=secure)])

    async def card() -> dict[str, Any]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=base) as http:
            return (await http.get("/.well-known/agent-card.json", headers=forwarded)).json()

    interfaces = asyncio.run(card())["supportedInterfaces"]
    assert [one["url"] for one in interfaces] == [rpc, grpc, rpc]
