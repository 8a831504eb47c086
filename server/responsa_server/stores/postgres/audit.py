"""The audit log in PostgreSQL."""

from __future__ import annotations

from responsa_server.domain.people import AuditEvent
from responsa_server.stores.postgres.database import Connection, Queries


class AuditLog:
    """Writes audit events in the transactions of the changes that they report."""

    def __init__(self) -> None:
        self._queries = Queries("audit.sql")

    async def write(self, connection: Connection, event: AuditEvent) -> None:
        """Write an event. The event exists only if the transaction commits."""
        values = {
            "id": event.id,
            "tenant_id": event.tenant_id,
            "actor": event.actor,
            "action": event.action,
            "resource_name": event.resource_name,
        }
        await connection.execute(self._queries["add"], values)
