"""Checks before a start (`preflight`), while running (`DiskWatch`), and for `responsa doctor`."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from responsa_server.embedded.errors import EmbeddedError, file_errors, present
from responsa_server.embedded.layout import Layout, foreign_content

LEAST_FREE = 200 << 20
"""Bytes that must be free to start."""
WATCH_INTERVAL = 5.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of `responsa doctor`. `remedy` is empty when `ok`."""

    name: str
    ok: bool
    detail: str
    remedy: str = ""


def check_port(host: str, port: int) -> None:
    """Checks that a server can listen on (host, port). Port 0 always passes.

    Raises:
        EmbeddedError: the port is busy or reserved, or the address does not belong to this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            # As a server would: a listener blocks the port, connections in TIME_WAIT do not.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
            probe.listen(1)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise EmbeddedError(
                f"Port {port} on {host} is in use by another program",
                "stop that program, or set RESPONSA_PORT to a free port",
            ) from error
        if error.errno == errno.EACCES:
            raise EmbeddedError(
                f"Port {port} is reserved for the system", "set RESPONSA_PORT to a port above 1023"
            ) from error
        raise EmbeddedError(
            f"{host}:{port} cannot be listened on ({error.strerror or type(error).__name__})",
            "name an address of this machine, such as 127.0.0.1",
        ) from error
    except OverflowError as error:
        raise EmbeddedError(
            f"{port} is no port number", "set RESPONSA_PORT to a number from 1 to 65535"
        ) from error


def check_disk(path: Path, least: int = LEAST_FREE) -> None:
    """Checks that `least` bytes are free on the disk of `path`, or of its nearest existing parent.

    Raises:
        EmbeddedError: fewer bytes are free.
    """
    place = next((place for place in (path, *path.parents) if present(place)), Path("/"))
    with file_errors(place):
        free = shutil.disk_usage(place).free
    if free < least:
        raise EmbeddedError(
            f"The disk that holds {path} has only {free >> 20} MB left",
            f"free at least {least >> 20} MB there, or set RESPONSA_HOME to a folder on another disk",
        )


def preflight(layout: Layout) -> None:
    """Checks the home, the free disk space and the passwords. Each part checks its own tools.

    Raises:
        EmbeddedError: the first problem found.
    """
    _check_home(layout)
    for place in {layout.home, layout.cluster.parent}:
        check_disk(place)
    if layout.is_home() and present(layout.state):
        _ = layout.passwords


def diagnose(layout: Layout) -> list[Finding]:
    """Runs every check and changes nothing; for `responsa doctor`."""
    # Imported here because these modules import this one.
    from responsa_server.embedded.envoy import envoy_binary
    from responsa_server.embedded.postgres import check_cluster, package_root
    from responsa_server.embedded.redis import redis_binary

    findings = [
        _finding("data folder", lambda: _check_home(layout), str(layout.home)),
        _finding("disk", lambda: check_disk(layout.home), f"{LEAST_FREE >> 20} MB or more are free"),
        _finding("PostgreSQL", lambda: str(package_root())),
        _finding("Redis", lambda: str(redis_binary())),
        _finding("Envoy", lambda: str(envoy_binary())),
        _finding("database", lambda: check_cluster(layout), str(layout.cluster)),
    ]
    if layout.is_home():
        findings.append(_finding("passwords", lambda: _check_passwords(layout), str(layout.secrets)))
    if layout.account is not None:
        detail = f"PostgreSQL runs as {layout.account.name}"
        if layout.account.name == "nobody":
            detail += ", whom other programs may run as too; `useradd --system responsa` before the first start gives it an account of its own"
        findings.append(Finding("database account", True, detail))
    findings.extend(Finding("outside the data folder", True, str(place)) for place in layout.outside)
    return findings


class DiskWatch:
    """Reports once when a disk of the instance runs low, and again if it recovers and then runs low again."""

    def __init__(self, layout: Layout, say: Callable[[str], None], least: int = LEAST_FREE) -> None:
        self._places = sorted({layout.home, layout.cluster.parent})
        self._say = say
        self._least = least
        self._low: set[Path] = set()
        self._next = 0.0

    def look(self) -> None:
        """Checks the disks, at most once every WATCH_INTERVAL seconds."""
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + WATCH_INTERVAL
        for place in self._places:
            try:
                check_disk(place, self._least)
            except EmbeddedError as error:
                if place not in self._low:
                    self._low.add(place)
                    self._say(str(error))
            else:
                self._low.discard(place)


def _check_home(layout: Layout) -> None:
    home = layout.home
    with file_errors(home):
        if os.path.lexists(home):
            if not home.is_dir():
                raise EmbeddedError(
                    f"RESPONSA_HOME {home} is a file, not a folder",
                    "set RESPONSA_HOME to a folder that is empty or does not exist yet",
                )
            if not os.access(home, os.R_OK | os.W_OK | os.X_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(home))
            if not layout.is_home() and foreign_content(home):
                raise EmbeddedError(
                    f"RESPONSA_HOME {home} holds other files and is no Responsa data folder",
                    "set RESPONSA_HOME to a folder that is empty or does not exist yet",
                )
            return
        parent = next((place for place in home.parents if present(place)), Path("/"))
        if not parent.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(parent))
        if not os.access(parent, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(parent))


def _check_passwords(layout: Layout) -> None:
    _ = layout.passwords


def _finding(name: str, check: Callable[[], str | None], detail: str = "") -> Finding:
    try:
        return Finding(name, True, check() or detail)
    except EmbeddedError as error:
        return Finding(name, False, error.message, error.remedy)
