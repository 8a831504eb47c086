"""Notifications about runs of sources and failed ingestions: events, webhooks, deliveries and notices. Mails to people."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final
from uuid import UUID

from responsa_contract import DeliveryState
from responsa_server.domain.knowledge import Operation
from responsa_server.domain.tools import SecretPlace


class NotifiedEvent(StrEnum):
    """What a notification reports: how a run of a source ended, or that the ingestion of a document or the construction
    of a generation failed."""

    FAILED = "source.failed"
    CONFIRMATION_WANTED = "source.confirmation_wanted"
    """The run would delete many documents."""
    SUCCEEDED = "source.succeeded"
    INGESTION_FAILED = "ingestion.failed"
    """Webhooks get this event by notices too, not one delivery for each ingestion."""


NOTICE_SECONDS: Final = 3600.0
"""The least time between two notices about the same event of the same source, or about failed ingestions of the same tenant."""
GATHER_SECONDS: Final = 60.0
"""How long the first notice about failed ingestions waits for more of them: usually many documents are uploaded at a time."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A receiver that the owner of the installation declared.

    tenants: the tenants whose events it receives; "*" stands for all. secret: the place of the key that signs.
    allow_private: hosts and networks beyond the public ones. seconds: the time limit of an attempt.
    """

    name: str
    url: str
    secret: SecretPlace
    tenants: Sequence[str]
    events: Sequence[NotifiedEvent]
    allow_private: Sequence[str] = ()
    seconds: float = 15.0

    def granted(self, tenant_id: str) -> bool:
        """Whether the webhook receives events of the tenant."""
        return "*" in self.tenants or tenant_id in self.tenants

    def receives(self, tenant_id: str, event: NotifiedEvent) -> bool:
        """Whether the webhook receives an event of a tenant."""
        return event in self.events and self.granted(tenant_id)


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of an attempt. status: of the response; 0 without one. problem: why it failed; "" if the receiver accepted it."""

    status: int = 0
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event for a webhook. operation_id: the newest one of a notice. source_id: "" for ingestions. attempts: those
    since it was last begun. body: the JSON as it is sent. attempt: the newest attempt; without problem and status
    before the first one."""

    id: UUID
    webhook: str
    operation_id: UUID
    source_id: str
    event: NotifiedEvent
    body: str
    state: DeliveryState
    attempts: int
    attempt: Attempt
    create_time: datetime
    attempt_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class OperationNotice:
    """What is sent about an operation that has ended. body: the JSON for these webhooks. webhooks: the names of the
    receivers. notice: whether one notice reports the event together with other events of its kind."""

    operation: Operation
    event: NotifiedEvent
    body: str = ""
    webhooks: Sequence[str] = field(default=())
    notice: bool = False


@dataclass(frozen=True, slots=True)
class EventSummary:
    """The events that a notice reports. number: at least 1. reasons: how many of their operations ended with each
    error. since: when the first of them was announced. until: when the newest one was. operation_id: the newest
    operation."""

    tenant_id: str
    event: NotifiedEvent
    source_id: str
    number: int
    reasons: Mapping[str, int]
    since: datetime
    until: datetime
    operation_id: UUID


class MailKind(StrEnum):
    """The purpose of a mail. REGISTER and CHANGE_EMAIL ask for the confirmation of an address; RESET carries a reset
    code; the others are notices."""

    REGISTER = "register"
    RESET = "reset"
    CHANGE_EMAIL = "change_email"
    EMAIL_CHANGED = "email_changed"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  a name, not a password
    COLLECTIONS_RECEIVED = "collections_received"
    RUN_FAILED = "run_failed"
    RUN_STOPPED = "run_stopped"
    INGESTIONS_FAILED = "ingestions_failed"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that waits to be sent. email: the folded address. The code in its text is derived from the id. about: the
    id of the source of a notice. events: the number of events that the notice reports."""

    id: UUID
    tenant_id: str
    kind: MailKind
    email: str
    about: str = ""
    events: int = 1


@dataclass(frozen=True, slots=True)
class MailText:
    """The subject and the text of a mail."""

    subject: str
    body: str


class MailRefused(Exception):
    """The mail server, or the form of the address, makes it useless to try again."""


class MailFailed(Exception):
    """The mail could not be sent now; it may be sent later."""
