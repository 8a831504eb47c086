"""Teachers: the personas that the tutor speaks as."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from uuid import UUID

MAX_DISPLAY_NAME_BYTES: Final = 200
MAX_PERSONA_BYTES: Final = 8192
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class NewTeacher:
    """A teacher to create. id: chosen by the caller, or None for a generated one. parameters: plain JSON values for prompts."""

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
    """A stored teacher. revision: starts at 1 and grows with every update."""

    id: UUID
    display_name: str
    persona: str
    parameters: Mapping[str, object]
    revision: int
    create_time: datetime
    update_time: datetime

    @property
    def etag(self) -> str:
        """Changes with every update. It holds the creation time too, since a deleted teacher's id may be used again."""
        return f"{(self.create_time - _EPOCH) // timedelta(microseconds=1):x}-{self.revision}"
