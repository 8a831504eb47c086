"""A mail server that keeps what it gets. aiosmtpd speaks the protocol (RFC 5321, STARTTLS of RFC 3207, AUTH of RFC 4954)."""

from __future__ import annotations

import email
import email.policy
import re
import socket
import ssl
import threading
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

USER: Final = "responsa"
PASSWORD: Final = "a password for the mail server"
_CODE: Final = re.compile(r"^(rs[a-z]_[A-Za-z0-9_-]{43})$", re.MULTILINE)


@dataclass(frozen=True)
class Received:
    """A mail as it arrived."""

    sender: str
    recipients: Sequence[str]
    message: EmailMessage
    encrypted: bool
    user: str

    @property
    def text(self) -> str:
        return str(self.message.get_content()).replace("\r\n", "\n")

    @property
    def code(self) -> str:
        mails = _CODE.search(self.text)
        assert mails is not None, self.text
        return mails.group(1)


class MailServer:
    """The received mails. refuses: the replies to the next recipients, one for each; afterwards it accepts."""

    def __init__(self, *, tls: bool = False) -> None:
        """tls: whether connections are encrypted from the beginning."""
        self._tls = tls
        self.mails: list[Received] = []
        self.refuses: list[str] = []
        self.port = 0
        self._arrived = threading.Condition()

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: Any) -> str:
        del server, session, options
        if self.refuses:
            return self.refuses.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Any, envelope: Any) -> str:
        del server
        message = email.message_from_bytes(envelope.content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        user = session.auth_data.login.decode() if session.authenticated else ""
        received = Received(
            envelope.mail_from, envelope.rcpt_tos, message, self._tls or session.ssl is not None, user
        )
        with self._arrived:
            self.mails.append(received)
            self._arrived.notify_all()
        return "250 OK"

    def to(self, address: str, count: int = 1, seconds: float = 60) -> list[Received]:
        """Wait until this many mails to an address have arrived, and return all of them, oldest first."""

        def mails() -> list[Received]:
            return [mail for mail in self.mails if address in mail.recipients]

        with self._arrived:
            arrived = self._arrived.wait_for(lambda: len(mails()) >= count, seconds)
            assert arrived, f"{len(mails())} of {count} mails to {address}"
            return mails()


@contextmanager
def serving(certificate: Path | None = None, *, tls: bool = False) -> Generator[MailServer]:
    """A mail server on a port of its choice. certificate: a file of `certificate_in`; the server then needs STARTTLS
    (with `tls`: TLS from the beginning) and a sign-in."""
    server = MailServer(tls=tls)

    def check(_: Any, __: Any, ___: Any, ____: str, credentials: Any) -> AuthResult:
        good = isinstance(credentials, LoginPassword) and (credentials.login, credentials.password) == (
            USER.encode(),
            PASSWORD.encode(),
        )
        return AuthResult(success=good, handled=False, auth_data=credentials)

    more: dict[str, Any] = {}
    if certificate is not None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        more = {"authenticator": check, "auth_required": not tls}
        more |= {"ssl_context": context} if tls else {"tls_context": context, "require_starttls": True}
        more |= {"auth_require_tls": not tls}
    controller = _Controller(server, hostname="127.0.0.1", port=0, **more)
    controller.start()
    try:
        server.port = controller.port
        yield server
    finally:
        controller.stop(no_assert=True)


class _Controller(Controller):
    """A controller that learns its port from the system."""

    def _trigger_server(self) -> None:
        """Knock at the port, which aiosmtpd needs in order to begin."""
        listening: Any = self.server
        self.port = listening.sockets[0].getsockname()[1]
        with ExitStack() as stack:
            knock = stack.enter_context(socket.create_connection(("127.0.0.1", self.port), 10))
            if self.ssl_context is not None:
                unchecked = ssl.create_default_context()
                unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
                knock = stack.enter_context(unchecked.wrap_socket(knock))
            knock.recv(1024)


def certificate_in(folder: Path, *hosts: str) -> Path:
    """A file with a new key and its certificate for 127.0.0.1 and these hosts, which vouches for itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    names = [x509.IPAddress(ip_address("127.0.0.1")), *map(x509.DNSName, hosts)]
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    file = folder / "certificate.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file
