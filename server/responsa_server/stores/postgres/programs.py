"""Registered programs in PostgreSQL."""

from __future__ import annotations

from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.listing import Field, ListRules
from responsa_server.domain.lists import CREATED, NEWEST, OLDEST
from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.resources import ResourceKind, resource_row

_RULES: Final = ListRules("programs", (Field("display_name"), CREATED), (OLDEST, NEWEST))

KIND: Final[ResourceKind[Row, UUID]] = ResourceKind("program", names.program, _RULES, resource_row)
