"""A lock for each tenant, so that no tenant takes all slots of a part that all share."""

from __future__ import annotations

import asyncio
from weakref import WeakValueDictionary


class TenantLocks:
    """Locks by tenant. Who takes the tenant's lock before a slot, which waiters get in their order, takes turns with
    other tenants: further work of the tenant waits without a place in the line."""

    def __init__(self) -> None:
        self._locks = WeakValueDictionary[str, asyncio.Lock]()

    def of(self, tenant_id: str) -> asyncio.Lock:
        """The lock of a tenant."""
        return self._locks.setdefault(tenant_id, asyncio.Lock())
