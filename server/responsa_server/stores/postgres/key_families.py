"""Revokes API keys together with the keys that were created with them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final
from uuid import UUID

from responsa_server.stores.postgres.database import Connection, Queries, uuid_array

Row = tuple[Any, ...]
_QUERIES: Final = Queries("key_families.sql")


async def revoke_children(connection: Connection, tenant_id: str, parents: Sequence[UUID]) -> Sequence[Row]:
    """Revoke the keys that were created with these keys, which the transaction has revoked, at any depth. Returns the rows of the keys that were good; the id comes first."""
    revoked: list[Row] = []
    while parents:
        values = {"tenant_id": tenant_id, "parents": uuid_array(parents)}
        rows = await (await connection.execute(_QUERIES["revoke_children"], values)).fetchall()
        revoked.extend(rows)
        parents = [row[0] for row in rows]
    return revoked


async def revoke_keys_of(connection: Connection, tenant_id: str, user_id: UUID) -> Sequence[UUID]:
    """Revoke all keys of a user. Returns the ids of those that were good."""
    values = {"tenant_id": tenant_id, "user_id": user_id}
    rows = await (await connection.execute(_QUERIES["revoke_keys_of"], values)).fetchall()
    children = await revoke_children(connection, tenant_id, [row[0] for row in rows])
    return [row[0] for row in [*rows, *children]]
