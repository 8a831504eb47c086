"""Runs of sources in PostgreSQL. The operation's row is the fence, as in operations.py."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from responsa_server.domain import names
from responsa_server.domain.errors import Exhausted, NotFound, Precondition, Reason, ResponsaError
from responsa_server.domain.knowledge import JobKind, Operation, OwnershipLost
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import FAILED_ROWS
from responsa_server.domain.people import AuditEvent, Principal, Role
from responsa_server.domain.source_runs import (
    SCHEDULED,
    DocumentKey,
    FailedRow,
    NewFailure,
    NewRun,
    RunClaim,
    RunCounts,
    RunTask,
    StoredDocument,
)
from responsa_server.domain.sources import Source
from responsa_server.domain.turns import NewId
from responsa_server.stores.postgres import operations
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import Connection, Database, Queries, one_row, shielded
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.requests import CreationRequests
from responsa_server.stores.postgres.sources import source_of

_LIST: Final[SqlList[FailedRow]] = SqlList(FAILED_ROWS, {"create_time": "create_time"})
_MOST_PROBLEM_CHARACTERS: Final = 1000
MOST_WAITING: Final = 1000
"""The number of runs of a source that may be open."""
_LATER_SECONDS: Final = 10.0


class PostgresSourceRuns:
    """Implements the port `SourceRuns` for all tenants."""

    def __init__(self, database: Database, queue: JobQueue, new_id: NewId) -> None:
        self._database = database
        self._queue = queue
        self._new_id = new_id
        self._queries = Queries("source_runs.sql")
        self._sources = Queries("sources.sql")
        self._operations = Queries("operations.sql")
        self._audit = AuditLog()
        self._requests = CreationRequests()

    @shielded
    async def start(
        self, who: Principal, source_id: str, subject: str, *, confirmed: bool, retry: bool = False
    ) -> Operation:
        """See `SourceRuns.start`."""
        async with self._database.locking(who.tenant_id) as database:
            operation = await self._add(database, who, source_id, NewRun(subject, confirmed, retry=retry))
            if operation is None:
                raise NotFound.of("source", names.source(source_id))
            event = AuditEvent.of(who, "source.retry" if retry else "source.sync", names.source(source_id))
            await self._audit.write(database, event)
            return operation

    @shielded
    async def notify(
        self,
        who: Principal,
        subject: str,
        sources: Sequence[str],
        cause: str,
        request_id: UUID | None,
        *,
        named: bool,
    ) -> Sequence[Operation]:
        """See `SourceRuns.notify`."""
        body = {
            "subject": hashlib.sha256(subject.encode()).hexdigest(),
            "sources": " ".join(sorted(sources)) if named else "",
            "cause": cause,
        }
        async with self._database.locking(who.tenant_id) as database:
            earlier = await self._requests.claim(database, who, request_id, "notification", body)
            if earlier:
                ids = [names.parse_uuid("operations", one) for one in earlier.split()]
                cursor = database.cursor(row_factory=dict_row)
                await cursor.execute(self._queries["named"], {"tenant": who.tenant_id, "ids": ids})
                return [operations.from_row(row) for row in await cursor.fetchall()]
            found = list[Operation]()
            for one in sorted(sources):  # in one order, so that no two calls wait for each other
                operation = await self._add(database, who, one, NewRun(subject, cause=cause))
                if operation is not None:
                    found.append(operation)
                    event = AuditEvent.of(who, "source.notify", names.source(one))
                    await self._audit.write(database, event)
                elif named:
                    raise NotFound.of("source", names.source(one))
            made = " ".join(names.operation(one.id) for one in found)
            await self._requests.record(database, who, request_id, made)
            return found

    @shielded
    async def scheduled(self, tenant_id: str, schedule_id: UUID) -> Source | None:
        """See `SourceRuns.scheduled`."""
        values = {"tenant": tenant_id, "schedule": schedule_id}
        async with self._database.tenant(tenant_id) as database:
            row = await one_row(database, self._queries["scheduled"], values)
        return None if row is None else source_of(row)

    @shielded
    async def start_scheduled(
        self, tenant_id: str, schedule_id: UUID, due: datetime, next_run_time: datetime
    ) -> Operation | None:
        """See `SourceRuns.start_scheduled`."""
        values = {"tenant": tenant_id, "schedule": schedule_id, "due": due, "next_run": next_run_time}
        async with self._database.locking(tenant_id) as database:
            row = await one_row(database, self._queries["take_schedule"], values)
            if row is None or row["user_id"] is None:
                return None
            who = Principal(tenant_id, row["user_id"], Role.ADMIN, "schedule")
            with suppress(Precondition):
                return await self._add(database, who, row["id"], NewRun("", cause=SCHEDULED))
            return None

    @shielded
    async def wake(self, tenant_id: str) -> None:
        """See `SourceRuns.wake`."""
        async with self._database.tenant(tenant_id) as database:
            cursor = await database.execute(self._queries["idle"], {"tenant": tenant_id})
            idle = [source_id for (source_id,) in await cursor.fetchall()]
            for source_id in idle:
                values = {"tenant": tenant_id, "source": source_id}
                await database.execute(self._queries["lock_source"], values)
                row = await (await database.execute(self._queries["next"], values)).fetchone()
                if row is not None:
                    await self._queue.defer(database, JobKind.SYNC, tenant_id, row[0], short=True)

    async def _add(
        self, database: Connection, who: Principal, source_id: str, run: NewRun
    ) -> Operation | None:
        """Add a run, and its job if no other run of the source is open: the end of each run makes the job of the next one. Returns None if the source does not exist."""
        values: dict[str, object] = {
            "tenant": who.tenant_id,
            "source": source_id,
            "id": self._new_id(),
            "user": who.user_id,
            **asdict(run),
        }
        if await one_row(database, self._queries["lock_source"], values) is None:
            return None
        before = await one_row(database, self._queries["open"], values)
        assert before is not None, "an aggregate has a row"
        if not run.subject and before["whole"] is not None:
            raise _running(source_id, before["whole"])
        if run.subject and before["runs"] >= MOST_WAITING:
            raise Exhausted(
                Reason.LIMIT_REACHED,
                f"{before['runs']} runs of {names.source(source_id)} wait already; begin one run for all subjects with SyncSource, or try again later.",
                {"limit": "waiting_runs", "scope": "tenant", "value": str(MOST_WAITING)},
                retry_after=_LATER_SECONDS,
            )
        row = await one_row(database, self._queries["insert"], values)
        assert row is not None, "a conflict updates the row"
        operation = operations.from_row(row)
        await database.execute(self._operations["forget"], {"tenant": who.tenant_id})
        if before["runs"] == 0:
            short = bool(run.subject)
            await self._queue.defer(database, JobKind.SYNC, who.tenant_id, operation.id, short=short)
        return operation

    @shielded
    async def failed_rows(self, who: Principal, source_id: str, query: ListQuery) -> Page[FailedRow]:
        """See `SourceRuns.failed_rows`."""
        values = {"tenant": who.tenant_id, "source": source_id}
        async with self._database.tenant(who.tenant_id) as database:
            await self._require(database, who.tenant_id, source_id)
            rows = await _LIST.rows(database, self._queries["failed_rows"], query, values)
        return _LIST.page([FailedRow(**row) for row in rows], query)

    @shielded
    async def begin(self, tenant_id: str, operation_id: UUID) -> RunTask | None:
        """See `SourceRuns.begin`."""
        async with self._database.tenant(tenant_id) as database:
            values = {"tenant": tenant_id, "id": operation_id}
            found = await one_row(database, self._queries["source_of"], values)
            if found is None:
                return None
            source_id = found["source_id"]
            await database.execute(self._queries["lock_source"], {**values, "source": source_id})
            row = await one_row(database, self._queries["begin"], values)
            if row is None:  # it has ended meanwhile, or another run of the source works
                raise OwnershipLost
            source = await one_row(database, self._sources["get"], {"tenant": tenant_id, "id": source_id})
            if source is None:  # the source was deleted; its run ends with this error
                raise NotFound.of("source", names.source(source_id))
            maker = await one_row(database, self._queries["maker"], values)
        return RunTask(
            RunClaim(tenant_id, operation_id, row["epoch"], source_id),
            source_of(source),
            None if maker is None else maker["id"],
            row["subject"],
            row["confirmed"],
            row["stage"] != "embedding",
            row["retry"],
        )

    @shielded
    async def is_running(self, tenant_id: str, operation_id: UUID) -> bool:
        """See `SourceRuns.is_running`."""
        try:
            async with self._database.tenant(tenant_id) as database:
                return not (await operations.find(self._operations, database, tenant_id, operation_id)).done
        except NotFound:
            return False

    @shielded
    async def failed(self, claim: RunClaim) -> frozenset[DocumentKey]:
        """See `SourceRuns.failed`."""
        async with self._database.tenant(claim.tenant_id) as database:
            cursor = await database.execute(self._queries["failed_keys"], _values(claim))
            return frozenset(DocumentKey(kind, key) for kind, key in await cursor.fetchall())

    @shielded
    async def known(self, claim: RunClaim) -> Mapping[DocumentKey, StoredDocument]:
        """See `SourceRuns.known`."""
        async with self._database.tenant(claim.tenant_id) as database:
            cursor = database.cursor(row_factory=dict_row)
            await cursor.execute(self._queries["known"], _values(claim))
            return {
                DocumentKey(row["kind"], row["key"]): StoredDocument(
                    bytes(row["digest"]), row["document_id"], row["subject"]
                )
                for row in await cursor.fetchall()
            }

    @shielded
    async def planned(
        self, claim: RunClaim, counts: RunCounts, changes: int, failures: Sequence[NewFailure], *, whole: bool
    ) -> None:
        """See `SourceRuns.planned`."""
        values = {
            **_values(claim),
            "counts": Jsonb(asdict(counts)),
            "changes": changes,
            "whole": whole,
            **_columns(failures),
        }
        async with self._held(claim) as database:
            await database.execute(self._queries["planned"], values)
            await database.execute(self._queries["forget_failures"], values)
            await self._insert(database, claim, failures)

    @shielded
    async def check(self, claim: RunClaim) -> None:
        """See `SourceRuns.check`."""
        async with self._held(claim):
            pass

    @shielded
    async def made(
        self, claim: RunClaim, at: DocumentKey, digest: bytes, document_id: UUID, operation_id: UUID
    ) -> None:
        """See `SourceRuns.made`."""
        values = {
            **_values(claim),
            "kind": at.kind,
            "key": at.key,
            "digest": digest,
            "document": document_id,
            "operation": operation_id,
        }
        async with self._held(claim) as database:
            await database.execute(self._queries["made"], values)
            await database.execute(self._queries["forget_one_failure"], values)

    @shielded
    async def set_aside(self, claim: RunClaim, failure: NewFailure) -> None:
        """See `SourceRuns.set_aside`."""
        async with self._held(claim) as database:
            await self._insert(database, claim, [failure])
            await database.execute(self._queries["one_more_failed"], _values(claim))

    @shielded
    async def wait(self, claim: RunClaim) -> None:
        """See `SourceRuns.wait`."""
        async with self._held(claim) as database:
            await database.execute(self._queries["wait"], _values(claim))

    @shielded
    async def settle(self, claim: RunClaim) -> bool:
        """See `SourceRuns.settle`."""
        async with self._held(claim) as database:
            ended = await (await database.execute(self._queries["ended"], _values(claim))).fetchall()
            failures = [
                NewFailure(DocumentKey(kind, key), error, subject)
                for kind, key, error, subject in ended
                if error is not None
            ]
            await self._insert(database, claim, failures)
            row = await (await database.execute(self._queries["waiting"], _values(claim))).fetchone()
            waiting = 0 if row is None else int(row[0])
            values = {**_values(claim), "waiting": waiting, "failed": len(failures)}
            await database.execute(self._queries["settled"], values)
            return waiting == 0

    @shielded
    async def fail(self, tenant_id: str, operation_id: UUID, error: ResponsaError) -> None:
        """See `SourceRuns.fail`."""
        values = {"tenant": tenant_id, "id": operation_id, **operations.error_columns(error)}
        async with self._database.tenant(tenant_id) as database:
            await database.execute(self._queries["fail"], values)

    @asynccontextmanager
    async def _held(self, claim: RunClaim) -> AsyncGenerator[Connection]:
        """A transaction during which nobody else can take the run. Raises OwnershipLost."""
        async with self._database.tenant(claim.tenant_id) as database:
            await operations.hold(self._operations, database, _values(claim))
            yield database

    async def _insert(self, database: Connection, claim: RunClaim, failures: Sequence[NewFailure]) -> None:
        if failures:
            values = {
                **_values(claim),
                **_columns(failures),
                "ids": [self._new_id() for _ in failures],
                "problems": [one.problem[:_MOST_PROBLEM_CHARACTERS] for one in failures],
                "subjects": [one.subject for one in failures],
            }
            await database.execute(self._queries["insert_failures"], values)

    async def _require(self, database: Connection, tenant_id: str, source_id: str) -> None:
        row = await one_row(database, self._sources["get"], {"tenant": tenant_id, "id": source_id})
        if row is None:
            raise NotFound.of("source", names.source(source_id))


def _values(claim: RunClaim) -> dict[str, Any]:
    return {
        "tenant": claim.tenant_id,
        "id": claim.operation_id,
        "epoch": claim.epoch,
        "source": claim.source_id,
    }


def _columns(failures: Sequence[NewFailure]) -> dict[str, list[str]]:
    return {"kinds": [one.at.kind for one in failures], "keys": [one.at.key for one in failures]}


def _running(source_id: str, operation_id: UUID) -> Precondition:
    name = names.operation(operation_id)
    return Precondition(
        Reason.SOURCE_RUNNING,
        f"{name} reads {names.source(source_id)} already; wait until it ends, or cancel it.",
        {"source": names.source(source_id), "operation": name},
    )
