"""Teachers, the personas that the tutor adopts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol
from uuid import UUID

from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal
from responsa_server.domain.resources import Resource

MAX_PERSONA_BYTES: Final = 8192
"""The maximum length of a persona in UTF-8."""


@dataclass(frozen=True, slots=True)
class Teacher(Resource):
    """A stored teacher. parameters: plain JSON values for prompts."""

    display_name: str
    persona: str
    parameters: Mapping[str, object]


class Teachers(Protocol):
    """The teachers of the caller's tenant, as agents read them."""

    async def get(self, who: Principal, identity: UUID) -> Teacher:
        """Return one teacher. Raises NotFound (TEACHER_NOT_FOUND)."""
        ...

    async def list(self, who: Principal, query: ListQuery) -> Page[Teacher]:
        """Return a page of teachers."""
        ...
