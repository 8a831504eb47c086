"""Attacks on the sign-in of a real instance, behind Envoy, by somebody who knows the source code."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

import httpx2
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from responsa_client import Responsa
from responsa_client.errors import Unauthenticated
from tests.callers import PASSWORD, Credential, Registry, Tenant
from tests.gateway.wire import OWN
from tests.instance import Instance

OTHER = "seven purple walruses hum"
ME = "/v1/users/me"


@pytest.fixture(scope="module")
def tenant(registry: Registry) -> Tenant:
    """A tenant whose user has a password."""
    made = registry.new_tenant()
    made.headers(Credential.TOKEN)
    return made


def email(tenant: Tenant) -> str:
    return f"user@{tenant.name}.example"


def encoded(value: object) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def decoded(part: str) -> Any:
    return json.loads(base64.urlsafe_b64decode(part + "=="))


def forgeries(token: str, keys: list[Mapping[str, str]], foreign: Ed25519PrivateKey) -> dict[str, str]:
    """Tokens that nobody may accept, made from a good one."""
    first, second, signature = token.split(".")
    header, claims = decoded(first), decoded(second)
    public = next(one for one in keys if one["kid"] == header["kid"])
    raw = base64.urlsafe_b64decode(public["x"] + "==")
    own = {"kty": "OKP", "crv": "Ed25519", "x": encoded(foreign.public_key().public_bytes_raw())}

    def signed(fields: Mapping[str, object], content: object = claims) -> str:
        """A token with these fields in its header, signed with the attacker's key."""
        text = f"{encoded({**header, **fields})}.{encoded(content)}"
        return f"{text}.{encoded(foreign.sign(text.encode()))}"

    def keyed(key: bytes) -> str:
        """A token whose signature is an HMAC with the public key."""
        text = f"{encoded({**header, 'alg': 'HS256'})}.{second}"
        return f"{text}.{encoded(hmac.digest(key, text.encode(), hashlib.sha256))}"

    pem = jwt.PyJWK(dict(public)).key.public_bytes_raw()
    twice = b'{"alg":"none","alg":"EdDSA","typ":"at+jwt","kid":"' + header["kid"].encode() + b'"}'
    return {
        "another key": signed({}),
        "not signed": f"{encoded({**header, 'alg': 'none'})}.{second}.",
        "not signed, in other letters": f"{encoded({**header, 'alg': 'nOnE'})}.{second}.",
        "not signed, but says EdDSA": f"{first}.{second}.",
        "HMAC with the public key": keyed(raw),
        "HMAC with the key's text": keyed(public["x"].encode()),
        "HMAC with the key as PyJWT has it": keyed(pem),
        "an embedded key": signed({"jwk": own}),
        "the address of a key": signed({"jku": "http://127.0.0.1:1/jwks.json"}),
        "the address of a certificate": signed({"x5u": "http://127.0.0.1:1/x.pem"}),
        "a kid that is a path": signed({"kid": "../../../../dev/null"}),
        "a kid that is SQL": signed({"kid": "' UNION SELECT '"}),
        "no kid": signed({"kid": None}),
        "a kid that is a number": signed({"kid": 1}),
        "a kid that is not text": signed({"kid": [header["kid"]]}),
        "a kid with NUL": signed({"kid": "\0"}),
        "critical extensions": signed({"crit": ["b64"], "b64": False}),
        "another type": signed({"typ": "JWT"}),
        "another algorithm": signed({"alg": "ES256"}),
        "a nested token": signed({"cty": "JWT"}, token),
        "a header with alg twice": f"{encoded(twice)}.{second}.{signature}",
        "an altered user": f"{first}.{encoded({**claims, 'sub': claims['sid']})}.{signature}",
        "a longer life": f"{first}.{encoded({**claims, 'exp': claims['exp'] + 9999})}.{signature}",
        "claims that are a list": signed({}, [claims]),
        "a header that is a list": f"W10.{second}.{signature}",
        "a deep header": f"{encoded(b'[' * 1500)}.{second}.{signature}",
        "a huge token": f"{first}.{second}{'A' * 6000}.{signature}",
        "parts in another order": f"{second}.{first}.{signature}",
        "four parts": f"{token}.{signature}",
        "two parts": f"{first}.{second}",
        "points alone": "..",
        "no token": "not.a.token",
        "a cut signature": token[:-4],
        "no signature's bytes": f"{first}.{second}.!!!",
    }


def test_every_forged_token_gets_the_same_reply(http: httpx2.Client, tenant: Tenant) -> None:
    token = tenant.headers(Credential.TOKEN)["authorization"].partition(" ")[2]
    keys = http.get("/.well-known/jwks.json").json()["keys"]
    assert http.get(ME, headers={"authorization": f"Bearer {token}"}).status_code == 200
    replies: dict[str, list[str]] = {}
    for name, forged in forgeries(token, keys, Ed25519PrivateKey.generate()).items():
        reply = http.get(ME, headers={"authorization": f"Bearer {forged}"})
        assert reply.status_code == 401, name
        body = reply.json()
        assert body["details"][0]["reason"] == "TOKEN_INVALID", name
        # The id of the call is the only difference.
        body["details"] = [one for one in body["details"] if "requestId" not in one]
        replies.setdefault(json.dumps(body, sort_keys=True), []).append(name)
    assert len(replies) == 1, replies


def test_a_reply_does_not_tell_whether_an_account_exists(http: httpx2.Client, tenant: Tenant) -> None:
    def answer(address: str, place: str) -> tuple[int, dict[str, str], object]:
        body = {"tenant": place, "email": address, "password": OTHER}
        reply = http.post("/v1/sessions", json=body)
        varying = {"date", "x-request-id", "x-envoy-upstream-service-time"}
        content = reply.json()
        content["details"] = [one for one in content["details"] if "requestId" not in one]
        return reply.status_code, {k: v for k, v in reply.headers.items() if k not in varying}, content

    first = answer(email(tenant), tenant.name)
    assert (first[0], "set-cookie" in first[1]) == (401, False)
    assert answer(f"nobody@{tenant.name}.example", tenant.name) == first
    assert answer(email(tenant), "no-such-tenant") == first


def test_no_way_to_write_an_address_gives_more_attempts(http: httpx2.Client, registry: Registry) -> None:
    """All these are the same account, and the client cannot choose the address from which it comes."""
    made = registry.new_tenant()
    made.headers(Credential.TOKEN)
    plain = email(made)
    kelvin = plain.replace("e", "\uff45").upper()
    spellings = [plain, plain.upper(), f" {plain} ", kelvin, plain.replace("@", "\uff20"), plain.title()]
    statuses: list[int] = []
    for number in range(12):
        body = {"tenant": made.name, "email": spellings[number % len(spellings)], "password": OTHER}
        forged = f"203.0.113.{number}"
        headers = {"x-forwarded-for": forged, "x-real-ip": forged, "forwarded": f"for={forged}"}
        statuses.append(http.post("/v1/sessions", json=body, headers=headers).status_code)
    assert statuses == [401] * 10 + [429] * 2
    for name in (f"tenants/{made.name}", made.name):
        reply = http.post("/v1/auth:login", json={"tenant": name, "email": plain, "password": PASSWORD})
        assert reply.status_code == 429


def test_a_password_may_contain_any_space(http: httpx2.Client, registry: Registry) -> None:
    """A keyboard may write a no-break space. All ways to sign in accept the same passwords."""
    made = registry.new_tenant()
    made.headers(Credential.TOKEN)
    spaced = "four\u00a0uncommon\u3000marmots yodel"
    with Responsa(str(http.base_url).rstrip("/")) as client:
        signed = client.login(email(made), PASSWORD, made.name)
        with Responsa(str(http.base_url).rstrip("/"), signed.tokens.access_token) as me:
            me.change_password(PASSWORD, spaced)
        client.login(email(made), spaced, made.name)
    body = {"tenant": made.name, "email": email(made), "password": spaced}
    assert http.post("/v1/sessions", json=body).status_code == 200


def test_a_session_from_before_the_sign_in_is_not_used_after_it(
    http: httpx2.Client, instance: Instance, tenant: Tenant
) -> None:
    """Session fixation: a cookie that an attacker planted does not become the session of the user who signs in."""
    name = f"responsa_session_{instance.port}"
    planted = "rss_" + "A" * 43
    body = {"tenant": tenant.name, "email": email(tenant), "password": PASSWORD}
    reply = http.post("/v1/sessions", json=body, headers={"cookie": f"{name}={planted}", **OWN})
    assert planted not in reply.headers["set-cookie"]
    http.cookies.clear()
    assert http.get(ME, headers={"cookie": f"{name}={planted}"}).status_code == 401
    # A cookie of another name, which any other port of this host can set, is never a session.
    token = tenant.headers(Credential.SESSION)["cookie"].partition("=")[2]
    assert http.get(ME, headers={"cookie": f"responsa_session={token}"}).status_code == 401


def test_no_secret_is_in_a_log(http: httpx2.Client, instance: Instance, tenant: Tenant) -> None:
    with Responsa(instance.url) as nobody:
        tokens = nobody.login(email(tenant), PASSWORD, tenant.name).tokens
        fresh = nobody.refresh_tokens(tokens.refresh_token)
        with pytest.raises(Unauthenticated):
            nobody.reset_password("rsx_" + "B" * 43, OTHER)
    http.post("/v1/sessions", json={"tenant": tenant.name, "email": email(tenant), "password": OTHER})
    http.post("/v1/sessions", json={"code": "rsc_" + "B" * 43})
    http.get(f"/v1/users/me?access_token={tokens.access_token}")
    secrets = [
        PASSWORD,
        OTHER,
        fresh.refresh_token,
        tokens.refresh_token,
        fresh.access_token,
        tokens.access_token.rpartition(".")[2],
        "B" * 43,
        tenant.key(),
        tenant.headers(Credential.SESSION)["cookie"].partition("=")[2],
        (instance.home / "token-secret").read_text().strip(),
    ]
    logs = [path for path in (instance.home / "logs").iterdir() if path.is_file()]
    assert any(one.stat().st_size for one in logs)
    for log in logs:
        text = log.read_text(errors="replace")
        assert [secret for secret in secrets if secret in text] == [], log.name
