"""The audit log of a tenant, as administrators read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import AuditEvent, Principal

MOST_REFUSED: Final = 10
"""How many refusals of one act for one reason a caller gets into the audit log in a window of `REFUSED_SECONDS`."""
REFUSED_SECONDS: Final = 900.0


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A stored event. The fields are those of `AuditEvent`."""

    id: UUID
    create_time: datetime
    actor: str
    action: str
    resource: str
    outcome: str
    address: str
    call_id: str
    on_behalf_of: str
    affected_user: UUID | None = None
    added_readers: Sequence[str] = ()
    removed_readers: Sequence[str] = ()


class AuditTrail(Protocol):
    """The audit log. A store that changes something writes the event of the change itself, in the transaction of the change."""

    async def record(self, event: AuditEvent) -> None:
        """Write an event that belongs to no change in the database. Raises Unavailable."""
        ...

    async def record_refused(
        self, who: Principal, events: Sequence[AuditEvent], *, only_of_others: bool = False
    ) -> None:
        """Write the events of an act that the server refused to the caller, all with the same action and outcome. An event names the user to whom its resource belongs, if the resource exists in the
        caller's tenant. So that callers cannot fill the log, only the first `MOST_REFUSED` events of an actor with an action and an outcome are written in each window of `REFUSED_SECONDS`; the
        first event begins the window.
        only_of_others: whether to write only the events about resources that belong to another user. Raises Unavailable.
        """
        ...

    async def list(self, tenant_id: str, query: ListQuery) -> Page[AuditRecord]:
        """Return a page of the tenant's events."""
        ...

    async def prune(self, days: int) -> int:
        """Delete the events of all tenants that are older than `days`, at least 30. Returns the number of deleted events."""
        ...
