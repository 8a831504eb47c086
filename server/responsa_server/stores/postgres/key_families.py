"""Revokes API keys together with the keys that were created with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from responsa_server.stores.postgres.database import Connection, Queries, uuid_array

Row = tuple[Any, ...]
_QUERIES: Final = Queries("key_families.sql")


async def revoke_children(connection: Connection, tenant_id: str, parents: Sequence[UUID]) -> Sequence[UUID]:
    """Revoke the keys that were created with these keys, which the transaction has revoked, at any depth. Returns the
    ids of those that were good."""
    revoked: list[UUID] = []
    while parents:
        values = {"tenant_id": tenant_id, "parents": uuid_array(parents)}
        cursor = await connection.execute(_QUERIES["revoke_children"], values)
        parents = [child for (child,) in await cursor.fetchall()]
        revoked.extend(parents)
    return revoked


async def revoke_keys_of(connection: Connection, tenant_id: str, user_id: UUID) -> Sequence[UUID]:
    """Revoke all keys of a user. Returns the ids of those that were good."""
    values = {"tenant_id": tenant_id, "user_id": user_id}
    cursor = await connection.execute(_QUERIES["revoke_keys_of"], values)
    revoked = [key for (key,) in await cursor.fetchall()]
    return [*revoked, *await revoke_children(connection, tenant_id, revoked)]
