"""The findings of `responsa doctor` about an instance's folders, database, passwords and packaged programs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from responsa_server.confinement import User
from responsa_server.embedded.envoy import envoy_binary
from responsa_server.embedded.errors import EmbeddedError
from responsa_server.embedded.layout import Account, Layout
from responsa_server.embedded.postgres import check_cluster, package_root
from responsa_server.embedded.redis import redis_binary
from responsa_server.embedded.supervise import LEAST_FREE, check_disk


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the output of `responsa doctor`. `remedy` is empty if nothing should change. A finding that is `ok` and has a remedy is a warning."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def diagnose(layout: Layout, *, postgres: bool = True, redis: bool = True) -> list[Finding]:
    """The findings about the instance's folders, database, passwords and packaged programs.

    postgres, redis: whether the instance uses the embedded PostgreSQL and the embedded Redis. There are no findings about an unused one.
    """
    findings = [
        _finding("data folder", layout.check_home, str(layout.home)),
        _finding("disk", lambda: _check_disks(layout), f"{LEAST_FREE >> 20} MB or more are free"),
    ]
    if postgres:
        findings.append(_finding("PostgreSQL", package_root))
    if redis:
        findings.append(_finding("Redis", redis_binary))
    findings.append(_finding("Envoy", envoy_binary))
    if postgres:
        findings.append(_finding("database", lambda: check_cluster(layout), str(layout.cluster)))
    if layout.is_home():
        findings.append(_finding("passwords", lambda: layout.passwords, str(layout.secrets)))
    if layout.account is not None:
        findings.append(Finding("users", True, _users(layout.account)))
    findings.extend(Finding("outside the data folder", True, str(place)) for place in layout.outside)
    return findings


def _users(database: Account) -> str:
    own = f"PostgreSQL runs as {database.name or database.uid}"
    if not database.name:
        own += " (after `useradd --system responsa`, as that account)"
    others = f"Envoy as {User.ENVOY:d}, Redis as {User.REDIS:d} and parsers as {User.PARSERS:d}"
    return f"{own}, {others}: no other program has these users"


def _check_disks(layout: Layout) -> None:
    for place in layout.disks:
        check_disk(place)


def _finding(name: str, check: Callable[[], object], detail: str = "") -> Finding:
    """Runs `check`, which raises EmbeddedError if it finds a problem, and returns the finding. `detail` describes the good state;
    by default it is the check's result.
    """
    try:
        result = check()
    except EmbeddedError as error:
        return Finding(name, False, error.message, error.remedy)
    return Finding(name, True, detail or str(result))
