"""Writes files that only one user may read."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from typing import BinaryIO


def write_private(path: Path, content: str | bytes, *, keep_existing: bool = False) -> None:
    """Writes `content`, as UTF-8, to `path` with mode 0600, atomically. With `keep_existing`, a file that already exists is kept.

    The content is first written to a new file with a random name. The file is created exclusively, so a link that someone has
    planted in the folder cannot redirect it.

    Raises:
        OSError: the file cannot be written. An existing file stays as it was.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        if keep_existing:
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        else:
            draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def create_private(path: Path) -> BinaryIO:
    """Creates `path` with mode 0600 and opens it for writing.

    Raises:
        OSError: the file exists, or cannot be created.
    """
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")
