"""Notifications about runs that have ended: which ones there are, and the job that delivers one to a webhook."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Final
from uuid import UUID

import httpx2
import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.domain import names
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.knowledge import Operation, pause_after
from responsa_server.domain.notifications import (
    Announcement,
    Attempt,
    Deliveries,
    Delivery,
    DeliveryState,
    RunEvent,
    Webhook,
    Webhooks,
)
from responsa_server.domain.tools import SecretPlace, ToolUnfit
from responsa_server.outbound.addresses import origin_of, read_allowed
from responsa_server.outbound.connector import (
    Connector,
    Outgoing,
    Reach,
    Refused,
    Times,
    TooLarge,
    Unreadable,
)
from responsa_server.sources.webhooks import key_of, signed

PAUSES: Final = (5.0, 60.0, 300.0, 1800.0, 7200.0, 18_000.0, 36_000.0)
"""The seconds between the attempts at a delivery: eight attempts within 18 hours."""
_MOST_RESPONSE_BYTES: Final = 64 * 1024
_MOST_MESSAGE: Final = 1000


class Notifier:
    """Announces the ends of runs. mails: whether administrators get mails about failures."""

    def __init__(self, deliveries: Deliveries, webhooks: Webhooks, *, mails: bool) -> None:
        self._deliveries = deliveries
        self._webhooks = webhooks
        self._mails = mails

    async def ended(self, tenant_id: str, operation_id: UUID) -> None:
        """Announce the end of a run, once. A run that was cancelled or deleted is not announced. Raises Unavailable."""
        operation = await self._deliveries.ended(tenant_id, operation_id)
        event = None if operation is None else event_of(operation)
        if operation is None or event is None:
            return
        receivers = [one.name for one in await self._webhooks.of(tenant_id) if one.receives(tenant_id, event)]
        mail = self._mails and event is not RunEvent.SUCCEEDED
        if receivers or mail:
            body = body_of(operation, event)
            await self._deliveries.announce(Announcement(operation, event, body, receivers, mail))


class Delivering:
    """The job that makes one attempt at a delivery."""

    def __init__(
        self,
        deliveries: Deliveries,
        webhooks: Webhooks,
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
            last = delivery.attempts >= len(self._pauses)
            state = DeliveryState.WAITING
            if not attempt.problem:
                state = DeliveryState.DELIVERED
            elif last:
                state = DeliveryState.FAILED
            await self._deliveries.attempted(tenant_id, delivery_id, attempt, state)
        except Unavailable:
            return pause_after(attempts)
        if attempt.problem:
            self._log.warning(
                "a delivery failed",
                tenant=tenant_id,
                webhook=delivery.webhook,
                problem=attempt.problem,
                attempt=delivery.attempts + 1,
            )
        return self._pauses[delivery.attempts] if state is DeliveryState.WAITING else None

    async def _attempt(self, tenant_id: str, delivery: Delivery) -> Attempt:
        webhook = next(
            (one for one in await self._webhooks.of(tenant_id) if one.name == delivery.webhook), None
        )
        if webhook is None:
            return Attempt(problem="The webhook is not declared any more, or not for this tenant.")
        try:
            key = key_of(self._secret(webhook.secret))
        except (ToolUnfit, ValueError) as error:
            return Attempt(problem=f"The secret of the webhook cannot be used: {error}")
        return await self._send(webhook, key, delivery)

    async def _send(self, webhook: Webhook, key: bytes, delivery: Delivery) -> Attempt:
        body = delivery.body.encode()
        outgoing = Outgoing(
            "POST", webhook.url, signed(key, f"msg_{delivery.id}", int(time.time()), body), body
        )
        reach = Reach(frozenset({origin_of(webhook.url)}), read_allowed(webhook.allow_private))
        times = Times(min(5.0, webhook.seconds), webhook.seconds)
        try:
            reply = await self._connector.fetch(reach, outgoing, times, _MOST_RESPONSE_BYTES)
        except (Refused, TooLarge, Unreadable) as error:
            return Attempt(problem=f"{str(error)[:1].upper()}{str(error)[1:]}.")
        except (TimeoutError, httpx2.TimeoutException):
            return Attempt(problem=f"The receiver did not answer within {webhook.seconds:g} s.")
        except httpx2.HTTPError as error:
            return Attempt(problem=f"The receiver cannot be reached ({type(error).__name__}).")
        if 200 <= reply.status < 300:
            return Attempt(reply.status)
        redirect = "; redirects are not followed" if 300 <= reply.status < 400 else ""
        return Attempt(reply.status, f"The receiver answered with the status {reply.status}{redirect}.")


def event_of(operation: Operation) -> RunEvent | None:
    """The event of a run that has ended; None if somebody cancelled it."""
    if operation.error is None:
        return RunEvent.SUCCEEDED
    match operation.error.reason:
        case Reason.OPERATION_CANCELLED:
            return None
        case Reason.SOURCE_DELETIONS:
            return RunEvent.CONFIRMATION_WANTED
        case _:
            return RunEvent.FAILED


def body_of(operation: Operation, event: RunEvent) -> str:
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
    ended = operation.update_time.isoformat().replace("+00:00", "Z")
    return json.dumps({"type": event.value, "timestamp": ended, "data": data}, ensure_ascii=False)
