"""Writes the rows of generations in a transaction of one tenant. The stores of operations and of generations use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from uuid import UUID

import uuid_utils.compat

from responsa_server.domain.knowledge import FIRST_DIMENSIONS, JobKind, Operation
from responsa_server.stores.postgres.database import Connection, Queries
from responsa_server.stores.postgres.jobs import JobQueue

FIRST_TABLE: Final = UUID(int=0)
"""The id of the job that deletes vectors from the first table."""


def first_generation(dimensions: int) -> UUID | None:
    """Where the vectors of a new collection belong: None for the first table, otherwise a new id in the table of all other generations."""
    return None if dimensions == FIRST_DIMENSIONS else uuid_utils.compat.uuid7()


class GenerationTable:
    """Ends the construction of generations, and enqueues the jobs that delete their vectors."""

    def __init__(self, queue: JobQueue) -> None:
        self._queue = queue
        self._operations = Queries("operations.sql")
        self._queries = Queries("generations.sql")

    async def end(
        self, connection: Connection, operation: Operation, error: Mapping[str, object], *, failed: bool
    ) -> bool:
        """End an operation with an error, and abandon its generation. Returns False, and does nothing, if the operation has ended."""
        values = values_of(operation)
        # Locks are taken in the order that every writer uses: collection, operation.
        await connection.execute(self._queries["lock_collection"], values)
        ended = await connection.execute(self._operations["end"], {**values, "epoch": None, **error})
        if await ended.fetchone() is None:
            return False
        await self.abandon(connection, operation, failed=failed)
        return True

    async def abandon(self, connection: Connection, operation: Operation, *, failed: bool) -> None:
        """Return the generation of an ended operation to its former state. If it was never complete, discard its
        vectors, and delete the generation unless it `failed`: then it stays in lists.
        """
        values = values_of(operation)
        row = await (await connection.execute(self._queries["building"], values)).fetchone()
        if row is None:
            return
        generation, complete = row
        if complete:
            await connection.execute(self._queries["back_to_former"], values)
            return
        await connection.execute(self._queries["failed" if failed else "delete_generation"], values)
        await self.discard(connection, operation.tenant_id, generation)

    async def discard(self, connection: Connection, tenant_id: str, generation_id: UUID | None) -> None:
        """Enqueue the job that deletes vectors: there may be millions, and nobody should wait for the collection's lock
        meanwhile. None means the first table."""
        await self._queue.defer(connection, JobKind.DISCARD, tenant_id, generation_id or FIRST_TABLE)


def values_of(operation: Operation) -> dict[str, object]:
    """The parameters that name an operation and its generation."""
    return {
        "tenant": operation.tenant_id,
        "id": operation.id,
        "collection": operation.collection_id,
        "number": operation.version,
    }
