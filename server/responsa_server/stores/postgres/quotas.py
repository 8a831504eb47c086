"""Usage and quotas in PostgreSQL. turns.py reserves and turn_log.py settles, in the transactions of turns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import Conflict, NotFound
from responsa_server.domain.people import AuditEvent, Role
from responsa_server.domain.quotas import LIMITS, QuotaException, QuotaRules, Stored, Usage, Used, UserUsage
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.rows import (
    one_row,
)
from responsa_server.stores.postgres.users import lock_changeable


class PostgresQuotas:
    """The store of usage and of exceptions. All methods raise Unavailable if the store cannot be reached. rules: the quotas of the settings."""

    def __init__(self, database: Database, rules: QuotaRules) -> None:
        self._database = database
        self._rules = rules
        self._queries = Queries("quotas.sql", "limits.sql")
        self._audit = AuditLog()

    @shielded
    async def usage(self, tenant_id: str, user_id: UUID) -> UserUsage:
        """Return the usage of a user and the quota that applies to the user's role now. Raises NotFound."""
        async with self._database.tenant(tenant_id) as connection:
            return await self._read(connection, tenant_id, user_id)

    @shielded
    async def update(
        self,
        tenant_id: str,
        user_id: UUID,
        change: Mapping[str, int | None],
        dropped: frozenset[str],
        etag: str,
        audit: AuditEvent,
        *,
        by_owner: bool = False,
    ) -> UserUsage:
        """Change a user's exception in one transaction. by_owner: whether an owner of the installation makes the change. change: the new limits, by the field of `Quota`. dropped: the fields in which the role's limit applies
        again. etag: the expected etag; "" accepts any. A call that changes nothing is not audited. Raises NotFound, Conflict (ETAG_MISMATCH), and
        NotPermitted (ROLE_REQUIRED) for an owner of the installation, whom only owners limit.
        """
        async with self._database.locking(tenant_id) as connection:
            # Two changes of one exception follow each other, also the first two.
            await lock_changeable(connection, tenant_id, user_id, by_owner=by_owner)
            found = await self._read(connection, tenant_id, user_id)
            if etag and etag != found.etag:
                raise Conflict.of_etag(names.quota(user_id))
            limits = {
                name: value
                for name, value in {**found.exception.limits, **change}.items()
                if name not in dropped
            }
            if limits == found.exception.limits:
                return found
            values = {
                "tenant": tenant_id,
                "user": user_id,
                "fields": [name for name in LIMITS if name in limits],
                **{name: limits.get(name) for name in LIMITS},
            }
            await connection.execute(self._queries["write_exception"], values)
            await self._audit.write(connection, audit)
            return await self._read(connection, tenant_id, user_id)

    async def _read(self, connection: Connection, tenant_id: str, user_id: UUID) -> UserUsage:
        parameters = {"tenant": tenant_id, "user": user_id}
        user = await one_row(connection, self._queries["user_role"], parameters)
        if user is None:
            raise NotFound.of("user", names.user(user_id))
        exception = exception_of(await one_row(connection, self._queries["exception"], parameters))
        row = await one_row(connection, self._queries["read_usage"], parameters)
        assert row is not None, "the query always has a row"
        numbers = await one_row(connection, self._queries["stored_by"], parameters)
        size = await one_row(connection, self._queries["stored_bytes"], parameters)
        assert numbers is not None, "the query always has a row"
        assert size is not None, "the query always has a row"
        quota = exception.over(self._rules.of(Role(user["role"])))
        return UserUsage(user_id, usage_row(row), quota, exception, Stored(size["bytes"], **numbers))


def exception_of(row: Mapping[str, Any] | None) -> QuotaException:
    """The exception in a row; an empty one without a row."""
    if row is None:
        return QuotaException()
    return QuotaException({name: row[name] for name in row["fields"]}, row["revision"])


def usage_row(row: Mapping[str, Any]) -> Usage:
    """The usage in a row. A row that was read to be locked has no messages."""
    return Usage(
        row["time"],
        Used(row["day_tokens"], row["day_micros"]),
        Used(row["month_tokens"], row["month_micros"]),
        Used(row["reserved_tokens"], row["reserved_micros"]),
        row.get("day_messages", 0),
        row.get("month_messages", 0),
    )
