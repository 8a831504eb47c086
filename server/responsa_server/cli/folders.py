"""Keeps a collection like the folders that it was loaded from, for `responsa ingest --sync` and `--watch`.

A document came from a folder if its source key begins with the folder's root: the folder's name, or the root that the
user gives. So that two folders of one name do not delete each other's documents, this machine remembers which folders
were loaded under a root.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import shlex
from collections.abc import AsyncIterator, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Final, cast

import watchfiles

from responsa.knowledge.v1 import document_pb2
from responsa_client.aio import AsyncResponsa
from responsa_server.cli.labels import escape
from responsa_server.cli.output import EXIT_USAGE, CommandFailed
from responsa_server.cli.signed_in import state_folder
from responsa_server.cli.sources import Target, absolute, compose, keys

_DEBOUNCE_MS: Final = 500
_WAKE_MS: Final = 1000
_LONGEST_KEY: Final = 1024


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder and the first part of the source keys of its files. path: absolute."""

    path: Path
    root: str


def folders_of(paths: Sequence[str], root: str) -> Sequence[Folder]:
    """The folders among the arguments. root: the root that the user gives, or "" for each folder's name."""
    folders = [absolute(Path(path)) for path in paths if Path(path).is_dir()]
    return [Folder(folder, root or folder.name) for folder in folders]


def find_folders(paths: Sequence[str], root: str) -> Sequence[Folder]:
    """The folders that the arguments name, each once. root: as for `folders_of`.

    Raises:
        CommandFailed: an argument does not name a folder, the folder has no root, or two folders have the same root.
    """
    folders: dict[str, Folder] = {}
    for path in paths:
        folder = next(iter(folders_of([path], root)), None)
        if folder is None or not folder.root:
            remedy = "Name only folders." if folder is None else "Give this folder a name with --root."
            raise CommandFailed(f"--sync and --watch cannot be used with {path}.", remedy, EXIT_USAGE)
        other = folders.setdefault(folder.root, folder)
        if other != folder:
            raise CommandFailed(
                f"The source keys of {other.path} and {folder.path} would both begin with {folder.root!r}.",
                "Load only one of them at a time, and give it another name with --root.",
                EXIT_USAGE,
            )
    return tuple(folders.values())


class LoadedFolders:
    """The folders that this machine's user has loaded into a collection, in one small file for each root.

    The files are in the folder for state of the XDG Base Directory Specification, so that no user's folder gets a file.
    """

    def __init__(self, server: str, collection: str) -> None:
        self._place = (server, collection.removeprefix("collections/"))

    def check(self, folder: Folder) -> None:
        """Raise CommandFailed if another folder, which still exists, was loaded under the same root."""
        other = next((old for old in self._read(folder.root) if old != folder.path and old.is_dir()), None)
        if other is not None:
            raise CommandFailed(
                f"{other} was loaded under the same name, {folder.root!r}, so --sync would delete the documents of {other}.",
                (
                    f"To load both, give {folder.path} another name with --root. To confirm that "
                    f"{folder.path} replaces {other}, add `--root {shlex.quote(folder.root)}`."
                ),
                EXIT_USAGE,
            )

    def add(self, folder: Folder, *, alone: bool) -> None:
        """Remember that the folder was loaded. alone: whether it takes the place of all others. Raises OSError."""
        before = [] if alone else [old for old in self._read(folder.root) if old.is_dir()]
        if folder.path in before:
            return
        file = self._file(folder.root)
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        new = file.with_name(f"{file.name}.{os.getpid()}")
        new.write_text(json.dumps([str(path) for path in (*before, folder.path)]), encoding="utf-8")
        new.replace(file)

    def _read(self, root: str) -> Sequence[Path]:
        # Without the file, or with a broken one, nothing is known.
        with contextlib.suppress(OSError, ValueError):
            content: object = json.loads(self._file(root).read_text(encoding="utf-8"))
            if isinstance(content, list):
                return [Path(text) for text in cast("list[object]", content) if isinstance(text, str)]
        return ()

    def _file(self, root: str) -> Path:
        digest = hashlib.sha256(json.dumps((*self._place, root)).encode()).hexdigest()
        return state_folder() / "folders" / f"{digest[:32]}.json"


async def find_gone(
    client: AsyncResponsa, collection: str, folders: Sequence[Folder], targets: Sequence[Target]
) -> Sequence[document_pb2.Document]:
    """The documents of the collection that came from the folders, and whose file is gone. targets: all files of the folders.

    A document stays if its file, or a folder around it, is still there but cannot be read or is skipped. Raises ResponsaError.
    """
    present = set(await asyncio.to_thread(lambda: list(keys(targets))))
    around = tuple(compose(f"{target.key}/") for target in targets if target.problem or target.skipped)
    from_folders = tuple(compose(f"{folder.root}/") for folder in folders)
    documents: dict[str, document_pb2.Document] = {}
    for begin in from_folders:
        async for document in client.documents(collection, filter_by=_from(begin)):
            key = document.source_key
            if key.startswith(begin) and key not in present and not key.startswith(around):
                documents[document.name] = document
    return list(documents.values())


def _from(begin: str) -> str:
    """The filter for the documents whose source keys begin so; "" for all documents if a filter cannot contain the text."""
    try:
        size = len(begin.encode())
    except UnicodeEncodeError:  # the name of a folder may be any bytes
        return ""
    return f'source_key = "{escape(begin)}*"' if size <= _LONGEST_KEY else ""


async def changes(folders: Sequence[Path]) -> AsyncIterator[Set[Path]]:
    """Yield an empty set once changes are noticed, and then, again and again, the paths below the folders that changed.
    Hidden files are left out.

    folders: absolute paths. Raises OSError if the system cannot watch the folders.
    """
    begun = False
    batches = watchfiles.awatch(  # pyright: ignore[reportUnknownMemberType]  # its type hints name trio, which is not installed
        *folders, watch_filter=None, debounce=_DEBOUNCE_MS, rust_timeout=_WAKE_MS, yield_on_timeout=True
    )
    async for batch in batches:
        changed = {Path(path) for _, path in batch if not _is_hidden(Path(path), folders)}
        if not begun:
            begun = True
            yield set()
        if changed:
            yield changed


def _is_hidden(path: Path, folders: Sequence[Path]) -> bool:
    return any(
        part.startswith(".")
        for folder in folders
        if path.is_relative_to(folder)
        for part in path.relative_to(folder).parts
    )
