"""Where tenants, users and their credentials are kept. Secrets come here as SHA-256 digests of 32 bytes, never themselves."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol
from uuid import UUID

from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import ApiKey, Principal, User


@dataclass(frozen=True, slots=True)
class FoundKey:
    """The API key that has a digest, and its state by the database's clock."""

    key_id: UUID
    principal: Principal
    expired: bool
    revoked: bool


@dataclass(frozen=True, slots=True)
class FoundSession:
    """The browser session that has a digest, and its state by the database's clock."""

    principal: Principal
    expired: bool


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """An administrative act. actor: `users/{uuid}` or "local", who runs the machine; action: e.g. "api_key.create"; never a secret."""

    id: UUID
    tenant_id: str
    actor: str
    action: str
    resource_name: str


class IdentityStore(Protocol):
    """Each call is one transaction; an audit event is written in the transaction of its act. All raise Unavailable when the store is away."""

    async def find_key(self, digest: bytes) -> FoundKey | None:
        """Find the API key of a digest, over all tenants."""
        ...

    async def find_session(self, digest: bytes) -> FoundSession | None:
        """Find the session of a digest, over all tenants."""
        ...

    async def user(self, tenant_id: str, user_id: UUID) -> User | None:
        """Find a user of the tenant."""
        ...

    async def add_code(self, who: Principal, digest: bytes, seconds: float) -> datetime:
        """Keep a session code for so long and drop the tenant's expired codes and sessions. Returns its end."""
        ...

    async def exchange_code(self, code: bytes, token: bytes, seconds: float) -> datetime | None:
        """Use up a code and begin a session with the token's digest, in one transaction.

        Returns the session's end, or None (nothing is begun) when the code is not known, was used or has expired.
        """
        ...

    async def end_session(self, digest: bytes) -> None:
        """Drop a session, if it is there."""
        ...

    async def add_key(
        self, key: ApiKey, digest: bytes, audit: AuditEvent, request_id: UUID | None
    ) -> ApiKey | None:
        """Keep a key; create_time is the database's. Returns it, or None when expire_time does not lie ahead.

        A request_id that the key's user used before for the same display_name and expire_time: returns, as it is now, the key that
        was made then (another id), and keeps and audits nothing. Raises AlreadyExists REQUEST_ID_REUSED for anything else.
        """
        ...

    async def list_keys(self, who: Principal, query: ListQuery) -> Page[ApiKey]:
        """List the user's keys. Raises InvalidRequest for a filter, order or cursor that cannot be read."""
        ...

    async def revoke_key(self, who: Principal, key_id: UUID, audit: AuditEvent) -> ApiKey | None:
        """Revoke a key of the user, once: an earlier revoke_time stays, and is not audited again. None when the user has no such key."""
        ...

    async def add_tenant(self, tenant_id: str, display_name: str, audit: AuditEvent) -> bool:
        """Keep a tenant. Returns False when the id is taken."""
        ...

    async def add_user(self, user: User, audit: AuditEvent) -> User | None:
        """Keep a user; create_time is the database's. None when the e-mail address is taken in the tenant. Raises NotFound for an unknown tenant."""
        ...
