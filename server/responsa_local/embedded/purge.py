"""Removes all files of an instance from this machine. Also provides instances that are removed at the end of a `with` block."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from responsa_local.embedded.errors import EmbeddedError, file_errors
from responsa_local.embedded.files import FolderLock
from responsa_local.embedded.layout import LocalLayout
from responsa_local.embedded.postgres import EmbeddedPostgres, end_postgres, postgres_processes


def places(layout: LocalLayout) -> list[Path]:
    """The folders that `purge` will remove, which the user must confirm. The folders outside the home come first, the home last.

    If the user has deleted the home, folders outside it may remain. They can be found only by the home's path.

    Raises:
        EmbeddedError: the folder holds other files and is not a Responsa home.
    """
    outside = [path for path in layout.outside if os.path.lexists(path)]
    if layout.is_home():
        return [*outside, layout.home]
    if os.path.lexists(layout.home) and not (outside and layout.is_deleted()):
        raise EmbeddedError(
            f"{layout.home} is not a Responsa data folder",
            "set RESPONSA_HOME to the data folder that you want to remove",
        )
    return outside


def purge(layout: LocalLayout, *, keep: Path | None = None) -> list[Path]:
    """Removes an instance: database, keys, logs, documents, sockets, root's copies, and RESPONSA_HOME itself. keep: a
    file in the home that stays, and then so does the home.

    Returns the removed folders; empty if nothing was removed. A purge that fails can be repeated, because the home is
    removed last, and the mark of a restore, or else the marker file, is the last file of the home to be removed. If the
    user has deleted the home, the purge removes the folders outside it.

    Raises:
        EmbeddedError: the instance is running, the folder is not a Responsa home, or this user may not remove something.
    """
    if not layout.is_home():
        return _purge_outside(layout, places(layout))
    with file_errors(layout.home):
        locks = [
            FolderLock(layout.lock, "Responsa"),
            FolderLock(layout.home / "postgres.lock", "PostgreSQL"),
            FolderLock(layout.home / "redis.lock", "Redis"),
        ]
        try:
            for lock in locks:
                lock.acquire()
            end_postgres(layout)
            gone = places(layout)
            _remove_outside(layout, gone[:-1])
            last = (layout.marker, layout.restoring)
            for entry in sorted(
                layout.home.iterdir(), key=lambda entry: [entry == path for path in last[::-1]]
            ):
                if entry == keep:
                    continue
                if entry.is_dir() and not entry.is_symlink():
                    shutil.rmtree(entry)
                else:
                    entry.unlink()
            if keep is None:
                layout.home.rmdir()
        finally:
            for lock in locks:
                lock.release()
    return gone


def _purge_outside(layout: LocalLayout, gone: list[Path]) -> list[Path]:
    """Purges an instance whose home was deleted. The locks were deleted too, so the process list is used to find out
    whether PostgreSQL still runs."""
    if gone and (running := postgres_processes(layout)):
        raise EmbeddedError(
            f"PostgreSQL (process {running[0].pid}) still runs for {layout.home}, although that folder was deleted",
            "stop the Responsa instance that started it, and purge again",
        )
    with file_errors(layout.home):
        _remove_outside(layout, gone)
    return gone


def _remove_outside(layout: LocalLayout, outside: Sequence[Path]) -> None:
    for path in outside:
        shutil.rmtree(path)
    if layout.root_place is not None and (parent := layout.root_place.parent).is_dir():
        for draft in parent.glob(f".{layout.root_place.name}-*"):
            shutil.rmtree(draft)
        # A volume that is mounted there stays.
        if not parent.is_mount() and not any(parent.iterdir()):
            parent.rmdir()


@contextmanager
def throwaway_layout() -> Generator[LocalLayout]:
    """A prepared home in the system's temp folder, which is purged at the end."""
    with tempfile.TemporaryDirectory(prefix="responsa-") as folder:
        layout = LocalLayout.of(Path(folder) / "home").prepare()
        try:
            yield layout
        finally:
            purge(layout)


@contextmanager
def throwaway_postgres() -> Generator[EmbeddedPostgres]:
    """A running PostgreSQL with roles, database and extension. The start takes about a second."""
    with throwaway_layout() as layout:
        postgres = EmbeddedPostgres(layout)
        postgres.start()
        try:
            yield postgres
        finally:
            postgres.stop()
