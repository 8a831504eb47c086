"""The hosts and origins that the one port serves, from the settings."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

LOOPBACK_HOSTS: Final = ("127.0.0.1", "localhost", "[::1]")


def hosts_of(port: int, allowed: Sequence[str]) -> Sequence[str]:
    """What a Host header may say, in full and in lower case. allowed: host names without a port, which then is the one port, or with one.

    Clients leave out :80 and :443, so a name with one of these stands for the name alone as well.
    """
    found: dict[str, None] = {}
    for host in allowed:
        full = host.lower() if _has_port(host) else f"{host.lower()}:{port}"
        found[full] = None
        name, _, own = full.rpartition(":")
        if own in ("80", "443"):
            found[name] = None
    return tuple(found)


def origins_of(hosts: Sequence[str], allowed: Sequence[str]) -> Sequence[str]:
    """What an Origin header may say: the pages of these hosts, then those of other origins that may call."""
    own = [f"http://{host}" for host in hosts]
    secure = [f"https://{host}" for host in hosts]
    return tuple(dict.fromkeys([*own, *secure, *allowed]))


def _has_port(host: str) -> bool:
    return re.search(r":[0-9]+$", host) is not None and not host.endswith("]")
