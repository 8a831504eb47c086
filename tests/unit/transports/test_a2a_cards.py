"""The addresses in a card of A2A."""

from __future__ import annotations

import asyncio
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import httpx2
import pytest
from starlette.applications import Starlette

from responsa_server.transports.a2a.routes import a2a_routes


@pytest.mark.parametrize(
    ("base", "secure", "forwarded", "rpc", "grpc", "oauth"),
    [
        ("http://127.0.0.1:8080", False, {}, "http://127.0.0.1:8080/a2a", "127.0.0.1:8080", True),
        ("http://127.0.0.1:8080", True, {}, "http://127.0.0.1:8080/a2a", "127.0.0.1:8080", True),
        ("http://host.example", True, {}, "https://host.example/a2a", "host.example:443", True),
        ("http://host.example", False, {}, "http://host.example/a2a", "host.example:80", False),
        (
            "http://host.example:8443",
            True,
            {"x-forwarded-proto": "https"},
            "https://host.example:8443/a2a",
            "host.example:8443",
            True,
        ),
    ],
    ids=["local", "local beside a proxy", "proxy that ends TLS", "port 80", "proxy that says so"],
)
def test_a_card_has_the_addresses_that_its_reader_can_use(
    base: str, secure: bool, forwarded: dict[str, str], rpc: str, grpc: str, oauth: bool
) -> None:
    card = card_at(base, "", forwarded, secure=secure)
    assert [one["url"] for one in card["supportedInterfaces"]] == [rpc, grpc]
    # A program asks for tokens for the address of the card, so they are the same, or there are no tokens.
    assert resources(card) == ([rpc] if oauth else [])


def test_a_card_has_the_public_address_wherever_it_is_read() -> None:
    card = card_at("http://10.0.0.7:8080", "https://answers.example", {}, secure=False)
    rpc = "https://answers.example/a2a"
    assert [one["url"] for one in card["supportedInterfaces"]] == [rpc, "answers.example:443"]
    assert resources(card) == [rpc]


def card_at(base: str, public_url: str, headers: dict[str, str], *, secure: bool) -> dict[str, Any]:
    app = Starlette(routes=[*a2a_routes(cast("Any", None), public_url, secure=secure)])

    async def card() -> dict[str, Any]:
        async with httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=base) as http:
            return (await http.get("/.well-known/agent-card.json", headers=headers)).json()

    return asyncio.run(card())


def resources(card: dict[str, Any]) -> list[str]:
    """The addresses for which the card lets a program ask for tokens."""
    schemes = [
        one["oauth2SecurityScheme"]
        for one in card["securitySchemes"].values()
        if "oauth2SecurityScheme" in one
    ]
    return [
        parse_qs(urlsplit(one["flows"]["authorizationCode"]["authorizationUrl"]).query)["resource"][0]
        for one in schemes
    ]
