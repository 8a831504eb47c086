"""Tenants, as the owner of the installation sees and changes them, and their store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from responsa_server.domain.accounts import Invitation
from responsa_server.domain.errors import Precondition, Reason
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import ApiKey, AuditEvent, User


class TenantState(StrEnum):
    """Whether the users of a tenant may make calls. The states follow each other in this order, except that a suspended tenant can become active again."""

    ACTIVE = "active"
    SUSPENDED = "suspended"
    ERASING = "erasing"
    ERASED = "erased"


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant. home: whether it is the installation's own, which is neither suspended nor erased. erased: the number of erased records of each kind, so far."""

    id: str
    display_name: str
    create_time: datetime
    home: bool = False
    suspend_time: datetime | None = None
    erase_time: datetime | None = None
    end_time: datetime | None = None
    erased: Mapping[str, int] = field(default_factory=dict[str, int])

    @property
    def name(self) -> str:
        """The id. A list can be ordered by it."""
        return self.id

    @property
    def state(self) -> TenantState:
        """The state."""
        if self.end_time is not None:
            return TenantState.ERASED
        if self.erase_time is not None:
            return TenantState.ERASING
        return TenantState.ACTIVE if self.suspend_time is None else TenantState.SUSPENDED


@dataclass(frozen=True, slots=True)
class FirstAdministrator:
    """A new tenant's administrator with a key. digest: the SHA-256 of the key's secret."""

    user: User
    key: ApiKey
    digest: bytes


@dataclass(frozen=True, slots=True)
class FirstInvitation:
    """The invitation of a tenant's administrator. digest: the SHA-256 of the code. seconds: how long the code is valid."""

    id: UUID
    invitation: Invitation
    digest: bytes
    seconds: float


def tenant_state(tenant: Tenant, message: str) -> Precondition:
    """The error for a tenant whose state forbids the call."""
    return Precondition(
        Reason.TENANT_STATE,
        message,
        {"tenant": f"tenants/{tenant.id}", "state": "home" if tenant.home else tenant.state.value},
    )


class Tenants(Protocol):
    """The store of tenants. Each change runs in one transaction, which also writes the change's audit events."""

    async def add(
        self,
        tenant_id: str,
        display_name: str,
        administrator: FirstAdministrator | None,
        invitation: FirstInvitation | None,
        events: Sequence[AuditEvent],
    ) -> tuple[Tenant, User | None, datetime | None]:
        """Store a tenant with its administrator, or with the invitation. Return it with the administrator, and with the time when the invitation expires.

        Raises AlreadyExists if the id is or was in use.
        """
        ...

    async def invite(
        self, tenant_id: str, invitation: FirstInvitation, events: Sequence[AuditEvent]
    ) -> datetime:
        """Store an invitation and return the time when it expires. Raises NotFound, Precondition (TENANT_STATE)."""
        ...

    async def get(self, tenant_id: str) -> Tenant:
        """Return one tenant. Raises NotFound."""
        ...

    async def list(self, query: ListQuery) -> Page[Tenant]:
        """Return a page of all tenants."""
        ...

    async def suspend(self, tenant_id: str, events: Sequence[AuditEvent]) -> Tenant:
        """Suspend a tenant. A second call changes and audits nothing. Raises NotFound, Precondition (TENANT_STATE)."""
        ...

    async def resume(self, tenant_id: str, events: Sequence[AuditEvent]) -> Tenant:
        """Let a suspended tenant's users make calls again. A second call changes and audits nothing. Raises NotFound, Precondition (TENANT_STATE)."""
        ...

    async def begin_erasure(self, tenant_id: str, events: Sequence[AuditEvent]) -> Tenant:
        """Suspend a tenant, and mark it for erasure. A second call changes and audits nothing. Raises NotFound, Precondition (TENANT_STATE)."""
        ...


class Erasures(Protocol):
    """What a process needs to stop the work of suspended tenants and to erase tenants. Every method can be repeated."""

    async def suspended(self) -> Sequence[Tenant]:
        """Return the tenants that are suspended or being erased."""
        ...

    async def open_turns(self, tenant_id: str) -> Sequence[tuple[UUID, UUID]]:
        """Return at most 200 turns of a tenant that have not ended, each with its user."""
        ...

    async def documents(self, tenant_id: str, after: UUID | None) -> Sequence[UUID]:
        """Return at most 200 documents of a tenant, in the order of their ids. after: the last one of the previous call."""
        ...

    async def erase_some(self, tenant_id: str) -> bool | None:
        """Erase a limited number of rows, and count them in the receipt. Return whether nothing was left; None if another process erases this tenant at the moment, or a job of it
        still runs.

        When nothing is left, the tenant is marked as erased in the same transaction.
        """
        ...

    async def count(self, tenant_id: str, kind: str, number: int) -> None:
        """Add to the receipt what was erased outside the database."""
        ...
