"""Tenants, as the owner of the installation sees and changes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from responsa_contract import TenantState
from responsa_server.domain.accounts import Invitation
from responsa_server.domain.errors import Precondition, Reason
from responsa_server.domain.people import ApiKey, User


@dataclass(frozen=True, slots=True)
class Tenant:
    """A tenant. home: whether it is the installation's own, which is neither suspended nor erased. erased: the number
    of erased records of each kind, so far."""

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
    """The invitation of a tenant's administrator. maker_id: the owner who makes it, a user of another tenant. digest:
    the SHA-256 of the code. seconds: how long the code is valid."""

    id: UUID
    maker_id: UUID
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
