"""Writes the rows of generations in a transaction of one tenant. The stores of operations and of generations use it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import uuid_utils.compat

from responsa_server.domain.knowledge import FIRST_DIMENSIONS, Operation
from responsa_server.stores.postgres.database import Connection, Queries
from responsa_server.stores.postgres.passages import PassageTable


def first_generation(dimensions: int) -> UUID | None:
    """Where the vectors of a new collection belong: None for the first table, otherwise a new id in the table of all other generations."""
    return None if dimensions == FIRST_DIMENSIONS else uuid_utils.compat.uuid7()


class GenerationTable:
    """Ends the construction of generations, and deletes their vectors."""

    def __init__(self) -> None:
        self._passages = PassageTable()
        self._operations = Queries("operations.sql")
        self._queries = Queries("generations.sql")

    async def end(
        self, connection: Connection, operation: Operation, error: Mapping[str, object], *, failed: bool
    ) -> None:
        """End an operation with an error, and abandon its generation. Does nothing if the operation has ended."""
        values = values_of(operation)
        # Locks are taken in the order that every writer uses: collection, operation.
        await connection.execute(self._queries["lock_collection"], values)
        ended = await connection.execute(self._operations["end"], {**values, "epoch": None, **error})
        if await ended.fetchone() is not None:
            await self.abandon(connection, operation, failed=failed)

    async def abandon(self, connection: Connection, operation: Operation, *, failed: bool) -> None:
        """Return the generation of an ended operation to its former state. If it was never complete, delete its vectors, and the generation too unless
        it `failed`: then it stays in lists.
        """
        values = values_of(operation)
        row = await (await connection.execute(self._queries["building"], values)).fetchone()
        if row is None:
            return
        generation, complete = row
        if complete:
            await connection.execute(self._queries["back_to_former"], values)
            return
        await self.delete_vectors(connection, values | {"generation": generation})
        await connection.execute(self._queries["failed" if failed else "delete_generation"], values)

    async def delete_vectors(self, connection: Connection, values: Mapping[str, Any]) -> None:
        """Delete the vectors of a generation. values: the tenant, the collection and the generation's id; None for the first table."""
        await self._passages.take_time(connection)
        name = "delete_first_vectors" if values["generation"] is None else "delete_vectors"
        await connection.execute(self._queries[name], values)


def values_of(operation: Operation) -> dict[str, object]:
    """The parameters that name an operation and its generation."""
    return {
        "tenant": operation.tenant_id,
        "id": operation.id,
        "collection": operation.collection_id,
        "number": operation.version,
    }
