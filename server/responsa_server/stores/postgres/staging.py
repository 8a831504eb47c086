"""Stores large values in pieces, because neither this process nor a connection's buffers should hold a whole document.

A statement carries each of its values as a whole, and copies it several times. A large value is therefore first written
to a large object of PostgreSQL, piece by piece, and the statement takes it from there. The large object exists only
within the transaction.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Final

from responsa_server.domain.knowledge import StoredBytes
from responsa_server.stores.postgres.database import Connection

PIECE_BYTES: Final = 1024 * 1024
"""A value of at most this size travels with its statement."""


@asynccontextmanager
async def stage(connection: Connection, value: StoredBytes) -> AsyncGenerator[Mapping[str, object]]:
    """Two parameters for `coalesce(%(data)b::bytea, lo_get(%(staged)s::oid))` in a statement of the block. Needs a transaction."""
    if value.size <= PIECE_BYTES:
        yield {"data": value.read(0, value.size), "staged": None}
        return
    row = await (await connection.execute("SELECT lo_create(0)")).fetchone()
    assert row is not None, "lo_create returns a number"
    for start in range(0, value.size, PIECE_BYTES):
        piece = await asyncio.to_thread(value.read, start, PIECE_BYTES)
        await connection.execute("SELECT lo_put(%s, %s, %b)", [row[0], start, piece])
    yield {"data": None, "staged": row[0]}
    await connection.execute("SELECT lo_unlink(%s)", [row[0]])
