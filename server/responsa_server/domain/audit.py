"""The audit log of a tenant, as administrators read it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

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
