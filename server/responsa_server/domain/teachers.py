"""Teachers, the personas that the tutor adopts."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal
from responsa_server.domain.rows import Row


class Teachers(Protocol):
    """The teachers of the caller's tenant, as agents read them: rows with id, display_name, persona and parameters, which
    are plain JSON values for prompts."""

    async def get(self, caller: Principal, identity: UUID) -> Row:
        """Return one teacher. Raises NotFound (TEACHER_NOT_FOUND)."""
        ...

    async def list(self, caller: Principal, query: ListQuery) -> Page[Row]:
        """Return a page of teachers."""
        ...
