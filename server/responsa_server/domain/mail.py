"""Mails to people."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol
from uuid import UUID


class MailKind(StrEnum):
    """The purpose of a mail. REGISTER and CHANGE_EMAIL ask for the confirmation of an address; RESET carries a reset code; the others are notices."""

    REGISTER = "register"
    RESET = "reset"
    CHANGE_EMAIL = "change_email"
    EMAIL_CHANGED = "email_changed"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105  a name, not a password
    COLLECTIONS_RECEIVED = "collections_received"
    RUN_FAILED = "run_failed"
    RUN_STOPPED = "run_stopped"
    RUN_SUCCEEDED = "run_succeeded"
    INGESTIONS_FAILED = "ingestions_failed"


@dataclass(frozen=True, slots=True)
class Mail:
    """A mail that waits to be sent. email: the folded address. The code in its text is derived from the id. about: the id of the source of a notice. events: the number of events that the notice reports."""

    id: UUID
    tenant_id: str
    kind: MailKind
    email: str
    about: str = ""
    events: int = 1


@dataclass(frozen=True, slots=True)
class Text:
    """The subject and the text of a mail."""

    subject: str
    body: str


class MailRefused(Exception):
    """The mail server, or the form of the address, makes it useless to try again."""


class MailFailed(Exception):
    """The mail could not be sent now; it may be sent later."""


class Mailer(Protocol):
    """Sends mails."""

    async def send(self, identity: UUID, email: str, text: Text) -> None:
        """Send a mail. identity: of the mail; a repetition carries the same Message-ID. Raises MailRefused, MailFailed."""
        ...
