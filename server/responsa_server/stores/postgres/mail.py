"""Mails that wait to be sent, in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final
from uuid import UUID

from responsa_server.domain.knowledge import JobKind
from responsa_server.domain.notifications import Mail, MailKind
from responsa_server.stores.postgres.database import Connection, Database, Queries, shielded
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.rows import (
    one_row,
)

# A notice is of use for a while after the act.
NOTICE_SECONDS: Final = 172_800.0


class Outbox:
    """Stores mails within the transactions of other stores, and enqueues the jobs that send them. The job has the id of
    the mail and nothing else."""

    def __init__(self, queue: JobQueue, new_id: Callable[[], UUID]) -> None:
        """new_id: returns new UUIDv7 ids."""
        self._queue = queue
        self._new_id = new_id
        self._queries = Queries("mail.sql")

    async def put(
        self,
        connection: Connection,
        mail: Mail,
        seconds: float = NOTICE_SECONDS,
        user_id: UUID | None = None,
    ) -> None:
        """Store a mail that is of use for this long. Deletes the tenant's mails that are not. user_id: the user whom a notice is for."""
        values = {
            "id": mail.id,
            "tenant_id": mail.tenant_id,
            "kind": mail.kind.value,
            "email": mail.email,
            "user_id": user_id,
            "seconds": seconds,
            "about": mail.about,
            "events": mail.events,
        }
        await connection.execute(self._queries["drop_expired"], values)
        await connection.execute(self._queries["add"], values)
        await self._queue.defer(connection, JobKind.MAIL, mail.tenant_id, mail.id)

    async def notice(
        self, connection: Connection, tenant_id: str, user_id: UUID, kind: MailKind, email: str | None = None
    ) -> None:
        """Store a notice for a user. email: the address; None for the user's own. A user without an address gets no notice."""
        if email is None:
            values = {"tenant_id": tenant_id, "user_id": user_id}
            row = await one_row(connection, self._queries["email_of"], values)
            email = "" if row is None else str(row["email"])
        if email:
            await self.put(connection, Mail(self._new_id(), tenant_id, kind, email), user_id=user_id)


class PostgresMailStore:
    """The store of mails. All methods raise Unavailable if the store cannot be reached."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = Queries("mail.sql")

    @shielded
    async def find(self, tenant_id: str, mail_id: UUID) -> Mail | None:
        """Find a mail that is still useful; one that is not is deleted."""
        values = {"tenant_id": tenant_id, "id": mail_id}
        async with self._database.tenant(tenant_id) as connection:
            await connection.execute(self._queries["drop_expired"], values)
            row = await one_row(connection, self._queries["find"], values)
        if row is None:
            return None
        kind = MailKind(row["kind"])
        return Mail(row["id"], row["tenant_id"], kind, row["email"], row["about"], row["events"])

    @shielded
    async def taken(self, tenant_id: str, email: str) -> bool:
        """Whether a user of the tenant has this folded address."""
        return await self._any(tenant_id, "taken", {"tenant_id": tenant_id, "email": email})

    @shielded
    async def add_reset_code(self, tenant_id: str, email: str, code: bytes, seconds: float) -> bool:
        """Store the digest of a reset code for the account with this address, unless it is stored already. Return False
        if there is no such account: no user, a disabled one, or a service.
        """
        values = {"tenant_id": tenant_id, "email": email, "code": code, "seconds": seconds}
        async with self._database.tenant(tenant_id) as connection:
            await connection.execute(self._queries["drop_expired_codes"], values)
            return await one_row(connection, self._queries["add_reset_code"], values) is not None

    @shielded
    async def drop(self, tenant_id: str, mail_id: UUID) -> None:
        """Delete a mail that was sent, or that is not going to be sent."""
        async with self._database.tenant(tenant_id) as connection:
            await connection.execute(self._queries["drop"], {"tenant_id": tenant_id, "id": mail_id})

    async def _any(self, tenant_id: str, query: str, values: Mapping[str, object]) -> bool:
        async with self._database.tenant(tenant_id) as connection:
            return await one_row(connection, self._queries[query], values) is not None
