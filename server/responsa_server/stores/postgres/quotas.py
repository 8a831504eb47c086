"""Usage and quotas in PostgreSQL. turns.py reserves and turn_log.py settles, in the transactions of turns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date
from typing import Any
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import Conflict, NotFound
from responsa_server.domain.events import Usage as ModelUsage
from responsa_server.domain.people import AuditEvent, Principal, Role
from responsa_server.domain.quotas import (
    LIMITS,
    Demand,
    Grant,
    QuotaException,
    QuotaRules,
    StoredAmounts,
    Totals,
    UsedAmounts,
    UserUsage,
    grant_for,
)
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


@dataclass(frozen=True, slots=True)
class Charge:
    """What was counted before a text was written. grant: what it may use, which was counted; None if no quota limits
    it. day: the day of the charge, in UTC."""

    grant: Grant | None = None
    day: date | None = None


class PostgresQuotas:
    """The store of usage and of exceptions. All methods raise Unavailable if the store cannot be reached. rules: the
    quotas of the settings."""

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
        caller: Principal,
        user_id: UUID,
        change: Mapping[str, int | None],
        dropped: frozenset[str],
        etag: str,
    ) -> UserUsage:
        """Change a user's exception in one transaction. change: the new limits, by the field of `Quota`. dropped: the
        fields in which the role's limit applies again. etag: the expected etag; "" accepts any. A call that changes
        nothing is not audited. Raises NotFound,
        Conflict (ETAG_MISMATCH), and NotPermitted (ROLE_REQUIRED) for an owner of the installation, whom only owners
        limit.
        """
        tenant_id = caller.tenant_id
        async with self._database.locking(tenant_id) as connection:
            # Two changes of one exception follow each other, also the first two.
            await lock_changeable(connection, tenant_id, user_id, by_owner=caller.owner)
            usage = await self._read(connection, tenant_id, user_id)
            if etag and etag != usage.etag:
                raise Conflict.of_etag(names.quota(user_id))
            limits = {
                name: value
                for name, value in {**usage.exception.limits, **change}.items()
                if name not in dropped
            }
            if limits == usage.exception.limits:
                return usage
            values = {
                "tenant": tenant_id,
                "user": user_id,
                "fields": [name for name in LIMITS if name in limits],
                **{name: limits.get(name) for name in LIMITS},
            }
            await connection.execute(self._queries["write_exception"], values)
            await self._audit.write(connection, AuditEvent.of_call(caller, names.quota(user_id)))
            return await self._read(connection, tenant_id, user_id)

    @shielded
    async def charge(self, caller: Principal, demand: Demand) -> Charge:
        """Count the most that a text of a model may use, before it is written. Raises Exhausted (QUOTA_EXHAUSTED), Unavailable."""
        parameters = {"tenant": caller.tenant_id, "user": caller.user_id}
        async with self._database.locking(caller.tenant_id) as connection:
            exception = exception_of(await one_row(connection, self._queries["exception"], parameters))
            quota = exception.over(self._rules.of(caller.limit_role))
            if quota.unlimited:
                return Charge()
            await connection.execute(self._queries["first_usage"], parameters)
            row = await one_row(connection, self._queries["hold_usage"], parameters)
            assert row is not None, "the transaction has made the row"
            grant = grant_for(caller.user_id, quota, usage_row(row), demand, self._rules.turn_tokens)
            if grant is None:
                return Charge()
            charged = {"tokens": grant.tokens or 0, "micros": grant.cost_micros or 0}
            row = await one_row(connection, self._queries["charge"], {**parameters, **charged})
            assert row is not None, "the query always has a row"
            return Charge(grant, row["day"])

    @shielded
    async def settle(
        self, caller: Principal, charge: Charge, used: ModelUsage, agent: str, model: str
    ) -> None:
        """Replace a charge by what was used. Nothing for a user who has been deleted meanwhile."""
        grant = charge.grant or Grant()
        parameters = {
            "tenant": caller.tenant_id,
            "user": caller.user_id,
            "day": charge.day,
            "tokens": used.input_tokens + used.output_tokens - (grant.tokens or 0),
            "micros": used.cost_micros - (grant.cost_micros or 0),
            "agent": agent,
            "model": model,
            **asdict(used),
        }
        async with self._database.tenant(caller.tenant_id) as connection:
            await connection.execute(self._queries["settle_charge"], parameters)

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
        return UserUsage(user_id, usage_row(row), quota, exception, StoredAmounts(size["bytes"], **numbers))


def exception_of(row: Mapping[str, Any] | None) -> QuotaException:
    """The exception in a row; an empty one without a row."""
    if row is None:
        return QuotaException()
    return QuotaException({name: row[name] for name in row["fields"]}, row["revision"])


def usage_row(row: Mapping[str, Any]) -> Totals:
    """The usage in a row. A row that was read to be locked has no messages."""
    return Totals(
        row["time"],
        UsedAmounts(row["day_tokens"], row["day_micros"]),
        UsedAmounts(row["month_tokens"], row["month_micros"]),
        UsedAmounts(row["reserved_tokens"], row["reserved_micros"]),
        row.get("day_messages", 0),
        row.get("month_messages", 0),
    )
