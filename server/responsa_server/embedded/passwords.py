"""Generated passwords, kept in `secrets.json` (0600)."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from responsa_server.embedded.errors import EmbeddedError

PASSWORD_BYTES = 32


@dataclass(frozen=True, slots=True)
class Passwords:
    """The passwords: URL-safe, 256 random bits each. `repr` shows none of them."""

    postgres_superuser: str
    postgres_owner: str
    postgres_app: str
    postgres_log: str
    redis: str

    @classmethod
    def generate(cls) -> Passwords:
        """New passwords from the operating system's random generator."""
        return cls(**{field.name: secrets.token_urlsafe(PASSWORD_BYTES) for field in fields(cls)})

    def to_json(self) -> str:
        """The content of `secrets.json`."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def __repr__(self) -> str:
        return "Passwords(…)"


def load_passwords(path: Path) -> Passwords:
    """Reads `secrets.json`.

    Raises:
        EmbeddedError: the file is missing, unreadable or damaged.
    """
    remedy = "restore it from a backup, or run `responsa purge` and start anew"
    try:
        content = json.loads(path.read_text())
        values = {field.name: content[field.name] for field in fields(Passwords)}
        if not all(isinstance(value, str) and len(value) >= 16 for value in values.values()):
            raise ValueError(path.name)
    except FileNotFoundError as error:
        raise EmbeddedError(
            f"{path}, which holds the passwords of the database, is missing", remedy
        ) from error
    except PermissionError as error:
        raise EmbeddedError(f"{path} cannot be read by this user", "start as the user who owns it") from error
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise EmbeddedError(
            f"{path}, which holds the passwords of the database, is damaged", remedy
        ) from error
    return Passwords(**values)


def write_private(path: Path, text: str, *, keep_existing: bool = False) -> None:
    """Writes `text` to `path` with mode 0600, atomically. `keep_existing`: keeps a file that already exists.

    The draft has a random name and is created exclusively, so that it cannot write through a link planted in the folder.

    Raises:
        OSError: the file cannot be written. An existing file stays as it was.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
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
