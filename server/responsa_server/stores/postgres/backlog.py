"""What waits for a worker or for a backup, and how many people ask, for the metrics."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg.rows import class_row

from responsa_server.stores.postgres.database import Database, Queries, shielded


@dataclass(frozen=True, slots=True)
class Waiting:
    """The turns and the due jobs of all servers that wait for a worker, and the ages of the oldest in seconds.

    backup_age: the seconds since the newest complete backup began, or since the database was made, if it has none.
    users: how many have asked a question in the last 15 minutes."""

    turns: int = 0
    turns_age: float = 0.0
    jobs: int = 0
    jobs_age: float = 0.0
    backup_age: float = 0.0
    users: int = 0


class BacklogReader:
    """Reads what waits."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = Queries("backlog.sql")

    @shielded
    async def read(self) -> Waiting:
        """Read everything. Raises Unavailable."""
        async with self._database.log_statements() as connection:
            cursor = connection.cursor(row_factory=class_row(Waiting))
            await cursor.execute(self._queries["backlog"])
            return await cursor.fetchone() or Waiting()
