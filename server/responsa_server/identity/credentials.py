"""Secrets: their creation, their form and their stored digest, and a cache of recently checked credentials."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from uuid import UUID

from responsa_server.domain.errors import Reason, Unauthenticated
from responsa_server.domain.people import Principal
from responsa_server.telemetry import instruments

# 32 random bytes in URL-safe base64 without padding.
_BODY = re.compile(r"[A-Za-z0-9_-]{43}")
PREFIX_LENGTH = 8
# An entry's lifetime starts before the database query, so that a key that was revoked on another replica is refused
# after at most one second.
LIFETIME_SECONDS = 0.8
CAPACITY = 4096
# While the database is away, calls about outages still know callers whom it has confirmed so lately.
REMEMBERED_SECONDS = 3600.0
# The credentials that were used in this time are confirmed together.
RECENT_SECONDS = 10.0


class SecretKind(StrEnum):
    """The purpose of a secret. The value is the secret's prefix."""

    API_KEY = "rsp_"
    SESSION = "rss_"
    SESSION_CODE = "rsc_"
    REFRESH_TOKEN = "rst_"  # noqa: S105  a prefix, not a secret
    PROGRAM_CODE = "rsg_"
    PROGRAM_TOKEN = "rso_"  # noqa: S105  a prefix, not a secret
    INVITATION = "rsi_"
    RESET_CODE = "rsx_"
    CONFIRMATION = "rse_"


def new_secret(kind: SecretKind) -> str:
    """Create a secret with 256 random bits, e.g. `rsp_` followed by 43 characters."""
    return kind.value + secrets.token_urlsafe(32)


def well_formed(kind: SecretKind, secret: str) -> bool:
    """Whether the text has the form of a secret of this kind."""
    return secret.startswith(kind.value) and _BODY.fullmatch(secret, len(kind.value)) is not None


def digest(secret: str) -> bytes:
    """Return the SHA-256 of the secret. Only this digest is stored and looked up.

    Secrets have 256 random bits, and the lookup compares only digests. The duration of a lookup therefore reveals
    nothing that helps to guess a secret.
    """
    return hashlib.sha256(secret.encode()).digest()


def prefix_of(secret: str) -> str:
    """Return the part of a secret that may be shown so that users can distinguish keys: its kind and four characters."""
    return secret[:PREFIX_LENGTH]


def token_invalid() -> Unauthenticated:
    """The only error for a token that is not good. It does not say what is wrong."""
    return Unauthenticated(
        Reason.TOKEN_INVALID,
        "This token is not valid, or its session has ended. Refresh it, or sign in again.",
    )


@dataclass(slots=True, eq=False)
class Known:
    """A credential that was good a moment ago. until, used: times of the cache's clock. subject: the value that
    `CredentialCache.forget` takes."""

    digest: bytes
    principal: Principal
    subject: object
    until: float
    used: float


class CredentialCache:
    """Keeps principals by the digest of their credential, for at most `seconds` after the credential was last looked up.

    A revocation in this process removes the entries of the revoked credential at once. A revocation in another process
    takes effect when the credential's entry expires, which is within a second. `renew` prolongs the entries of credentials
    that another look into the database has confirmed. Refused credentials are not kept. The cache is not thread-safe.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, seconds: float = LIFETIME_SECONDS
    ) -> None:
        """seconds: at most LIFETIME_SECONDS; 0 to keep nothing."""
        self.seconds = seconds
        self._clock = clock
        self._entries: OrderedDict[bytes, Known] = OrderedDict()
        # The entries that have expired and that the database has not been asked about since, for `recall`.
        self._expired: OrderedDict[bytes, Known] = OrderedDict()
        # The number of calls of `forget`. A database result that was requested before such a call must not be kept
        # after the call.
        self._forgotten = 0

    def find(self, digest: bytes) -> Principal | None:
        """Return the principal, or None if there is no entry or the entry has expired."""
        entry, now = self._entries.get(digest), self._clock()
        if entry is None or now >= entry.until:
            if entry is not None:
                self._expired[digest] = self._entries.pop(digest)
                while len(self._expired) > CAPACITY:
                    self._expired.popitem(last=False)
            instruments.CACHE_LOOKUPS.add(1, "credentials", "miss")
            return None
        instruments.CACHE_LOOKUPS.add(1, "credentials", "hit")
        entry.used = now
        return entry.principal

    def recall(self, digest: bytes) -> Principal | None:
        """Return the principal of a credential that the database has confirmed within the last hour, although it may
        have ended since in another process; else None."""
        entry = self._entries.get(digest) or self._expired.get(digest)
        if entry is None or self._clock() >= entry.until - self.seconds + REMEMBERED_SECONDS:
            return None
        return entry.principal

    def drop(self, digest: bytes) -> None:
        """Forget what has expired of a credential, because the database has been asked about it."""
        self._expired.pop(digest, None)

    @property
    def size(self) -> int:
        return len(self._entries)

    def recent(self) -> Sequence[Known]:
        """Return the entries that have not expired and were used in the last 10 s."""
        now = self._clock()
        return [
            entry
            for entry in self._entries.values()
            if now < entry.until and now - entry.used <= RECENT_SECONDS
        ]

    def renew(self, query_time: float, confirmed: Iterable[Known], changed: Iterable[Known]) -> None:
        """Prolong the entries of credentials that are as they were, and drop the others. query_time: the time of `mark`
        before the database query.

        An entry that was dropped while the query ran stays dropped.
        """
        for entry in confirmed:
            entry.until = query_time + self.seconds
        for entry in changed:
            for entries in (self._entries, self._expired):
                if entries.get(entry.digest) is entry:
                    del entries[entry.digest]

    def mark(self) -> tuple[float, int]:
        """Return a mark of this moment. Call this method before a database query, and pass the mark to `keep` together
        with the query's result.
        """
        return self._clock(), self._forgotten

    def keep(self, digest: bytes, principal: Principal, subject: object, mark: tuple[float, int]) -> None:
        """Store the result of a database query. subject: the value that `forget` takes, e.g. the API key's id."""
        asked, forgotten = mark
        if forgotten != self._forgotten or not self.seconds:
            return
        self._entries[digest] = Known(digest, principal, subject, asked + self.seconds, asked)
        self._entries.move_to_end(digest)
        while len(self._entries) > CAPACITY:
            self._entries.popitem(last=False)

    def forget(self, subject: object) -> None:
        """Drop the subject's entries. The results of database queries that are running now will not be kept."""
        self._forget(lambda entry: entry.subject == subject)

    def forget_user(self, user_id: UUID) -> None:
        """Like `forget`, for all credentials of a user, and for those with which a service acts on behalf of users if
        the user is that service."""
        self._forget(lambda entry: user_id in (entry.principal.user_id, entry.principal.acting))

    def forget_tenant(self, tenant_id: str) -> None:
        """Like `forget`, for all credentials of a tenant."""
        self._forget(lambda entry: entry.principal.tenant_id == tenant_id)

    def forget_keys(self, key_ids: Collection[UUID]) -> None:
        """Like `forget`, for API keys and the sessions that they began."""
        self._forget(lambda entry: entry.principal.key_id in key_ids)

    def _forget(self, ended: Callable[[Known], bool]) -> None:
        self._forgotten += 1
        for entries in (self._entries, self._expired):
            for digest in [digest for digest, entry in entries.items() if ended(entry)]:
                del entries[digest]
