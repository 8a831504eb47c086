"""The error that the embedded parts raise."""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from responsa_server.system.fixable import Fixable

EMPTY_FOLDER = "set RESPONSA_HOME to a folder that is empty or does not exist yet"


class EmbeddedError(Fixable):
    """A problem of the parts on this machine."""


def disk_full(path: Path) -> EmbeddedError:
    """The error for a full disk."""
    return EmbeddedError(f"The disk that holds {path} is full", "free at least 200 MB there")


@contextmanager
def file_errors(path: Path) -> Generator[None]:
    """Turns the operating system's errors about `path` into an EmbeddedError.

    Raises:
        EmbeddedError: the disk is full or read-only, a permission is missing, or the path cannot be used.
    """
    try:
        yield
    except OSError as error:
        raise of_os_error(error, path) from error


def of_os_error(error: OSError, path: Path) -> EmbeddedError:
    """The EmbeddedError that explains what `error` means for `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return disk_full(path)
    where = error.filename if isinstance(error.filename, str) else str(path)
    if error.errno in (errno.EACCES, errno.EPERM):
        return EmbeddedError(
            f"This user has no permission to write {where}",
            "start Responsa as the user who owns it, or set RESPONSA_HOME to a folder of your own",
        )
    if error.errno == errno.EROFS:
        return EmbeddedError(
            f"{where} is on a read-only disk", "set RESPONSA_HOME to a folder that can be written"
        )
    if error.errno in (errno.ENOTDIR, errno.EEXIST):
        return EmbeddedError(
            f"{where} is a file, or is below a file, but must be a folder",
            EMPTY_FOLDER,
        )
    return EmbeddedError(
        f"{where} cannot be used ({error.strerror or type(error).__name__})",
        "set RESPONSA_HOME to another folder",
    )
