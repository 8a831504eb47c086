"""Folders on the server itself, below those that the setting `sources.paths` names.

No symbolic link is followed, neither at the end of a path nor on the way: every part of a path is opened below the one
before it, so nothing that changes meanwhile leads out of the folder.
"""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from itertools import islice
from pathlib import Path
from typing import Final

from responsa_etl.domain import FILE, ConnectedFolder, DatabaseFault
from responsa_etl.sources.budget import Budget
from responsa_etl.sources.folders import (
    FolderFile,
    FolderProblem,
    UnreadableFile,
    UnreadableFolder,
    find_name_problem,
    is_wanted,
)
from responsa_server.domain.people import Principal

_SETTING: Final = "sources.paths (RESPONSA_SOURCES__PATHS)"
_TENANT: Final = "{tenant}"


class LocalFolders:
    """Opens folders of this server. Implements `FolderOpener`."""

    def __init__(self, paths: Sequence[Path], home: Path, *, owners_only: bool) -> None:
        """paths: below which folders may be opened; `{tenant}` stands for the tenant. home: the data folder, of which
        nothing is read. owners_only: whether owners of the installation alone may name folders."""
        self._paths = paths
        self._home = home
        self._owners_only = owners_only

    def may_name(self, caller: Principal) -> bool:
        """Whether the caller may connect folders of this server."""
        return caller.owner or not self._owners_only

    def list_allowed(self, tenant_id: str) -> Sequence[Path]:
        """The folders below which a tenant's folders may be."""
        return [Path(str(path).replace(_TENANT, tenant_id)) for path in self._paths]

    @asynccontextmanager
    async def __call__(
        self, tenant_id: str, folder: ConnectedFolder, budget: Budget
    ) -> AsyncGenerator[LocalFolder]:
        """Raises FolderProblem."""
        yield LocalFolder(
            await asyncio.to_thread(self._resolve, tenant_id, folder.address), self._home.resolve()
        )

    def _resolve(self, tenant_id: str, address: str) -> Path:
        """The path without links. Raises FolderProblem."""
        allowed = self.list_allowed(tenant_id)
        if not allowed:
            message = f"The setting {_SETTING} names no folders of the server, so none can be connected."
            raise FolderProblem(DatabaseFault.NOT_GRANTED, "address", message)
        path, home = Path(os.path.realpath(address)), self._home.resolve()
        for root in map(Path.resolve, allowed):
            if Path(address).is_absolute() and path.is_relative_to(root):
                below = path.relative_to(root)
                if not any(part.startswith(".") for part in below.parts) and not path.is_relative_to(home):
                    return path
        names = ", ".join(map(str, allowed))
        message = f"must be the path of a folder below {names}, which the setting {_SETTING} names, and must not be hidden"
        raise FolderProblem(DatabaseFault.NOT_GRANTED, "address", message)


class LocalFolder:
    """Implements `OpenFolder`."""

    def __init__(self, path: Path, home: Path) -> None:
        """path: without links. home: is skipped."""
        self._path = path
        self._home = home

    async def list(self, budget: Budget) -> AsyncGenerator[FolderFile | UnreadableFolder]:
        """See `OpenFolder.list`."""
        waiting = [Path()]
        while waiting:
            below = waiting.pop()
            try:
                entries = await asyncio.to_thread(self._scan, below, budget.limits.entries + 1)
            except OSError as error:
                if below == Path():
                    message = f"The server cannot read {self._path}: {error.strerror}."
                    raise FolderProblem(DatabaseFault.UNREACHABLE, "address", message) from None
                yield UnreadableFolder(below.as_posix(), f"The folder cannot be read: {error.strerror}.")
                continue
            await budget.spend(entries=1 + len(entries))
            for path, file in entries:
                if file is None and (problem := find_name_problem(FILE, path.as_posix())):
                    yield UnreadableFolder(path.as_posix(), problem)
                elif file is None:
                    waiting.append(path)
                elif is_wanted(path.name):
                    yield file

    async def read(self, file: FolderFile, limit: int) -> bytes:
        """See `OpenFolder.read`."""
        try:
            return await asyncio.to_thread(self._read, file.path, limit)
        except OSError as error:
            raise UnreadableFile(f"The file cannot be read: {error.strerror}.") from None

    def _scan(self, below: Path, limit: int) -> Sequence[tuple[Path, FolderFile | None]]:
        """The files, and the folders that are not hidden (None), among the first entries of a folder, by name. Raises OSError."""
        descriptor, scanned = _open_folder(self._path / below), list[tuple[Path, FolderFile | None]]()
        try:
            with os.scandir(descriptor) as entries:
                for entry in islice(entries, limit):
                    path = below / entry.name
                    if entry.is_dir(follow_symlinks=False):
                        if not entry.name.startswith(".") and self._path / path != self._home:
                            scanned.append((path, None))
                    elif entry.is_file(follow_symlinks=False):
                        scanned.append((path, _describe(path, entry)))
        finally:
            os.close(descriptor)
        return sorted(scanned, key=lambda item: item[0].name)

    def _read(self, path: str, limit: int) -> bytes:
        parent = _open_folder(self._path / Path(path).parent)
        try:
            descriptor = os.open(Path(path).name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=parent)
        finally:
            os.close(parent)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise OSError(0, "it is no file any more")
            return file.read(limit + 1)


def _describe(path: Path, entry: os.DirEntry[str]) -> FolderFile:
    try:
        status = entry.stat(follow_symlinks=False)
    except OSError:  # the reading says why
        return FolderFile(path.as_posix(), "", 0)
    return FolderFile(
        path.as_posix(), f"{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_size}", status.st_size
    )


def _open_folder(path: Path) -> int:
    """A descriptor of a folder. No part of the path may be a link. Raises OSError."""
    descriptor = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    for part in path.parts[1:]:
        try:
            below = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor
