"""Notifications about runs that have ended and ingestions that failed: which ones there are, the job of notices, and
the job that delivers to a webhook."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

import httpx2
import structlog
from structlog.typing import FilteringBoundLogger

from responsa_etl.sources.webhooks import DeclaredWebhooks, key_of, sign
from responsa_etl.stores.deliveries import PostgresDeliveries
from responsa_server.domain import names
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.knowledge import Operation, OperationKind, pause_after
from responsa_server.domain.notifications import (
    Attempt,
    Delivery,
    DeliveryState,
    EventSummary,
    NotifiedEvent,
    OperationNotice,
    Webhook,
)
from responsa_server.domain.tools import SecretPlace, ToolUnfit
from responsa_server.outbound.addresses import origin_of, read_allowed
from responsa_server.outbound.connector import (
    Connector,
    ForbiddenRequest,
    Outgoing,
    ReachableHosts,
    Times,
    TooLarge,
    Unreadable,
)
from responsa_server.telemetry import instruments

PAUSES: Final = (5.0, 60.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0)
"""The seconds between the attempts at a delivery: eight attempts within 18 hours."""
_MOST_RESPONSE_BYTES: Final = 64 * 1024
_MOST_MESSAGE: Final = 1000


class Notifier:
    """Announces the ends of runs and failed ingestions. mails: the events about which administrators get mails."""

    def __init__(
        self, deliveries: PostgresDeliveries, webhooks: DeclaredWebhooks, *, mails: Collection[NotifiedEvent]
    ) -> None:
        self._deliveries = deliveries
        self._webhooks = webhooks
        self._mails = mails

    async def announce_end(self, tenant_id: str, operation_id: UUID) -> None:
        """Announce the end of an operation, once, unless it was cancelled or deleted, or is an ingestion that
        succeeded. Raises Unavailable."""
        operation = await self._deliveries.find_ended(tenant_id, operation_id)
        event = None if operation is None else event_of(operation)
        if operation is None or event is None:
            return
        hooks = [hook.name for hook in await self._webhooks.of(tenant_id) if hook.receives(tenant_id, event)]
        notice = event in self._mails
        if event is NotifiedEvent.INGESTION_FAILED:
            notice |= bool(hooks)
            hooks = []
        if hooks or notice:
            body = body_of(operation, event) if hooks else ""
            await self._deliveries.announce(OperationNotice(operation, event, body, hooks, notice))

    async def notice(self, tenant_id: str, notice_id: UUID, attempts: int) -> float | None:
        """Send a notice about the events of the time since the one before, as a job. Returns None, or the seconds until
        the next attempt."""
        try:
            webhooks = await self._webhooks.of(tenant_id)

            def hooks_of(event: NotifiedEvent) -> Sequence[str]:
                if event is not NotifiedEvent.INGESTION_FAILED:
                    return []  # they have had a delivery for each run
                return [webhook.name for webhook in webhooks if webhook.receives(tenant_id, event)]

            return await self._deliveries.notice(tenant_id, notice_id, hooks_of, notice_body, self._mails)
        except Unavailable:
            return pause_after(attempts)


class Delivering:
    """The job that makes one attempt at a delivery."""

    def __init__(
        self,
        deliveries: PostgresDeliveries,
        webhooks: DeclaredWebhooks,
        connector: Connector,
        secret: Callable[[SecretPlace], str],
        *,
        pauses: Sequence[float] = PAUSES,
    ) -> None:
        """secret: reads a secret. Raises ToolUnfit. pauses: the seconds between attempts."""
        self._deliveries = deliveries
        self._webhooks = webhooks
        self._connector = connector
        self._secret = secret
        self._pauses = pauses
        self._log: FilteringBoundLogger = structlog.get_logger("notifications")

    async def work(self, tenant_id: str, delivery_id: UUID, attempts: int) -> float | None:
        """Make one attempt. Returns None if the delivery has ended, else the seconds until the next attempt."""
        try:
            delivery = await self._deliveries.find(tenant_id, delivery_id)
            if delivery is None or delivery.state is not DeliveryState.WAITING:
                return None
            attempt = await self._attempt(tenant_id, delivery)
            after = await self._deliveries.record(tenant_id, delivery_id, attempt, len(self._pauses) + 1)
        except Unavailable:
            return pause_after(attempts)
        if after is None:
            return None
        instruments.DELIVERIES.add(1, "failed" if attempt.problem else "delivered")
        if attempt.problem:
            self._log.warning(
                "a delivery failed",
                webhook=delivery.webhook,
                problem=attempt.problem,
                attempt=after.attempts,
            )
        return self._pauses[after.attempts - 1] if after.state is DeliveryState.WAITING else None

    async def _attempt(self, tenant_id: str, delivery: Delivery) -> Attempt:
        webhook = next(
            (hook for hook in await self._webhooks.of(tenant_id) if hook.name == delivery.webhook), None
        )
        if webhook is None:
            return Attempt(problem="The webhook is no longer declared, or not for this tenant.")
        try:
            key = key_of(self._secret(webhook.secret))
        except (ToolUnfit, ValueError) as error:
            return Attempt(problem=f"The secret of the webhook cannot be used: {error}")
        return await self._send(webhook, key, delivery)

    async def _send(self, webhook: Webhook, key: bytes, delivery: Delivery) -> Attempt:
        body = delivery.body.encode()
        outgoing = Outgoing(
            "POST", webhook.url, sign(key, f"msg_{delivery.id}", int(time.time()), body), body
        )
        reach = ReachableHosts(frozenset({origin_of(webhook.url)}), read_allowed(webhook.allow_private))
        times = Times(min(5.0, webhook.seconds), webhook.seconds)
        try:
            reply = await self._connector.fetch(reach, outgoing, times, _MOST_RESPONSE_BYTES)
        except (ForbiddenRequest, TooLarge, Unreadable) as error:
            return Attempt(problem=f"{str(error)[:1].upper()}{str(error)[1:]}.")
        except (TimeoutError, httpx2.TimeoutException):
            return Attempt(problem=f"The receiver did not answer within {webhook.seconds:g} s.")
        except httpx2.HTTPError as error:
            return Attempt(problem=f"The receiver cannot be reached ({type(error).__name__}).")
        if 200 <= reply.status < 300:
            return Attempt(reply.status)
        redirect = "; redirects are not followed" if 300 <= reply.status < 400 else ""
        return Attempt(reply.status, f"The receiver answered with the status {reply.status}{redirect}.")


def event_of(operation: Operation) -> NotifiedEvent | None:
    """The event of an operation that has ended; None if somebody cancelled it, and if an ingestion succeeded."""
    run = operation.kind is OperationKind.SYNC
    if operation.error is None:
        return NotifiedEvent.SUCCEEDED if run else None
    match operation.error.reason:
        case Reason.OPERATION_CANCELLED:
            return None
        case Reason.SOURCE_DELETIONS:
            return NotifiedEvent.CONFIRMATION_WANTED
        case _:
            return NotifiedEvent.FAILED if run else NotifiedEvent.INGESTION_FAILED


def body_of(operation: Operation, event: NotifiedEvent) -> str:
    """The JSON about a run that has ended. It names no subject and holds no text of a row."""
    data: dict[str, object] = {
        "tenant": names.tenant(operation.tenant_id),
        "source": names.source(operation.source_id),
        "operation": names.operation(operation.id),
    }
    if operation.error is None:
        data["result"] = dict(operation.counts)
    else:
        data["reason"] = operation.error.reason.value
        data["message"] = operation.error.message[:_MOST_MESSAGE]
        data["metadata"] = dict(operation.error.metadata)
    return _body(event, operation.update_time, data)


def notice_body(gathered: EventSummary) -> str:
    """The JSON about failed ingestions. It names no document, no collection and no user."""
    data: dict[str, object] = {
        "tenant": names.tenant(gathered.tenant_id),
        "operation": names.operation(gathered.operation_id),
        "failed": gathered.number,
        "since": _to_text(gathered.since),
        "reasons": dict(gathered.reasons),
    }
    return _body(gathered.event, gathered.until, data)


def _body(event: NotifiedEvent, at: datetime, data: Mapping[str, object]) -> str:
    return json.dumps({"type": event.value, "timestamp": _to_text(at), "data": data}, ensure_ascii=False)


def _to_text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")
