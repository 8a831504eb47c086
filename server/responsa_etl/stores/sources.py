"""Sources in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from responsa_etl.domain import ConnectedFolder, NewSource, Source, SourceChange
from responsa_server.domain import names
from responsa_server.domain.knowledge import JobKind
from responsa_server.domain.lists import SOURCES
from responsa_server.domain.people import Principal
from responsa_server.domain.rows import build
from responsa_server.domain.turns import NewId
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.requests import already_exists
from responsa_server.stores.postgres.resources import ResourceKind, ResourceStore
from responsa_server.stores.postgres.rows import all_rows, one_row

_QUERIES: Final = Queries("sources.sql", package=__package__)


def build_source(row: Mapping[str, Any]) -> Source:
    """A source of its row."""
    folder = row["folder"]
    return build(Source, row, folder=None if folder is None else _build_folder(row))


def _build_folder(row: Mapping[str, Any]) -> ConnectedFolder:
    return build(ConnectedFolder, row["folder"], sealed_password=bytes(row["sealed_password"]))


KIND: Final[ResourceKind[Source, str]] = ResourceKind(
    "source", names.source, SOURCES, build_source, more=_QUERIES["state"]
)


class PostgresSources(ResourceStore[Source, str]):
    """The sources of the caller's tenant. Each call is for one tenant."""

    def __init__(self, database: Database, queue: JobQueue, new_id: NewId) -> None:
        """queue, new_id: for the jobs that wait for schedules."""
        super().__init__(database, KIND)
        self._queue = queue
        self._new_id = new_id

    @shielded
    async def create(
        self,
        caller: Principal,
        source: NewSource,
        connection: str,
        collection: str,
        next_run_time: datetime | None = None,
        *,
        validate_only: bool = False,
    ) -> Source:
        """Create a source. connection, collection: what its mapping or its folder names. next_run_time: when its schedule begins
        the first run; None without a schedule. validate_only: undo everything at the end. Raises AlreadyExists if the
        id is taken."""
        values = {
            "tenant": caller.tenant_id,
            "id": source.id,
            "display_name": source.display_name,
            "mapping": source.mapping,
            **_columns(source.folder),
            "connection": connection,
            "collection": collection,
            "user": caller.user_id,
            "next_run": next_run_time,
            "schedule": None if next_run_time is None else self._new_id(),
        }
        async with (
            self._database.tenant(caller.tenant_id) as database,
            database.transaction(force_rollback=validate_only),
        ):
            row = await one_row(database, _QUERIES["insert"], values)
            if row is None:
                raise already_exists("source", names.source(source.id))
            await self._defer(database, caller, row)
            await self._write(database, caller, source.id)
            return KIND.built(row)

    @shielded
    async def mappings(self, caller: Principal) -> Mapping[str, str]:
        """Return the texts of all mappings, by the ids of their sources."""
        async with self._database.tenant(caller.tenant_id) as database:
            cursor = await database.execute(_QUERIES["mappings"], {"tenant": caller.tenant_id})
            return dict(await cursor.fetchall())

    @shielded
    async def connections(self, tenant_id: str) -> Mapping[str, str]:
        """Return the names of the connections that a tenant's sources use, by the ids of the sources."""
        async with self._database.tenant(tenant_id) as database:
            cursor = await database.execute(_QUERIES["connections"], {"tenant": tenant_id})
            return dict(await cursor.fetchall())

    @shielded
    async def documents(self, caller: Principal, source_id: str, etag: str) -> Sequence[UUID]:
        """Return the documents that a source has made. etag: as in `delete`. Raises NotFound, Conflict."""
        async with self._database.locking(caller.tenant_id) as database:
            await self._lock(database, caller, source_id, etag)
            values = {"tenant": caller.tenant_id, "id": source_id}
            cursor = await database.execute(_QUERIES["documents"], values)
            return [document_id for (document_id,) in await cursor.fetchall()]

    @shielded
    async def folders(self, tenant_id: str) -> Mapping[str, ConnectedFolder]:
        """Return the folders with passwords of a tenant's sources, by the ids of the sources."""
        async with self._database.tenant(tenant_id) as database:
            rows = await all_rows(database, _QUERIES["folders"], {"tenant": tenant_id})
            return {row["id"]: _build_folder(row) for row in rows}

    @shielded
    async def update(
        self,
        caller: Principal,
        source_id: str,
        change: SourceChange,
        named: tuple[str, str] | None,
        etag: str,
        next_run_time: datetime | None = None,
    ) -> Source:
        """Update a source. named: the connection and the collection of the new mapping or folder, and
        next_run_time its schedule; None without one. etag: the expected etag; "" accepts any revision. Raises NotFound, Conflict
        (ETAG_MISMATCH). An update without fields changes nothing.
        """
        connection, collection = named or (None, None)
        async with self._database.locking(caller.tenant_id) as database:
            locked = await self._lock(database, caller, source_id, etag)
            if change == SourceChange():
                return locked
            values = {
                "tenant": caller.tenant_id,
                "id": source_id,
                "display_name": change.display_name,
                "mapping": change.mapping,
                **_columns(change.folder),
                "changed": named is not None,
                "connection": connection,
                "collection": collection,
                "user": caller.user_id,
                "next_run": next_run_time,
                "schedule": None if next_run_time is None else self._new_id(),
            }
            row = await one_row(database, _QUERIES["update"], values)
            assert row is not None, "the row is locked, so it cannot be deleted"
            if named is not None:
                await self._defer(database, caller, row)
            await self._write(database, caller, source_id)
            return KIND.built(await self._row(database, "get", caller, source_id))

    async def _defer(self, database: Connection, caller: Principal, row: Mapping[str, Any]) -> None:
        """Make the job that waits for the next run of a schedule."""
        if row["next_run_time"] is not None:
            seconds = (row["next_run_time"] - datetime.now(UTC)).total_seconds()
            await self._queue.defer(
                database, JobKind.SCHEDULE, caller.tenant_id, row["schedule_id"], after=max(0.0, seconds)
            )


def _columns(folder: ConnectedFolder | None) -> Mapping[str, object]:
    """The columns of a folder, with its password sealed alone."""
    if folder is None:
        return {"folder": None, "sealed_password": None}
    fields = asdict(folder)
    del fields["password"]
    sealed = fields.pop("sealed_password")
    return {"folder": Jsonb(fields), "sealed_password": sealed}
