"""Secrets: how they are made, their form, the stored digest, and a cache of recently checked ones."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from enum import StrEnum

from responsa_server.domain.people import Principal

# 32 random bytes in URL-safe base64 without padding.
_BODY = re.compile(r"[A-Za-z0-9_-]{43}")
PREFIX_LENGTH = 8
# An entry's age counts from before the database query, so that a key revoked on another replica is refused
# after at most one second.
LIFETIME_SECONDS = 0.8
CAPACITY = 4096


class SecretKind(StrEnum):
    """The purpose of a secret. The value is the secret's prefix."""

    API_KEY = "rsp_"
    SESSION = "rss_"
    SESSION_CODE = "rsc_"


def new_secret(kind: SecretKind) -> str:
    """Make a secret with 256 random bits, e.g. `rsp_` and 43 characters."""
    return kind.value + secrets.token_urlsafe(32)


def well_formed(kind: SecretKind, secret: str) -> bool:
    """Whether it could be a secret of that kind."""
    return secret.startswith(kind.value) and _BODY.fullmatch(secret, len(kind.value)) is not None


def digest(secret: str) -> bytes:
    """SHA-256 of the secret, the only form that is stored and looked up.

    The lookup compares digests of secrets with 256 random bits, so its duration reveals nothing that helps to guess a secret.
    """
    return hashlib.sha256(secret.encode()).digest()


def shown(secret: str) -> str:
    """The part of a secret that may be shown, to tell keys apart: its kind and four characters."""
    return secret[:PREFIX_LENGTH]


class CredentialCache:
    """Principals by the digest of their credential, for at most 0.8 s.

    A revocation in this process removes entries at once; one in another process takes effect when the entry expires, hence within a second.
    Refusals are not kept. Not thread-safe.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: OrderedDict[bytes, tuple[float, Principal, object]] = OrderedDict()
        # Counts the calls of `forget`: an answer requested before such a call must not be kept after it.
        self._forgotten = 0

    def find(self, digest: bytes) -> Principal | None:
        """The principal, unless its entry has expired."""
        entry = self._entries.get(digest)
        if entry is None:
            return None
        if self._clock() >= entry[0]:
            del self._entries[digest]
            return None
        return entry[1]

    def mark(self) -> tuple[float, int]:
        """Call before querying the database, and pass the result to `keep` with the answer."""
        return self._clock(), self._forgotten

    def keep(self, digest: bytes, principal: Principal, subject: object, mark: tuple[float, int]) -> None:
        """Store an answer. subject: the value that `forget` will get, e.g. the key's id."""
        asked, forgotten = mark
        if forgotten != self._forgotten:
            return
        self._entries[digest] = (asked + LIFETIME_SECONDS, principal, subject)
        self._entries.move_to_end(digest)
        while len(self._entries) > CAPACITY:
            self._entries.popitem(last=False)

    def forget(self, subject: object) -> None:
        """Drop the subject's entries; an answer that is being looked up at this moment is not kept."""
        self._forgotten += 1
        for digest in [digest for digest, entry in self._entries.items() if entry[2] == subject]:
            del self._entries[digest]
