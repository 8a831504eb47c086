"""Summaries of conversations in PostgreSQL."""

from __future__ import annotations

from uuid import UUID

from responsa_server.domain.conversations import Summary
from responsa_server.domain.people import Principal
from responsa_server.stores.postgres.database import Database, one_row, shielded
from responsa_server.stores.postgres.queries import Queries


class PostgresSummaries:
    """Implements the port `Summaries`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = Queries("summaries.sql")

    @shielded
    async def find(self, who: Principal, conversation_id: UUID) -> Summary | None:
        """See `Summaries.find`."""
        parameters = _place(who, conversation_id)
        async with self._database.tenant(who.tenant_id) as connection:
            row = await one_row(connection, self._queries["find"], parameters)
        return None if row is None else Summary(row["summary"], row["through_message"])

    @shielded
    async def keep(self, who: Principal, conversation_id: UUID, summary: Summary) -> None:
        """See `Summaries.keep`."""
        parameters = {
            **_place(who, conversation_id),
            "through": summary.through,
            "summary": summary.text,
        }
        async with self._database.tenant(who.tenant_id) as connection:
            await connection.execute(self._queries["keep"], parameters)


def _place(who: Principal, conversation_id: UUID) -> dict[str, object]:
    return {"tenant": who.tenant_id, "user": who.user_id, "conversation": conversation_id}
