"""The addresses that a connection from the server may reach.

Without further permission, a connection may reach public addresses only. A declaration can also allow hosts and
networks of the organisation. No declaration can allow metadata services, link-local addresses, and addresses that stand
for many hosts or for none. Ranges: the IANA special-purpose address registries (RFC 6890).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import httpx2


IpAddress = IPv4Address | IPv6Address
IpNetwork = IPv4Network | IPv6Network

_MAX_HOST: Final = 253
_MAX_URL: Final = 2048
_LABEL: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# The last label decides whether resolvers read a host as a number, such as 0x7f.1 or 2130706433 (WHATWG URL, "ends in a number").
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")

_NEVER: Final[Sequence[IpNetwork]] = [
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "169.254.0.0/16",  # link-local, with the metadata services of most clouds
        "100.100.100.200/32",  # metadata of Alibaba Cloud
        "168.63.129.16/32",  # the platform's own services in Azure
        "192.0.0.192/32",  # metadata of Oracle Cloud
        "224.0.0.0/4",  # multicast
        "255.255.255.255/32",
        "::/128",
        "::ffff:0:0/96",  # IPv4 addresses in the form of IPv6: mapped
        "::/97",  # and compatible, which is ::/96 in two halves: ::1 stays possible to allow
        "::8000:0/97",
        "2001::/32",  # Teredo, 6to4
        "2002::/16",
        "fd00:ec2::254/128",  # metadata of AWS
        "fd20:ce::254/128",  # metadata of Google Cloud
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
]
_LOOPBACK: Final[Sequence[IpNetwork]] = [ip_network("127.0.0.0/8"), ip_network("::1/128")]
# A network that translates IPv6 to IPv4 has all IPv4 hosts behind these prefixes (RFC 6052, RFC 8215).
_TRANSLATED: Final = (IPv6Network("64:ff9b::/96"), IPv6Network("64:ff9b:1::/48"))
# Addresses that ipaddress counts as global in some releases of Python.
_NOT_PUBLIC: Final[Sequence[IpNetwork]] = [
    ip_network(text) for text in ("192.0.0.0/24", "192.88.99.0/24", "2001::/23", "3fff::/20", "5f00::/16")
]
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")


class OutboundError(ValueError):
    """A URL or an address in the configuration is not usable. Users read the message."""


@dataclass(frozen=True, slots=True)
class UrlOrigin:
    """A place that requests may go to. scheme: http or https. host: a host name in lower case without a trailing dot,
    or an IP address in its normal form."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.scheme == "https" else 80
        return f"{self.scheme}://{host}" + ("" if self.port == usual else f":{self.port}")


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a declaration allows beyond public addresses: hosts by name, and networks."""

    hosts: frozenset[str] = frozenset()
    networks: Sequence[IpNetwork] = field(default=())

    def names(self, host: str) -> bool:
        """Whether the declaration names this host, or a network that has its address."""
        try:
            address = ip_address(host.strip("[]"))
        except ValueError:
            return host in self.hosts
        return any(address in network for network in self.networks if network.version == address.version)

    def may_reach(self, host: str, address: IpAddress) -> bool:
        """Whether a connection to this host may go to this address, which the host's name stands for at this moment.

        The name of a host allows the private addresses of the organisation. Loopback addresses need `localhost` or a network.
        """
        if is_never(address):
            return False
        if is_public(address):
            return True
        if any(address in network for network in self.networks if network.version == address.version):
            return True
        if host not in self.hosts:
            return False
        loopback = any(address in network for network in _LOOPBACK if network.version == address.version)
        return host == "localhost" if loopback else True


def is_never(address: IpAddress) -> bool:
    """Whether no declaration can allow an address."""
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return True
        inner = IPv4Address(address.packed[-4:]) if any(address in net for net in _TRANSLATED) else None
        if inner is not None and (is_never(inner) or not is_public(inner)):
            return True
        if address == IPv6Address(1):
            return False
    return any(address in network for network in _NEVER if network.version == address.version)


def is_public(address: IpAddress) -> bool:
    """Whether an address is a usual address of one host on the Internet."""
    if is_never(address) or address.is_multicast or not address.is_global:
        return False
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    return not any(address in network for network in _NOT_PUBLIC if network.version == address.version)


def is_private(host: str, allowed: Sequence[str] = ()) -> bool:
    """Whether a host belongs to this machine or a private network: by its address, or by a name without a dot or one of `allow_private`."""
    try:
        return not is_public(ip_address(host.strip("[]")))
    except ValueError:
        return "." not in host or host in allowed


def read_allowed(entries: Sequence[str]) -> Allowed:
    """Read `allow_private`: IP addresses, networks such as `10.1.0.0/16`, and host names. Raises OutboundError."""
    hosts: set[str] = set()
    networks: list[IpNetwork] = []
    for entry in entries:
        try:
            network = ip_network(entry)
        except ValueError:
            if "/" in entry:
                raise OutboundError(
                    f"{entry!r} is not a network; write it as 10.1.0.0/16, without bits of hosts"
                ) from None
            hosts.add(host_of(entry))
            continue
        if network.prefixlen == 0 or any(
            other.version == network.version and other.supernet_of(network)  # type: ignore[arg-type] # the versions are equal
            for other in _NEVER
            if network != ip_network("::1/128")
        ):
            raise OutboundError(
                f"{entry!r} cannot be allowed: it is a link-local, multicast or metadata address, or the "
                "whole Internet; name the organisation's own network"
            )
        networks.append(network)
    return Allowed(frozenset(hosts), tuple(networks))


def host_of(text: str) -> str:
    """Return a host in its normal form: a name in lower case without a trailing dot, or an IP address. Raises OutboundError."""
    host = text.lower().removesuffix(".")
    try:
        address = ip_address(host)
    except ValueError:
        pass
    else:
        if isinstance(address, IPv6Address) and address.scope_id is not None:
            raise OutboundError(f"the host {text!r} has a zone; write the address without it")
        return str(address)
    labels = host.split(".")
    if len(host) > _MAX_HOST or not all(_LABEL.fullmatch(label) for label in labels):
        raise OutboundError(
            f"{text[:100]!r} is not a host name; write a name such as api.example.org, in the form xn-- if it has other letters"
        )
    if _NUMBER.fullmatch(labels[-1]):
        raise OutboundError(
            f"{text!r} is a number in place of a host name; write an address as four decimal numbers"
        )
    return host


def origin_of(url: str | httpx2.URL) -> UrlOrigin:
    """Return the origin of an http or https URL without a user. Raises OutboundError, whose message does not contain
    the URL, because it may hold a secret."""
    import httpx2  # late, because settings import this module

    try:
        parts = httpx2.URL(url)
    except (httpx2.InvalidURL, ValueError, TypeError) as error:
        raise OutboundError("the address is not a URL; write it as https://api.example.org/path") from error
    if parts.scheme not in ("http", "https"):
        raise OutboundError("the address does not begin with https:// or http://")
    if parts.userinfo:
        raise OutboundError(
            "the address contains a user or a password; use the declaration's keys for secrets"
        )
    if len(str(parts)) > _MAX_URL:
        raise OutboundError(f"the address has more than {_MAX_URL} characters")
    host = host_of(parts.raw_host.decode("ascii"))
    port = parts.port if parts.port is not None else 443 if parts.scheme == "https" else 80
    if not 1 <= port <= 65_535:
        raise OutboundError("the port of the address is not between 1 and 65535")
    return UrlOrigin(parts.scheme, host, port)
