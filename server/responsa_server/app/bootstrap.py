"""The first tenant, administrator and key of an instance, and the places where they are told."""

from __future__ import annotations

import asyncio
import contextlib
import os
from pathlib import Path

from responsa_server.domain.errors import AlreadyExists, Unauthenticated
from responsa_server.domain.people import Principal, Role
from responsa_server.identity.service import Credential, Identity

TENANT = "default"


async def ensure_administrator(identity: Identity, key_file: Path) -> Principal:
    """Give back the administrator whose key is in key_file; make tenant, administrator and key where that key is missing or no longer good.

    The file is written whole, 0600, and holds the secret alone.
    """
    secret = await asyncio.to_thread(_read, key_file)
    # Not good (any more): another database, or the key was revoked. The one who runs the machine gets a new one.
    with contextlib.suppress(Unauthenticated):
        return await identity.authenticate(Credential("api_key", secret))
    with contextlib.suppress(AlreadyExists):
        await identity.create_tenant(TENANT, "Default")
    user = await identity.create_user(TENANT, "Administrator", "", Role.ADMIN)
    _, secret = await identity.create_key(TENANT, user.id, "made by responsa up")
    await asyncio.to_thread(_write_private, key_file, secret + "\n")
    return await identity.authenticate(Credential("api_key", secret))


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8").strip() if path.is_file() else ""


def _write_private(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
