"""Addresses to listen on (a unix socket, or an IP address with a port), and the hosts and origins that the server
accepts.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

MAX_SOCKET_PATH = 107
"""The longest path of a unix socket that the kernel accepts, in bytes."""
_HOST_PORT = re.compile(r"(?:\[([0-9A-Fa-f:.]+)\]|([^\[\]:]+)):([0-9]{1,5})")


class AddressError(ValueError):
    """The text is not a valid address. Users read the message."""


@dataclass(frozen=True, slots=True)
class UnixAddress:
    """A unix socket. path: an absolute path of at most 107 bytes."""

    path: Path

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """An IP address and a port, 1 to 65,535."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


Address = UnixAddress | TcpAddress
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse(text: str) -> Address:
    """Parse `unix:PATH` or `HOST:PORT`.

    HOST is an IPv4 address, an IPv6 address in brackets, or `localhost`. Other host names are not allowed, because
    Envoy does not look up the names of replicas.

    Raises:
        AddressError: the text has neither form.
    """
    if text.startswith("unix:"):
        path = Path(text.removeprefix("unix:"))
        if not path.is_absolute():
            raise AddressError(f"{text} has no absolute path; write unix:/run/replica.sock")
        if len(bytes(path)) > MAX_SOCKET_PATH or "\0" in text:
            raise AddressError(
                f"the path of {text} has more than {MAX_SOCKET_PATH} bytes; choose a shorter one"
            )
        return UnixAddress(path)
    match = _HOST_PORT.fullmatch(text)
    if match is None:
        raise AddressError(f"{text!r} is not an address; write unix:/run/replica.sock or 10.0.0.5:9001")
    host, port = match[1] or match[2], int(match[3])
    if not 1 <= port <= 65_535:
        raise AddressError(f"the port of {text} is not between 1 and 65535")
    try:
        return TcpAddress(str(ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)), port)
    except ValueError as error:
        raise AddressError(
            f"{host!r} is not an IP address; host names are not looked up, so write 10.0.0.5:{port}"
        ) from error


def parse_network(text: str) -> Network:
    """Parse a network in CIDR notation (10.0.0.0/8), or an address, which stands for the network of this address alone.

    Raises:
        AddressError: the text has neither form, or names all addresses.
    """
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise AddressError(
            f"{text!r} is not a network; write an address or a network in CIDR notation, such as 127.0.0.1, 10.0.0.0/24 or 2001:db8::/64"
        ) from error
    if network.prefixlen == 0:
        raise AddressError(f"{text!r} contains all addresses; name only the networks of the proxies")
    address = text.partition("/")[0]
    if ipaddress.ip_address(address) != network.network_address:
        raise AddressError(f"{text!r} is an address within a network; write {network} or {address}")
    return network


LOOPBACK_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")


def hosts_of(port: int, allowed: Sequence[str]) -> Sequence[str]:
    """Return the allowed values of a Host header, in lower case and with their ports.

    allowed: host names with or without a port. port: the port to add to a host name without a port. Clients leave out
    the ports 80 and 443 in the Host header, so a name with one of these ports is also returned without the port.
    """
    hosts: dict[str, None] = {}
    for host in allowed:
        full = host.lower() if _has_port(host) else f"{host.lower()}:{port}"
        hosts[full] = None
        name, _, own = full.rpartition(":")
        if own in ("80", "443"):
            hosts[name] = None
    return tuple(hosts)


def origins_of(hosts: Collection[str]) -> Sequence[str]:
    """Return the origins of the pages that a server with these hosts serves, as browsers write them: without a port
    that is the scheme's own. hosts: as `hosts_of` returns them.

    Behind the port 443, there is only TLS. A page that came over plain http is one that anybody in the network can have written.
    """
    origins: dict[str, None] = {}
    for host in hosts:
        name, _, port = host.rpartition(":") if _has_port(host) else (host, "", "")
        match port:
            case "443":
                origins[f"https://{name}"] = None
            case "80":
                origins[f"http://{name}"] = origins[f"https://{name}"] = None
            case "":
                pass  # `hosts` also has it with its port
            case _:
                origins[f"http://{host}"] = origins[f"https://{host}"] = None
    return tuple(origins)


def is_loopback(host: str) -> bool:
    """Whether a Host header, in lower case, names this machine's loopback, with any port or none: a port may be
    forwarded from another one."""
    return (host.rpartition(":")[0] if _has_port(host) else host) in LOOPBACK_HOSTS


def own_address(host: str, public_url: str, scheme: str = "") -> str:
    """Return the address of this server for a caller, without a path. host: the Host header. public_url: the address
    that the settings name; "" to take the host. scheme: how the caller came; "" for https unless the host is the
    loopback's, for an address that must not be met without TLS."""
    return public_url or f"{scheme or ('http' if is_loopback(host.lower()) else 'https')}://{host}"


def is_by_address(host: str) -> bool:
    """Whether a Host header names this machine by an IP address or as localhost. No page of another site comes here
    under such a name: the site would need a name of its own that leads here (DNS rebinding)."""
    name = host.rpartition(":")[0] if _has_port(host) else host
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return name.lower() in LOOPBACK_HOSTS
    return True


def _has_port(host: str) -> bool:
    return re.search(r":[0-9]+$", host) is not None and not host.endswith("]")


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """Return the network that one caller has: an IPv4 address, or the /64 of an IPv6 address, because every household
    gets at least that many. Another text stays as it is."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.IPv6Network((parsed, 64), strict=False))
    return str(parsed)
