"""Programs that people connect: where they may send a browser, and how long a registration counts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import Any, cast
from uuid import uuid4

import pytest

from responsa_server.domain.errors import Exhausted, InvalidRequest
from responsa_server.domain.people import Origin, Principal, Role
from responsa_server.identity import programs as programs_module
from responsa_server.identity.program_settings import ProgramSettings
from responsa_server.identity.programs import Programs, is_loopback_redirect, is_redirect, matches
from responsa_server.identity.tokens import Secret
from tests.raising import raises

WHO = Principal("acme", uuid4(), Role.USER, "session", session_id=uuid4())
URI = "https://ferry.example/back"


@pytest.mark.parametrize(
    ("uri", "good"),
    [
        (URI, True),
        ("https://ferry.example:8443/back?a=b", True),
        ("http://127.0.0.1:1/callback", True),
        ("http://[::1]/callback", True),
        ("http://localhost/callback", True),
        ("http://ferry.example/back", False),
        ("http://127.0.0.1.ferry.example/", False),
        ("https://ferry.example/back#x", False),
        ("https://ferry.example@evil.example/", False),
        ("https://ferry.example\\@evil.example/", False),
        ("https://", False),
        ("https://localhost./", False),
        ("https://0x7f.1/", False),
        ("https://2130706433/", False),
        ("https://ferry.example:port/", False),
        ("https://ferry.example/ back", False),
        ("javascript:alert(1)", False),
        ("ferry://back", False),
        ("com.ferry.app:/back", True),
        ("com.ferry.app:/back#x", False),
        ("cursor://anysphere.cursor-mcp/oauth/callback", True),
        ("cursor://anysphere.cursor-mcp/oauth/callback/", False),
        ("https://ferry.example/" + "x" * 2048, False),
    ],
)
def test_an_address_to_go_back_to_is_of_a_kind_that_can_be_used(uri: str, good: bool) -> None:
    assert is_redirect(uri) is good


@pytest.mark.parametrize("host", ["127.0.0.2", "[::1]", "x.localhost"])
def test_people_are_warned_of_every_address_of_their_own_machine(host: str) -> None:
    assert is_loopback_redirect(f"https://{host}/back")


@pytest.mark.parametrize(
    ("registered", "requested", "same"),
    [
        (URI, URI, True),
        (URI, URI + "/", False),
        (URI, "https://ferry.example:443/back", False),
        (URI, "HTTPS://ferry.example/back", False),
        ("com.ferry.app:/cb", "com.ferry.app:/cb?to=x", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1:5/cb", True),
        ("http://127.0.0.1:7/cb", "http://127.0.0.1:5/cb", True),
        ("http://127.0.0.1/cb", "http://localhost:5/cb", False),
        ("http://127.0.0.1/cb", "https://127.0.0.1:5/cb", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1:5/cb?to=x", False),
        ("http://127.0.0.1/cb", "http://127.0.0.1:5@evil.example/cb", False),
    ],
)
def test_an_address_is_exactly_the_registered_one_but_for_a_port_of_the_loopback(
    registered: str, requested: str, same: bool
) -> None:
    assert matches(registered, requested) is same


async def test_documents_are_announced_if_a_public_host_is_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1_000_000.0]

    async def announced(**settings: Any) -> bool:
        made = ProgramSettings(**settings)
        programs = Programs(cast("Any", None), cast("Any", None), Secret(b"x" * 32), made, lambda: now[0])
        return await programs.documents_work()

    # A host of this machine is not public, so it is never asked.
    monkeypatch.setattr(programs_module, "PROBED_HOSTS", ("https://127.0.0.1:9",))
    assert not await announced()
    assert await announced(allow_private="10.1.0.0/16")
    assert not await announced(documents=False, allow_private="10.1.0.0/16")


class Attempts:
    """Counts registrations as the store of accounts does, with a hundredth of their limits."""

    def __init__(self) -> None:
        self.store = self
        self.counts = Counter[bytes]()
        self.asked = dict[str, list[str]]()

    async def count_attempt(self, subjects: Sequence[tuple[bytes, int]], _: float) -> float | None:
        ((subject, limit),) = subjects
        self.counts[subject] += 1
        return None if self.counts[subject] * 100 <= limit else 60.0

    async def find_allowed_redirects(self, _: Sequence[str]) -> Sequence[str]:
        return ()

    async def ask_for_redirects(self, name: str, uris: Sequence[str], _: bytes) -> None:
        self.asked[name] = list(uris)


async def test_a_registration_expires_and_few_are_made_from_one_address() -> None:
    now = [1_000_000.0]
    settings = ProgramSettings(dynamic_registration="any")
    secret = Secret(b"x" * 32)
    programs = Programs(cast("Any", Attempts()), cast("Any", None), secret, settings, lambda: now[0])
    body = json.dumps({"client_name": "Ferry\u202eman\n", "redirect_uris": [URI], "scope": "admin"}).encode()
    metadata, _ = await programs.register(body, Origin("192.0.2.1"))
    assert metadata.client_name == "Ferryman"
    request = {
        "client_id": metadata.client_id,
        "redirect_uri": URI,
        "response_type": "code",
        "code_challenge": "x" * 43,
        "code_challenge_method": "S256",
    }
    asked = await programs.ask(WHO, request, "https://answers.example")
    assert (asked.client.display_name, asked.client.vouched) == ("Ferryman", False)
    for written in (metadata.client_id + "\0", metadata.client_id + "=", metadata.client_id[:9] + "!"):
        await raises(
            InvalidRequest, programs.ask(WHO, {**request, "client_id": written}, "https://answers.example")
        )
    other = Programs(cast("Any", None), cast("Any", None), Secret(b"y" * 32), settings)
    for foreign in (other, Programs(cast("Any", Attempts()), cast("Any", None), secret, ProgramSettings())):
        await raises(InvalidRequest, foreign.ask(WHO, request, "https://answers.example"))
    now[0] += 30 * 86_400 + 1
    await raises(InvalidRequest, programs.ask(WHO, request, "https://answers.example"), "has expired")
    await programs.register(body, Origin("192.0.2.1"))
    await raises(Exhausted, programs.register(body, Origin("192.0.2.1")))


async def test_tries_that_are_refused_stop_no_registration() -> None:
    attempts = cast("Any", Attempts())
    programs = Programs(attempts, cast("Any", None), Secret(b"x" * 32), ProgramSettings())
    caller = Origin("192.0.2.1")
    evil = json.dumps({"redirect_uris": ["com.evil.app:/back"]}).encode()
    refused = await raises(Exhausted, programs.register(evil, caller))
    assert "ask an administrator" in refused.message
    assert not attempts.asked, "who tries too often fills no list"
    good = ["http://127.0.0.1/back"]
    metadata, _ = await programs.register(json.dumps({"redirect_uris": good}).encode(), caller)
    assert metadata.redirect_uris == good
    refused = await raises(InvalidRequest, programs.register(evil, Origin("")))
    assert "a scheme" not in refused.message, "what this mode refuses is not offered"
    assert attempts.asked == {"com.evil.app:": ["com.evil.app:/back"]}
