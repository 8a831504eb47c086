"""Notifications about runs of sources: events, webhooks and deliveries, and the ports of their stores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Protocol
from uuid import UUID

from responsa_server.domain.knowledge import Operation
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal
from responsa_server.domain.tools import SecretPlace


class RunEvent(StrEnum):
    """What a notification reports."""

    FAILED = "source.failed"
    CONFIRMATION_WANTED = "source.confirmation_wanted"
    """The run would delete many documents."""
    SUCCEEDED = "source.succeeded"


class DeliveryState(StrEnum):
    """WAITING: to be sent, again or for the first time. DELIVERED: the receiver has accepted it. FAILED: all attempts have failed."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver that the owner of the installation declared.

    tenants: the tenants whose events it receives; "*" stands for all. secret: the place of the key that signs. allow_private: hosts and networks beyond the public ones. seconds: the time limit of an attempt.
    """

    name: str
    url: str
    secret: SecretPlace
    tenants: Sequence[str]
    events: Sequence[RunEvent]
    allow_private: Sequence[str] = ()
    seconds: float = 15.0

    def granted(self, tenant_id: str) -> bool:
        """Whether the webhook receives events of the tenant."""
        return "*" in self.tenants or tenant_id in self.tenants

    def receives(self, tenant_id: str, event: RunEvent) -> bool:
        """Whether the webhook receives an event of a tenant."""
        return event in self.events and self.granted(tenant_id)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of an attempt. status: of the response; 0 without one. problem: why it failed; "" if the receiver accepted it."""

    status: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event for a webhook. attempts: those since it was last begun. body: the JSON as it is sent. attempt: the newest attempt; without problem and status before the first one."""

    id: UUID
    webhook: str
    operation_id: UUID
    source_id: str
    event: RunEvent
    body: str
    state: DeliveryState
    attempts: int
    attempt: Attempt
    create_time: datetime
    attempt_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Announcement:
    """What is sent about a run that has ended. body: the JSON. webhooks: the names of the receivers. mail: whether administrators get a mail."""

    operation: Operation
    event: RunEvent
    body: str
    webhooks: Sequence[str] = field(default=())
    mail: bool = False


class Webhooks(Protocol):
    """The declared webhooks."""

    async def of(self, tenant_id: str) -> Sequence[Webhook]:
        """The webhooks that receive events of the tenant."""
        ...


class Deliveries(Protocol):
    """The store of deliveries. All methods raise Unavailable if the store cannot be reached."""

    async def ended(self, tenant_id: str, operation_id: UUID) -> Operation | None:
        """Return a run that has ended; None if it has not, or was deleted."""
        ...

    async def announce(self, announcement: Announcement) -> None:
        """Store the deliveries with their jobs, and the mails, of an announcement: once for each run and receiver, however often it is called."""
        ...

    async def find(self, tenant_id: str, delivery_id: UUID) -> Delivery | None:
        """Return a delivery; None if it was deleted."""
        ...

    async def attempted(
        self, tenant_id: str, delivery_id: UUID, attempt: Attempt, state: DeliveryState
    ) -> None:
        """Store the outcome of an attempt, and the state after it."""
        ...

    async def list(self, who: Principal, query: ListQuery) -> Page[Delivery]:
        """Return a page of deliveries."""
        ...

    async def again(self, who: Principal, delivery_id: UUID) -> Delivery:
        """Send a delivery again, at once. Raises NotFound."""
        ...
