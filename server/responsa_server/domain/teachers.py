"""Teachers, the personas that the tutor adopts, and the store of teachers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal

MAX_PERSONA_BYTES: Final = 8192
"""The maximum length of a persona in UTF-8."""


@dataclass(frozen=True, slots=True)
class NewTeacher:
    """A teacher to create. id: the id that the caller chose, or None to generate one. parameters: plain JSON values for
    prompts.
    """

    display_name: str
    persona: str
    parameters: Mapping[str, object]
    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class TeacherChange:
    """An update; None leaves a field unchanged."""

    display_name: str | None = None
    persona: str | None = None
    parameters: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Teacher:
    """A stored teacher. revision: a number that starts at 1 and increases with every update."""

    id: UUID
    display_name: str
    persona: str
    parameters: Mapping[str, object]
    revision: int
    create_time: datetime
    update_time: datetime

    @property
    def etag(self) -> str:
        return names.etag(self.create_time, self.revision)


class Teachers(Protocol):
    """The teachers of the caller's tenant."""

    async def create(self, who: Principal, teacher: NewTeacher, request_id: UUID | None) -> Teacher:
        """Create a teacher, or return the teacher that this request_id created. Raises AlreadyExists if the id is
        taken.
        """
        ...

    async def get(self, who: Principal, identity: UUID) -> Teacher:
        """Return one teacher. Raises NotFound (TEACHER_NOT_FOUND)."""
        ...

    async def list(self, who: Principal, query: ListQuery) -> Page[Teacher]: ...

    async def update(self, who: Principal, identity: UUID, change: TeacherChange, etag: str) -> Teacher:
        """Update a teacher. etag: the expected etag; "" accepts any revision. Raises NotFound, Conflict
        (ETAG_MISMATCH).
        """
        ...

    async def delete(self, who: Principal, identity: UUID, etag: str) -> None:
        """Delete a teacher. etag: the expected etag; "" accepts any revision. Raises NotFound, Conflict
        (ETAG_MISMATCH).
        """
        ...
