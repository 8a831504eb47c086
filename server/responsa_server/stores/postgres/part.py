"""PostgreSQL's health and the level of its migrations."""

from __future__ import annotations

from responsa_server.domain.parts import Health, MigrationState, PartReport
from responsa_server.stores.postgres.database import Database, shielded
from responsa_server.stores.postgres.migrate import applied, load


class PostgresPart:
    """Implements `domain.parts.Part`."""

    name = "postgresql"

    def __init__(self, database: Database) -> None:
        self._database = database

    @shielded
    async def check(self) -> PartReport:
        """Ask both roles for an answer, and the server for its version."""
        async with self._database.no_tenant() as connection:
            cursor = await connection.execute("SELECT current_setting('server_version')")
            row = await cursor.fetchone()
        async with self._database.log() as connection:
            await connection.execute("SELECT 1")
        return PartReport(Health.OK, version=str(row[0]) if row else "")


class PostgresMigrations:
    """Implements `domain.parts.Migrations`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @shielded
    async def state(self) -> MigrationState:
        """Compare what is applied with what this version has."""
        async with self._database.no_tenant() as connection:
            present = await applied(connection)
        return MigrationState(last=present[-1][0] if present else "", pending=len(present) < len(load()))
