"""Locks on folders, and free disk space."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from responsa_server.embedded.errors import EmbeddedError, file_errors

CLEARING_UP = 15.0
"""After the recorded holder of a lock has ended, its leftover processes have this number of seconds to end."""


class PlaceLock:
    """A lock (flock) on a file that contains the holder's process id. The lock lets one process at a time use a folder.

    The kernel releases the lock when the holder ends. The descriptor is closed on exec, so a program that the holder executes does not
    keep the lock. A forked copy of the holder keeps the lock until the copy ends.
    """

    def __init__(self, path: Path, what: str) -> None:
        self._path = path
        self._what = what
        self._descriptor: int | None = None

    def acquire(self) -> None:
        """Takes the lock. If the recorded holder was killed, waits up to `CLEARING_UP` seconds for the holder's leftover processes to end.

        Raises:
            EmbeddedError: another process holds the lock.
        """
        if self._descriptor is not None:
            return
        with file_errors(self._path):
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                self._wait(descriptor, time.monotonic() + CLEARING_UP)
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
            except BaseException:
                os.close(descriptor)
                raise
        self._descriptor = descriptor

    def release(self) -> None:
        """Releases the lock; the file stays."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None

    def _wait(self, descriptor: int, deadline: float) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                text = os.pread(descriptor, 32, 0).strip()
                holder = int(text) if text.isdigit() else None
                if holder is not None and not _alive(holder) and time.monotonic() < deadline:
                    time.sleep(0.05)
                    continue
                who = f" (process {holder})" if holder else ""
                raise EmbeddedError(
                    f"{self._what} already runs on the data folder {self._path.parent}{who}",
                    "stop it first, or set RESPONSA_HOME to another folder",
                ) from None


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def present(path: Path) -> bool:
    """Whether `path` exists. Returns False and raises no error if this user may not enter a folder above `path`."""
    try:
        path.stat()
    except OSError:
        return False
    return True


def free_space(path: Path) -> int:
    """The number of free bytes for this user on the disk of `path`; 2**62 if unknown. If `path` does not exist, its nearest
    existing parent counts.
    """
    for place in (path, *path.parents):
        try:
            found = os.statvfs(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            break
        return found.f_bavail * found.f_frsize
    return 1 << 62
