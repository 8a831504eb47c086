"""An OpenID Connect provider on loopback: OpenID Connect Core 1.0 and Discovery 1.0, PKCE (RFC 7636), written from the
standards on 2026-11-22. It signs with real keys, checks what a good provider checks, and can misbehave.
"""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import parse_qs, parse_qsl, unquote, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import RSAAlgorithm

from responsa_lab.testing.loopback import LoopbackExchange, LoopbackServer

CLIENT: Final = "responsa & co"
SECRET: Final = "a secret: of+the client"
DISCOVERY: Final = "/.well-known/openid-configuration"

Handler = Callable[[LoopbackExchange], Awaitable[None]]


class Key:
    """A signing key. To make one takes up to a second, so tests share them."""

    def __init__(self, kid: str) -> None:
        self.kid = kid
        self.private = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def jwk(self) -> dict[str, Any]:
        numbers = json.loads(RSAAlgorithm.to_jwk(self.private.public_key()))
        return {**numbers, "kid": self.kid, "use": "sig", "alg": "RS256"}

    @property
    def pem(self) -> bytes:
        return self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@dataclass
class Grant:
    """A code that was handed out."""

    challenge: str
    nonce: str
    redirect_uri: str
    claims: Mapping[str, Any]


@dataclass
class Provider:
    """person: the claims of the person who is signed in at the provider. id_claims, id_header: what to change in the
    next id tokens; None takes a claim away.
    sign: replaces the signature. replies: replaces the handlers of paths. published: the keys at the provider's
    address. reuses_codes: whether a code works more than once.
    userinfo: what userinfo says in place of the id token's claims of the person; None for a provider without userinfo.
    method: how the client proves itself: "basic" (in the header), "post" (in the body) or "none" (a public client).
    """

    key: Key
    person: dict[str, Any] = field(default_factory=lambda: {"sub": "ann", "name": "Ann"})
    id_claims: dict[str, Any] = field(default_factory=dict[str, Any])
    id_header: dict[str, Any] = field(default_factory=dict[str, Any])
    sign: Callable[[dict[str, Any], dict[str, Any]], str] | None = None
    userinfo: dict[str, Any] | None = None
    configuration: dict[str, Any] = field(default_factory=dict[str, Any])
    replies: dict[str, Handler] = field(default_factory=dict[str, Handler])
    published: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    reuses_codes: bool = False
    method: str = "basic"
    seen: list[str] = field(default_factory=list[str])
    codes: dict[str, Grant] = field(default_factory=dict[str, Grant])

    def __post_init__(self) -> None:
        self.published.append(self.key.jwk)
        self.server = LoopbackServer(self.serve)

    @property
    def issuer(self) -> str:
        return f"{self.server.url}/realms/acme"

    async def serve(self, exchange: LoopbackExchange) -> None:
        path = urlsplit(exchange.request.path).path.removeprefix("/realms/acme")
        self.seen.append(path)
        handlers: Mapping[str, Handler] = {
            DISCOVERY: self._discovery,
            "/keys": self._keys,
            "/authorize": self._authorize,
            "/token": self._token,
            "/userinfo": self._userinfo,
            **self.replies,
        }
        handler = handlers.get(path)
        if handler is None:
            await exchange.reply(404, b"{}")
        else:
            await handler(exchange)

    async def _discovery(self, exchange: LoopbackExchange) -> None:
        content = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "response_types_supported": ["code"],
            "code_challenge_methods_supported": ["S256"],
            **({} if self.userinfo is None else {"userinfo_endpoint": f"{self.issuer}/userinfo"}),
            **self.configuration,
        }
        await exchange.reply(200, json.dumps(content).encode())

    async def _keys(self, exchange: LoopbackExchange) -> None:
        await exchange.reply(200, json.dumps({"keys": self.published}).encode())

    async def _authorize(self, exchange: LoopbackExchange) -> None:
        location = self.consent(exchange.request.path)
        await exchange.reply(302, b"", {"location": location})

    def consent(self, uri: str) -> str:
        """The person agrees. Returns the address to which the provider sends the browser."""
        query = dict(parse_qsl(urlsplit(uri).query, strict_parsing=True))
        assert query["response_type"] == "code"
        assert query["client_id"] == CLIENT
        assert query["code_challenge_method"] == "S256"
        assert "openid" in query["scope"].split()
        code = secrets.token_urlsafe(16)
        self.codes[code] = Grant(
            query["code_challenge"], query["nonce"], query["redirect_uri"], dict(self.person)
        )
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    async def _userinfo(self, exchange: LoopbackExchange) -> None:
        good = exchange.request.headers.get("authorization") == "Bearer x"
        await exchange.reply(200 if good else 401, json.dumps(self.userinfo).encode())

    async def _token(self, exchange: LoopbackExchange) -> None:
        body = {name: value for name, (value,) in parse_qs(exchange.request.body.decode()).items()}
        kind, _, pair = exchange.request.headers.get("authorization", "").partition(" ")
        name, _, secret = base64.b64decode(pair).decode().partition(":")
        form = {
            "basic": (kind, unquote(name), unquote(secret), body.get("client_secret")),
            "post": (kind, body.get("client_id"), body.get("client_secret"), None),
            "none": (kind, body.get("client_id"), body.get("client_secret", ""), None),
        }[self.method]
        expected = (
            "Basic" if self.method == "basic" else "",
            CLIENT,
            "" if self.method == "none" else SECRET,
            None,
        )
        if form != expected:
            await exchange.reply(401, b'{"error": "invalid_client"}')
            return
        grant = self.codes.get(body["code"]) if self.reuses_codes else self.codes.pop(body["code"], None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(body["code_verifier"].encode()).digest())
        if (
            grant is None
            or grant.challenge != challenge.decode().rstrip("=")
            or grant.redirect_uri != body["redirect_uri"]
        ):
            await exchange.reply(400, b'{"error": "invalid_grant"}')
            return
        reply = {"access_token": "x", "token_type": "Bearer", "id_token": self.id_token(grant)}
        await exchange.reply(200, json.dumps(reply).encode())

    def id_token(self, grant: Grant) -> str:
        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "aud": CLIENT,
            "exp": now + 300,
            "iat": now,
            "nonce": grant.nonce,
            **grant.claims,
            **self.id_claims,
        }
        kept = {name: value for name, value in claims.items() if value is not None}
        header = {"kid": self.key.kid, **self.id_header}
        if self.sign is not None:
            return self.sign(kept, header)
        return jwt.encode(kept, self.key.private, "RS256", {k: v for k, v in header.items() if v is not None})
