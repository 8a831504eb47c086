"""The default model of the installation, in `responsa.default_model`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Final

from psycopg.types.json import Jsonb

from responsa_server.domain.model_settings import DefaultModel
from responsa_server.domain.people import AuditEvent
from responsa_server.domain.rows import build
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import Database, Queries, shielded
from responsa_server.stores.postgres.rows import all_rows, one_row

_QUERIES: Final = Queries("default_model.sql")


class PostgresDefaultModel:
    """The stored model."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._log = AuditLog()

    @shielded
    async def get(self) -> tuple[DefaultModel, datetime | None]:
        """The model and when it was stored; None if none ever was. Raises Unavailable."""
        async with self._database.no_tenant_statements() as connection:
            row = await one_row(connection, _QUERIES["get"], {})
        if row is None:
            return DefaultModel(), None
        return build(DefaultModel, row), row["update_time"]

    @shielded
    async def put(self, model: DefaultModel, event: AuditEvent) -> None:
        """Store the model with the event. Raises Unavailable."""
        async with self._database.tenant(event.tenant_id) as connection:
            await connection.execute(_QUERIES["put"], {**asdict(model), "api_key": None})
            await self._log.write(connection, event)

    @shielded
    async def limits_money(self, tenant_id: str) -> bool:
        """Whether a budget of the tenant, or a quota of one of its users, is in money. Raises Unavailable."""
        async with self._database.tenant(tenant_id) as connection:
            row = await one_row(connection, _QUERIES["limits_money"], {"tenant": tenant_id})
        return bool(row and row["limited"])

    @shielded
    async def exchange(
        self, new: Mapping[tuple[str, str], Mapping[str, float]]
    ) -> dict[tuple[str, str], Mapping[str, float]]:
        """Store what was learned of models, by address and name, and return what all servers have learned within a day.
        Raises Unavailable."""
        async with self._database.no_tenant_statements() as connection:
            if new:
                await connection.execute(_QUERIES["forget"])
            for (url, model), facts in new.items():
                row = {"base_url": url, "model": model, "facts": Jsonb(facts)}
                await connection.execute(_QUERIES["learn"], row)
            rows = await all_rows(connection, _QUERIES["learned"], {})
        return {(row["base_url"], row["model"]): row["facts"] for row in rows}

    @shielded
    async def record(self, event: AuditEvent) -> None:
        """Store the event of an act that changes nothing. Raises Unavailable."""
        async with self._database.tenant(event.tenant_id) as connection:
            await self._log.write(connection, event)
