"""Tenants, users and their credentials, and the store of them. The store receives secrets only as SHA-256 digests of 32 bytes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from responsa_server.domain.listing import ListQuery, Page


class Role(StrEnum):
    """The rights of a user."""

    USER = "user"
    ADMIN = "admin"
    SERVICE = "service"


@dataclass(frozen=True, slots=True)
class Principal:
    """The caller, identified by its credential. credential: "api_key" or "session"."""

    tenant_id: str
    user_id: UUID
    role: Role
    credential: str


@dataclass(frozen=True, slots=True)
class User:
    """A person or a program of a tenant."""

    id: UUID
    tenant_id: str
    display_name: str
    email: str
    role: Role
    create_time: datetime


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A credential for programs, without its secret, which is never stored."""

    id: UUID
    tenant_id: str
    user_id: UUID
    display_name: str
    prefix: str
    create_time: datetime
    expire_time: datetime | None
    revoke_time: datetime | None


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
    """An administrative act. actor: `users/{uuid}`, or "local" for the operator of the machine; action: e.g. "api_key.create". It never holds a secret."""

    id: UUID
    tenant_id: str
    actor: str
    action: str
    resource_name: str


class IdentityStore(Protocol):
    """Each method is one transaction; an audit event is written in the transaction of its act. All raise Unavailable when the store cannot be reached."""

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
        """Store a session code for this many seconds and delete the tenant's expired codes and sessions. Return the time of its expiry."""
        ...

    async def exchange_code(self, code: bytes, token: bytes, seconds: float) -> datetime | None:
        """Exchange a code for a session with the token's digest, in one transaction.

        Returns the time of the session's expiry, or None (and begins no session) when the code is unknown, used or expired.
        """
        ...

    async def end_session(self, digest: bytes) -> None:
        """End a session, if it exists."""
        ...

    async def add_key(
        self, key: ApiKey, digest: bytes, audit: AuditEvent, request_id: UUID | None
    ) -> ApiKey | None:
        """Store a key; the database sets create_time. Return it, or None when expire_time is not in the future.

        When the key's user used the request_id before for the same display_name and expire_time: return that earlier key as it is
        now, and store and audit nothing. Raises AlreadyExists (REQUEST_ID_REUSED) when they differ.
        """
        ...

    async def list_keys(self, who: Principal, query: ListQuery) -> Page[ApiKey]:
        """Return a page of the user's keys."""
        ...

    async def revoke_key(self, who: Principal, key_id: UUID, audit: AuditEvent) -> ApiKey | None:
        """Revoke a key of the user. A second call changes and audits nothing. Return None when the user has no such key."""
        ...

    async def add_tenant(self, tenant_id: str, display_name: str, audit: AuditEvent) -> bool:
        """Store a tenant. Return False when the id is taken."""
        ...

    async def add_user(self, user: User, audit: AuditEvent) -> User | None:
        """Store a user; the database sets create_time. Return None when the e-mail address is taken in the tenant. Raises NotFound for an unknown tenant."""
        ...
