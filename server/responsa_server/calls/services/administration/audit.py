"""The part of AdminService that is about the audit log."""

from __future__ import annotations

from responsa.admin.v1 import admin_service_pb2 as pb
from responsa_server.calls.call import caller
from responsa_server.calls.convert import people
from responsa_server.calls.listing import Listing
from responsa_server.domain import lists
from responsa_server.stores.postgres.audit import PostgresAuditTrail


class AuditService:
    """The audit log."""

    def __init__(self, audit: PostgresAuditTrail) -> None:
        self._audit = audit

    async def ListAuditEvents(self, request: pb.ListAuditEventsRequest) -> pb.ListAuditEventsResponse:
        asked = Listing(lists.AUDIT_EVENTS, caller(), request)
        page = await self._audit.list(caller().tenant_id, asked.query)
        return asked.answer(pb.ListAuditEventsResponse, page, people.audit_event)
