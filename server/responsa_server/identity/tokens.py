"""Access tokens: JSON Web Tokens (RFC 7519) that are signed with Ed25519 (RFC 8037), and the keys that sign them.

All replicas share the keys through the database, where each private key is encrypted under the installation's secret. A
new key signs from then on; the key before it verifies until the last token that it signed has expired.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from responsa_server.domain.accounts import Claims, SealedKey
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.parts import Health, PartReport
from responsa_server.identity.credentials import digest, token_invalid
from responsa_server.identity.settings import MIN_SECRET_BYTES, TokenSettings
from responsa_server.stores.postgres.accounts import PostgresAccountStore

ALGORITHM: Final = "EdDSA"
TYPE: Final = "at+jwt"
"""The type of access tokens (RFC 9068), so that no other token of this installation passes for one."""
MAX_BYTES: Final = 2048
LEEWAY_SECONDS: Final = 10.0
"""By how much the clocks of replicas and of the database may differ."""

_REQUIRED: Final = ["iss", "aud", "sub", "sid", "tenant", "iat", "exp"]
_HEADER: Final = frozenset({"alg", "typ", "kid"})
_NONCE_BYTES: Final = 12
_ISSUER: Final = "responsa"
_AUDIENCE: Final = "responsa"
# Replicas sign with a new key within this time, and keep verifying tokens of the key before it for this much longer.
_RELOAD_SECONDS: Final = 30.0
_OVERLAP_SECONDS: Final = 120.0
# A token with an unknown key may have been signed by a key that another replica has just made. Anyone can send such
# tokens, so they cause at most one
# query in this time.
_UNKNOWN_SECONDS: Final = 1.0
_MOST_VERIFIED: Final = 4096
_CHECK_SECONDS: Final = 1.0
_LOGGER: Final = logging.getLogger(__name__)


class Secret:
    """The keys that are derived from the installation's secret file (HKDF, RFC 5869)."""

    def __init__(self, text: bytes) -> None:
        """text: the content of the file. Raises ValueError if it is shorter than 32 bytes."""
        if len(text) < MIN_SECRET_BYTES:
            raise ValueError(f"the secret has fewer than {MIN_SECRET_BYTES} bytes")
        self._seal = AESGCM(_derive(text, b"responsa signing keys"))
        self._refresh = _derive(text, b"responsa refresh tokens")
        self._names = _derive(text, b"responsa attempts")
        self._flows = AESGCM(_derive(text, b"responsa oidc flows"))
        self._mails = _derive(text, b"responsa mail codes")
        self._credentials = AESGCM(_derive(text, b"responsa model keys"))

    def seal(self, kid: str, key: bytes) -> bytes:
        """Encrypt a private key. The id of the key is authenticated with it."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._seal.encrypt(nonce, key, kid.encode())

    def unseal(self, kid: str, sealed: bytes) -> bytes:
        """Decrypt a private key. Raises InvalidTag if it was encrypted under another secret, or altered."""
        return self._seal.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], kid.encode())

    def seal_credential(self, use: str, credential: str) -> bytes:
        """Encrypt the key of a server of models, or the password of a folder. use: where it is used, for which alone it is unsealed."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._credentials.encrypt(nonce, credential.encode(), use.encode())

    def unseal_credential(self, use: str, sealed: bytes) -> str:
        """Decrypt a key or a password. Raises InvalidTag if it was encrypted under another secret, or for another use."""
        return self._credentials.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], use.encode()).decode()

    def seal_flow(self, provider: str, content: bytes) -> str:
        """Encrypt the state of a sign-in for the browser that keeps it, as URL-safe Base64. The provider's id is authenticated with it."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return _base64(nonce + self._flows.encrypt(nonce, content, provider.encode()))

    def unseal_flow(self, provider: str, sealed: str) -> bytes | None:
        """Decrypt the state of a sign-in; None if it is not of this installation and this provider."""
        try:
            data = base64.urlsafe_b64decode(sealed + "=" * (-len(sealed) % 4))
            if _base64(data) != sealed:  # other characters, which the decoder skips
                return None
            return self._flows.decrypt(data[:_NONCE_BYTES], data[_NONCE_BYTES:], provider.encode())
        except (InvalidTag, ValueError):
            return None

    def successor(self, token: str, repetition: str) -> str:
        """Return the body of the refresh token that follows `token`: 43 characters of URL-safe Base64, the same for the
        same values. repetition: what a repeated exchange has in common with the first one."""
        text = f"{token}|{repetition}".encode()
        return _base64(hmac.digest(self._refresh, text, "sha256"))

    def mail_code(self, mail_id: UUID) -> str:
        """Return the body of the code that a mail carries: 43 characters of URL-safe Base64, the same for the same mail."""
        return _base64(hmac.digest(self._mails, mail_id.bytes, "sha256"))

    def name(self, kind: str, *parts: str) -> bytes:
        """Return a digest that stands for an account or an address in the count of attempts, 32 bytes."""
        return hmac.digest(self._names, "\x00".join((kind, *parts)).encode(), "sha256")


@dataclass(frozen=True, slots=True)
class _Key:
    kid: str
    private: Ed25519PrivateKey
    public: Ed25519PublicKey
    create_time: datetime
    until: float
    """When tokens of this key are no longer accepted, in seconds since 1970; infinite for the newest key."""


@dataclass(frozen=True, slots=True)
class _Verified:
    """The content of a token whose signature is valid. expires: in seconds since 1970."""

    claims: Claims
    kid: str
    expires: float


class Tokens:
    """Signs and verifies access tokens. Implements `ReportedPart`."""

    name = "signing_keys"

    def __init__(
        self,
        store: PostgresAccountStore,
        secret: Secret,
        settings: TokenSettings,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """clock: returns seconds since 1970."""
        self._store = store
        self.secret = secret
        self._settings = settings
        self._clock = clock
        self._keys: Sequence[_Key] = ()
        # Whether another server's secret has sealed the newest key.
        self._newest_foreign = False
        self._foreign: set[str] = set()
        self._by_kid: Mapping[str, _Key] = {}
        self._loaded = float("-inf")
        self._loading = asyncio.Lock()
        # The good tokens by their digests, so that the signature of a token is checked once and not every second. Strangers cannot fill it.
        self._verified: OrderedDict[bytes, _Verified] = OrderedDict()

    async def sign(self, claims: Claims, now: datetime, kid: str = "") -> tuple[str, str, float]:
        """Sign a token that begins at `now`. kid: the key to sign with; "" or an unknown key for the newest.

        Returns the token, the key's id, and the time when the token expires, in seconds since 1970. Raises Unavailable.
        """
        key = self._by_kid.get(kid) or await self.newest()
        issued = int(now.timestamp())
        expires = issued + self._settings.access_seconds
        payload = {
            "iss": _ISSUER,
            "aud": claims.resource or _AUDIENCE,
            **({"scope": " ".join(sorted(claims.scopes))} if claims.resource else {}),
            "sub": str(claims.user_id),
            "sid": str(claims.session_id),
            "tenant": claims.tenant_id,
            "iat": issued,
            "exp": expires,
        }
        token = jwt.encode(payload, key.private, ALGORITHM, headers={"kid": key.kid, "typ": TYPE})
        return token, key.kid, float(expires)

    async def verify(self, token: str) -> Claims:
        """Return the content of a token. It counts only at the resource that it names. Raises Unauthenticated
        (TOKEN_INVALID, whatever is wrong), Unavailable."""
        try:
            if len(token) > MAX_BYTES:
                raise token_invalid()
            name = digest(token)
            if (
                known := self._verified.get(name)
            ) is not None and known.expires > time.time() - LEEWAY_SECONDS:
                # Whether a key has signed these bytes never changes; whether the key still counts does.
                await self._key(known.kid)
                return known.claims
            header: Mapping[str, Any] = jwt.get_unverified_header(token)
            # Only these three are ever sent. Embedded keys, addresses of keys and lists of critical extensions are thus refused unread.
            if header.keys() != _HEADER or header["alg"] != ALGORITHM or header["typ"] != TYPE:
                raise token_invalid()
            key = await self._key(header["kid"])
            content = jwt.decode(
                token,
                key.public,
                algorithms=[ALGORITHM],
                issuer=_ISSUER,
                leeway=LEEWAY_SECONDS,
                # The audience of a program's token is the resource at which it counts, which the caller of this method knows.
                options={"require": _REQUIRED, "verify_aud": False},
            )
            # Only the tokens of programs have scopes.
            audience, scope = content["aud"], content.get("scope")
            if not isinstance(audience, str) or (scope is None and audience != _AUDIENCE):
                raise token_invalid()
            expires = float(content["exp"])
            claims = Claims(
                str(content["tenant"]), UUID(content["sub"]), UUID(content["sid"]), expires=expires
            )
            if scope is not None:
                claims = replace(claims, resource=audience, scopes=frozenset(scope.split()))
            while len(self._verified) >= _MOST_VERIFIED:
                self._verified.popitem(last=False)
            self._verified[name] = _Verified(claims, key.kid, expires)
            return claims
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError, RecursionError) as error:
            raise token_invalid() from error

    async def public_keys(self) -> Sequence[tuple[str, str]]:
        """Return the id and the public key (URL-safe Base64) of each key that verifies tokens, newest first. Raises Unavailable."""
        await self.newest()
        now = self._clock()
        return [(key.kid, _base64(key.public.public_bytes_raw())) for key in self._keys if key.until > now]

    async def newest(self) -> _Key:
        """Return the key that signs. Makes a new key if no key exists or the newest key is too old. Raises Unavailable."""
        if not self._keys or self._clock() - self._loaded > _RELOAD_SECONDS:
            await self._load()
        limit = self._settings.key_days * 86_400.0
        if not self._keys or self._clock() - self._keys[0].create_time.timestamp() > limit:
            await self.rotate(older_than_seconds=limit)
        return self._keys[0]

    async def rotate(self, older_than_seconds: float = 0.0) -> None:
        """Make a new key if the newest is older than this. Tokens of earlier keys stay valid. Raises Unavailable."""
        private = Ed25519PrivateKey.generate()
        public = private.public_key().public_bytes_raw()
        kid = _base64(hashlib.sha256(public).digest()[:12])
        sealed = self.secret.seal(kid, private.private_bytes_raw())
        self._take(await self._store.add_signing_key(kid, sealed, older_than_seconds))
        if not self._keys:
            raise _foreign()

    async def check(self) -> PartReport:
        """Report whether the newest key was made under this server's secret."""
        if self._clock() - self._loaded > _RELOAD_SECONDS:
            with suppress(Unavailable, TimeoutError):  # the database has a report of its own
                async with asyncio.timeout(_CHECK_SECONDS):
                    await self._load()
        if not self._newest_foreign:
            return PartReport(Health.OK)
        return PartReport(
            Health.DOWN,
            detail="This server's secret differs from that of the server that made the newest signing key, so "
            "access tokens of one are refused by the other. Give all servers the same tokens.secret_file; if it is lost, "
            "run responsa admin rotate-signing-key",
        )

    async def _key(self, kid: object) -> _Key:
        age = self._clock() - self._loaded
        key = self._by_kid.get(kid) if isinstance(kid, str) else None
        if age > (_UNKNOWN_SECONDS if key is None else _RELOAD_SECONDS):
            await self._load()
            key = self._by_kid.get(kid) if isinstance(kid, str) else None
        if key is None or key.until <= self._clock():
            raise token_invalid()
        return key

    async def _load(self) -> None:
        before = self._loaded
        async with self._loading:
            if self._loaded == before:
                self._take(await self._store.signing_keys())

    def _take(self, sealed_keys: Sequence[SealedKey]) -> None:
        keys: list[_Key] = []
        until = float("inf")
        for sealed_key in sealed_keys:
            try:
                private = Ed25519PrivateKey.from_private_bytes(
                    self.secret.unseal(sealed_key.kid, sealed_key.sealed)
                )
            except (InvalidTag, ValueError):
                if sealed_key.kid not in self._foreign:
                    self._foreign.add(sealed_key.kid)
                    _LOGGER.error(
                        "signing key %s was encrypted under another secret: give all servers the same tokens.secret_file",
                        sealed_key.kid,
                    )
                continue
            keys.append(_Key(sealed_key.kid, private, private.public_key(), sealed_key.create_time, until))
            until = sealed_key.create_time.timestamp() + self._settings.access_seconds + _OVERLAP_SECONDS
        self._newest_foreign = bool(sealed_keys) and sealed_keys[0].kid not in {key.kid for key in keys}
        self._keys = keys
        self._by_kid = {key.kid: key for key in keys}
        self._loaded = self._clock()


def _foreign() -> Unavailable:
    return Unavailable(
        Reason.PART_UNAVAILABLE,
        "The server cannot read the keys that sign tokens; ask the administrator to check the setting tokens.secret_file.",
        {"part": Tokens.name},
    )


def _derive(text: bytes, purpose: bytes) -> bytes:
    return HKDF(hashes.SHA256(), 32, None, purpose).derive(text)


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")
