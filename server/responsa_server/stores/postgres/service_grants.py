"""Service grants in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import InvalidRequest, NotFound
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import SERVICE_GRANTS
from responsa_server.domain.people import AuditEvent, Principal, Role
from responsa_server.domain.rows import Row
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    concurrent_change,
    shielded,
)
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.rows import one_row, to_row

_LIST: Final[SqlList[Row]] = SqlList(SERVICE_GRANTS, {"service": "service_id", "user": "user_id"})


class PostgresServiceGrants:
    """The store of service grants. Each change runs in one transaction, which also writes the change's audit event.
    Each call is for one tenant."""

    def __init__(self, database: Database, new_id: Callable[[], UUID]) -> None:
        """new_id: returns new UUIDv7 ids."""
        self._database = database
        self._new_id = new_id
        self._queries = Queries("service_grants.sql")
        self._audit = AuditLog()

    @shielded
    async def add(self, caller: Principal, service_id: UUID, user_id: UUID | None) -> Row:
        """Let a service act on behalf of a user, or of all users with the role USER. If there is such a grant already,
        return it and change nothing.

        Raises NotFound for a service or a user that does not exist, and InvalidRequest for one that cannot have the grant.
        """
        tenant_id = caller.tenant_id
        values = {"tenant": tenant_id, "id": self._new_id(), "service": service_id, "user": user_id}
        async with self._database.locking(tenant_id) as connection:
            # Always in the same order, so that two calls never wait for each other's row.
            wanted = {service_id: ("service", Role.SERVICE)}
            if user_id is not None:
                wanted.setdefault(user_id, ("user", Role.USER))
                if user_id == service_id:
                    raise InvalidRequest.of_field(
                        "service_grant.user",
                        "service_grant.itself",
                        "must not be the service itself; name a user with the role USER",
                    )
            for holder, (field, role) in sorted(wanted.items()):
                await self._check(connection, tenant_id, holder, field, role)
            row = await one_row(connection, self._queries["add"], values)
            if row is None:
                row = await one_row(connection, self._queries["find"], values)
                if row is None:  # it was deleted in the meantime
                    raise concurrent_change()
                return to_row(row)
            return await self._write(connection, caller, to_row(row))

    @shielded
    async def list(self, caller: Principal, query: ListQuery) -> Page[Row]:
        async with self._database.tenant(caller.tenant_id) as connection:
            values = {"tenant": caller.tenant_id}
            return await _LIST.read(connection, self._queries["list"], query, values, to_row)

    @shielded
    async def remove(self, caller: Principal, grant_id: UUID) -> Row:
        """Delete a grant and return it. Raises NotFound."""
        async with self._database.tenant(caller.tenant_id) as connection:
            values = {"tenant": caller.tenant_id, "id": grant_id}
            row = await one_row(connection, self._queries["remove"], values)
            if row is None:
                raise NotFound.of("service_grant", names.service_grant(grant_id))
            return await self._write(connection, caller, to_row(row))

    async def _write(self, connection: Connection, caller: Principal, grant: Row) -> Row:
        """Write an act to the audit log, about the user for whom the service acts, or about the service if it acts for all users."""
        about = grant.user_id or grant.service_id
        await self._audit.write(
            connection, AuditEvent.of_call(caller, names.service_grant(grant.id), about=about)
        )
        return grant

    async def _check(
        self, connection: Connection, tenant_id: str, user_id: UUID, field: str, role: Role
    ) -> None:
        values = {"tenant": tenant_id, "id": user_id}
        row = await one_row(connection, self._queries["hold_user"], values)
        if row is None:
            raise NotFound.of("user", names.user(user_id))
        if row["role"] != role.value or row["disabled"]:
            raise InvalidRequest.of_field(
                f"service_grant.{field}",
                f"service_grant.{field}",
                (
                    f"must be an enabled user with the role {role.name}; services act on behalf of users only, "
                    "never on behalf of administrators or other services"
                ),
            )
