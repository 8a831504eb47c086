"""What the resources that administrators keep for their tenant have in common."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from responsa_server.domain import names


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A stored resource. revision: a number that starts at 1 and increases with every update."""

    id: UUID
    revision: int
    create_time: datetime
    update_time: datetime

    @property
    def etag(self) -> str:
        return names.etag(self.create_time, self.revision)
