"""Sends mails over SMTP (RFC 5321)."""

from __future__ import annotations

import ssl
from email.errors import MessageError
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime, localtime
from typing import Final
from uuid import UUID

import aiosmtplib

from responsa_server.domain.mail import MailFailed, MailRefused, Text
from responsa_server.identity.settings import MailSettings, MailTls

# Codes of 500 and above are permanent (RFC 5321, 4.2.1), except those about the credentials of this server, which its operator corrects.
_PERMANENT: Final = 500
_CREDENTIALS: Final = (530, 534, 535, 538)


class SmtpMailer:
    """Implements `Mailer` with the mail server of the settings. Each mail has its own connection: mails are rare."""

    def __init__(self, settings: MailSettings) -> None:
        """Raises OSError and ssl.SSLError if the file with certificates cannot be read."""
        self._settings = settings
        self._context = (
            None
            if settings.tls is MailTls.NONE
            else ssl.create_default_context(
                cafile=None if settings.ca_file is None else str(settings.ca_file)
            )
        )

    async def send(self, identity: UUID, email: str, text: Text) -> None:
        """See `Mailer.send`. TLS is never left out silently: a server that does not offer it gets no mail."""
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
                timeout=settings.timeout_seconds,
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


def _message(sender: str, identity: UUID, email: str, text: Text) -> EmailMessage:
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
