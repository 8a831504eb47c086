"""Speaks with an OpenID Connect provider: its configuration and keys, the exchange of a code, the check of an id
token, and userinfo (OpenID Connect Core 1.0, RFC 9700).

Whatever a provider sends is limited in size and time. Addresses are https unless the provider is this machine;
`outbound` decides which of them may be reached, and follows no redirects.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote, urlencode, urlsplit
from uuid import UUID

import httpx2
import jwt

from responsa_server.domain.accounts import SignInProvider
from responsa_server.domain.errors import Reason, Unauthenticated, Unavailable
from responsa_server.domain.people import Principal
from responsa_server.domain.rows import Row
from responsa_server.identity.openid_settings import OidcProviderSettings, is_loopback
from responsa_server.identity.service import Identity
from responsa_server.outbound.addresses import origin_of, read_allowed
from responsa_server.outbound.connector import (
    Connector,
    ForbiddenRequest,
    Outgoing,
    ReachableHosts,
    Times,
    TooLarge,
    Unreadable,
)
from responsa_server.stores.postgres.openid import PostgresOpenIdStore

CONFIGURATION_BYTES: Final = 65_536
KEYS_BYTES: Final = 262_144
TOKENS_BYTES: Final = 65_536
USERINFO_BYTES: Final = 65_536
ID_TOKEN_BYTES: Final = 32_768
KEPT_SECONDS: Final = 3600.0
"""How long a configuration and keys are kept."""
UNKNOWN_KEY_SECONDS: Final = 30.0
"""An id token with an unknown key makes the server read the keys again, at most once in this time. Anyone who can sign
in can send such tokens."""
FAILED_SECONDS: Final = 5.0
"""After a failure, the provider is not asked again for this time."""
LEEWAY_SECONDS: Final = 60.0
"""By how much the clocks of the provider and of this server may differ."""
TIMES: Final = Times(5.0, 10.0)
"""Those of requests to a provider."""
_MAX_SUB: Final = 255
_MOST_KEYS: Final = 100
_REQUIRED: Final = ["iss", "sub", "aud", "exp", "iat", "nonce"]
_LOOPBACK: Final = ("127.0.0.0/8", "::1")
_EMAIL: Final = ("email", "email_verified")
_BEARER: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_KEY_TYPES: Final[Mapping[str, str]] = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_LOGGER: Final = logging.getLogger(__name__)

Read = TypeVar("Read")


class ProviderFault(Exception):
    """The provider's reply is not usable. The message is for the server's log; it contains nothing that the provider or
    the browser sent."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """The parts of a provider's configuration that are used. userinfo: "" without one. names_itself: whether replies
    carry the issuer (RFC 9207). takes_claims: whether requests may name claims (OpenID Connect Core, 5.5)."""

    authorization: str
    token: str
    keys: str
    userinfo: str
    names_itself: bool
    takes_claims: bool


@dataclass(frozen=True, slots=True)
class OpenIdPerson:
    """A person whom a provider has identified. claims: all claims of the id token, and those that userinfo
    alone has."""

    issuer: str
    sub: str
    claims: Mapping[str, Any]

    @property
    def verified_email(self) -> str:
        """The e-mail address, if the provider has verified it; otherwise ""."""
        email = self.claims.get("email")
        return email if isinstance(email, str) and self.claims.get("email_verified") is True else ""

    def value(self, claim: str) -> object:
        """The value of a claim; None if it is missing. Points lead into objects, unless a claim has the whole name."""
        value: object = self.claims.get(claim)
        if value is None:
            value = self.claims
            for part in claim.split("."):
                value = cast("Mapping[str, object]", value).get(part) if isinstance(value, Mapping) else None
        return value

    def leaves_out(self, claim: str) -> bool:
        """Whether the provider says that the claim has too many values to send (Microsoft Entra's overage)."""
        elsewhere = self.claims.get("_claim_names")
        named = isinstance(elsewhere, Mapping) and claim.partition(".")[0] in elsewhere
        return named or self.claims.get("hasgroups") in (True, "true")

    def texts(self, claim: str) -> Sequence[str]:
        """The texts of a claim, which is a text or a list of texts."""
        content = self.value(claim)
        values = cast("Sequence[object]", content) if isinstance(content, list) else [content]
        return [value for value in values if isinstance(value, str)]


class OpenIdProvider:
    """One provider. Its configuration and keys are kept for an hour."""

    def __init__(
        self,
        name: str,
        settings: OidcProviderSettings,
        times: Times = TIMES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """name: the provider's id in the settings. clock: returns seconds since 1970."""
        self.name = name
        self.settings = settings
        self._connector = Connector()
        self._times = times
        self._clock = clock
        self._local = is_loopback(urlsplit(settings.issuer).hostname)
        # The settings name the issuer, so it may be a host of the organisation's own network.
        host = origin_of(settings.issuer).host
        self._reach = ReachableHosts(
            None, read_allowed([*(_LOOPBACK if self._local else ()), host, *settings.allow_private])
        )
        self._reading = asyncio.Lock()
        self._configuration: Configuration | None = None
        self._configured = float("-inf")
        self._keys: Sequence[Mapping[str, Any]] = ()
        self._keys_read = float("-inf")
        self._unknown_key = float("-inf")
        self._failed = float("-inf")

    async def authorization_uri(self, redirect_uri: str, state: str, nonce: str, verifier: str) -> str:
        """Return the address at which a browser begins the sign-in. Raises Unavailable."""
        configuration = await self.configuration()
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).decode().rstrip("=")
        parameters = {
            "response_type": "code",
            "client_id": self.settings.client_id,
            "redirect_uri": redirect_uri,
            "scope": " ".join(self.settings.scopes),
            "state": state,
            "nonce": nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        if configuration.takes_claims:
            parameters["claims"] = json.dumps({"id_token": dict.fromkeys(sorted({*self._needs(), "name"}))})
        joint = "&" if urlsplit(configuration.authorization).query else "?"
        return configuration.authorization + joint + urlencode(parameters)

    async def configuration(self) -> Configuration:
        """Return the provider's configuration. Raises Unavailable."""
        if self._configuration is not None and self._clock() - self._configured < KEPT_SECONDS:
            return self._configuration
        async with self._reading:
            configuration = self._configuration
            if configuration is None or self._clock() - self._configured >= KEPT_SECONDS:
                configuration = self._configuration = await self._attempt(self._read_configuration)
                self._configured = self._clock()
            return configuration

    async def person(
        self, code: str, verifier: str, redirect_uri: str, nonce: str, begun: float
    ) -> OpenIdPerson:
        """Exchange a code and return the person that the id token identifies, with what userinfo adds. begun: when the
        sign-in began, in seconds since 1970.

        Raises:
            ProviderFault: the code or the token is not good.
            Unavailable: the provider cannot be reached.
        """
        configuration = await self.configuration()
        token, access = await self._exchange(configuration, code, verifier, redirect_uri)
        claims = await self._verify(configuration, token)
        # PyJWT checks the types of iss, sub and aud.
        echo, issued = claims["nonce"], claims["iat"]
        if not isinstance(echo, str) or not hmac.compare_digest(
            echo.encode(errors="replace"), nonce.encode()
        ):
            raise ProviderFault("nonce")
        if not isinstance(issued, (int, float)) or issued < begun - LEEWAY_SECONDS:
            raise ProviderFault("iat")
        audiences: object = claims["aud"]
        several = isinstance(audiences, list) and len(cast("list[object]", audiences)) > 1
        if claims.get("azp", None if several else self.settings.client_id) != self.settings.client_id:
            raise ProviderFault("azp")
        sub = claims["sub"]
        if not sub or len(sub) > _MAX_SUB or not sub.isprintable():
            raise ProviderFault("sub")
        if configuration.userinfo and access and not self._needs() <= claims.keys():
            claims = _merge(claims, await self._userinfo(configuration.userinfo, access, sub))
        return OpenIdPerson(self.settings.issuer, sub, claims)

    def _needs(self) -> set[str]:
        """The claims without which userinfo is read. A claim within an object stands for its outermost object."""
        own = (self.settings.role_claim, self.settings.subject_claim, self.settings.groups_claim)
        return {*_EMAIL, *(claim.partition(".")[0] for claim in own if claim)}

    async def _userinfo(self, address: str, access: str, sub: str) -> Mapping[str, Any]:
        """What the provider says of the person (OpenID Connect Core, 5.3). Raises ProviderFault, Unavailable."""
        headers = {"authorization": f"Bearer {access}"}
        status, content = await self._request("GET", address, USERINFO_BYTES, headers, None)
        if status >= 500 or status == 429:
            raise self._unavailable(f"userinfo: HTTP {status}")
        if status != 200:
            raise ProviderFault(f"userinfo: HTTP {status}")
        claims = _object(content)
        if claims.get("sub") != sub:
            raise ProviderFault("userinfo: sub differs from the id token's")
        return claims

    async def _verify(self, configuration: Configuration, token: str) -> Mapping[str, Any]:
        try:
            header: Mapping[str, Any] = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in self.settings.algorithms:
                raise ProviderFault("alg")
            key = await self._key(configuration, header.get("kid"), str(algorithm))
            # The algorithm comes from the settings, and the key from the provider's own address: keys in the token's header are never read.
            return jwt.decode(
                token,
                key,
                algorithms=[str(algorithm)],
                issuer=self.settings.issuer,
                audience=self.settings.client_id,
                leeway=LEEWAY_SECONDS,
                options={"require": _REQUIRED, "enforce_minimum_key_length": True},
            )
        except (
            jwt.PyJWTError,
            ValueError,
            TypeError,
            AttributeError,
            RecursionError,
            OverflowError,
        ) as error:
            raise ProviderFault(f"id_token {type(error).__name__}") from error

    async def _key(self, configuration: Configuration, kid: object, algorithm: str) -> jwt.PyJWK:
        now = self._clock()
        keys = self._fitting(kid, algorithm)
        if not keys or now - self._keys_read > KEPT_SECONDS:
            async with self._reading:
                age = self._clock() - self._keys_read
                keys = self._fitting(kid, algorithm)
                # A key that the provider has made right after they were read is read at once.
                unknown = not keys and self._clock() - self._unknown_key > UNKNOWN_KEY_SECONDS
                if age > KEPT_SECONDS or unknown:
                    if age <= KEPT_SECONDS:
                        self._unknown_key = self._clock()
                    self._keys = await self._attempt(lambda: self._read_keys(configuration))
                    self._keys_read = self._clock()
                    keys = self._fitting(kid, algorithm)
        # Without a key id, the key must be beyond doubt.
        if len(keys) != 1:
            raise ProviderFault("kid")
        return jwt.PyJWK(dict(keys[0]), algorithm)

    def _fitting(self, kid: object, algorithm: str) -> Sequence[Mapping[str, Any]]:
        return [
            key
            for key in self._keys
            if (kid is None or key.get("kid") == kid)
            and key.get("kty") == _KEY_TYPES[algorithm[:2]]
            and key.get("use", "sig") == "sig"
            and key.get("alg", algorithm) == algorithm
        ]

    async def _exchange(
        self, configuration: Configuration, code: str, verifier: str, redirect_uri: str
    ) -> tuple[str, str]:
        """Returns the id token, and the access token; "" without a usable one."""
        settings = self.settings
        secret = settings.client_secret.get_secret_value()
        body = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": redirect_uri,
            "code_verifier": verifier,
        }
        headers = {"content-type": "application/x-www-form-urlencoded"}
        if secret and not settings.secret_in_body:
            # RFC 6749, section 2.3.1: both parts are encoded as in a form first.
            pair = f"{quote(settings.client_id, safe='')}:{quote(secret, safe='')}"
            headers["authorization"] = "Basic " + base64.b64encode(pair.encode()).decode()
        else:
            body["client_id"] = settings.client_id
            if secret:
                body["client_secret"] = secret
        status, content = await self._request(
            "POST", configuration.token, TOKENS_BYTES, headers, urlencode(body).encode()
        )
        if status >= 500 or status == 429:
            raise self._unavailable(f"token endpoint: HTTP {status}")
        if status != 200:
            # 401 means that the provider does not accept the client, 400 usually that the code is not good.
            raise ProviderFault(f"token endpoint: HTTP {status}")
        tokens = _object(content)
        token, access = tokens.get("id_token"), tokens.get("access_token")
        if not isinstance(token, str) or len(token) > ID_TOKEN_BYTES:
            raise ProviderFault("id_token missing")
        return token, access if isinstance(access, str) and _BEARER.fullmatch(access) else ""

    async def _read_configuration(self) -> Configuration:
        address = self.settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
        content = await self._read(address, CONFIGURATION_BYTES)
        if content.get("issuer") != self.settings.issuer:
            raise ProviderFault("configuration: issuer differs from the setting")
        methods = content.get("code_challenge_methods_supported", ["S256"])
        if not isinstance(methods, list) or "S256" not in methods:
            raise ProviderFault("configuration: PKCE with S256 is not supported")
        endpoints = ("authorization_endpoint", "token_endpoint", "jwks_uri")
        authorization, token, keys = (self._endpoint(content, endpoint) for endpoint in endpoints)
        userinfo = self._endpoint(content, "userinfo_endpoint") if "userinfo_endpoint" in content else ""
        itself = content.get("authorization_response_iss_parameter_supported") is True
        takes = content.get("claims_parameter_supported") is True
        return Configuration(authorization, token, keys, userinfo, itself, takes)

    def _endpoint(self, content: Mapping[str, Any], name: str) -> str:
        address = content.get(name)
        try:
            parts = urlsplit(address) if isinstance(address, str) and address.isprintable() else None
        except ValueError:  # such as "https://[::1"
            parts = None
        local = parts is not None and is_loopback(parts.hostname)
        secure = parts is not None and parts.scheme == "https" and parts.hostname and local <= self._local
        plain = parts is not None and parts.scheme == "http" and local and self._local
        if not (secure or plain) or parts is None or parts.username or parts.password or parts.fragment:
            raise ProviderFault(f"configuration: {name} is not an allowed https address")
        return str(address)

    async def _read_keys(self, configuration: Configuration) -> Sequence[Mapping[str, Any]]:
        content = await self._read(configuration.keys, KEYS_BYTES)
        keys = content.get("keys")
        if not isinstance(keys, list) or len(cast("list[object]", keys)) > _MOST_KEYS:
            raise ProviderFault("keys: not a list of at most 100 keys")
        return [cast("dict[str, Any]", key) for key in cast("list[object]", keys) if isinstance(key, dict)]

    async def _read(self, address: str, limit: int) -> Mapping[str, Any]:
        status, content = await self._request("GET", address, limit, {}, None)
        if status != 200:
            raise ProviderFault(f"{urlsplit(address).path}: HTTP {status}")
        return _object(content)

    async def _attempt(self, read: Callable[[], Awaitable[Read]]) -> Read:
        """Read something that the provider must have. Raises Unavailable, also for a while after a failure, so that
        many sign-ins do not all wait for a dead provider."""
        if self._clock() - self._failed < FAILED_SECONDS:
            raise self._unavailable("")
        try:
            return await read()
        except ProviderFault as fault:
            self._failed = self._clock()
            raise self._unavailable(str(fault)) from fault
        except Unavailable:
            self._failed = self._clock()
            raise

    async def _request(
        self, method: str, address: str, limit: int, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        """Make one request. Returns the status and at most `limit` bytes. Raises Unavailable, ProviderFault for a longer reply."""
        sent = {"accept": "application/json", **headers}
        try:
            reply = await self._connector.fetch(
                self._reach, Outgoing(method, address, sent, body), self._times, limit
            )
            return reply.status, reply.body
        except (TooLarge, Unreadable) as error:
            raise ProviderFault(f"{urlsplit(address).path}: {error}") from error
        except ForbiddenRequest as error:
            raise self._unavailable(str(error)) from error
        except TimeoutError as error:
            raise self._unavailable("time limit") from error
        except (httpx2.RequestError, OSError) as error:
            raise self._unavailable(type(error).__name__) from error

    def _unavailable(self, cause: str) -> Unavailable:
        if cause:
            _LOGGER.warning("OpenID Connect provider %s: %s", self.name, cause)
        return Unavailable(
            Reason.PART_UNAVAILABLE,
            "The sign-in provider cannot be reached or does not answer as it should; try again in a moment.",
            {"part": "oidc"},
            retry_after=FAILED_SECONDS,
        )


def sign_in_error() -> Unauthenticated:
    """The only error for a sign-in that is not good. It does not say what is wrong."""
    return Unauthenticated(
        Reason.OIDC_FAILED,
        "This sign-in took too long, was refused by the provider, or was not begun in this browser. Begin again.",
    )


def _merge(token: Mapping[str, Any], userinfo: Mapping[str, Any]) -> Mapping[str, Any]:
    """The claims of the id token, and those that userinfo alone has. The address and whether it is verified are from
    the same source: one says nothing of the other's."""
    pair = userinfo if "email" in userinfo and not set(_EMAIL) <= token.keys() else token
    others = {name: value for name, value in {**userinfo, **token}.items() if name not in _EMAIL}
    return {**others, **{name: pair[name] for name in _EMAIL if name in pair}}


def _object(content: bytes) -> Mapping[str, Any]:
    try:
        value = cast("object", json.loads(content))
    except (ValueError, RecursionError) as error:
        raise ProviderFault("reply is not JSON") from error
    if not isinstance(value, dict):
        raise ProviderFault("reply is not a JSON object")
    return cast("dict[str, Any]", value)


class LinkedIdentities:
    """Lists and unlinks the caller's identities."""

    def __init__(
        self,
        store: PostgresOpenIdStore,
        identity: Identity,
        providers: Sequence[SignInProvider] = (),
    ) -> None:
        """providers: the OpenID Connect providers of the settings, of whatever tenant."""
        self._store = store
        self._identity = identity
        self._providers = providers

    async def list(self, caller: Principal) -> Sequence[tuple[Row, SignInProvider | None]]:
        """Return the caller's identities, oldest first, each with its provider; None if the settings have it no longer."""
        providers = {provider.issuer: provider for provider in reversed(self._of(caller))}
        return [
            (identity, providers.get(identity.issuer)) for identity in await self._store.identities(caller)
        ]

    async def unlink(self, caller: Principal, identity_id: UUID) -> None:
        """Take an identity from the caller. Raises NotFound, Precondition (LAST_SIGN_IN)."""
        issuers = {provider.issuer for provider in self._of(caller)}
        await self._store.unlink(caller, identity_id, sorted(issuers))

    def _of(self, caller: Principal) -> Sequence[SignInProvider]:
        return [provider for provider in self._providers if provider.tenant_id == caller.tenant_id]
