"""Service grants in PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import InvalidRequest, NotFound
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import SERVICE_GRANTS
from responsa_server.domain.people import AuditEvent, Role, ServiceGrant
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    concurrent_change,
    shielded,
)
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.rows import (
    build,
    one_row,
)

_LIST: Final[SqlList[ServiceGrant]] = SqlList(SERVICE_GRANTS, {"service": "service_id", "user": "user_id"})


class PostgresServiceGrants:
    """The store of service grants. Each change runs in one transaction, which also writes the change's audit event.
    Each call is for one tenant."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = Queries("service_grants.sql")
        self._audit = AuditLog()

    @shielded
    async def add(self, grant: ServiceGrant, audit: AuditEvent) -> ServiceGrant:
        """Store a grant; the database sets create_time. If there is such a grant already, return it and change nothing.

        Raises NotFound for a service or a user that does not exist, and InvalidRequest for one that cannot have the grant.
        """
        values = {
            "tenant": grant.tenant_id,
            "id": grant.id,
            "service": grant.service_id,
            "user": grant.user_id,
        }
        async with self._database.locking(grant.tenant_id) as connection:
            # Always in the same order, so that two calls never wait for each other's row.
            wanted = {grant.service_id: ("service", Role.SERVICE)}
            if grant.user_id is not None:
                wanted.setdefault(grant.user_id, ("user", Role.USER))
                if grant.user_id == grant.service_id:
                    raise InvalidRequest.of_field(
                        "service_grant.user",
                        "service_grant.itself",
                        "must not be the service itself; name a user with the role USER",
                    )
            for user_id, (field, role) in sorted(wanted.items()):
                await self._check(connection, grant.tenant_id, user_id, field, role)
            row = await one_row(connection, self._queries["add"], values)
            if row is None:
                row = await one_row(connection, self._queries["find"], values)
                if row is None:  # it was deleted in the meantime
                    raise concurrent_change()
                return ServiceGrant(**row)
            await self._audit.write(connection, audit)
        return ServiceGrant(**row)

    @shielded
    async def list(self, tenant_id: str, query: ListQuery) -> Page[ServiceGrant]:
        async with self._database.tenant(tenant_id) as connection:
            values = {"tenant": tenant_id}
            return await _LIST.read(
                connection, self._queries["list"], query, values, partial(build, ServiceGrant)
            )

    @shielded
    async def remove(
        self, tenant_id: str, grant_id: UUID, audit: Callable[[ServiceGrant], AuditEvent]
    ) -> ServiceGrant:
        """Delete a grant and return it. Raises NotFound."""
        async with self._database.tenant(tenant_id) as connection:
            values = {"tenant": tenant_id, "id": grant_id}
            row = await one_row(connection, self._queries["remove"], values)
            if row is None:
                raise NotFound.of("service_grant", names.service_grant(grant_id))
            removed = ServiceGrant(**row)
            await self._audit.write(connection, audit(removed))
        return removed

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
