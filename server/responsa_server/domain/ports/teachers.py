"""The store of teachers: personas that administrators manage and the tutor speaks as."""

from __future__ import annotations

from typing import Protocol
from uuid import UUID

from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal
from responsa_server.domain.teachers import NewTeacher, Teacher, TeacherChange


class Teachers(Protocol):
    """The teachers of the caller's tenant."""

    async def create(self, who: Principal, teacher: NewTeacher, request_id: UUID | None) -> Teacher:
        """Create a teacher, or return the one that this request_id created. Raises AlreadyExists for an id that is taken."""
        ...

    async def get(self, who: Principal, identity: UUID) -> Teacher:
        """Return one teacher. Raises NotFound (TEACHER_NOT_FOUND)."""
        ...

    async def list(self, who: Principal, query: ListQuery) -> Page[Teacher]:
        """Return a page of teachers."""
        ...

    async def update(self, who: Principal, identity: UUID, change: TeacherChange, etag: str) -> Teacher:
        """Update a teacher. etag: "" for any revision. Raises NotFound, Conflict (ETAG_MISMATCH)."""
        ...

    async def delete(self, who: Principal, identity: UUID, etag: str) -> None:
        """Delete a teacher. etag: "" for any revision. Raises NotFound, Conflict (ETAG_MISMATCH)."""
        ...
