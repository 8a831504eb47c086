"""Operations in PostgreSQL, as callers see them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import UUID

from psycopg.rows import dict_row

from responsa_server.domain import names
from responsa_server.domain.errors import Cancelled, NotFound, Precondition, Reason, ResponsaError
from responsa_server.domain.knowledge import IngestStage, Operation
from responsa_server.domain.listing import OPERATIONS, ListQuery, Page, Position
from responsa_server.stores.postgres import stored_errors
from responsa_server.stores.postgres.database import Connection, Database, uncancelled
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.passages import PassageStore
from responsa_server.stores.postgres.queries import Queries

_LIST: Final[SqlList[Operation]] = SqlList(OPERATIONS, {"create_time": "create_time"})


class OperationStore:
    """Operations of all tenants, one tenant a call; implements the port `Operations`."""

    def __init__(self, database: Database, passages: PassageStore) -> None:
        self._database = database
        self._passages = passages
        self._queries = Queries("operations.sql")

    async def get(self, tenant_id: str, operation_id: UUID) -> Operation:
        """Read one. Raises NotFound."""

        async def work() -> Operation:
            async with self._database.tenant(tenant_id) as connection:
                return await find(self._queries, connection, tenant_id, operation_id)

        return await uncancelled(work())

    async def list(
        self, tenant_id: str, user_id: UUID | None, limit: int, after: Position | None
    ) -> Page[Operation]:
        """A page, newest first; of one user, or of all (None)."""
        query = ListQuery(limit, OPERATIONS.orders[0], after)
        values = {"tenant": tenant_id, "user": user_id}

        async def work() -> Page[Operation]:
            async with self._database.tenant(tenant_id) as connection:
                rows = await _LIST.rows(connection, self._queries["list"], query, values)
            return _LIST.page([from_row(row) for row in rows], query)

        return await uncancelled(work())

    async def cancel(self, tenant_id: str, operation_id: UUID) -> None:
        """End it with OPERATION_CANCELLED unless it has ended. Raises NotFound."""
        name = names.operation(operation_id)
        error = Cancelled(
            Reason.OPERATION_CANCELLED, "The operation was cancelled by a call.", {"operation": name}
        )

        async def work() -> None:
            async with self._database.tenant(tenant_id) as connection:
                operation = await find(self._queries, connection, tenant_id, operation_id)
                await end(self._queries, self._passages, connection, operation, error, epoch=None)

        await uncancelled(work())

    async def delete(self, tenant_id: str, operation_id: UUID) -> None:
        """Forget it. Raises NotFound, Precondition OPERATION_RUNNING."""

        async def work() -> None:
            async with self._database.tenant(tenant_id) as connection:
                await find(self._queries, connection, tenant_id, operation_id)
                values = {"tenant": tenant_id, "id": operation_id}
                deleted = await connection.execute(self._queries["delete"], values)
                if await deleted.fetchone() is None:
                    name = names.operation(operation_id)
                    message = f"{name} has not ended; cancel it, or wait for its end."
                    raise Precondition(Reason.OPERATION_RUNNING, message, {"operation": name})

        await uncancelled(work())


async def find(queries: Queries, connection: Connection, tenant_id: str, operation_id: UUID) -> Operation:
    """Read one in the caller's transaction. Raises NotFound."""
    cursor = connection.cursor(row_factory=dict_row)
    await cursor.execute(queries["get"], {"tenant": tenant_id, "id": operation_id})
    row = await cursor.fetchone()
    if row is None:
        raise NotFound.of("operation", names.operation(operation_id))
    return from_row(row)


async def end(
    queries: Queries,
    passages: PassageStore,
    connection: Connection,
    operation: Operation,
    error: ResponsaError,
    *,
    epoch: int | None,
) -> bool:
    """End an operation with an error and remove what there is of its version; whether it had not ended yet.

    epoch: only while it stands; None takes the operation from whoever works on it.
    """
    values: dict[str, object] = {
        "tenant": operation.tenant_id,
        "id": operation.id,
        "document": operation.document_id,
        "version": operation.version,
        "epoch": epoch,
        **stored_errors.to_columns(error),
    }
    await connection.execute(queries["lock_document"], values)
    if await (await connection.execute(queries["end"], values)).fetchone() is None:
        return False
    await passages.discard(connection, operation.tenant_id, operation.document_id, operation.version)
    await connection.execute(queries["fail_document"], values)
    await connection.execute(queries["drop_version"], values)
    return True


def from_row(row: Mapping[str, Any]) -> Operation:
    """An operation from all columns of its row."""
    return Operation(
        id=row["id"],
        tenant_id=row["tenant_id"],
        user_id=row["user_id"],
        document_id=row["document_id"],
        version=row["version"],
        stage=IngestStage(row["stage"]),
        passages_done=row["passages_done"],
        passages_total=row["passages_total"],
        error=stored_errors.from_columns(row["error_reason"], row["error_message"], row["error_metadata"]),
        unchanged=row["unchanged"],
        epoch=row["epoch"],
        create_time=row["create_time"],
        update_time=row["update_time"],
    )
