"""Removing all that an instance left on this machine."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from responsa_server.embedded.errors import EmbeddedError, file_errors
from responsa_server.embedded.layout import Layout
from responsa_server.embedded.leftovers import end_postgres
from responsa_server.embedded.lock import PlaceLock


def places(layout: Layout) -> list[Path]:
    """What `purge` will remove, for the question before it: the folders outside first, the home last."""
    return [*(place for place in layout.outside if os.path.lexists(place)), layout.home]


def purge(layout: Layout) -> list[Path]:
    """Removes an instance: database, keys, logs, documents, sockets, root's copies, and RESPONSA_HOME itself.

    Returns what was removed; nothing when there was no such folder. What fails can be repeated: the home goes last,
    its marker last of all.

    Raises:
        EmbeddedError: it is running, or the folder is no Responsa home, or something may not be removed.
    """
    if not os.path.lexists(layout.home):
        return []
    if not layout.is_home():
        raise EmbeddedError(
            f"{layout.home} is no Responsa data folder",
            "set RESPONSA_HOME to the folder that is to be removed",
        )
    with file_errors(layout.home):
        locks = [
            PlaceLock(layout.lock, "Responsa"),
            PlaceLock(layout.home / "postgres.lock", "PostgreSQL"),
            PlaceLock(layout.home / "redis.lock", "Redis"),
        ]
        try:
            for lock in locks:
                lock.acquire()
            end_postgres(layout)
            gone = places(layout)
            for place in gone[:-1]:
                shutil.rmtree(place)
            if layout.root_place is not None and layout.root_place.parent.is_dir():
                _remove_if_empty(layout.root_place.parent)
            for entry in sorted(layout.home.iterdir(), key=lambda entry: entry == layout.marker):
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
            layout.home.rmdir()
        finally:
            for lock in locks:
                lock.release()
    return gone


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()
