"""Sign-in with OpenID Connect over the gateway's HTTP, on real PostgreSQL, against a provider on loopback that can misbehave."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from ipaddress import ip_address
from itertools import product
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit
from uuid import UUID

import httpx2
import jwt
import psycopg
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from pydantic import SecretStr, ValidationError
from uuid_utils.compat import uuid7

from responsa_lab.testing.loopback import LoopbackExchange
from responsa_server.calls.interceptors.access import SessionCookie
from responsa_server.domain.accounts import SignInProvider
from responsa_server.domain.addresses import LOOPBACK_HOSTS, hosts_of, origins_of
from responsa_server.domain.errors import NotFound, Precondition, Reason, ResponsaError, Unavailable
from responsa_server.domain.people import MOST_REFUSED, Origin, Principal, Role, User, UserChange
from responsa_server.identity import openid_provider
from responsa_server.identity.openid import MOST_AT_ONCE, OpenId, OpenIdOptions
from responsa_server.identity.openid_provider import TIMES, LinkedIdentities
from responsa_server.identity.openid_settings import OidcProviderSettings, OidcSettings
from responsa_server.identity.service import Credential
from responsa_server.identity.settings import (
    PasswordSettings,
    Registration,
)
from responsa_server.outbound.connector import Times
from responsa_server.stores.postgres.audit import PostgresAuditTrail
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.groups import PostgresGroups
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.mail import Outbox
from responsa_server.stores.postgres.openid import PostgresOpenIdStore
from responsa_server.stores.postgres.users import PostgresUsers
from responsa_server.transports.doors import GatewaySettings, build_app
from responsa_server.transports.http.guard import AllowedCallers
from responsa_server.transports.http.openid import OpenIdGateway
from tests.conftest import DatabaseUrls
from tests.gateway.in_process import calls_of
from tests.gateway.wire import OWN, of_rest
from tests.people import ATTEMPTS, GOOD, People, people_of
from tests.raising import raises
from tests.rpc.served import Lines
from tests.wire.openid import CLIENT, DISCOVERY, SECRET, Key, Provider

HOST: Final = "http://localhost:8080"
OTHER: Final = "https://www.example.org"
"""Another origin whose pages may call."""
ANN: Final = {"sub": "ann", "name": "Ann", "email": "Ann@Example.org", "email_verified": True}


@pytest.fixture(scope="module")
def key() -> Key:
    return Key("k1")


@pytest.fixture(scope="module")
def other_key() -> Key:
    return Key("k2")


@pytest.fixture
async def provider(key: Key) -> AsyncIterator[Provider]:
    made = Provider(key, person=dict(ANN))
    await made.server.start()
    yield made
    await made.server.close()


@dataclass
class Harness:
    """A gateway, and a browser in front of it."""

    people: People
    provider: Provider
    openid: OpenId
    http: httpx2.AsyncClient
    urls: DatabaseUrls
    clock: Clock
    lines: Lines

    async def start(self, **body: object) -> httpx2.Response:
        return await self.http.post("/v1/oidc/corp:start", json=body)

    async def begin(self, **body: object) -> str:
        """Begin a sign-in, and agree at the provider. Returns the address to which the browser comes back."""
        reply = await self.start(**body)
        assert reply.status_code == 200, reply.text
        return self.provider.consent(reply.json()["authorizationUri"])

    async def back(self, uri: str, **headers: str) -> httpx2.Response:
        """The browser comes back from the provider, as browsers do."""
        return await self.http.get(
            uri, headers={"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", **headers}
        )

    async def sign_in(self, **body: object) -> httpx2.Response:
        return await self.back(await self.begin(**body))

    async def link(self, prepared: str, user: UUID, **headers: str) -> httpx2.Response:
        """The page that is drawn for this user confirms a link."""
        named = {"responsa-user": f"users/{user}", **headers}
        return await self.http.post("/v1/oidc/corp:link", json={"link": prepared}, headers=named)

    async def sign_in_and_link(self, user: UUID) -> httpx2.Response:
        return await self.link(prepared(await self.sign_in(link=True)), user)

    async def principal(self) -> Principal:
        token = self.http.cookies.get("responsa_session")
        assert token is not None
        return await self.people.identity.authenticate(Credential("session", token))

    async def me(self) -> User:
        return await self.people.identity.me(await self.principal())

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.urls.superuser) as connection:
            return connection.execute(query).fetchall()

    def events(self) -> list[tuple[str, str, str]]:
        return self.rows("SELECT actor, action, outcome FROM responsa.audit_event ORDER BY create_time, id")


class Clock:
    """The time, which tests move on."""

    def __init__(self) -> None:
        self.moved = 0.0

    def __call__(self) -> float:
        return time.time() + self.moved


def harness_of(
    database: Database,
    urls: DatabaseUrls,
    provider: Provider,
    folder: Path,
    *,
    registration: Registration = Registration.INVITED,
    passwords: PasswordSettings = ATTEMPTS,
    secure: bool = False,
    times: Times = TIMES,
    public_url: str = "",
    **settings: object,
) -> Harness:
    configuration: dict[str, Any] = {
        "issuer": provider.issuer,
        "client_id": CLIENT,
        "client_secret": SECRET,
        "tenant": "acme",
        "allowed_domains": "example.org",
        **settings,
    }
    every = {"corp": OidcProviderSettings(**configuration), "twin": OidcProviderSettings(**configuration)}
    people, clock = people_of(database), Clock()
    options = OpenIdOptions(
        OidcSettings(public_url=public_url, providers=every),
        passwords,
        registration,
        3600.0,
        times,
    )
    openid = OpenId(
        PostgresOpenIdStore(database),
        people.store,
        PostgresUsers(database, Outbox(JobQueue(urls.log, concurrency=1), uuid7)),
        PostgresGroups(database, uuid7),
        PostgresAuditTrail(database),
        people.identity,
        people.cache,
        people.tokens.secret,
        people.accounts.begin_tokens,
        options,
        clock,
    )
    hosts = hosts_of(8080, (*LOOPBACK_HOSTS, "chat.example.org:443"))
    lines = Lines()
    app = build_app(
        GatewaySettings(
            folder,
            AllowedCallers(hosts, (*origins_of(hosts), OTHER)),
            secure_cookie=secure,
            cookie=SessionCookie(origins=origins_of(hosts)),
        ),
        calls_of(log=lines),
        people.identity,
        accounts=people.accounts,
        openid=OpenIdGateway(openid, people.identity, options.oidc.public_url),
    )
    base = options.oidc.public_url or HOST
    http = httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app=app, client=("192.0.2.7", 50000)), base_url=base, headers=OWN
    )
    return Harness(people, provider, openid, http, urls, clock, lines)


HarnessOf = Callable[..., Harness]


@pytest.fixture
async def harness_with(
    database: Database, database_urls: DatabaseUrls, provider: Provider, tmp_path: Path
) -> AsyncIterator[HarnessOf]:
    made: list[Harness] = []

    def make(**settings: Any) -> Harness:
        made.append(harness_of(database, database_urls, provider, tmp_path, **settings))
        return made[-1]

    # The first tenant is the installation's, whose first administrator is its owner.
    await people_of(database).identity.create_tenant("home", "Home")
    await people_of(database).identity.create_tenant("acme", "Acme")
    yield make
    for one in made:
        await one.http.aclose()


@pytest.fixture
def harness(harness_with: HarnessOf) -> Harness:
    return harness_with()


def query_of(started: httpx2.Response) -> dict[str, str]:
    """The parameters that the browser takes to the provider."""
    return dict(parse_qsl(urlsplit(str(started.json()["authorizationUri"])).query))


def prepared(reply: httpx2.Response) -> str:
    """What the callback has added to the address to which the browser goes on."""
    assert reply.status_code == 200, reply.text
    found = re.search(r'url=/[^"]*[?;]link=([A-Za-z0-9_-]+)"', reply.text)
    assert found is not None, reply.text
    return found[1]


def reason(reply: httpx2.Response) -> str:
    assert "responsa_session" not in reply.headers.get("set-cookie", "")
    return of_rest(reply).reason


async def invitation(harness: Harness, email: str = "", role: Role = Role.USER, tenant: str = "acme") -> str:
    maker = await harness.people.identity.create_user(tenant, "Maker", "", Role.ADMIN)
    who = Principal(tenant, maker.id, Role.ADMIN, "api_key")
    return (await harness.people.accounts.create_invitation(who, role, email, 600))[0]


async def password_session(harness: Harness, email: str) -> User:
    """Make a user with a password, and sign the browser in."""
    user = await harness.people.identity.create_user("acme", "Bo", email, Role.USER)
    code, _ = await harness.people.accounts.create_reset_code(
        Principal("acme", user.id, Role.USER, "api_key"), user.id
    )
    await harness.people.accounts.reset_password(code, GOOD)
    body = {"tenant": "acme", "email": email, "password": GOOD, "replace": True}
    assert (await harness.http.post("/v1/sessions", json=body)).status_code == 200
    return user


async def test_a_first_sign_in_by_an_allowed_domain(harness: Harness) -> None:
    uri = await harness.begin(returnTo="/?tenant=acme#/documents/7?tab=pages&page=3")
    assert urlsplit(uri).netloc == "localhost:8080"
    reply = await harness.back(uri, accept="text/html")
    assert reply.status_code == 200
    assert (
        '<meta http-equiv="refresh" content="0; url=/?tenant=acme#/documents/7?tab=pages&amp;page=3">'
        in reply.text
    )
    assert "script" not in reply.text
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    session, flow = reply.headers.get_list("set-cookie")
    assert session.startswith("responsa_session=rss_")
    assert {"HttpOnly", "SameSite=strict", "Path=/"} <= set(session.split("; "))
    assert flow.startswith('responsa_oidc=""')
    assert "Max-Age=0" in flow
    user = await harness.me()
    assert (user.tenant_id, user.email, user.display_name, user.role) == (
        "acme",
        "ann@example.org",
        "Ann",
        Role.USER,
    )
    name = f"users/{user.id}"
    assert harness.events()[-2:] == [(name, "user.register", "OK"), (name, "session.create", "OK")]
    (identity,) = harness.rows("SELECT tenant_id, issuer, sub, user_id FROM responsa.user_identity")
    assert identity == ("acme", harness.provider.issuer, "ann", user.id)


async def test_the_request_at_the_provider(harness: Harness) -> None:
    reply = await harness.start()
    assert reply.headers["cache-control"] == "no-store"
    cookie = reply.headers["set-cookie"].split("; ")
    assert cookie[0].startswith("responsa_oidc=")
    assert {"HttpOnly", "SameSite=lax", "Path=/v1/oidc/corp/callback", "Max-Age=600"} <= set(cookie)
    query = query_of(reply)
    assert query["redirect_uri"] == f"{HOST}/v1/oidc/corp/callback"
    assert query["scope"] == "openid email profile"
    again = query_of(await harness.start())
    for name in ("state", "nonce", "code_challenge"):
        assert len(query[name]) == 43
        assert query[name] != again[name]
    # The cookie shows nothing of it.
    for name in ("state", "nonce"):
        assert query[name].encode() not in base64.urlsafe_b64decode(cookie[0].partition("=")[2] + "===")


async def test_later_sign_ins_are_by_issuer_and_sub_alone(harness: Harness) -> None:
    await harness.sign_in()
    first = await harness.me()
    harness.provider.person = {"sub": "ann", "email": "other@elsewhere.example", "email_verified": False}
    assert (await harness.sign_in()).status_code == 200
    assert replace(await harness.me(), last_sign_in_time=first.last_sign_in_time) == first
    # Another person with the first one's address is another person.
    harness.provider.person = {**ANN, "sub": "eve"}
    harness.http.cookies.clear()
    reply = await harness.sign_in()
    assert (reply.status_code, reason(reply)) == (409, "OIDC_ADDRESS_TAKEN")


async def test_the_log_names_the_tenant_of_a_sign_in(harness: Harness) -> None:
    await harness.sign_in()
    code, _ = await harness.people.identity.create_session_code(await harness.principal())
    bodies = (
        {"code": code},
        {"tenant": "acme", "email": "ann@example.org", "password": "not the password"},
        {"tenant": "acme", "email": "nobody@example.org", "password": "not the password"},
        {"code": "rsc_unknown"},
    )
    for body in bodies:
        await harness.http.post("/v1/sessions", json=body)
    await harness.http.delete("/v1/sessions")
    harness.provider.person = {**ANN, "sub": "eve"}
    assert reason(await harness.sign_in()) == "OIDC_ADDRESS_TAKEN"
    assert [
        (one["method"].partition(" ")[0], one["code"], one["tenant"]) for one in harness.lines.of("call")
    ] == [
        ("POST", "OK", ""),  # it begins the sign-in
        ("GET", "OK", "acme"),
        ("POST", "OK", "acme"),
        ("POST", "UNAUTHENTICATED", "acme"),
        ("POST", "UNAUTHENTICATED", ""),
        ("POST", "UNAUTHENTICATED", ""),
        ("DELETE", "OK", "acme"),
        ("POST", "OK", ""),
        ("GET", "ALREADY_EXISTS", "acme"),
    ]


async def test_userinfo_says_what_the_id_token_does_not(
    harness_with: HarnessOf, caplog: pytest.LogCaptureFixture
) -> None:
    harness = harness_with(role_claim="realm.roles", roles={"boss": "admin"})
    harness.provider.userinfo = {**ANN, "realm": {"roles": ["boss"]}}
    # Both have the claim `name`; the id token is signed, so it counts.
    harness.provider.person = {"sub": "ann", "name": "Ann of the token"}
    assert (await harness.sign_in()).status_code == 200
    user = await harness.me()
    assert (user.email, user.display_name, user.role) == ("ann@example.org", "Ann of the token", Role.ADMIN)
    # An address of one reply says nothing of the other's, and nobody else's userinfo counts.
    harness.provider.person = {"sub": "bo", "email": "bo@example.org"}
    for userinfo, why, cause in (
        ({"sub": "bo", "email_verified": True}, "OIDC_NOT_ADMITTED", "email: email_verified is not true"),
        ({**ANN}, "OIDC_FAILED", "userinfo: sub differs from the id token's"),
    ):
        harness.provider.userinfo = userinfo
        assert reason(await harness.sign_in()) == why
        assert caplog.messages[-1].endswith(f"corp refused: {cause}")
    # A complete id token needs no userinfo.
    harness.provider.person = {**ANN, "realm": {"roles": []}}
    harness.provider.seen.clear()
    assert (await harness.sign_in()).status_code == 200
    assert "/userinfo" not in harness.provider.seen


async def test_claims_are_named_to_a_provider_that_takes_them(harness_with: HarnessOf) -> None:
    assert "claims" not in query_of(await harness_with().start())
    harness = harness_with(subject_claim="employee", groups_claim="groups.all")
    harness.provider.configuration = {"claims_parameter_supported": True}
    wanted = json.loads(query_of(await harness.start())["claims"])
    assert wanted == {"id_token": dict.fromkeys(["email", "email_verified", "employee", "groups", "name"])}


async def test_nobody_else_comes_in_and_each_refusal_says_its_rule_in_the_log(
    harness_with: HarnessOf, caplog: pytest.LogCaptureFixture
) -> None:
    harness = harness_with(role_claim="groups", roles={"staff": "user"}, role_required=True)
    staff = {**ANN, "groups": "staff"}
    missing, unverified = "email: is missing in id token and userinfo", "email: email_verified is not true"
    elsewhere = "email: its domain is not in allowed_domains, and no invitation"
    no_address = "email: is not an e-mail address"
    code = await invitation(harness, "other@example.org")
    cases: list[tuple[dict[str, Any], str, str]] = [
        (ANN, "", "role_claim groups: is missing"),
        ({**ANN, "groups": "guests"}, "", "role_claim groups: has no value of roles"),
        ({"sub": "ann", "groups": "staff"}, "", missing),
        ({**staff, "email": ["ann@example.org"]}, "", unverified),
        *(({**staff, "email_verified": verified}, "", unverified) for verified in (False, "true", None)),
        *(({**staff, "email": f"ann@{domain}"}, "", elsewhere) for domain in ("evil.example", "sub.example.org", "ｅxample.org")),
        *(({**staff, "email": email}, "", no_address) for email in ("@example.org", "ann@evil.example\u0000@example.org")),
        (staff, code, "email: differs from the address in the invitation"),
        (staff, f"rsi_{'A' * 43}", "CODE_INVALID"),
    ]  # fmt: skip

    async def refused(person: dict[str, Any], invited: str = "") -> tuple[str, Sequence[str]]:
        harness.provider.person = dict(person)
        caplog.clear()
        reply = await harness.sign_in(**({"invitation": invited} if invited else {}))
        return reason(reply), caplog.messages

    for person, invited, cause in cases:
        why = "CODE_INVALID" if cause == "CODE_INVALID" else "OIDC_NOT_ADMITTED"
        said = [f"sign-in with OpenID Connect provider corp refused: {cause}"]
        assert await refused(person, invited) == (why, said), person
        assert harness.events()[-1] == ("oidcProviders/corp", "session.create", why)
    assert harness.rows("SELECT 1 FROM responsa.user_identity") == []
    harness.provider.person = staff
    assert (await harness.sign_in()).status_code == 200
    # Those who are known are refused, too.
    harness.http.cookies.clear()
    assert await refused({**staff, "groups": ["former"]}) == (
        "OIDC_NOT_ADMITTED",
        ["sign-in with OpenID Connect provider corp refused: role_claim groups: has no value of roles"],
    )
    for change in ("disable_time = now()", "disable_time = NULL, role = 'service'"):
        with psycopg.connect(harness.urls.superuser) as connection:
            connection.execute(f"UPDATE responsa.app_user SET {change}")
        why, said = await refused(staff)
        assert why == "OIDC_NOT_ADMITTED"
        assert said[-1].endswith("the user is disabled here, or a service")


async def test_a_name_and_a_verified_address_are_taken_over(harness_with: HarnessOf) -> None:
    harness = harness_with()
    await harness.sign_in()
    first = await harness.me()
    await harness.people.identity.create_user("acme", "Bo", "bo@example.org", Role.USER)
    harness.provider.person = {**ANN, "name": "Ann Lee", "email": "lee@example.org"}
    await harness.sign_in()
    user = await harness.me()
    assert (user.id, user.display_name, user.email) == (first.id, "Ann Lee", "lee@example.org")
    (told,) = harness.rows("SELECT kind, email FROM responsa.mail")
    assert told == ("email_changed", "ann@example.org")
    changed = ("oidcProviders/corp", "user.update", "OK")
    assert harness.events()[-4:-2] == [changed, changed]
    # Neither an unverified address, nor one of another domain or of another user.
    for person in (
        {"email": "new@example.org", "email_verified": False},
        {"email": "ann@else.example"},
        {"email": "bo@example.org"},
    ):
        harness.provider.person = {**ANN, "name": "Ann Lee", **person}
        assert (await harness.sign_in()).status_code == 200
        assert (await harness.me()).email == "lee@example.org"
    assert ("oidcProviders/corp", "user.update", "RESOURCE_ALREADY_EXISTS") in harness.events()
    # Unless the settings leave it to the person.
    kept = harness_with(update_profile=False)
    harness.provider.person = dict(ANN)
    assert (await kept.sign_in()).status_code == 200
    assert (await kept.me()).email == "lee@example.org"


async def test_an_invitation_admits_one_person(harness_with: HarnessOf) -> None:
    harness = harness_with(allowed_domains="")
    code = await invitation(harness, role=Role.ADMIN)
    harness.provider.person = {"sub": "bob"}
    assert (await harness.sign_in(invitation=code)).status_code == 200
    user = await harness.me()
    assert (user.role, user.email, user.display_name) == (Role.ADMIN, "", "")
    harness.http.cookies.clear()
    harness.provider.person = {"sub": "carl"}
    assert reason(await harness.sign_in(invitation=code)) == "CODE_INVALID"
    # A known person needs no invitation, and uses none up.
    second = await invitation(harness)
    harness.provider.person = {"sub": "bob"}
    assert (await harness.sign_in(invitation=second)).status_code == 200
    harness.http.cookies.clear()
    harness.provider.person = {"sub": "carl"}
    assert (await harness.sign_in(invitation=second)).status_code == 200


async def test_an_invitation_is_for_its_address_and_tenant(harness_with: HarnessOf) -> None:
    harness = harness_with(allowed_domains="")
    await harness.people.identity.create_tenant("rival", "Rival")
    code = await invitation(harness, "ann@example.org")
    for person in ({"email": "ann@example.org"}, {"email": "eve@example.org", "email_verified": True}, {}):
        harness.provider.person = {"sub": "eve", **person}
        assert reason(await harness.sign_in(invitation=code)) == "OIDC_NOT_ADMITTED"
    assert (
        reason(await harness.sign_in(invitation=await invitation(harness, tenant="rival"))) == "CODE_INVALID"
    )
    harness.provider.person = dict(ANN)
    assert (await harness.sign_in(invitation=code)).status_code == 200
    closed = harness_with(allowed_domains="", registration=Registration.CLOSED)
    closed.provider.person = {"sub": "zed"}
    assert reason(await closed.sign_in(invitation=code)) == "REGISTRATION_CLOSED"


async def test_racing_first_sign_ins_make_one_user(harness_with: HarnessOf) -> None:
    harnesses = [harness_with() for _ in range(8)]
    replies = await asyncio.gather(*(one.sign_in() for one in harnesses))
    assert [reply.status_code for reply in replies] == [200] * 8
    assert len({(await one.me()).id for one in harnesses}) == 1
    assert len(harnesses[0].rows("SELECT 1 FROM responsa.app_user")) == 1


async def test_racing_people_use_an_invitation_once(harness_with: HarnessOf) -> None:
    harnesses = [harness_with(allowed_domains="") for _ in range(6)]
    code = await invitation(harnesses[0])
    uris: list[str] = []
    for number, one in enumerate(harnesses):
        one.provider.person = {"sub": f"person-{number}"}
        uris.append(await one.begin(invitation=code))
    replies = await asyncio.gather(*(one.back(uri) for one, uri in zip(harnesses, uris, strict=True)))
    assert sorted(reply.status_code for reply in replies) == [200, 401, 401, 401, 401, 401]
    assert len(harnesses[0].rows("SELECT 1 FROM responsa.app_user WHERE role = 'user'")) == 1


def forged(sign: Callable[[dict[str, Any], dict[str, Any], Provider], str]) -> Callable[[Provider], None]:
    def act(provider: Provider) -> None:
        provider.sign = lambda claims, header: sign(claims, header, provider)

    return act


def changed(**claims: Any) -> Callable[[Provider], None]:
    return lambda provider: provider.id_claims.update(claims)


def part(content: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(content).encode()).decode().rstrip("=")


def _hmac(claims: dict[str, Any], header: dict[str, Any], provider: Provider) -> str:
    text = f"{part({**header, 'alg': 'HS256', 'typ': 'JWT'})}.{part(claims)}"
    found = hmac.digest(provider.key.pem, text.encode(), "sha256")
    return f"{text}.{base64.urlsafe_b64encode(found).decode().rstrip('=')}"


EVIL: Final = Key("evil")


def _foreign(claims: dict[str, Any], header: dict[str, Any], provider: Provider) -> str:
    return jwt.encode(claims, EVIL.private, "RS256", {"kid": provider.key.kid})


def _embedded(claims: dict[str, Any], header: dict[str, Any], provider: Provider) -> str:
    return jwt.encode(claims, EVIL.private, "RS256", {"kid": "evil", "jwk": EVIL.jwk})


def _addressed(claims: dict[str, Any], header: dict[str, Any], provider: Provider) -> str:
    return jwt.encode(claims, EVIL.private, "RS256", {"kid": "evil", "jku": f"{provider.issuer}/evil-keys"})


NOW: Final = int(time.time())


async def test_a_bad_id_token_is_refused_without_a_hint(harness_with: HarnessOf) -> None:
    harness = harness_with(passwords=PasswordSettings(attempts_per_address=1000))
    mischiefs = [
        changed(nonce="another"),
        changed(nonce=None),
        changed(aud="another client"),
        changed(aud=None),
        changed(aud=[CLIENT, "another"]),
        changed(aud=[CLIENT, "another"], azp="another"),
        changed(azp="another"),
        changed(iss="http://127.0.0.1:1/realms/acme"),
        changed(iss=None),
        changed(exp=NOW - 3600),
        changed(exp=None),
        changed(iat=NOW - 3600, exp=NOW + 3600),
        changed(iat=NOW + 3600, exp=NOW + 7200),
        changed(iat=None),
        changed(sub=None),
        changed(sub=""),
        changed(sub=7),
        changed(sub="x" * 256),
        changed(sub="ann\u0000"),
        forged(lambda claims, header, _: f"{part({**header, 'alg': 'none'})}.{part(claims)}."),
        forged(lambda claims, header, _: f"{part({**header, 'alg': 'None'})}.{part(claims)}."),
        forged(_hmac),
        forged(_foreign),
        forged(_embedded),
        forged(_addressed),
        forged(lambda claims, header, one: jwt.encode(claims, one.key.private, "RS512", {"kid": one.key.kid})),
        forged(lambda claims, header, one: jwt.encode(claims, one.key.private, "PS256", {"kid": one.key.kid})),
        forged(
            lambda claims, header, one: jwt.encode(claims, one.key.private, "RS256", {"kid": one.key.kid, "crit": ["b64"], "b64": True})
        ),
        forged(lambda claims, header, one: jwt.encode(claims, one.key.private, "RS256", {"kid": one.key.kid})[:-3] + "AAA"),
        forged(lambda claims, header, one: jwt.encode(claims, one.key.private, "RS256", {"kid": "unknown"})),
        forged(lambda _claims, _header, _one: "no.token"),
        forged(lambda _claims, _header, _one: "x" * 40_000),
    ]  # fmt: skip
    for place, mischief in enumerate(mischiefs):
        mischief(harness.provider)
        reply = await harness.sign_in()
        assert (reply.status_code, reason(reply), of_rest(reply).metadata) == (401, "OIDC_FAILED", {}), place
        assert "Begin again" in of_rest(reply).message
        harness.provider.sign = None
        harness.provider.id_claims.clear()
    assert (await harness.sign_in()).status_code == 200
    assert ("oidcProviders/corp", "session.create", "OIDC_FAILED") in harness.events()
    assert "/evil-keys" not in harness.provider.seen


SHAPES: Final[Sequence[object]] = (
    "\ud800",
    "é",
    "\u0000",
    10**400,
    -(10**400),
    "9" * 5000,
    float("nan"),
    float("-inf"),
    True,
    None,
    ["\ud800", 7, None, [7]],
    {"\ud800": ["x"]},
    json.loads("[" * 500 + "]" * 500),
)


async def test_an_id_token_of_any_shape_is_refused_or_read(provider: Provider) -> None:
    """The provider signs the token, so every check of its claims is reached."""
    found = openid_provider.OpenIdProvider(
        "corp",
        OidcProviderSettings(issuer=provider.issuer, client_id=CLIENT, client_secret=SecretStr(SECRET)),
    )

    async def fault(**changes: dict[str, object]) -> str:
        def sign(claims: dict[str, Any], header: dict[str, Any]) -> str:
            first = part({"alg": "RS256", **header, **changes.get("header", {})})
            text = f"{first}.{part({**claims, **changes.get('claims', {})})}"
            signature = provider.key.private.sign(text.encode(), PKCS1v15(), SHA256())
            return f"{text}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"

        provider.sign = sign
        uri = provider.consent(await found.authorization_uri("http://localhost/", "state", "nonce", "x" * 43))
        code = parse_qs(urlsplit(uri).query)["code"][0]
        try:
            await found.person(code, "x" * 43, "http://localhost/", "nonce", time.time())
        except openid_provider.ProviderFault as error:
            return str(error)
        return ""

    for shape in SHAPES:
        for name in ("nonce", "iat", "sub", "iss", "aud"):
            assert await fault(claims={name: shape}) or (name, shape) == ("sub", "é"), name
        for name in ("exp", "nbf", "azp", "jti"):
            await fault(claims={name: shape})
        for name in ("alg", "kid", "typ", "crit", "b64", "zip"):
            await fault(header={name: shape})
    assert not await fault()


async def test_claims_of_any_shape_describe_a_person(harness_with: HarnessOf) -> None:
    harness = harness_with(
        role_claim="realm.roles", roles={"bosses": "admin"}, subject_claim="employee_number"
    )
    for number, shape in enumerate(SHAPES):
        person = {**ANN, "sub": str(number), "email": f"{number}@example.org", "name": shape}
        harness.provider.person = {
            **person,
            "preferred_username": shape,
            "realm": shape,
            "employee_number": shape,
        }
        harness.http.cookies.clear()
        assert (await harness.sign_in()).status_code == 200
        for name in ("email", "email_verified"):
            harness.provider.person = {**person, "sub": f"{number} {name}", name: shape}
            assert reason(await harness.sign_in()) in ("OIDC_NOT_ADMITTED", "OIDC_ADDRESS_TAKEN")
        harness.provider.person = {**person, "realm.roles": shape}
        assert (await harness.sign_in()).status_code == 200


async def test_good_tokens_of_other_forms(harness: Harness, other_key: Key) -> None:
    harness.provider.id_claims = {"aud": [CLIENT, "another"], "azp": CLIENT}
    assert (await harness.sign_in()).status_code == 200
    harness.provider.id_claims = {"aud": [CLIENT]}
    harness.provider.id_header = {"kid": None}
    assert (await harness.sign_in()).status_code == 200
    # With a second key, a token that names no key is ambiguous.
    harness.provider.published.append(other_key.jwk)
    harness.clock.moved = openid_provider.KEPT_SECONDS + 1
    harness.provider.id_claims = {"iat": int(harness.clock()), "exp": int(harness.clock()) + 60}
    assert reason(await harness.sign_in()) == "OIDC_FAILED"


async def test_other_algorithms_if_the_settings_name_them(harness_with: HarnessOf) -> None:
    for algorithm, private in (
        ("ES256", ec.generate_private_key(ec.SECP256R1())),
        ("EdDSA", Ed25519PrivateKey.generate()),
    ):
        named, other = harness_with(algorithms=algorithm), harness_with()
        public = json.loads(jwt.get_algorithm_by_name(algorithm).to_jwk(private.public_key()))
        named.provider.published[1:] = [{**public, "kid": "k9"}]
        encode = partial(jwt.encode, key=private, algorithm=algorithm, headers={"kid": "k9"})
        named.provider.sign = lambda claims, _, encode=encode: encode(claims)
        assert (await named.sign_in()).status_code == 200
        assert reason(await other.sign_in()) == "OIDC_FAILED"
        named.provider.sign = None
        assert reason(await named.sign_in()) == "OIDC_FAILED"


async def test_the_ways_in_which_a_client_proves_itself(harness_with: HarnessOf) -> None:
    ways: dict[str, dict[str, Any]] = {
        "post": {"secret_in_body": True},
        "none": {"client_secret": ""},
        "basic": {},
    }
    for method, settings in ways.items():
        harness = harness_with(**settings)
        harness.provider.method = method
        assert (await harness.sign_in()).status_code == 200
        harness.provider.method = "basic" if method != "basic" else "post"
        assert reason(await harness.sign_in()) == "OIDC_FAILED"


async def test_a_swapped_key_id_is_refused(harness: Harness, other_key: Key) -> None:
    harness.provider.published.append(other_key.jwk)
    harness.provider.id_header = {"kid": "k2"}
    assert reason(await harness.sign_in()) == "OIDC_FAILED"


async def test_keys_are_read_again_at_a_bounded_rate(harness: Harness, other_key: Key) -> None:
    await harness.sign_in()
    assert harness.provider.seen.count("/keys") == 1
    await harness.sign_in()
    assert harness.provider.seen.count("/keys") == 1
    assert harness.provider.seen.count(DISCOVERY) == 1
    first = harness.provider.key
    # The provider changes its key right after its keys were read.
    harness.provider.key, harness.provider.published[:] = other_key, [other_key.jwk]
    assert (await harness.sign_in()).status_code == 200
    assert harness.provider.seen.count("/keys") == 2
    # A second unknown key so soon does not make the server read them again.
    harness.provider.key, harness.provider.published[:] = first, [first.jwk]
    assert reason(await harness.sign_in()) == "OIDC_FAILED"
    assert harness.provider.seen.count("/keys") == 2
    harness.clock.moved = openid_provider.UNKNOWN_KEY_SECONDS + 1
    assert (await harness.sign_in()).status_code == 200
    assert harness.provider.seen.count("/keys") == 3


async def hanging(exchange: LoopbackExchange) -> None:
    await asyncio.Event().wait()


async def not_json(exchange: LoopbackExchange) -> None:
    await exchange.reply(200, b"<html>")


async def a_list(exchange: LoopbackExchange) -> None:
    await exchange.reply(200, b"[]")


async def deep(exchange: LoopbackExchange) -> None:
    await exchange.reply(200, b"[" * 60_000)


async def broken(exchange: LoopbackExchange) -> None:
    await exchange.reply(500, b"{}")


BAD_REPLIES: Final = [hanging, not_json, a_list, deep, broken]
"""Tests of `outbound` show that no reply takes too long, is too large, or leads elsewhere."""


async def test_a_provider_that_misbehaves_at_its_configuration(harness_with: HarnessOf) -> None:
    for reply in BAD_REPLIES:
        harness = harness_with(times=Times(5.0, 0.3))
        harness.provider.replies[DISCOVERY] = reply
        found = await harness.start()
        assert (found.status_code, reason(found)) == (503, "PART_UNAVAILABLE"), reply
        assert "set-cookie" not in found.headers
        # The provider rests for a while, and then works again.
        asked = len(harness.provider.seen)
        assert (await harness.start()).status_code == 503
        assert len(harness.provider.seen) == asked
        harness.provider.replies.clear()
        harness.clock.moved = openid_provider.FAILED_SECONDS + 1
        assert (await harness.start()).status_code == 200


async def test_a_slow_provider_leaves_the_others_their_places(harness_with: HarnessOf) -> None:
    harness = harness_with(times=Times(5.0, 60.0))
    replies, answers = harness.provider.replies, asyncio.Event()

    async def waiting(exchange: LoopbackExchange) -> None:
        await answers.wait()
        del replies[DISCOVERY]
        await harness.provider.serve(exchange)

    async def twin() -> int:
        return (await harness.http.post("/v1/oidc/twin:start", json={})).status_code

    assert await twin() == 200  # the server keeps its configuration
    replies[DISCOVERY] = waiting
    most = MOST_AT_ONCE // 2
    starts = [asyncio.create_task(harness.start()) for _ in range(most + 1)]
    (refused, *_), held = await asyncio.wait(starts, return_when=asyncio.FIRST_COMPLETED)
    assert (reason(refused.result()), of_rest(refused.result()).metadata) == (
        "OVERLOADED",
        {"limit": str(most)},
    )
    assert (len(held), await twin()) == (most, 200)
    answers.set()
    assert {(await one).status_code for one in held} == {200}


async def test_a_provider_that_misbehaves_at_the_end(harness_with: HarnessOf) -> None:
    for path, reply in product(("/keys", "/token"), BAD_REPLIES):
        harness = harness_with(times=Times(5.0, 0.3))
        harness.provider.replies = {path: reply}
        found = await harness.sign_in()
        assert reason(found) in ("PART_UNAVAILABLE", "OIDC_FAILED"), (path, reply)
    assert harness.rows("SELECT 1 FROM responsa.session") == []


async def test_a_configuration_that_is_not_good(harness_with: HarnessOf) -> None:
    configurations: list[dict[str, Any]] = [
        {"issuer": "https://evil.example"},
        {"issuer": None},
        {"token_endpoint": "http://192.0.2.1/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"token_endpoint": "https://user:pass@login.example/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
        {"authorization_endpoint": "http://login.example/authorize"},
        {"code_challenge_methods_supported": ["plain"]},
    ]
    for configuration in configurations:
        harness = harness_with()
        harness.provider.configuration = configuration
        assert reason(await harness.start()) == "PART_UNAVAILABLE", configuration


async def test_good_replies_that_are_too_long_are_refused(harness: Harness) -> None:
    harness.provider.configuration = {"padding": "x" * openid_provider.CONFIGURATION_BYTES}
    assert reason(await harness.start()) == "PART_UNAVAILABLE"
    harness.provider.configuration = {}
    harness.clock.moved = openid_provider.FAILED_SECONDS + 1
    harness.provider.published[0]["padding"] = "x" * openid_provider.KEYS_BYTES
    harness.provider.id_claims = {"iat": int(harness.clock())}
    assert reason(await harness.sign_in()) == "PART_UNAVAILABLE"
    del harness.provider.published[0]["padding"]
    harness.clock.moved *= 2
    assert (await harness.sign_in()).status_code == 200


@pytest.mark.parametrize(
    ("issuer", "address", "good"),
    [
        ("https://login.example", "https://keys.example/x", True),
        ("https://login.example", "https://10.0.0.5/x", True),
        ("https://login.example", "http://login.example/x", False),
        ("https://login.example", "https://127.0.0.1/x", False),
        ("https://login.example", "https://[::1]:5432/x", False),
        ("https://login.example", "https://localhost/x", False),
        ("https://login.example", "http://localhost/x", False),
        ("http://127.0.0.1:9", "http://127.0.0.1:10/x", True),
        ("http://127.0.0.1:9", "https://login.example/x", True),
        ("http://127.0.0.1:9", "http://login.example/x", False),
        ("https://login.example", "https://a@login.example/x", False),
        ("https://login.example", "https://login.example/x#y", False),
        ("https://login.example", "https://login.example/\n", False),
        ("https://login.example", "https://[::1", False),
        ("https://login.example", "", False),
    ],
)
def test_the_addresses_that_a_configuration_may_name(issuer: str, address: str, good: bool) -> None:
    """A provider outside cannot make the server ask something on this machine."""
    settings = OidcProviderSettings(issuer=issuer, client_id="x")
    provider = openid_provider.OpenIdProvider("corp", settings)
    read = provider._endpoint
    if good:
        assert read({"jwks_uri": address}, "jwks_uri") == address
    else:
        with pytest.raises(openid_provider.ProviderFault):
            read({"jwks_uri": address}, "jwks_uri")


async def test_a_provider_cannot_make_the_server_reach_the_organisations_own_network() -> None:
    """The issuer names any address, and its name may stand for any address."""
    settings = OidcProviderSettings(
        issuer="https://login.example", client_id="x", allow_private=("10.0.0.6",)
    )
    provider = openid_provider.OpenIdProvider("corp", settings, Times(0.1, 10.0))
    reach = provider._reach.allowed
    assert not reach.may_reach("keys.example", ip_address("10.0.0.5"))
    assert reach.may_reach("keys.example", ip_address("10.0.0.6"))
    assert reach.may_reach("login.example", ip_address("10.0.0.5"))
    assert not reach.may_reach("login.example", ip_address("169.254.169.254"))
    await raises(Unavailable, provider._read("https://10.0.0.5/keys", 100))


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": "http://login.example"},
        {"issuer": "https://login.example/?x"},
        {"issuer": "login.example"},
        {"issuer": "https://2130706433"},
        {"allow_private": "169.254.169.254"},
        {"scopes": "email"},
        {"algorithms": "HS256"},
        {"algorithms": "none"},
        {"algorithms": ""},
        {"allowed_domains": "@example.org"},
        {"allowed_domains": "example"},
        {"role_claim": "groups"},
        {"roles": {"x": "admin"}},
        {"role_claim": "groups", "roles": {"x": "service"}},
        {"role_claim": "groups", "roles": {"x": "owner"}},
        {"role_required": True},
        {"tenant": "A B"},
        {"client_id": ""},
        {"client_password": "x"},
    ],
)
def test_wrong_settings_do_not_start(wrong: dict[str, Any]) -> None:
    given: dict[str, Any] = {"issuer": "https://login.example", "client_id": "x", **wrong}
    with pytest.raises(ValidationError):
        OidcProviderSettings(**given)


async def test_a_reply_without_the_cookie_of_the_sign_in(harness: Harness) -> None:
    """Login CSRF and an injected code: the reply belongs to another browser's sign-in."""
    uri = await harness.begin()
    mine = dict(harness.http.cookies)
    harness.http.cookies.clear()
    assert reason(await harness.back(uri)) == "OIDC_FAILED"
    # The victim has begun a sign-in, too. The attacker's state and code do not fit the victim's cookie.
    await harness.begin()
    assert reason(await harness.back(uri)) == "OIDC_FAILED"
    # The attacker's code with the victim's state: the verifier does not fit the code.
    victims = await harness.begin()
    code = parse_qs(urlsplit(uri).query)["code"][0]
    state = parse_qs(urlsplit(victims).query)["state"][0]
    stolen = f"{victims.partition('?')[0]}?{urlencode({'code': code, 'state': state})}"
    assert reason(await harness.back(stolen)) == "OIDC_FAILED"
    assert mine
    assert harness.rows("SELECT 1 FROM responsa.session") == []


async def test_a_repeated_reply_is_refused(harness: Harness) -> None:
    harness.provider.reuses_codes = True
    uri = await harness.begin()
    cookie = harness.http.cookies.get("responsa_oidc")
    assert cookie is not None
    assert (await harness.back(uri)).status_code == 200
    assert harness.http.cookies.get("responsa_oidc") is None
    again = await harness.http.get(uri, headers={"cookie": f"responsa_oidc={cookie}"})
    assert reason(again) == "OIDC_FAILED"
    # Even with a fresh code of the same person.
    query = dict(parse_qsl(urlsplit(uri).query))
    query["code"] = "fresh"
    assert (
        reason(
            await harness.http.get(
                f"{uri.partition('?')[0]}?{urlencode(query)}", headers={"cookie": f"responsa_oidc={cookie}"}
            )
        )
        == "OIDC_FAILED"
    )
    assert len(harness.rows("SELECT 1 FROM responsa.session")) == 1


async def test_racing_repetitions_make_one_session(harness: Harness) -> None:
    harness.provider.reuses_codes = True
    uri = await harness.begin()
    cookie = {"cookie": f"responsa_oidc={harness.http.cookies.get('responsa_oidc')}"}
    harness.http.cookies.clear()
    replies = await asyncio.gather(*(harness.http.get(uri, headers=cookie) for _ in range(8)))
    assert sorted(reply.status_code for reply in replies) == [200] + [401] * 7
    assert len(harness.rows("SELECT 1 FROM responsa.session")) == 1


async def test_a_cookie_of_another_provider_or_server_or_time(harness: Harness) -> None:
    uri = await harness.begin()
    cookie = harness.http.cookies.get("responsa_oidc")
    assert cookie is not None
    twin = uri.replace("/corp/", "/twin/")
    assert (
        reason(await harness.http.get(twin, headers={"cookie": f"responsa_oidc={cookie}"})) == "OIDC_FAILED"
    )
    for bad in (cookie.swapcase(), "", "x", cookie + "x" * 5000, "ä" * 3):
        encoded = f"responsa_oidc={bad}".encode()
        reply = await harness.http.get(uri, headers=[(b"cookie", encoded)])
        assert reason(reply) == "OIDC_FAILED"
    for moved in (601, -61):
        harness.clock.moved = moved
        reply = await harness.http.get(uri, headers={"cookie": f"responsa_oidc={cookie}"})
        assert reason(reply) == "OIDC_FAILED"
    # The clock of another replica may be behind.
    harness.clock.moved = -30
    assert (await harness.http.get(uri, headers={"cookie": f"responsa_oidc={cookie}"})).status_code == 200


async def test_a_reply_that_is_not_good(harness: Harness) -> None:
    extras: list[tuple[dict[str, str], str]] = [
        ({"iss": "https://evil.example"}, "OIDC_FAILED"),
        ({"error": "access_denied"}, "OIDC_FAILED"),
        ({"code": ""}, "OIDC_FAILED"),
        ({"state": ""}, "OIDC_FAILED"),
        ({"state": "ä"}, "OIDC_FAILED"),
        ({"code": "x" * 5000}, "INVALID_FIELD"),
    ]
    for extra, expected in extras:
        uri = await harness.begin()
        query = {**dict(parse_qsl(urlsplit(uri).query)), **extra}
        assert reason(await harness.back(f"{uri.partition('?')[0]}?{urlencode(query)}")) == expected, extra
    assert reason(await harness.back(f"{await harness.begin()}&state=x")) == "INVALID_FIELD"


async def test_a_provider_that_names_itself_must_do_so(harness: Harness) -> None:
    harness.provider.configuration = {"authorization_response_iss_parameter_supported": True}
    assert reason(await harness.back(await harness.begin())) == "OIDC_FAILED"
    uri = await harness.begin()
    assert (await harness.back(f"{uri}&{urlencode({'iss': harness.provider.issuer})}")).status_code == 200


async def test_a_start_that_is_not_good(harness: Harness) -> None:
    """No open redirect, either."""
    targets = (
        "https://evil.example",
        "//evil.example",
        "/\\evil.example",
        "/#a b",
        "/x",
        "",
        '/#x"><script>',
        "/?x;y",
        "/?x'y",
        "/?x#y#z",
        "/..//evil.example",
        "/#" + "x" * 1201,
        "/?" + "x" * 301,
        7,
    )
    bodies: list[dict[str, object]] = [{"link": "yes"}, {"invitation": "rsi_short"}, {"unknown": 1}]
    for body in (*bodies, *({"returnTo": target} for target in targets)):
        reply = await harness.start(**body)
        assert (reply.status_code, reason(reply)) == (400, "INVALID_FIELD"), body


async def test_a_form_of_another_site_begins_nothing(harness: Harness) -> None:
    for headers in (
        {"content-type": "text/plain"},
        {"content-type": "application/json", "origin": "https://evil.example"},
        {"content-type": "application/json", "sec-fetch-site": "cross-site"},
    ):
        reply = await harness.http.post("/v1/oidc/corp:start", content=b"{}", headers=headers)
        assert reply.status_code in (400, 403)
        assert "set-cookie" not in reply.headers


async def test_a_provider_that_does_not_exist(harness: Harness) -> None:
    for reply in (
        await harness.http.post("/v1/oidc/none:start", json={}),
        await harness.http.get("/v1/oidc/none/callback"),
    ):
        assert (reply.status_code, reason(reply)) == (404, "ROUTE_NOT_FOUND")


async def test_strange_paths_set_no_cookie(harness: Harness) -> None:
    uri = await harness.begin()
    for method, path in (
        ("HEAD", uri),
        ("GET", "/v1/oidc/x%3B%20Domain=evil.example/callback"),
        ("GET", "/v1/oidc/x%0d%0aset-cookie:a=b/callback"),
        ("POST", "/v1/oidc/x%3By:start"),
    ):
        reply = await harness.http.request(method, path)
        assert reply.status_code in (400, 404)
        assert "set-cookie" not in reply.headers
    # HEAD has not used the sign-in up.
    assert (await harness.back(uri)).status_code == 200


async def test_a_browser_gets_a_page_that_says_what_is_wrong(harness: Harness) -> None:
    reply = await harness.back(f"{HOST}/v1/oidc/corp/callback?state=<b>", accept="text/html,*/*")
    assert reply.status_code == 401
    assert reply.headers["content-type"].startswith("text/html")
    assert "Begin again" in reply.text
    assert "<b>" not in reply.text
    assert "refresh" not in reply.text


async def test_roles_follow_the_claim_at_the_next_sign_in(harness_with: HarnessOf) -> None:
    harness = harness_with(role_claim="realm.roles", roles={"bosses": "admin", "staff": "user"})
    other = await harness.people.identity.create_user("acme", "Root", "", Role.ADMIN)
    for roles, expected in (
        (["staff", "bosses"], Role.ADMIN),
        (["staff"], Role.USER),
        ("bosses", Role.ADMIN),
        ([], Role.USER),
        ([7, None], Role.USER),
    ):
        harness.provider.person = {**ANN, "realm": {"roles": roles}}
        assert (await harness.sign_in()).status_code == 200
        assert (await harness.me()).role is expected
        assert (await harness.principal()).role is expected
    assert ("oidcProviders/corp", "user.update", "OK") in harness.events()
    # The last administrator stays one, and signs in.
    harness.provider.person = {**ANN, "realm": {"roles": ["bosses"]}}
    await harness.sign_in()
    await PostgresUsers(harness.people.store._database).update(
        "acme",
        other.id,
        UserChange(role=Role.USER),
        "",
        None,
    )
    harness.provider.person = dict(ANN)
    assert (await harness.sign_in()).status_code == 200
    assert (await harness.me()).role is Role.ADMIN
    assert ("oidcProviders/corp", "user.update", "LAST_ADMINISTRATOR") in harness.events()


async def test_the_subject_follows_the_claim(harness_with: HarnessOf) -> None:
    harness = harness_with(subject_claim="employee_number")
    for given, expected in (("E-7", "E-7"), ("E-8", "E-8"), (None, ""), ("x" * 201, ""), ("a\u0000", "")):
        harness.provider.person = {**ANN, "employee_number": given}
        await harness.sign_in()
        assert harness.rows(
            "SELECT u.subject FROM responsa.app_user AS u JOIN responsa.user_identity AS i ON i.user_id = u.id"
        ) == [(expected,)]


async def test_each_sign_in_replaces_the_groups_of_its_provider(
    harness_with: HarnessOf, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    harness = harness_with(groups_claim="groups")
    issuer = harness.provider.issuer
    groups = PostgresGroups(database, uuid7)
    admin = Principal("acme", uuid7(), Role.ADMIN, "api_key")
    made: dict[str, UUID] = {}
    for name, mapped in (
        ("Sales", [("s1", issuer), ("s2", issuer)]),
        ("Field", [("f1", issuer)]),
        ("Elsewhere", [("s1", "https://other.example.org")]),
        ("s1", []),  # a name is no mapping
    ):
        pairs = [{"issuer": of, "value": value} for value, of in mapped]
        row = await groups.create(admin, {"display_name": name, "provider_groups": pairs})
        made[name] = row.id

    def memberships() -> list[tuple[Any, ...]]:
        return harness.rows(
            "SELECT g.display_name, m.value FROM responsa.group_member AS m JOIN responsa.user_group AS g "
            "ON g.id = m.group_id ORDER BY g.display_name, m.value"
        )

    for claim, expected in (
        ({"groups": ["s1", "f1", "f1", "x", 7]}, [("Field", "f1"), ("Sales", "s1")]),
        ({"groups": ["s2", "s1"]}, [("Sales", "s1"), ("Sales", "s2")]),
        ({"groups": "f1"}, [("Field", "f1")]),
        ({"groups": []}, []),
    ):
        harness.provider.person = {**ANN, **claim}
        caplog.clear()
        assert (await harness.sign_in()).status_code == 200
        assert memberships() == expected
        assert not [one for one in caplog.messages if "groups" in one]
    # Neither a missing claim nor an overage gives groups, and the log says so.
    missing, left_out = "is missing", "has too many values for the provider to send"
    for claim, cause in (
        ({}, missing),
        ({"_claim_names": {"groups": "src1"}}, left_out),
        ({"groups": ["s1"], "hasgroups": True}, left_out),
    ):
        harness.provider.person = {**ANN, "groups": ["s1"]}
        await harness.sign_in()
        assert memberships() == [("Sales", "s1")]
        harness.provider.person = {**ANN, **claim}
        caplog.clear()
        assert (await harness.sign_in()).status_code == 200
        assert memberships() == []
        assert [one for one in caplog.messages if one.endswith(f"groups_claim groups: {cause}")]
    # A sign-in that changes nothing writes nothing; the others name the provider and the user.
    harness.provider.person = {**ANN, "groups": ["s1"]}
    for _ in range(2):
        await harness.sign_in()
    user = (await harness.me()).id
    assert harness.rows(
        "SELECT actor, action, resource_name, affected_user, added_readers FROM responsa.audit_event "
        "WHERE actor = 'oidcProviders/corp' AND resource_name LIKE 'groups/%' ORDER BY id DESC LIMIT 1"
    ) == [("oidcProviders/corp", "group.add_members", f"groups/{made['Sales']}", user, [f"users/{user}"])]
    assert harness.rows(
        "SELECT action, count(*) FROM responsa.audit_event WHERE actor = 'oidcProviders/corp' AND resource_name LIKE 'groups/%' "
        "GROUP BY action ORDER BY action"
    ) == [("group.add_members", 7), ("group.remove_members", 6)]
    # What an administrator takes out of the mapping ends at once, and what an administrator added stays.
    await groups.add(admin, made["Sales"], [user])
    await groups.update(admin, made["Sales"], {"provider_groups": []}, "")
    assert memberships() == [("Sales", "")]
    harness.provider.person = {**ANN, "groups": []}
    await harness.sign_in()
    assert memberships() == [("Sales", "")]
    await groups.update(admin, made["Field"], {"provider_groups": [{"issuer": issuer, "value": "f2"}]}, "")
    harness.provider.person = {**ANN, "groups": ["f2"]}
    await harness.sign_in()
    assert memberships() == [("Field", "f2"), ("Sales", "")]
    (until,) = harness.rows("SELECT expire_time - now() FROM responsa.group_member WHERE value <> ''")
    assert timedelta(days=6) < until[0] <= timedelta(days=7)


async def test_a_signed_in_user_links_an_identity(harness: Harness) -> None:
    user = await password_session(harness, "ann@example.org")
    harness.provider.person = {"sub": "ann-at-work"}
    token = harness.http.cookies.get("responsa_session")
    for target, on in (
        ("/#account", "/#account?link="),
        ("/#a?b=c", "/#a?b=c&amp;link="),
        ("/?x", "/?x#?link="),
    ):
        reply = await harness.sign_in(link=True, returnTo=target)
        assert f'content="0; url={on}' in reply.text
    assert "responsa_session" not in reply.headers["set-cookie"]
    assert harness.http.cookies.get("responsa_session") == token
    # Until the page has confirmed it, nothing is linked.
    assert harness.rows("SELECT 1 FROM responsa.user_identity") == []
    done = await harness.link(prepared(reply), user.id)
    assert (done.status_code, done.json(), "set-cookie" in done.headers) == (200, {}, False)
    assert harness.events()[-1] == (f"users/{user.id}", "user.link", "OK")
    harness.http.cookies.clear()
    assert (await harness.sign_in()).status_code == 200
    assert (await harness.me()).id == user.id
    # Linking again changes nothing; another user cannot take the identity.
    count = len(harness.events())
    assert (await harness.sign_in_and_link(user.id)).status_code == 200
    assert len(harness.events()) == count
    bo = await password_session(harness, "bo@example.org")
    reply = await harness.sign_in_and_link(bo.id)
    assert (reply.status_code, reason(reply)) == (409, "OIDC_IDENTITY_TAKEN")
    assert harness.events()[-1] == (f"users/{bo.id}", "user.link", "OIDC_IDENTITY_TAKEN")


async def test_a_command_line_gets_tokens(harness_with: HarnessOf) -> None:
    harness = harness_with(command_line=True)
    reply = await harness.start(port=50_007)
    assert query_of(reply)["redirect_uri"] == "http://127.0.0.1:50007/callback/corp"
    back = urlsplit(harness.provider.consent(reply.json()["authorizationUri"]))
    assert back.netloc == "127.0.0.1:50007"
    cookies = dict(harness.http.cookies)
    path = f"/v1/oidc/corp/callback?{back.query}"
    # Without the cookie, which only the command line has, the reply is worth nothing.
    harness.http.cookies.clear()
    assert reason(await harness.http.get(path)) == "OIDC_FAILED"
    cookie = "; ".join(f"{name}={value}" for name, value in cookies.items())
    found = await harness.http.get(path, headers={"cookie": cookie})
    assert (found.status_code, "set-cookie" in found.headers) == (200, False)
    tokens = found.json()["tokens"]
    who = await harness.people.identity.authenticate(Credential("token", tokens["accessToken"]))
    assert found.json()["user"]["name"] == f"users/{who.user_id}"
    await harness.people.accounts.refresh(tokens["refreshToken"], None)
    for body in ({"port": 80}, {"port": True}, {"port": "50007"}, {"port": 50_007, "link": True}):
        assert reason(await harness.start(**body)) == "INVALID_FIELD"
    assert reason(await harness_with().start(port=50_007)) == "INVALID_FIELD"


async def test_the_last_way_to_sign_in_stays(harness: Harness, database: Database) -> None:
    provider = SignInProvider("corp", "acme", "Corp", harness.provider.issuer)
    store = PostgresOpenIdStore(database)
    linked = LinkedIdentities(store, harness.people.identity, [provider])
    await harness.sign_in()
    principal = replace(await harness.principal(), act="user.unlink")
    ((link, its_provider),) = await linked.list(principal)
    assert (link.sub, its_provider) == ("ann", provider)
    for identity, expected in ((link.id, Reason.LAST_SIGN_IN), (uuid7(), Reason.RESOURCE_NOT_FOUND)):
        assert (await raises(ResponsaError, linked.unlink(principal, identity))).reason is expected
    # Nobody can sign in with an identity of a provider that the settings have no longer.
    harness.rows(
        "INSERT INTO responsa.user_identity (tenant_id, issuer, sub, user_id) VALUES ('acme', "
        f"'https://former.example', 'ann', '{principal.user_id}') RETURNING 1"
    )
    assert [its_provider for _, its_provider in await linked.list(principal)] == [provider, None]
    await raises(Precondition, linked.unlink(principal, link.id))
    harness.provider.person = {"sub": "ann-at-work"}
    assert (await harness.sign_in_and_link(principal.user_id)).status_code == 200
    # Of two calls at once, one must leave a way to sign in.
    mine = [found.id for found, its_provider in await linked.list(principal) if its_provider]
    results = await asyncio.gather(
        *(linked.unlink(principal, found) for found in mine), return_exceptions=True
    )
    assert sum(found is None for found in results) == 1
    assert harness.events()[-1] == (f"users/{principal.user_id}", "user.unlink", "OK")
    # With a password, all may go, but not those of others.
    await harness.people.accounts.change_password(principal, "", GOOD, Origin())
    ((left, _),) = [found for found in await linked.list(principal) if found[1]]
    other = replace(principal, user_id=uuid7())
    await raises(NotFound, linked.unlink(other, left.id))
    await linked.unlink(principal, left.id)
    assert [its_provider for _, its_provider in await linked.list(principal)] == [None]
    harness.http.cookies.clear()
    assert reason(await harness.sign_in()) == "OIDC_NOT_ADMITTED"


async def test_linking_needs_a_recent_sign_in_of_this_tenant(harness: Harness) -> None:
    """Each refusal is in the audit log of the user's tenant, as an act of the user."""
    assert reason(await harness.start(link=True)) == "CREDENTIAL_MISSING"
    user = await password_session(harness, "bo@example.org")
    with psycopg.connect(harness.urls.superuser) as connection:
        connection.execute("UPDATE responsa.session SET sign_in_time = now() - interval '11 minutes'")
    assert reason(await harness.start(link=True)) == "SIGN_IN_REQUIRED"
    await harness.people.identity.create_tenant("rival", "Rival")
    eve = await harness.people.identity.create_user("rival", "Eve", "", Role.USER)
    code, _ = await harness.people.identity.create_session_code(
        Principal("rival", eve.id, Role.USER, "api_key")
    )
    await harness.http.post("/v1/sessions", json={"code": code, "replace": True})
    refused = await harness.start(link=True)
    assert reason(refused) == "OIDC_NOT_ADMITTED"
    assert user.id != eve.id
    query = (
        "SELECT tenant_id, actor, resource_name, outcome, address, call_id FROM "
        "responsa.audit_event WHERE action = 'user.link' ORDER BY id"
    )
    found = harness.rows(query)
    assert [one[:4] for one in found] == [
        ("acme", f"users/{user.id}", f"users/{user.id}", "SIGN_IN_REQUIRED"),
        ("rival", f"users/{eve.id}", f"users/{eve.id}", "OIDC_NOT_ADMITTED"),
    ]
    assert all(call_id for *_, call_id in found)


async def test_refused_links_cannot_fill_the_audit_log(harness: Harness) -> None:
    user = await password_session(harness, "bo@example.org")
    with psycopg.connect(harness.urls.superuser) as connection:
        connection.execute("UPDATE responsa.session SET sign_in_time = now() - interval '11 minutes'")
    for _ in range(MOST_REFUSED + 2):
        assert reason(await harness.start(link=True)) == "SIGN_IN_REQUIRED"
    refused = (f"users/{user.id}", "user.link", "SIGN_IN_REQUIRED")
    assert harness.events().count(refused) == MOST_REFUSED


async def test_a_page_that_is_drawn_for_another_user_links_nothing(harness: Harness) -> None:
    user = await password_session(harness, "bo@example.org")
    for named, expected in ((f"users/{uuid7()}", "CREDENTIAL_OF_OTHER_USER"), (f"users/{user.id}", "")):
        reply = await harness.http.post(
            "/v1/oidc/corp:start", json={"link": True}, headers={"responsa-user": named}
        )
        assert (reason(reply) if expected else reply.status_code) == (expected or 200)


async def test_a_session_that_ended_meanwhile_links_nothing(harness: Harness) -> None:
    user = await password_session(harness, "bo@example.org")
    uri = await harness.begin(link=True)
    await harness.http.delete("/v1/sessions")
    assert reason(await harness.back(uri)) == "SESSION_ENDED"
    assert harness.events()[-1] == (f"users/{user.id}", "user.link", "SESSION_ENDED")
    # Or before the confirmation.
    await harness.http.post("/v1/sessions", json={"tenant": "acme", "email": user.email, "password": GOOD})
    found = prepared(await harness.sign_in(link=True))
    await harness.http.delete("/v1/sessions")
    assert reason(await harness.link(found, user.id)) == "OIDC_FAILED"
    assert harness.events()[-1] == (f"users/{user.id}", "user.link", "OIDC_FAILED")
    assert harness.rows("SELECT 1 FROM responsa.user_identity") == []


async def test_a_planted_sign_in_links_the_visitor_to_nobody(harness_with: HarnessOf) -> None:
    """Over plain http, a page on another port of the host can set the cookie of a link that its author has begun, and
    send the visitor to the provider, who agrees by itself."""
    attacker, visitor = harness_with(), harness_with()
    mallory = await password_session(attacker, "mallory@example.org")
    uri = await attacker.begin(link=True)
    ann = await password_session(visitor, "bo@example.org")
    visitor.http.cookies.set("responsa_oidc", attacker.http.cookies.get("responsa_oidc") or "")
    found = prepared(await visitor.back(uri))
    assert reason(await visitor.link(found, ann.id)) == "OIDC_FAILED"
    assert reason(await visitor.link(found, mallory.id)) == "CREDENTIAL_OF_OTHER_USER"
    assert visitor.events()[-1] == (f"users/{mallory.id}", "user.link", "OIDC_FAILED")
    visitor.http.cookies.clear()
    assert reason(await visitor.link(found, mallory.id)) == "OIDC_FAILED"
    assert visitor.rows("SELECT 1 FROM responsa.user_identity") == []


async def test_a_link_is_confirmed_by_the_page_alone(harness: Harness) -> None:
    user = await password_session(harness, "ann@example.org")
    # The longest name that a provider may give.
    harness.provider.person = {"sub": "\U00010348" * 255}
    flow = await harness.begin(link=True, returnTo="/#" + "x" * 1200)
    cookie = harness.http.cookies.get("responsa_oidc") or ""
    preparation = prepared(await harness.back(flow))
    assert len(preparation) < 4000
    for headers in (
        {"origin": OTHER},
        {"origin": "http://localhost:8081"},
        {"origin": "null"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
    ):
        assert reason(await harness.link(preparation, user.id, **headers)) == "ORIGIN_NOT_ALLOWED"
        begun = await harness.http.post("/v1/oidc/corp:start", json={}, headers=headers)
        assert (reason(begun), "set-cookie" in begun.headers) == ("ORIGIN_NOT_ALLOWED", False)
    unnamed = await harness.http.post("/v1/oidc/corp:link", json={"link": preparation})
    assert of_rest(unnamed).reason == "INVALID_FIELD"
    named = {"responsa-user": f"users/{user.id}"}
    form = await harness.http.post("/v1/oidc/corp:link", data={"link": preparation}, headers=named)
    assert reason(form) == "MALFORMED_MESSAGE"
    assert (
        reason(await harness.http.post("/v1/oidc/corp:link", json={"link": 7}, headers=named))
        == "INVALID_FIELD"
    )
    for other in (cookie, preparation.swapcase(), ""):
        assert reason(await harness.link(other, user.id)) == "OIDC_FAILED"
    twin = await harness.http.post("/v1/oidc/twin:link", json={"link": preparation}, headers=named)
    assert reason(twin) == "OIDC_FAILED"
    harness.clock.moved = 601
    assert reason(await harness.link(preparation, user.id)) == "OIDC_FAILED"
    harness.clock.moved = 0
    # It is not a sign-in, either.
    again = await harness.http.get(flow, headers={"cookie": f"responsa_oidc={preparation}"})
    assert reason(again) == "OIDC_FAILED"
    assert harness.rows("SELECT 1 FROM responsa.user_identity") == []
    assert (await harness.link(preparation, user.id, origin=HOST)).status_code == 200


async def test_two_cookies_of_one_name_are_refused(harness: Harness) -> None:
    """A page on another port of the host can set a second one, with a longer path."""
    uri = await harness.begin()
    flow = harness.http.cookies.get("responsa_oidc")
    doubled = {"cookie": f"responsa_oidc=planted; responsa_oidc={flow}"}
    reply = await harness.http.get(uri, headers=doubled)
    assert (reply.status_code, reason(reply)) == (401, "CREDENTIAL_MALFORMED")
    assert "responsa_oidc" in of_rest(reply).message
    user = await password_session(harness, "bo@example.org")
    session = harness.http.cookies.get("responsa_session")
    harness.http.cookies.clear()
    doubled = {"cookie": f"responsa_session=rss_{'A' * 43}; responsa_session={session}"}
    body = {"tenant": "acme", "email": user.email, "password": GOOD}
    for reply in (
        await harness.http.post("/v1/oidc/corp:start", json={}, headers=doubled),
        await harness.http.post("/v1/sessions", json=body, headers=doubled),
        await harness.http.delete("/v1/sessions", headers=doubled),
    ):
        assert (reply.status_code, of_rest(reply).reason) == (401, "CREDENTIAL_MALFORMED")
    # The session has not ended, and equal cookies are one.
    same = {"cookie": f"responsa_session={session}; responsa_session={session}"}
    assert (await harness.http.delete("/v1/sessions", headers=same)).status_code == 200


async def test_a_sign_in_replaces_the_browsers_session_if_the_page_has_asked(harness: Harness) -> None:
    await password_session(harness, "bo@example.org")
    before = await harness.principal()
    reply = await harness.sign_in()
    assert (reply.status_code, reason(reply)) == (409, "RESOURCE_ALREADY_EXISTS")
    assert (await harness.principal()).session_id == before.session_id
    assert (await harness.sign_in(replace=True)).status_code == 200
    (ended,) = await harness.people.identity.recheck([before])
    assert ended is not None
    assert len(harness.rows("SELECT 1 FROM responsa.session")) == 1
    assert (await harness.me()).email == "ann@example.org"
    # The same user's session needs no question, and is replaced, too.
    before = await harness.principal()
    assert (await harness.sign_in()).status_code == 200
    (ended,) = await harness.people.identity.recheck([before])
    assert ended is not None
    assert len(harness.rows("SELECT 1 FROM responsa.session")) == 1


async def test_a_session_that_has_ended_meanwhile_needs_no_question(harness: Harness) -> None:
    await password_session(harness, "bo@example.org")
    uri = await harness.begin()
    await harness.http.delete("/v1/sessions")
    assert (await harness.back(uri)).status_code == 200


async def test_attempts_of_an_address_are_limited(harness_with: HarnessOf) -> None:
    harness = harness_with(passwords=PasswordSettings(attempts_per_address=3))
    for _ in range(5):
        assert (await harness.sign_in()).status_code == 200
    harness.provider.id_claims = {"nonce": "another"}
    for place in range(3):
        # The addresses of a household's network count together.
        harness.http.headers["x-forwarded-for"] = f"2001:db8::{place + 1:x}"
        assert reason(await harness.sign_in()) == "OIDC_FAILED"
    harness.http.headers["x-forwarded-for"] = "2001:db8::ffff"
    reply = await harness.sign_in()
    assert (reply.status_code, reason(reply)) == (429, "TOO_MANY_ATTEMPTS")


async def test_over_tls_the_cookie_belongs_to_this_host_alone(harness_with: HarnessOf) -> None:
    harness = harness_with(public_url="https://chat.example.org")
    reply = await harness.start()
    cookie = reply.headers["set-cookie"].split("; ")
    assert cookie[0].startswith("__Host-responsa_oidc=")
    assert {"Secure", "Path=/", "HttpOnly", "SameSite=lax"} <= set(cookie)
    assert not any(one.startswith("Domain") for one in cookie)
    uri = harness.provider.consent(reply.json()["authorizationUri"])
    assert uri.startswith("https://chat.example.org/v1/oidc/corp/callback?")
    assert (await harness.back(uri)).status_code == 200
    elsewhere = await harness.http.post("http://localhost:8080/v1/oidc/corp:start", json={})
    assert (elsewhere.status_code, reason(elsewhere)) == (403, "ORIGIN_NOT_ALLOWED")


async def test_another_host_than_loopback_is_reached_over_tls(harness: Harness) -> None:
    reply = await harness.http.post("https://chat.example.org/v1/oidc/corp:start", json={})
    assert reply.headers["set-cookie"].startswith("__Host-responsa_oidc=")
    assert query_of(reply)["redirect_uri"] == "https://chat.example.org/v1/oidc/corp/callback"
    uri = harness.provider.consent(reply.json()["authorizationUri"])
    assert (await harness.back(uri)).status_code == 200


async def test_a_tenant_that_does_not_exist(harness_with: HarnessOf) -> None:
    harness = harness_with(tenant="nowhere")
    assert reason(await harness.sign_in()) == "OIDC_FAILED"


def test_secrets_do_not_show() -> None:
    settings = OidcProviderSettings(issuer="https://a.example", client_id="x", client_secret=SECRET)
    assert SECRET not in repr(settings)
