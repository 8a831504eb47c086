"""The findings of `responsa doctor` about an instance's folders, database, passwords and packaged programs."""

from __future__ import annotations

import pyexpat
import re
import sqlite3
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from responsa_formats.sandbox.confinement import SandboxCapabilities, UnixUser
from responsa_local.embedded.envoy import envoy_binary
from responsa_local.embedded.files import FolderLock
from responsa_local.embedded.layout import LocalLayout
from responsa_local.embedded.postgres import check_cluster, package_root
from responsa_local.embedded.redis import redis_binary
from responsa_local.embedded.supervise import LEAST_FREE, check_disk
from responsa_server.system.fixable import Fixable

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class LinkedLibrary:
    """A library in C that the interpreter links. version: what is linked. least: the least version without the
    vulnerability `advisory`, for each release line that gets fixes; later lines never had it."""

    name: str
    version: Version
    advisory: str
    least: Sequence[Version]

    @property
    def too_old(self) -> bool:
        """Whether the linked version has the vulnerability. A distribution may have mended it in an older version."""
        same_line = any(self.version[:2] == fixed[:2] and self.version >= fixed for fixed in self.least)
        return not same_line and self.version < max(self.least)


def linked_libraries() -> Sequence[LinkedLibrary]:
    """The libraries that read what strangers send, with the last vulnerability that counts for us."""

    def numbers(text: str) -> Version:
        match = re.search(r"(\d{1,6})\.(\d{1,6})\.(\d{1,6})", text)
        return tuple(map(int, match.groups())) if match else ()

    openssl = [(3, 0, 21), (3, 4, 6), (3, 5, 7), (3, 6, 3), (4, 0, 1)]
    return (
        LinkedLibrary("expat", numbers(pyexpat.EXPAT_VERSION), "CVE-2025-59375", [(2, 7, 2)]),
        LinkedLibrary("SQLite", numbers(sqlite3.sqlite_version), "CVE-2025-6965", [(3, 50, 2)]),
        LinkedLibrary("OpenSSL", numbers(ssl.OPENSSL_VERSION), "CVE-2026-45447", openssl),
    )


@dataclass(frozen=True, slots=True)
class Finding:
    """A line of the output of `responsa doctor`. `remedy` is empty if nothing should change. A finding that is `ok` and
    has a remedy is a warning."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def runs(layout: LocalLayout) -> bool:
    """Whether a supervisor runs the instance now."""
    if not layout.is_home():
        return False
    lock = FolderLock(layout.lock, "Responsa")
    try:
        lock.acquire()
    except Fixable:
        return True
    lock.release()
    return False


def diagnose(layout: LocalLayout, *, postgres: bool = True, redis: bool = True) -> list[Finding]:
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
    findings.extend(map(_library_finding, linked_libraries()))
    if postgres:
        findings.append(_finding("database", lambda: check_cluster(layout), str(layout.cluster)))
    if layout.is_home():
        findings.append(_finding("passwords", lambda: layout.passwords, str(layout.secrets)))
    if layout.account is not None:
        database = layout.account
        own = f"PostgreSQL runs as {database.name or database.uid}"
        if not database.name:
            own += " (after `useradd --system responsa`, as that account)"
        others = (
            f"Envoy as {UnixUser.ENVOY:d}, Redis as {UnixUser.REDIS:d} and parsers as {UnixUser.PARSERS:d}"
        )
        findings.append(Finding("users", True, f"{own}, {others}: no other program has these users"))
    findings.extend(Finding("outside the data folder", True, str(path)) for path in layout.outside)
    return findings


def _library_finding(library: LinkedLibrary) -> Finding:
    version = ".".join(map(str, library.version))
    if not library.too_old:
        return Finding(library.name, True, version)
    least = ", ".join(".".join(map(str, number)) for number in library.least)
    return Finding(
        library.name,
        True,
        f"Python is linked with {version}, which has {library.advisory} unless its distribution has fixed it",
        f"use a Python that is linked with {library.name} {least} or later",
    )


def _check_disks(layout: LocalLayout) -> None:
    for disk in layout.disks:
        check_disk(disk)


def _finding(name: str, check: Callable[[], object], detail: str = "") -> Finding:
    """Runs `check`, which raises EmbeddedError if it finds a problem, and returns the finding. `detail` describes the good state;
    by default it is the check's result.
    """
    try:
        result = check()
    except Fixable as error:
        return Finding(name, False, error.message, error.remedy)
    return Finding(name, True, detail or str(result))


def sandbox_finding(sandbox: SandboxCapabilities, *, allow_unconfined: bool) -> Finding:
    """Return the finding that states whether the kernel supports the parsers' sandbox, and whether the server reads
    documents at all.
    """
    name = "document sandbox"
    if sandbox.complete:
        return Finding(name, True, sandbox.sentence)
    if allow_unconfined:
        remedy = "use a kernel with Landlock and seccomp before you load documents that you do not trust"
        return Finding(name, False, sandbox.sentence, remedy)
    return Finding(
        name,
        False,
        f"{sandbox.sentence} Without Landlock and seccomp, the server reads no documents.",
        "use a kernel with Landlock and seccomp, or set ingestion.allow_unconfined if you trust every document",
    )
