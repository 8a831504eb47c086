"""`responsa up --lan`: a trial in a trusted network, without TLS."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Mapping

from responsa_local.embedded import EmbeddedError
from responsa_server.app.settings import Environment, Settings

IN_CLEAR = (
    "Warning: this address has no TLS. Passwords and documents travel unencrypted, so use it only on a network that "
    "you trust, and set up TLS before you rely on it (docs/deployment.md)."
)


def lan_variables(settings: Settings) -> Mapping[str, str]:
    """The settings, as variables, with which this computer's own private network opens the page. Raises EmbeddedError."""
    remedy = "start without --lan; docs/deployment.md has TLS"
    if settings.environment is Environment.PRODUCTION:
        raise EmbeddedError("--lan is for a trial, and this is production", remedy)
    if settings.sessions.secure_cookie or "https:" in (
        settings.mail.page_url[:6],
        settings.oidc.public_url[:6],
    ):
        raise EmbeddedError("--lan has no TLS, and the settings say that people connect over TLS", remedy)
    if not settings.local:
        raise EmbeddedError(f"The setting listen is already {settings.listen}", remedy)
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.connect(("192.0.2.1", 9))  # sends nothing; it chooses the interface of the default route
            address = ipaddress.ip_address(probe.getsockname()[0])
    except OSError as error:
        raise EmbeddedError("This computer is in no network", "connect it, or start without --lan") from error
    if address.is_loopback or not address.is_private:
        raise EmbeddedError(
            f"{address} is not in a private network, so strangers could reach the page", remedy
        )
    hosts = ",".join((*settings.allowed_hosts, str(address)))
    return {"RESPONSA_LISTEN": str(address), "RESPONSA_ALLOWED_HOSTS": hosts}
