"""Tenants in PostgreSQL: their administration by the owner of the installation, and their erasure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from graphlib import TopologicalSorter
from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import TENANTS
from responsa_server.domain.people import AuditEvent, User
from responsa_server.domain.rows import build
from responsa_server.domain.tenants import (
    FirstAdministrator,
    FirstInvitation,
    Tenant,
    TenantState,
    tenant_state,
)
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
    uuid_array,
)
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.requests import already_exists
from responsa_server.stores.postgres.rows import all_rows, one_row
from responsa_server.stores.postgres.users import user_of

_LIST: Final[SqlList[Tenant]] = SqlList(
    TENANTS,
    {
        "state": (
            "CASE WHEN end_time IS NOT NULL THEN 'erased' WHEN erase_time IS NOT NULL THEN 'erasing' "
            "WHEN suspend_time IS NOT NULL THEN 'suspended' ELSE 'active' END"
        ),
    },
)
MOST_ROWS: Final = 5000
"""The number of rows of one table that a step of an erasure deletes."""
MOST_TURNS: Final = 200
"""The number of turns whose rows a step of an erasure deletes."""


@dataclass(frozen=True, slots=True)
class _Relation:
    """A table with rows of tenants. refers_to: the tables of its foreign keys. of_turns: whether its rows belong to turns."""

    name: str
    refers_to: Sequence[str]
    of_turns: bool

    @property
    def refers_to_itself(self) -> bool:
        """Whether rows refer to rows of the same table. They are deleted in one statement, which checks the references at its end."""
        return self.name in self.refers_to


class PostgresTenants:
    """The store of tenants. Each change runs in one transaction, which also writes the change's audit events."""

    def __init__(
        self, database: Database, *, most_rows: int = MOST_ROWS, most_turns: int = MOST_TURNS
    ) -> None:
        """most_rows, most_turns: how much one step of an erasure deletes."""
        self._database = database
        self._queries = Queries("tenants.sql")
        self._shared = Queries("identity.sql")
        self._invitations = Queries("accounts.sql")
        self._audit = AuditLog()
        self._most_rows = most_rows
        self._most_turns = most_turns

    @shielded
    async def add(
        self,
        tenant_id: str,
        display_name: str,
        administrator: FirstAdministrator | None,
        invitation: FirstInvitation | None,
        events: Sequence[AuditEvent],
    ) -> tuple[Tenant, User | None, datetime | None]:
        """Store a tenant with its administrator, or with the invitation. Return it with the administrator, and with the
        time when the invitation expires.

        Raises AlreadyExists if the id is or was in use.
        """
        user: User | None = None
        expire_time: datetime | None = None
        async with self._database.locking(tenant_id) as connection:
            values = {"tenant_id": tenant_id, "display_name": display_name}
            if await one_row(connection, self._shared["add_tenant"], values) is None:
                raise already_exists("tenant", names.tenant(tenant_id))
            if administrator is not None:
                row = await one_row(
                    connection, self._shared["add_user"], {**asdict(administrator.user), "first": False}
                )
                assert row is not None, "the tenant has no users yet"
                await connection.execute(
                    self._shared["add_key"], {**asdict(administrator.key), "digest": administrator.digest}
                )
                user = user_of(row)
            if invitation is not None:
                expire_time = await self._add_invitation(connection, tenant_id, invitation)
            tenant = await self._get(connection, "get", tenant_id)
            await self._write(connection, tenant_id, events)
        return tenant, user, expire_time

    @shielded
    async def invite(
        self, tenant_id: str, invitation: FirstInvitation, events: Sequence[AuditEvent]
    ) -> datetime:
        """Store an invitation and return the time when it expires. Raises NotFound, Precondition (TENANT_STATE)."""
        async with self._database.locking(tenant_id) as connection:
            tenant = await self._get(connection, "lock", tenant_id)
            if tenant.state is not TenantState.ACTIVE:
                raise tenant_state(tenant, f"The tenant is {tenant.state}; resume it first.")
            expire_time = await self._add_invitation(connection, tenant_id, invitation)
            await self._write(connection, tenant_id, events)
        return expire_time

    @shielded
    async def get(self, tenant_id: str) -> Tenant:
        """Return one tenant. Raises NotFound."""
        async with self._database.tenant(tenant_id) as connection:
            return await self._get(connection, "get", tenant_id)

    @shielded
    async def list(self, query: ListQuery) -> Page[Tenant]:
        async with self._database.no_tenant() as connection:
            return await _LIST.read(connection, self._queries["list"], query, {}, partial(build, Tenant))

    @shielded
    async def suspend(self, tenant_id: str, events: Sequence[AuditEvent], *, erase: bool = False) -> Tenant:
        """Suspend a tenant. erase: whether to mark it for erasure. A second call changes and audits nothing. Raises
        NotFound, Precondition (TENANT_STATE)."""
        async with self._database.locking(tenant_id) as connection:
            tenant = await self._get(connection, "lock", tenant_id)
            if tenant.home:
                act = "erased" if erase else "suspended"
                raise tenant_state(tenant, f"This is the installation's own tenant, which cannot be {act}.")
            if tenant.erase_time is not None or (tenant.suspend_time is not None and not erase):
                return tenant
            values = {"tenant": tenant_id, "erase": erase}
            row = await one_row(connection, self._queries["suspend"], values)
            assert row is not None, "the row is locked, and tenants are never deleted"
            await self._write(connection, tenant_id, events)
        return build(Tenant, row)

    @shielded
    async def resume(self, tenant_id: str, events: Sequence[AuditEvent]) -> Tenant:
        """Let a suspended tenant's users make calls again. A second call changes and audits nothing. Raises NotFound,
        Precondition (TENANT_STATE)."""
        async with self._database.locking(tenant_id) as connection:
            tenant = await self._get(connection, "lock", tenant_id)
            if tenant.state is TenantState.ACTIVE:
                return tenant
            if tenant.state is not TenantState.SUSPENDED:
                raise tenant_state(
                    tenant, "The erasure of a tenant cannot be stopped or undone; create another tenant."
                )
            resumed = await self._get(connection, "resume", tenant_id)
            await self._write(connection, tenant_id, events)
        return resumed

    @shielded
    async def find_suspended(self) -> Sequence[Tenant]:
        """Return the tenants that are suspended or being erased."""
        async with self._database.no_tenant() as connection:
            return [build(Tenant, row) for row in await all_rows(connection, self._queries["suspended"], {})]

    @shielded
    async def open_turns(self, tenant_id: str) -> Sequence[tuple[UUID, UUID]]:
        """Return at most 200 turns of a tenant that have not ended, each with its user."""
        async with self._database.tenant(tenant_id) as connection:
            rows = await all_rows(connection, self._queries["open_turns"], {"tenant": tenant_id})
        return [(row["id"], row["user_id"]) for row in rows]

    @shielded
    async def erase_some(self, tenant_id: str) -> bool | None:
        """Erase a limited number of rows, and count them in the receipt. Return whether nothing was left; None if
        another process erases this tenant at the moment, or a job of it still runs.

        When nothing is left, the tenant is marked as erased in the same transaction.
        A step deletes from the first table, in an order in which no row refers to a deleted one, that has rows.
        """
        jobs = await self._drop_jobs(tenant_id)
        async with self._database.tenant(tenant_id) as connection:
            lock = await one_row(connection, self._queries["lock_erasure"], {"tenant": tenant_id})
            if lock is None or not lock["pg_try_advisory_xact_lock"]:
                return None
            tenant = await self._get(connection, "get", tenant_id)
            if tenant.state is not TenantState.ERASING:
                return tenant.state is TenantState.ERASED
            tables = await self._tables(connection)
            # Most rows belong to turns. Their tables have no index that begins with the tenant, so they are read by turn.
            if await self._erase_turns(connection, tenant_id, tables):
                return False
            for table in tables:
                limit = None if table.refers_to_itself else self._most_rows
                if await self._erase(connection, tenant_id, table.name, limit, None):
                    return False
            if jobs:
                return None
            await connection.execute(self._queries["erase_addresses"])
            await connection.execute(self._queries["end"], {"tenant": tenant_id})
        return True

    @shielded
    async def count(self, tenant_id: str, kind: str, number: int) -> None:
        """Add to the receipt what was erased outside the database."""
        async with self._database.tenant(tenant_id) as connection:
            await self._count(connection, tenant_id, kind, number)

    async def _add_invitation(
        self, connection: Connection, tenant_id: str, first: FirstInvitation
    ) -> datetime:
        values: dict[str, object] = {
            "id": first.id,
            "tenant_id": tenant_id,
            "maker": first.maker_id,
            "code": first.digest,
            "role": first.invitation.role.value,
            "email": first.invitation.email,
            "groups": [],
            "seconds": first.seconds,
        }
        row = await one_row(connection, self._invitations["add_invitation"], values)
        assert row is not None, "an INSERT without a condition always returns a row"
        return row["expire_time"]

    async def _write(self, connection: Connection, tenant_id: str, events: Sequence[AuditEvent]) -> None:
        """Write the events of the tenant and of the owner's tenant."""
        for event in events:
            await _as_tenant(connection, event.tenant_id)
            await self._audit.write(connection, event)
        await _as_tenant(connection, tenant_id)

    async def _get(self, connection: Connection, query: str, tenant_id: str) -> Tenant:
        row = await one_row(connection, self._queries[query], {"tenant": tenant_id})
        if row is None:
            raise NotFound.of("tenant", names.tenant(tenant_id))
        return build(Tenant, row)

    async def _drop_jobs(self, tenant_id: str) -> bool:
        """Delete the tenant's jobs that do not run. Returns whether jobs are left."""
        async with self._database.log() as connection:
            # The queue's triggers use names without a schema.
            await connection.execute("SELECT set_config('search_path', 'procrastinate, pg_catalog', true)")
            await connection.execute(self._queries["drop_jobs"], {"tenant": tenant_id})
            row = await one_row(connection, self._queries["jobs_left"], {"tenant": tenant_id})
        return row is not None

    async def _tables(self, connection: Connection) -> Sequence[_Relation]:
        """The tables with rows of tenants, ordered so that a table comes after all tables that refer to it."""
        rows = await all_rows(connection, self._queries["erased_tables"], {})
        tables = {row["name"]: _Relation(**row) for row in rows}
        sorter: TopologicalSorter[str] = TopologicalSorter(dict.fromkeys(tables, ()))
        for table in tables.values():
            for other in table.refers_to:
                if other in tables and other != table.name:
                    sorter.add(other, table.name)
        return [tables[name] for name in sorter.static_order()]

    async def _erase_turns(self, connection: Connection, tenant_id: str, tables: Sequence[_Relation]) -> bool:
        """Delete some turns, and first the rows that belong to them. Returns whether there were any turns."""
        rows = await all_rows(
            connection, self._queries["some_turns"], {"tenant": tenant_id, "most": self._most_turns}
        )
        turns = [row["id"] for row in rows]
        if not turns:
            return False
        # Rows of a table to which others refer (messages, with their citations) are left for later, so that the others are counted too.
        referred = {name for table in tables for name in table.refers_to}
        for table in tables:
            if table.of_turns and table.name not in referred:
                await self._erase(connection, tenant_id, table.name, None, turns)
        await self._erase(connection, tenant_id, "turn", None, turns)
        return True

    async def _erase(
        self,
        connection: Connection,
        tenant_id: str,
        table: str,
        limit: int | None,
        turns: Sequence[UUID] | None,
    ) -> int:
        values = {"table": table, "most": limit, "turns": None if turns is None else uuid_array(turns)}
        row = await one_row(connection, self._queries["erase"], values)
        number = 0 if row is None else int(row["erase_tenant_rows"])
        if number:
            await self._count(connection, tenant_id, table, number)
        return number

    async def _count(self, connection: Connection, tenant_id: str, kind: str, number: int) -> None:
        values = {"tenant": tenant_id, "kind": kind, "number": number}
        await connection.execute(self._queries["count"], values)


async def _as_tenant(connection: Connection, tenant_id: str) -> None:
    """From here on, the transaction sees only this tenant's rows."""
    await connection.execute("SELECT set_config('responsa.tenant_id', %s, true)", (tenant_id,))
