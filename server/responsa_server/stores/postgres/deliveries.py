"""Deliveries to webhooks, and mails to administrators about runs, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound
from responsa_server.domain.knowledge import JobKind, Operation
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import DELIVERIES
from responsa_server.domain.mail import Mail, MailKind
from responsa_server.domain.notifications import (
    Announcement,
    Attempt,
    Delivery,
    DeliveryState,
    RunEvent,
)
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.domain.turns import NewId
from responsa_server.stores.postgres import operations
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import Connection, Database, Queries, one_row, shielded
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.mail import Outbox

_LIST: Final[SqlList[Delivery]] = SqlList(
    DELIVERIES, {"webhook": "webhook", "event": "event", "state": "state", "create_time": "create_time"}
)
_MAIL: Final = ""
_MOST_MAILS: Final = 20
_MAILS: Final[Mapping[RunEvent, MailKind]] = {
    RunEvent.FAILED: MailKind.RUN_FAILED,
    RunEvent.CONFIRMATION_WANTED: MailKind.RUN_STOPPED,
}


class PostgresDeliveries:
    """Implements the port `Deliveries` for all tenants."""

    def __init__(
        self, database: Database, queue: JobQueue, new_id: NewId, outbox: Outbox | None = None
    ) -> None:
        """outbox: for mails to administrators; None if the server sends no mails."""
        self._database = database
        self._queue = queue
        self._new_id = new_id
        self._outbox = outbox
        self._queries = Queries("deliveries.sql")
        self._audit = AuditLog()

    @shielded
    async def ended(self, tenant_id: str, operation_id: UUID) -> Operation | None:
        """See `Deliveries.ended`."""
        values = {"tenant": tenant_id, "operation": operation_id}
        async with self._database.tenant(tenant_id) as database:
            row = await one_row(database, self._queries["ended"], values)
        return None if row is None else operations.from_row(row)

    @shielded
    async def announce(self, announcement: Announcement) -> None:
        """See `Deliveries.announce`."""
        tenant_id = announcement.operation.tenant_id
        async with self._database.tenant(tenant_id) as database:
            for webhook in announcement.webhooks:
                delivery_id = await self._insert(database, announcement, webhook)
                if delivery_id is not None:
                    await self._queue.defer(database, JobKind.DELIVER, tenant_id, delivery_id)
            kind = _MAILS.get(announcement.event)
            if announcement.mail and self._outbox is not None and kind is not None:
                mail_id = await self._insert(database, announcement, _MAIL)
                if mail_id is not None:
                    values = {"tenant": tenant_id, "most": _MOST_MAILS, "id": mail_id}
                    cursor = await database.execute(self._queries["administrators"], values)
                    for user_id, email in await cursor.fetchall():
                        mail = Mail(self._new_id(), tenant_id, kind, email)
                        await self._outbox.put(database, mail, user_id=user_id)
                    sent = {"state": DeliveryState.DELIVERED.value, "status": 0, "problem": ""}
                    await database.execute(self._queries["attempted"], {**values, **sent})
            await database.execute(self._queries["forget"], {"tenant": tenant_id})

    @shielded
    async def find(self, tenant_id: str, delivery_id: UUID) -> Delivery | None:
        """See `Deliveries.find`."""
        values = {"tenant": tenant_id, "id": delivery_id}
        async with self._database.tenant(tenant_id) as database:
            row = await one_row(database, self._queries["get"], values)
        return None if row is None else _delivery(row)

    @shielded
    async def attempted(
        self, tenant_id: str, delivery_id: UUID, attempt: Attempt, state: DeliveryState
    ) -> None:
        """See `Deliveries.attempted`."""
        values = {
            "tenant": tenant_id,
            "id": delivery_id,
            "state": state.value,
            "status": attempt.status,
            "problem": attempt.problem,
        }
        async with self._database.tenant(tenant_id) as database:
            await database.execute(self._queries["attempted"], values)

    @shielded
    async def list(self, who: Principal, query: ListQuery) -> Page[Delivery]:
        """See `Deliveries.list`."""
        async with self._database.tenant(who.tenant_id) as database:
            rows = await _LIST.rows(database, self._queries["list"], query, {"tenant": who.tenant_id})
        return _LIST.page([_delivery(row) for row in rows], query)

    @shielded
    async def again(self, who: Principal, delivery_id: UUID) -> Delivery:
        """See `Deliveries.again`."""
        values = {"tenant": who.tenant_id, "id": delivery_id}
        async with self._database.locking(who.tenant_id) as database:
            row = await one_row(database, self._queries["again"], values)
            if row is None:
                raise NotFound.of("delivery", names.delivery(delivery_id))
            await self._queue.defer(database, JobKind.DELIVER, who.tenant_id, delivery_id)
            event = AuditEvent.of(who, "delivery.redeliver", names.delivery(delivery_id))
            await self._audit.write(database, event)
            return _delivery(row)

    async def _insert(self, database: Connection, announcement: Announcement, webhook: str) -> UUID | None:
        """Returns the id of the new row; None if there was one."""
        values = {
            "id": self._new_id(),
            "tenant": announcement.operation.tenant_id,
            "webhook": webhook,
            "operation": announcement.operation.id,
            "source": announcement.operation.source_id,
            "event": announcement.event.value,
            "body": announcement.body,
        }
        row = await one_row(database, self._queries["insert"], values)
        return None if row is None else row["id"]


def _delivery(row: Mapping[str, Any]) -> Delivery:
    return Delivery(
        row["id"],
        row["webhook"],
        row["operation_id"],
        row["source_id"],
        RunEvent(row["event"]),
        row["body"],
        DeliveryState(row["state"]),
        row["attempts"],
        Attempt(row["status"], row["problem"]),
        row["create_time"],
        row["attempt_time"],
    )
