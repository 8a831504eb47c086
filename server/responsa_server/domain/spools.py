"""The server's own disk, on which what is too large for memory waits in files without names."""

from __future__ import annotations

import errno
from collections.abc import Generator
from contextlib import contextmanager

from responsa_server.domain.errors import Reason, StorageFull


@contextmanager
def spooling() -> Generator[None]:
    """Raise StorageFull if a file finds no room during the block: the disk is full, or the user's quota."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise StorageFull(
            Reason.STORAGE_FULL,
            "The disk of the server is full, so nothing was stored; try again when the operator has freed space.",
            {"part": "disk"},
        ) from error
