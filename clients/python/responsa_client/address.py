"""Parses the address of a server."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address.

    target: the address in gRPC's form, e.g. "127.0.0.1:8080".
    url: the address for browsers and messages, e.g. "http://127.0.0.1:8080".
    tls: whether to use TLS.
    loopback: whether the server is on this machine, i.e. its host is a loopback address or "localhost", or it listens on a Unix socket.
    """

    target: str
    url: str
    tls: bool
    loopback: bool

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read "http://host:port", "https://host:port", "host:port" (plain text) or "unix:/path/of/socket".

        The port is optional only after http:// (default 80) and https:// (default 443). A path of "/" is ignored.

        Raises:
            ValueError: the text has another form; the message says what to write.
        """
        text = text.strip()
        if text.startswith("unix:"):
            path = text.removeprefix("unix:")
            if not path.strip("/"):
                raise ValueError(f"{text!r} does not name a socket; write unix:/path/of/socket")
            return cls(target=text, url=text, tls=False, loopback=True)
        bare = "://" not in text
        try:
            parts = urlsplit(f"http://{text}" if bare else text)
            host, port = parts.hostname, parts.port
        except ValueError as error:
            raise ValueError(f"{text!r} is not an address ({error}); write http://host:port") from None
        if parts.scheme not in DEFAULT_PORTS or not host:
            raise ValueError(
                f"{text!r} is not the address of a server; write http://host:port or https://host:port"
            )
        if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None:
            raise ValueError(
                f"{text!r} has more parts than a scheme, a host and a port; write http://host:port"
            )
        if port is None:
            if bare:
                raise ValueError(f"{text!r} has no port; write {text}:8080 or http://{text}")
            port = DEFAULT_PORTS[parts.scheme]
        shown = f"[{host}]" if ":" in host else host
        return cls(
            target=f"{shown}:{port}",
            url=f"{parts.scheme}://{shown}:{port}",
            tls=parts.scheme == "https",
            loopback=_is_loopback(host),
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
