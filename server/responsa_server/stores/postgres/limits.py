"""The exceptions of users, and the messages that are counted while Redis is away, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.limits import MINUTE, RecentMessage
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.rows import (
    all_rows,
    one_row,
)
from responsa_server.stores.postgres.users import lock_changeable


class PostgresLimits:
    """The exceptions of users, the accepted messages, and the counts that are used without Redis. Each call is for one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = Queries("limits.sql")
        self._audit = AuditLog()

    @shielded
    async def exceptions(self, tenant_id: str, user_id: UUID) -> Mapping[str, int]:
        """Return the exceptions of a user by the limit's name; an unknown user has no exceptions."""
        values = {"tenant": tenant_id, "user": user_id}
        [rows] = await self._database.together(tenant_id, [(self._queries["exceptions"], values)])
        return {row["name"]: row["value"] for row in rows}

    @shielded
    async def change_exceptions(
        self, caller: Principal, user_id: UUID, changes: Mapping[str, int | None]
    ) -> Mapping[str, int]:
        """Set exceptions, or remove those with the value None. Returns all exceptions. A change to the present values
        audits nothing. Raises NotFound, and NotPermitted (ROLE_REQUIRED) for an owner, whom only owners limit.
        """
        values: dict[str, object] = {"tenant": caller.tenant_id, "user": user_id}
        async with self._database.locking(caller.tenant_id) as connection:
            await lock_changeable(connection, caller.tenant_id, user_id, by_owner=caller.owner)
            cursor = await connection.execute(self._queries["exceptions"], values)
            before = dict(await cursor.fetchall())
            after = {**before, **changes}
            present = {name: value for name, value in after.items() if value is not None}
            if present == before:
                return before
            for name, value in changes.items():
                query = "remove_exception" if value is None else "set_exception"
                await connection.execute(self._queries[query], {**values, "name": name, "value": value})
            await self._audit.write(connection, AuditEvent.of_call(caller, names.limits(user_id)))
        return present

    @shielded
    async def bytes_of_user(self, caller: Principal) -> int:
        """Return the size of what a user keeps: the originals and canonical texts of all versions of the user's
        documents; the questions and answers of all conversations, with their citations, once their turns have ended;
        the titles and labels of conversations. The cost grows with the numbers of documents and conversations.
        """
        return await self._bytes("stored_bytes", caller)

    @shielded
    async def bytes_of_tenant(self, caller: Principal) -> int:
        """Return the size of the originals and canonical texts of all documents of the caller's tenant. The cost grows
        with their number."""
        return await self._bytes("stored_bytes_of_tenant", caller)

    async def _bytes(self, query: str, caller: Principal) -> int:
        async with self._database.tenant(caller.tenant_id) as connection:
            row = await one_row(connection, self._queries[query], _values(caller))
        assert row is not None, "the query always has a row"
        return int(row["bytes"])

    @shielded
    async def messages(self, caller: Principal) -> Sequence[RecentMessage]:
        """Return the user's accepted messages of the last minute."""
        [rows] = await self._database.together(
            caller.tenant_id, [(self._queries["messages"], _values(caller))]
        )
        return [_message(row) for row in rows]

    @shielded
    async def count_message(self, caller: Principal, turn_id: UUID, limit: int) -> float:
        """Count a message in the database, as `RedisMessages.count` does. The user's accepted messages of the last minute count, too."""
        values = {**_values(caller), "message": turn_id}
        async with self._database.locking(caller.tenant_id) as connection:
            await connection.execute(self._queries["lock_messages"], values)
            await connection.execute(self._queries["drop_messages"], values)
            rows = await all_rows(connection, self._queries["messages"], values)
            # A row whose turn was written is in both tables.
            ages: dict[UUID, float] = {}
            for row in map(_message, rows):
                ages[row.turn_id] = min(row.age_seconds, ages.get(row.turn_id, row.age_seconds))
            if turn_id in ages:
                return 0.0
            if len(ages) >= limit:
                return max(MINUTE - sorted(ages.values())[limit - 1], 0.001)
            await connection.execute(self._queries["count_message"], values)
        return 0.0

    @shielded
    async def give_back_message(self, caller: Principal, turn_id: UUID) -> None:
        """Forget a message that was counted in the database and was not accepted."""
        async with self._database.tenant(caller.tenant_id) as connection:
            await connection.execute(
                self._queries["give_back_message"], {**_values(caller), "message": turn_id}
            )


def _values(caller: Principal) -> dict[str, object]:
    return {"tenant": caller.tenant_id, "user": caller.user_id, "seconds": MINUTE}


def _message(row: Mapping[str, Any]) -> RecentMessage:
    return RecentMessage(row["message"], max(row["age"], 0.0))
