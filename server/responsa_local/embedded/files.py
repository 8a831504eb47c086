"""Locks on folders, their owners, and free disk space."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from responsa_local.embedded.errors import EmbeddedError, file_errors

CLEARING_UP = 15.0
"""After the recorded holder of a lock has ended, its leftover processes have this number of seconds to end."""


class FolderLock:
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


@contextmanager
def open_folder(folder: Path) -> Generator[int]:
    """A descriptor of `folder`, which must not be a link.

    Raises:
        EmbeddedError: it is a link or no folder.
    """
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.ELOOP):
            raise
        raise EmbeddedError(f"{folder} is not a folder", "remove it and start again") from None
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def hand_over(folder: Path, uid: int, gid: int) -> None:
    """Gives `folder` and what its owner has in it to another user. Does nothing if the folder is that user's already. The caller is root.

    The former owner may change the folder in the meantime: only folders and files that belong to the former owner
    change hands, by their descriptors, so no link leads to anything else. A file with several names stays, too, because
    one of them may be elsewhere. The folder itself comes last, so an interrupted hand-over is repeated.

    Raises:
        EmbeddedError: `folder` is a link or no folder.
    """
    with open_folder(folder) as top:
        former = os.fstat(top).st_uid
        if former == uid:
            return
        for _, folders, files, descriptor in os.fwalk(".", topdown=False, dir_fd=top):
            for name in (*folders, *files):
                _hand_over_entry(name, descriptor, former, uid, gid)
        os.fchown(top, uid, gid)


def _hand_over_entry(name: str, folder: int, former: int, uid: int, gid: int) -> None:
    try:
        entry = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=folder)
    except OSError:  # a link or a socket, or it is gone
        return
    try:
        status = os.fstat(entry)
        one_name = stat.S_ISREG(status.st_mode) and status.st_nlink == 1
        if status.st_uid == former and (one_name or stat.S_ISDIR(status.st_mode)):
            os.fchown(entry, uid, gid)
    finally:
        os.close(entry)


def present(path: Path) -> bool:
    """Whether `path` exists. Returns False and raises no error if this user may not enter a folder above `path`."""
    try:
        path.stat()
    except OSError:
        return False
    return True
