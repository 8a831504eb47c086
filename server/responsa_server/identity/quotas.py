"""Usage and quotas, as users see them and administrators set them. turns.py and turn_log.py in `stores/postgres` apply them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.people import AuditEvent, Principal
from responsa_server.domain.quotas import UserUsage
from responsa_server.identity.limits import LimitBook
from responsa_server.stores.postgres.quotas import PostgresQuotas


class QuotaAdministration:
    """The usage and the quotas of the users of the caller's tenant. The authorisation table checks that only administrators see and change those of others."""

    def __init__(self, store: PostgresQuotas, limits: LimitBook) -> None:
        """limits: has the limits of what users keep."""
        self._store = store
        self._limits = limits

    async def mine(self, who: Principal) -> UserUsage:
        """Return the caller's usage. Raises NotFound if the user was deleted."""
        found = await self._store.usage(who.tenant_id, who.user_id)
        return replace(found, limits=await self._limits.of(who))

    async def of_user(self, who: Principal, user_id: UUID) -> UserUsage:
        """Return the usage of a user of the tenant. Raises NotFound."""
        return await self._limited(who, await self._store.usage(who.tenant_id, user_id))

    async def update(
        self,
        who: Principal,
        user_id: UUID,
        change: Mapping[str, int | None],
        dropped: frozenset[str],
        etag: str,
    ) -> UserUsage:
        """Change the limits of a user. Raises the errors of `PostgresQuotas.update`."""
        event = AuditEvent.of(who, "user.update_quota", names.quota(user_id))
        changed = await self._store.update(
            who.tenant_id, user_id, change, dropped, etag, event, by_owner=who.owner
        )
        return await self._limited(who, changed)

    async def _limited(self, who: Principal, found: UserUsage) -> UserUsage:
        limits = await self._limits.read(who, found.user_id)
        return replace(found, limits=limits.limits)
