"""Registered programs in PostgreSQL, and the addresses that others asked for."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.listing import Field, ListRules
from responsa_server.domain.lists import CREATED, NEWEST, OLDEST
from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.resources import ResourceKind, resource_row

_FIELDS: Final = (Field("display_name"), CREATED)
_RULES: Final = ListRules("programs", _FIELDS, (OLDEST, NEWEST))
_ASKED: Final = ListRules("asked_programs", _FIELDS, (NEWEST, OLDEST))

KIND: Final[ResourceKind[Row, UUID]] = ResourceKind("program", names.program, _RULES, resource_row)
ASKED: Final[ResourceKind[Row, UUID]] = ResourceKind(
    "asked_program", names.asked_program, _ASKED, resource_row
)
