"""A lock that lets one process at a time use a place. The kernel releases it when its holder ends."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from responsa_server.embedded.errors import EmbeddedError, file_errors

CLEARING_UP = 15.0
"""Seconds to wait for a lock whose recorded holder is gone, while its leftover processes are being stopped."""


class PlaceLock:
    """An flock on a file that names its holder's process id.

    The descriptor is closed on exec, so no executed program keeps the lock. A forked copy of the holder keeps it until it ends.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._what = what
        self._descriptor: int | None = None

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._descriptor is not None

    def acquire(self, patience: float = CLEARING_UP) -> None:
        """Takes the lock. If its recorded holder was killed, waits up to `patience` seconds for the holder's leftovers to end.

        Raises:
            EmbeddedError: another process holds it.
        """
        if self._descriptor is not None:
            return
        with file_errors(self._path):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._wait(descriptor, time.monotonic() + patience)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            except BaseException:
                os.close(descriptor)
                raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Gives the lock up; the file stays."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _wait(self, descriptor: int, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                holder = _holder(descriptor)
                if holder is not None and not _alive(holder) and time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                who = f" (process {holder})" if holder else ""
                raise EmbeddedError(
                    f"{self._what} already runs on the data folder {self._path.parent}{who}",
                    "stop it first, or set RESPONSA_HOME to another folder",
                ) from None


def _holder(descriptor: int) -> int | None:
    text = os.pread(descriptor, 32, 0).strip()
    return int(text) if text.isdigit() else None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
