"""The mails about accounts: their texts, and the job that sends them by SMTP (RFC 5321).

The call that asks for a mail does the same work whether or not the account exists: it stores the mail. What the mail
says, and whether it is sent at all, is decided here, when nobody waits for the reply.
"""

from __future__ import annotations

from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, localtime
from typing import Final
from uuid import UUID

import aiosmtplib
import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.domain.errors import Unavailable
from responsa_server.domain.knowledge import pause_after
from responsa_server.domain.notifications import Mail, MailFailed, MailKind, MailRefused, MailText
from responsa_server.domain.people import DEFAULT_TENANT
from responsa_server.identity.credentials import SecretKind, digest
from responsa_server.identity.settings import MailSettings, MailTls
from responsa_server.identity.tokens import Secret
from responsa_server.outbound.authorities import create_trust
from responsa_server.stores.postgres.mail import PostgresMailStore
from responsa_server.telemetry import instruments

# How often a worker without a mail server looks at a mail again: another worker may have one.
_TIMEOUT_SECONDS: Final = 30.0
"""The longest time of one step of sending an e-mail."""
_NO_MAILER_SECONDS: Final = 60.0
_HOURLY: Final = (
    "\nYou get at most one such e-mail an hour. Each reports everything since the previous one.\n"
)
_IGNORE: Final = "If this was not you, ignore this e-mail: without the code, nothing happens."


def code_of(secret: Secret, mail: MailKind, mail_id: UUID) -> str:
    """Return the code that a mail carries. Only its digest is stored, so that whoever reads the database knows no code."""
    kind = SecretKind.RESET_CODE if mail is MailKind.RESET else SecretKind.CONFIRMATION
    return kind.value + secret.mail_code(mail_id)


class Mailing:
    """Sends the mails about accounts."""

    def __init__(
        self,
        store: PostgresMailStore,
        mailer: SmtpMailer | None,
        secret: Secret,
        *,
        page_url: str,
        reset_seconds: int,
    ) -> None:
        """mailer: None for a worker whose settings name no mail server. page_url: the page's address, without a slash
        at the end. reset_seconds: how long a reset code is valid.
        """
        self._store = store
        self._mailer = mailer
        self._secret = secret
        self._url = page_url
        self._reset_seconds = reset_seconds
        self._log: FilteringBoundLogger = structlog.get_logger("mail")

    async def work(self, tenant_id: str, mail_id: UUID, attempts: int) -> float | None:
        """Make one attempt at sending a mail, as a job. Returns None if it was sent or is not going to be sent, else
        the seconds to wait before the next attempt."""
        try:
            mail = await self._store.find(tenant_id, mail_id)
            if mail is None:
                return None
            if self._mailer is None:
                self._log.warning("mail_server_missing")
                return _NO_MAILER_SECONDS
            text = await self._text(mail)
            if text is not None:
                await self._mailer.send(mail.id, mail.email, text)
                instruments.MAILS.add(1, "sent")
                self._log.info("mail_sent", kind=mail.kind.value)
            await self._store.drop(tenant_id, mail_id)
        except Unavailable:
            return pause_after(attempts)
        except MailFailed as error:
            instruments.MAILS.add(1, "failed")
            self._log.warning("mail_failed", attempt=attempts + 1, cause=str(error))
            return pause_after(attempts)
        except MailRefused as error:
            instruments.MAILS.add(1, "refused")
            self._log.warning("mail_refused", cause=str(error))
            await self._store.drop(tenant_id, mail_id)
        return None

    def _page(self, mail: Mail) -> str:
        """The page's address for people of the mail's tenant: there, they sign in."""
        query = "" if mail.tenant_id == DEFAULT_TENANT else f"/?tenant={mail.tenant_id}"
        return f"{self._url}{query}"

    async def _text(self, mail: Mail) -> MailText | None:
        page = self._page(mail)
        code = code_of(self._secret, mail.kind, mail.id)
        match mail.kind:
            case MailKind.REGISTER | MailKind.CHANGE_EMAIL:
                if await self._store.taken(mail.tenant_id, mail.email):
                    return self._already(page)
                return self._confirm(page, code, new=mail.kind is MailKind.REGISTER)
            case MailKind.RESET:
                known = await self._store.add_reset_code(
                    mail.tenant_id, mail.email, digest(code), self._reset_seconds
                )
                return self._reset(page, code) if known else None
            case MailKind.EMAIL_CHANGED:
                return MailText(
                    "Your e-mail address was changed",
                    "The e-mail address of your account was changed. The address to which this e-mail was sent can no "
                    "longer be used to sign in.\n\n"
                    "If this was not you, ask an administrator at once to disable the account.\n",
                )
            case MailKind.PASSWORD_CHANGED:
                return MailText(
                    "Your password was changed",
                    "The password of your account was changed, and your other sessions have ended.\n\n"
                    f"If this was not you, request a new password at once, at {page}.\n",
                )

            case MailKind.COLLECTIONS_RECEIVED:
                return MailText(
                    "You have received collections",
                    "A user's account was deleted, and its shared collections now belong to you. You decide "
                    "who reads them, and their documents count towards your storage.\n\n"
                    f"You can find them at {page} under Documents. If you do not want them, delete them there.\n",
                )

            case MailKind.RUN_FAILED:
                return MailText(
                    f"{_runs(mail)} failed",
                    (
                        f"{_runs(mail)} of your organisation failed, so documents may no longer match the "
                        f"database. `responsa operations list` shows each run and why it failed.\n{_HOURLY}"
                    ),
                )
            case MailKind.RUN_STOPPED:
                want = "needs" if mail.events == 1 else "need"
                return MailText(
                    f"{_runs(mail)} {want} confirmation",
                    (
                        f"{_runs(mail)} of your organisation changed nothing, because otherwise many documents "
                        "would have been deleted. `responsa operations list` shows each run. If the deletions "
                        "are right, run the source with `responsa call AdminService.SyncSource --name "
                        f"sources/{mail.about or 'SOURCE'} --allow-deletions`.\n{_HOURLY}"
                    ),
                )
            case MailKind.INGESTIONS_FAILED:
                failed = "An ingestion" if mail.events == 1 else f"{mail.events:,} ingestions"
                return MailText(
                    f"{failed} failed",
                    (
                        f"{failed} of your organisation failed: documents could not be read or indexed, or new "
                        "vectors of a collection could not be computed. `responsa operations list` shows the "
                        f"reasons. Documents that could be searched before can still be searched.\n{_HOURLY}"
                    ),
                )

    def _confirm(self, page: str, code: str, *, new: bool) -> MailText:
        what = (
            "registered with this e-mail address"
            if new
            else "asked to use this e-mail address for an account"
        )
        whose = "that you chose when you registered" if new else "of your account"
        return MailText(
            "Confirm your e-mail address",
            f"Somebody {what} at {page}. To confirm the address within 24 hours, open\n\n"
            f"{_link(page)}#/confirm={code}\n\n"
            "or run `responsa call AuthService.ConfirmEmail --code - --password -` and give it this "
            f"code:\n\n{code}\n\nThe link and the command ask for the password {whose}.\n\n{_IGNORE}\n",
        )

    def _reset(self, page: str, code: str) -> MailText:
        return MailText(
            "Set a new password",
            f"Somebody requested a new password for your account at {page}. To set one within {self._reset_seconds // 60} minutes, open\n\n"
            f"{_link(page)}#/reset={code}\n\n"
            f"or run `responsa call AuthService.ResetPassword --code - --new-password -` and give it this code:\n\n{code}\n\n{_IGNORE}\n",
        )

    def _already(self, page: str) -> MailText:
        return MailText(
            "You already have an account",
            f"Somebody tried to use this e-mail address for another account at {page}. The address "
            "already belongs to your account, so nothing was changed.\n\n"
            f"If this was you, sign in at {page}. If you have forgotten the password, ask for a new one there.\n",
        )


def _runs(mail: Mail) -> str:
    source = f"the source {mail.about}" if mail.about else "a source"
    return f"A run of {source}" if mail.events == 1 else f"{mail.events:,} runs of {source}"


def _link(page: str) -> str:
    return page if "?" in page else f"{page}/"


# Codes of 500 and above are permanent (RFC 5321, 4.2.1), except those about the credentials of this server, which its operator corrects.
_PERMANENT: Final = 500
_CREDENTIALS: Final = (530, 534, 535, 538)


class SmtpMailer:
    """Sends mails with the mail server of the settings. Each mail has its own connection: mails are rare."""

    def __init__(self, settings: MailSettings) -> None:
        self._settings = settings
        self._context = None if settings.tls is MailTls.NONE else create_trust()

    async def send(self, identity: UUID, email: str, text: MailText) -> None:
        """Send a mail. identity: of the mail; a repetition carries the same Message-ID. TLS is never left out silently: a server that
        does not offer it gets no mail. Raises MailRefused, MailFailed."""
        message = _message(self._settings.sender, identity, email, text)
        settings = self._settings
        password = settings.password.get_secret_value()
        try:
            await aiosmtplib.send(
                message,
                sender=settings.sender,
                recipients=[email],
                hostname=settings.host,
                port=settings.port,
                username=settings.user or None,
                password=password or None,
                timeout=_TIMEOUT_SECONDS,
                use_tls=settings.tls is MailTls.TLS,
                start_tls=settings.tls is MailTls.STARTTLS,
                tls_context=self._context,
            )
        except aiosmtplib.SMTPRecipientsRefused as error:
            codes = [recipient.code for recipient in error.recipients]
            raise _error(min(codes, default=0), "the recipient was refused") from error
        except aiosmtplib.SMTPResponseException as error:
            raise _error(error.code, f"the mail server replied {error.code}") from error
        except aiosmtplib.SMTPNotSupported as error:
            raise MailFailed("the mail server does not support what the settings require") from error
        except (aiosmtplib.SMTPException, OSError, TimeoutError) as error:
            raise MailFailed(type(error).__name__) from error
        except ValueError as error:
            raise MailRefused("the address cannot be sent to this mail server") from error


def _error(code: int, cause: str) -> MailFailed | MailRefused:
    permanent = code >= _PERMANENT and code not in _CREDENTIALS
    return MailRefused(cause) if permanent else MailFailed(cause)


def _message(sender: str, identity: UUID, email: str, text: MailText) -> EmailMessage:
    message = EmailMessage()
    try:
        message["From"] = Address(addr_spec=sender)
        message["To"] = Address(addr_spec=email)
    except (MessageError, ValueError, IndexError) as error:
        raise MailRefused("the address does not have the form that RFC 5322 requires") from error
    message["Subject"] = text.subject
    message["Date"] = format_datetime(localtime())
    message["Message-ID"] = f"<{identity}@{sender.rpartition('@')[2]}>"
    # No out-of-office replies (RFC 3834).
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text.body)
    return message
