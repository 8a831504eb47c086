"""Teachers in PostgreSQL."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound, Reason
from responsa_server.domain.listing import Field, ListRules, Order
from responsa_server.domain.lists import CREATED, NEWEST, OLDEST
from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.resources import ResourceKind, resource_row


def _missing(name: str) -> NotFound:
    return NotFound(
        Reason.TEACHER_NOT_FOUND,
        "Teacher not found or access denied",
        {"resource_type": "teacher", "resource_name": name},
    )


_RULES: Final = ListRules(
    "teachers",
    (Field("display_name"), CREATED),
    (OLDEST, NEWEST, Order("display_name"), Order("display_name", descending=True)),
)

KIND: Final[ResourceKind[Row, UUID]] = ResourceKind(
    "teacher", names.teacher, _RULES, resource_row, missing=_missing
)
