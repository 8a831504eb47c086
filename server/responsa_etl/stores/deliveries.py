"""Deliveries to webhooks, and notices about runs and failed ingestions, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound
from responsa_server.domain.knowledge import JobKind, Operation
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import DELIVERIES
from responsa_server.domain.notifications import (
    GATHER_SECONDS,
    NOTICE_SECONDS,
    Attempt,
    Delivery,
    EventSummary,
    Mail,
    MailKind,
    NotifiedEvent,
    OperationNotice,
)
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.domain.rows import build
from responsa_server.domain.turns import NewId
from responsa_server.stores.postgres import operations
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.mail import Outbox
from responsa_server.stores.postgres.rows import one_row

_LIST: Final[SqlList[Delivery]] = SqlList(DELIVERIES)
# The place of a webhook's name in the row of an event that a notice reports.
_NOTICE: Final = ""
_MOST_MAILS: Final = 20
# A notice may report very many events.
_STEP_SECONDS: Final = 30
_MAILS: Final[Mapping[NotifiedEvent, MailKind]] = {
    NotifiedEvent.FAILED: MailKind.RUN_FAILED,
    NotifiedEvent.CONFIRMATION_WANTED: MailKind.RUN_STOPPED,
    NotifiedEvent.INGESTION_FAILED: MailKind.INGESTIONS_FAILED,
}


class PostgresDeliveries:
    """The store of deliveries. All methods raise Unavailable if the store cannot be reached."""

    def __init__(
        self, database: Database, queue: JobQueue, new_id: NewId, outbox: Outbox | None = None
    ) -> None:
        """outbox: for mails to administrators; None if the server sends no mails."""
        self._database = database
        self._queue = queue
        self._new_id = new_id
        self._outbox = outbox
        self._queries = Queries("deliveries.sql", package=__package__)
        self._audit = AuditLog()

    @shielded
    async def find_ended(self, tenant_id: str, operation_id: UUID) -> Operation | None:
        """Return an operation that has ended; None if it has not, or was deleted."""
        values = {"tenant": tenant_id, "operation": operation_id}
        async with self._database.tenant(tenant_id) as database:
            row = await one_row(database, self._queries["ended"], values)
        return None if row is None else operations.from_row(row)

    @shielded
    async def announce(self, announcement: OperationNotice) -> None:
        """Store the deliveries of an announcement with their jobs, and the event for the next notice: once for each
        operation and receiver, however often it is called."""
        operation, event = announcement.operation, announcement.event
        about = {
            "tenant": operation.tenant_id,
            "operation": operation.id,
            "source": operation.source_id,
            "event": event.value,
        }
        async with self._database.tenant(operation.tenant_id) as database:
            for webhook in announcement.webhooks:
                await self._deliver(database, about, webhook, announcement.body)
            if announcement.notice and await self._insert(database, about, _NOTICE, "") is not None:
                # Enqueue the job of the notice that reports the event, unless it has one.
                values = {**about, "id": self._new_id(), "seconds": NOTICE_SECONDS}
                row = await one_row(database, self._queries["want_notice"], values)
                if row is not None:
                    least = GATHER_SECONDS if event is NotifiedEvent.INGESTION_FAILED else 0.0
                    after = max(row["pause"], least)
                    await self._queue.defer(
                        database, JobKind.NOTICE, str(about["tenant"]), row["id"], after=after
                    )
            for name in ("forget", "forget_notices"):
                await database.execute(self._queries[name], about)

    @shielded
    async def find(self, tenant_id: str, delivery_id: UUID) -> Delivery | None:
        """Return a delivery; None if it was deleted."""
        values = {"tenant": tenant_id, "id": delivery_id}
        async with self._database.tenant(tenant_id) as database:
            row = await one_row(database, self._queries["get"], values)
        return None if row is None else _delivery(row)

    @shielded
    async def record(
        self, tenant_id: str, delivery_id: UUID, attempt: Attempt, limit: int
    ) -> Delivery | None:
        """Store the outcome of an attempt, and return the delivery after it; None if it was deleted. limit: the number
        of attempts after which the delivery has failed."""
        values = {
            "tenant": tenant_id,
            "id": delivery_id,
            "most": limit,
            "status": attempt.status,
            "problem": attempt.problem,
        }
        async with self._database.tenant(tenant_id) as database:
            row = await one_row(database, self._queries["attempted"], values)
        return None if row is None else _delivery(row)

    @shielded
    async def notice(
        self,
        tenant_id: str,
        notice_id: UUID,
        receivers: Callable[[NotifiedEvent], Sequence[str]],
        body: Callable[[EventSummary], str],
        mails: Collection[NotifiedEvent],
    ) -> float | None:
        """Store the mails of a notice, and its deliveries with their jobs. Returns None, or the seconds for which the notice has to wait.

        receivers: the webhooks that get notices about an event. body: the JSON for them. mails: the events about which
        administrators get mails.
        """
        values: dict[str, object] = {"tenant": tenant_id, "id": notice_id, "seconds": NOTICE_SECONDS}
        async with self._database.locking(tenant_id, _STEP_SECONDS) as database:
            # Whoever adds an event holds this lock until the event can be seen.
            row = await one_row(database, self._queries["lock_notice"], values)
            if row is None:
                return None
            if row["pause"] > 0:
                return row["pause"]
            event, source_id = NotifiedEvent(row["event"]), str(row["source_id"])
            values |= {"event": event.value, "source": source_id}
            row = await one_row(database, self._queries["gather"], values)
            await database.execute(self._queries["notice_sent"], values)
            if row is None or row["number"] == 0:
                return None
            gathered = EventSummary(tenant_id=tenant_id, event=event, source_id=source_id, **row)
            values["operation"] = gathered.operation_id
            for webhook in receivers(event):
                await self._deliver(database, values, webhook, body(gathered))
            if event in mails:
                await self._mail(database, gathered)
        return None

    @shielded
    async def list(self, caller: Principal, query: ListQuery) -> Page[Delivery]:
        async with self._database.tenant(caller.tenant_id) as database:
            values = {"tenant": caller.tenant_id}
            return await _LIST.read(database, self._queries["list"], query, values, _delivery)

    @shielded
    async def again(self, caller: Principal, delivery_id: UUID) -> Delivery:
        """Send a delivery again, at once. One that waits is brought forward. Raises NotFound."""
        values = {"tenant": caller.tenant_id, "id": delivery_id}
        async with self._database.locking(caller.tenant_id) as database:
            row = await one_row(database, self._queries["again"], values)
            if row is None:
                raise NotFound.of("delivery", names.delivery(delivery_id))
            # The job of a delivery that waits makes the attempt, at once or after the one that it makes at this moment.
            # That of a delivery that has ended makes no more.
            if not (row["waited"] and await self._queue.hasten(database, JobKind.DELIVER, delivery_id)):
                await self._queue.defer(database, JobKind.DELIVER, caller.tenant_id, delivery_id)
            event = AuditEvent.of_call(caller, names.delivery(delivery_id))
            await self._audit.write(database, event)
            return _delivery(row)

    async def _insert(
        self, database: Connection, about: Mapping[str, object], webhook: str, body: str
    ) -> UUID | None:
        """Returns the id of the new row; None if there was one."""
        values = {**about, "id": self._new_id(), "webhook": webhook, "body": body}
        row = await one_row(database, self._queries["insert"], values)
        return None if row is None else row["id"]

    async def _deliver(
        self, database: Connection, about: Mapping[str, object], webhook: str, body: str
    ) -> None:
        delivery_id = await self._insert(database, about, webhook, body)
        if delivery_id is not None:
            await self._queue.defer(database, JobKind.DELIVER, str(about["tenant"]), delivery_id)

    async def _mail(self, database: Connection, gathered: EventSummary) -> None:
        if self._outbox is None:
            return
        values = {"tenant": gathered.tenant_id, "most": _MOST_MAILS}
        cursor = await database.execute(self._queries["administrators"], values)
        kind = _MAILS[gathered.event]
        for user_id, email in await cursor.fetchall():
            mail = Mail(self._new_id(), gathered.tenant_id, kind, email, gathered.source_id, gathered.number)
            await self._outbox.put(database, mail, user_id=user_id)


def _delivery(row: Mapping[str, Any]) -> Delivery:
    return build(Delivery, row, attempt=Attempt(row["status"], row["problem"]))
