"""Keeps a collection like the folders that it was loaded from, for `responsa ingest --sync` and `--watch`.

A document came from a folder if its source key begins with the folder's name. So two folders of the same name, wherever they are, are one folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence, Set
from pathlib import Path
from typing import Final

import watchfiles

from responsa.knowledge.v1 import document_pb2
from responsa_client.aio import AsyncResponsa
from responsa_server.cli.output import EXIT_USAGE, CommandFailed
from responsa_server.cli.sources import Target, absolute, keys

_DEBOUNCE_MS: Final = 500
_WAKE_MS: Final = 1000


def followed(paths: Sequence[str]) -> Sequence[Path]:
    """The absolute paths of the folders that the arguments name. Raises CommandFailed if an argument does not name a folder with a name."""
    folders = [absolute(Path(path)) for path in paths]
    for path, folder in zip(paths, folders, strict=True):
        if not folder.is_dir() or not folder.name:
            raise CommandFailed(f"--sync and --watch cannot follow {path}.", "Name folders only.", EXIT_USAGE)
    return folders


async def gone(
    client: AsyncResponsa, collection: str, folders: Sequence[Path], targets: Sequence[Target]
) -> Sequence[document_pb2.Document]:
    """The documents of the collection that came from the folders, and whose file is gone. targets: all files of the folders.

    A document stays if its file, or an archive or folder around it, is still there but cannot be read or is skipped. Raises ResponsaError.
    """
    present = set(await asyncio.to_thread(lambda: list(keys(targets))))
    around = tuple(f"{one.key}/" for one in targets if one.problem or one.skipped)
    from_folders = tuple(f"{folder.name}/" for folder in folders)
    found: list[document_pb2.Document] = []
    async for document in client.documents(collection):
        key = document.source_key
        if key.startswith(from_folders) and key not in present and not key.startswith(around):
            found.append(document)
    return found


async def changes(folders: Sequence[Path]) -> AsyncIterator[Set[Path]]:
    """Yield an empty set once changes are noticed, and then, again and again, the paths below the folders that changed. Hidden files are left out.

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
