"""The audit log in PostgreSQL."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Final

from responsa_server.domain import names
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import AUDIT_EVENTS
from responsa_server.domain.people import (
    MOST_REFUSED,
    REFUSED_SECONDS,
    AuditEvent,
    Principal,
    Server,
)
from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.database import Connection, Database, Queries, shielded
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.readers import act_as
from responsa_server.stores.postgres.rows import one_row, to_row

_MOST_PRUNED: Final = 10_000
_OWNED: Final = frozenset(
    {"apiKeys", "documents", "invitations", "operations", "serviceGrants", "sessions", "turns"}
)
"""The kinds of resources with a UUID that belong to a user, as they are called in names."""
_LIST: Final[SqlList[Row]] = SqlList(
    AUDIT_EVENTS,
    {"resource": "resource_name"},
)


class AuditLog:
    """Writes audit events in the transactions of the changes that they report."""

    def __init__(self) -> None:
        self._queries = Queries("audit.sql")

    async def write(self, connection: Connection, event: AuditEvent | None) -> None:
        """Write an event; None writes nothing. The event exists only if the transaction commits."""
        if event is None:
            return
        values = {
            **asdict(event),
            "affected_user": event.affected_user,
            "added_readers": list(event.added_readers),
            "removed_readers": list(event.removed_readers),
        }
        await connection.execute(self._queries["add"], values)


class PostgresAuditTrail:
    """The audit log. A store that changes something writes the event of the change itself, in the transaction of the change."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = Queries("audit.sql")
        self._counts = Queries("accounts.sql")
        self._log = AuditLog()

    @shielded
    async def record(self, event: AuditEvent) -> None:
        """Write an event that belongs to no change in the database. Raises Unavailable."""
        async with self._database.tenant(event.tenant_id) as connection:
            await self._log.write(connection, event)

    @shielded
    async def record_refused(
        self, caller: Principal, events: Sequence[AuditEvent], *, only_of_others: bool = False
    ) -> None:
        """Write the events of an act that the server refused to the caller, all with the same action and outcome. An
        event names the user to whom its resource belongs, if the resource exists in the caller's tenant. So that
        callers cannot fill the log, only the first `MOST_REFUSED` events of an actor with an action and an outcome are
        written in each window of `REFUSED_SECONDS`; the first event begins the window.
        only_of_others: whether to write only the events about resources that belong to another user. Raises Unavailable.
        """
        # A collection's name depends on the caller. The rest is the server's own look at the caller's tenant.
        async with self._database.reading(caller) as connection:
            known = [await self._of_collection(connection, event) for event in events]
            await act_as(connection, Server(caller.tenant_id))
            for event in known:
                named = await self._of_owner(connection, event)
                if named.affected_user is None and only_of_others:
                    continue
                if await self._too_many(connection, named):
                    break
                await self._log.write(connection, named)
            await connection.execute(self._counts["drop_old_attempts"])

    async def _too_many(self, connection: Connection, event: AuditEvent) -> bool:
        """Count a refusal. Returns whether the log already has `MOST_REFUSED` of its kind in this window."""
        subject = "\x00".join(("refused", event.tenant_id, event.actor, event.action, event.outcome))
        values = {
            "subject": hashlib.sha256(subject.encode()).digest(),
            "limit": MOST_REFUSED,
            "window": REFUSED_SECONDS,
        }
        row = await one_row(connection, self._counts["count_attempt"], values)
        assert row is not None, "the statement returns its row"
        return bool(row["exceeded"])

    async def _of_collection(self, connection: Connection, event: AuditEvent) -> AuditEvent:
        """The event with the collection's owner, and with the name that the collection has for everybody but its owner."""
        kind, _, rest = event.resource_name.partition("/")
        if kind != "collections":
            return event
        chosen, *below = rest.split("/")
        values = {"tenant": event.tenant_id, "name": chosen}
        row = await one_row(connection, self._queries["collection"], values)
        if row is None:
            return event
        name = "/".join([names.collection(row["shared_id"]), *below])
        return replace(event, resource_name=name, about=row["owner_id"])

    async def _of_owner(self, connection: Connection, event: AuditEvent) -> AuditEvent:
        """The event with the user to whom the resource belongs."""
        kind = event.resource_name.partition("/")[0]
        if kind not in _OWNED:
            return event
        with contextlib.suppress(ValueError):  # no name of a resource
            identity = names.parse_uuid(kind, event.resource_name)
            values = {"tenant": event.tenant_id, "kind": kind, "id": identity}
            row = await one_row(connection, self._queries["owner"], values)
            return event if row is None else replace(event, about=row["owner_id"])
        return event

    @shielded
    async def list(self, tenant_id: str, query: ListQuery) -> Page[Row]:
        """Return a page of the tenant's events."""
        async with self._database.tenant(tenant_id) as connection:
            values = {"tenant": tenant_id}
            return await _LIST.read(connection, self._queries["list"], query, values, to_row)

    @shielded
    async def prune(self, days: int) -> int:
        """Delete the events of all tenants that are older than `days`, at least 30. Returns the number of deleted
        events. Each statement deletes a limited number, so that none takes long."""
        deleted = 0
        async with self._database.log_statements() as connection:
            while True:
                cursor = await connection.execute(
                    self._queries["prune"], {"days": days, "most": _MOST_PRUNED}
                )
                row = await cursor.fetchone()
                count = int(row[0]) if row else 0
                deleted += count
                if count < _MOST_PRUNED:
                    return deleted
