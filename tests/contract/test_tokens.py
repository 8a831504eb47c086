"""Access tokens and their keys on real PostgreSQL."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import jwt
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from uuid_utils.compat import uuid7

from responsa_server.domain.accounts import Claims
from responsa_server.domain.errors import Reason, Unauthenticated, Unavailable
from responsa_server.domain.parts import Health
from responsa_server.identity.settings import TokenSettings
from responsa_server.identity.tokens import Secret, Tokens
from responsa_server.stores.postgres.database import Database
from tests.people import SECRET, people_of
from tests.raising import raises

WHO = Claims("acme", uuid7(), uuid7())


def segment(value: Mapping[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def plain(data: str) -> bytes:
    return base64.urlsafe_b64decode(data + "=" * (-len(data) % 4))


async def good(tokens: Tokens) -> str:
    token, _, _ = await tokens.sign(WHO, datetime.now(UTC))
    return token


def content(**changed: object) -> dict[str, Any]:
    now = int(time.time())
    claims: dict[str, Any] = {
        "iss": "responsa",
        "aud": "responsa",
        "sub": str(WHO.user_id),
        "sid": str(WHO.session_id),
        "tenant": "acme",
        "iat": now,
        "exp": now + 900,
    }
    claims |= changed
    return {name: value for name, value in claims.items() if value is not None}


async def test_a_token_says_who_calls_and_no_more(database: Database) -> None:
    tokens = people_of(database).tokens
    token, kid, expires = await tokens.sign(WHO, datetime.now(UTC))
    assert await tokens.verify(token) == WHO
    assert (await tokens.verify(token)).expires == expires
    header, body, _ = token.split(".")
    assert json.loads(plain(header)) == {"alg": "EdDSA", "typ": "at+jwt", "kid": kid}
    found = json.loads(plain(body))
    assert found.keys() == {"iss", "aud", "sub", "sid", "tenant", "iat", "exp"}
    assert found["exp"] - found["iat"] == 900
    assert found["exp"] == expires


def is_bare(error: Unauthenticated) -> None:
    assert (error.reason, error.metadata, error.violations) == (Reason.TOKEN_INVALID, {}, ())
    assert error.message == "This token is not valid, or its session has ended. Refresh it, or sign in again."


async def test_claims_are_all_checked(database: Database) -> None:
    tokens = people_of(database).tokens
    key = await tokens.newest()
    sign = partial(jwt.encode, key=key.private, algorithm="EdDSA", headers={"kid": key.kid, "typ": "at+jwt"})
    assert await tokens.verify(sign(content())) == WHO
    wrong: list[Mapping[str, object]] = [
        {"exp": int(time.time()) - 60},
        {"exp": "soon"},
        {"iat": int(time.time()) + 3600},
        {"iss": "another"},
        {"aud": "another"},
        {"aud": ["responsa", "another"]},
        {"sub": "not a uuid"},
        {"sid": 7},
        *({name: None} for name in ("iss", "aud", "sub", "sid", "tenant", "iat", "exp")),
    ]
    for changed in wrong:
        caught = await raises(Unauthenticated, tokens.verify(sign(content(**changed))))
        is_bare(caught)


async def test_a_rotation_signs_nobody_out(database: Database) -> None:
    now = time.time()
    here, elsewhere = people_of(database, clock=lambda: now).tokens, people_of(database).tokens
    old = await good(here)
    assert await elsewhere.verify(old) == WHO
    await elsewhere.rotate()
    new = await good(elsewhere)
    # A token with an unknown key makes the other process look for the key.
    now += 1.5
    assert await here.verify(new) == WHO
    assert await here.verify(old) == WHO
    assert [kid for kid, _ in await here.public_keys()] == [
        jwt.get_unverified_header(one)["kid"] for one in (new, old)
    ]
    # The replaced key ends when the last token that it can have signed has expired.
    now += 900 + 120 + 1
    await raises(Unauthenticated, here.verify(old))
    assert len(await here.public_keys()) == 1


async def test_a_key_is_replaced_when_it_is_old_and_by_one_server(database: Database) -> None:
    now = time.time()
    servers = [people_of(database, clock=lambda: now).tokens for _ in range(3)]
    kids = {(await server.newest()).kid for server in servers}
    assert len(kids) == 1
    later = people_of(database, clock=lambda: now + 91 * 86_400).tokens
    # The database's clock decides, so a wrong clock of one server changes nothing.
    assert (await later.newest()).kid in kids


async def test_unknown_kids_cause_one_query_a_second(database: Database) -> None:
    now = time.time()
    people = people_of(database, clock=lambda: now)
    calls = 0
    load = people.store.signing_keys

    async def counted() -> Any:
        nonlocal calls
        calls += 1
        return await load()

    people.store.signing_keys = counted
    await people.tokens.newest()
    calls = 0
    headers = {"kid": "unknown", "typ": "at+jwt"}
    forged = jwt.encode(content(), Ed25519PrivateKey.generate(), "EdDSA", headers)
    for _ in range(50):
        await raises(Unauthenticated, people.tokens.verify(forged))
    assert calls <= 1


async def test_keys_under_another_secret_are_not_used(database: Database) -> None:
    ours = people_of(database).tokens
    token = await good(ours)
    theirs = people_of(database, secret=SECRET[::-1]).tokens
    await raises(Unauthenticated, theirs.verify(token))
    assert (await raises(Unavailable, good(theirs))).metadata == {"part": "signing_keys"}
    assert (await ours.check()).health is Health.OK
    assert (await theirs.check()).health is Health.DOWN
    # The operator's way out after the secret was lost.
    await theirs.rotate()
    assert await theirs.verify(await good(theirs)) == WHO
    assert (await theirs.check()).health is Health.OK
    assert (await people_of(database).tokens.check()).health is Health.DOWN


async def test_access_tokens_of_another_length(database: Database) -> None:
    tokens = people_of(database, tokens=TokenSettings(access_seconds=60)).tokens
    token, _, _ = await tokens.sign(WHO, datetime.now(UTC) - timedelta(seconds=80))
    await raises(Unauthenticated, tokens.verify(token))


async def test_a_token_is_accepted_for_at_most_ten_seconds_after_its_time(database: Database) -> None:
    """As docs/accounts.md and the contract say."""
    tokens = people_of(database).tokens
    for late, accepted in ((0, True), (11, False)):
        token, _, expires = await tokens.sign(WHO, datetime.now(UTC) - timedelta(seconds=900 + late))
        assert expires <= time.time()
        if accepted:
            assert await tokens.verify(token) == WHO
        else:
            await raises(Unauthenticated, tokens.verify(token))


def test_a_secret_must_be_long() -> None:
    with pytest.raises(ValueError, match="fewer than 32 bytes"):
        Secret(b"x" * 31)


def test_a_secret_keeps_private_keys_and_their_ids_together() -> None:
    secret = Secret(SECRET)
    sealed = secret.seal("one", b"private")
    assert b"private" not in sealed
    assert secret.unseal("one", sealed) == b"private"
    for kid, text in (("two", sealed), ("one", sealed[:-1] + bytes([sealed[-1] ^ 1]))):
        with pytest.raises(InvalidTag):
            secret.unseal(kid, text)
    assert secret.successor("a", "") == secret.successor("a", "") != secret.successor("b", "")
