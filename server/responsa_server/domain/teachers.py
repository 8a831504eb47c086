"""Teachers: who the tutor speaks as."""

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
    """A teacher that is to be. id: as the caller chose it, None for one of ours. parameters: plain JSON values, for prompts."""

    display_name: str
    persona: str
    parameters: Mapping[str, object]
    id: UUID | None = None


@dataclass(frozen=True, slots=True)
class TeacherChange:
    """What to change; None leaves it as it is."""

    display_name: str | None = None
    persona: str | None = None
    parameters: Mapping[str, object] | None = None


@dataclass(frozen=True, slots=True)
class Teacher:
    """A teacher as kept. revision: counts changes from 1."""

    id: UUID
    display_name: str
    persona: str
    parameters: Mapping[str, object]
    revision: int
    create_time: datetime
    update_time: datetime

    @property
    def etag(self) -> str:
        """Changes with every change. The time tells a teacher from an earlier one of the same id, which callers may choose."""
        return f"{(self.create_time - _EPOCH) // timedelta(microseconds=1):x}-{self.revision}"
