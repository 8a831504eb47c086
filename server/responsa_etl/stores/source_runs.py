"""Runs of sources in PostgreSQL. The operation's row is the fence, as in operations.py."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from responsa_etl.domain import SCHEDULED, NewFailure, NewRun, RunCounts, RunTask, Source, StoredDocument
from responsa_etl.stores.sources import KIND, build_source
from responsa_server.domain import names
from responsa_server.domain.errors import (
    CallCancelled,
    Exhausted,
    NotFound,
    Precondition,
    Reason,
    ResponsaError,
)
from responsa_server.domain.knowledge import (
    GenerationSwitched,
    IngestClaim,
    JobKind,
    Operation,
    OwnershipLost,
)
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import FAILED_ROWS
from responsa_server.domain.people import AuditEvent, Principal, Role
from responsa_server.domain.rows import Row, build
from responsa_server.domain.runs import DocumentKey, Fetched, RunClaim
from responsa_server.domain.turns import NewId
from responsa_server.stores.postgres import operations
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.documents import DocumentStore, run_values
from responsa_server.stores.postgres.jobs import JobQueue, JobRank
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.requests import CreationRequests
from responsa_server.stores.postgres.rows import all_rows, one_row, to_row

_LIST: Final[SqlList[Row]] = SqlList(FAILED_ROWS)
_MOST_PROBLEM_CHARACTERS: Final = 1000
MOST_WAITING: Final = 1000
"""The number of runs of a source that may be open."""
_LATER_SECONDS: Final = 10.0
# The transaction holds the locks of all their documents, and keeps others from publishing in the collection.
_SUBJECTS_AT_ONCE: Final = 8
_READY_AT_ONCE: Final = 512
_RELEASED_AT_ONCE: Final = 100
_OTHER_FAILED: Final = (
    "Another document of the same subject could not be indexed, so this one was not published either."
)
_NOT_PUBLISHED: Final = (
    "The run of the source did not publish this version, because not all documents of its "
    "subject were ready before it ended."
)


class PostgresSourceRuns:
    """Runs of sources."""

    def __init__(
        self, database: Database, queue: JobQueue, new_id: NewId, *, external_vectors: bool = False
    ) -> None:
        """external_vectors: whether a `VectorStore` holds the vectors."""
        self._database = database
        self._documents = DocumentStore(database, queue, new_id, external_vectors=external_vectors)
        self._all_operations = operations.OperationStore(database, queue, external_vectors=external_vectors)
        self._publisher = operations.Publisher(queue, vectors=not external_vectors)
        self._queue = queue
        self._new_id = new_id
        self._queries = Queries("source_runs.sql", package=__package__)
        self._operations = Queries("operations.sql")
        self._audit = AuditLog()
        self._requests = CreationRequests()

    @shielded
    async def start(
        self, caller: Principal, source_id: str, subject: str, *, confirmed: bool, retry: bool = False
    ) -> Operation:
        """Add a run, which begins when the earlier runs of the source have ended. If a run of the caller for the same
        subject waits already, it is returned. Raises NotFound, Precondition (SOURCE_RUNNING) for a second run for all
        subjects, Exhausted (LIMIT_REACHED).
        """
        async with self._database.locking(caller.tenant_id) as database:
            operation = await self._add(database, caller, source_id, NewRun(subject, confirmed, retry=retry))
            if operation is None:
                raise NotFound.of("source", names.source(source_id))
            event = AuditEvent.of_call(caller, names.source(source_id))
            await self._audit.write(database, event)
            return operation

    @shielded
    async def notify(
        self,
        caller: Principal,
        subject: str,
        sources: Sequence[str],
        cause: str,
        request_id: UUID | None,
        *,
        named: bool,
    ) -> Sequence[Operation]:
        """Add a run for the subject to each of these sources, or none at all. named: whether the caller named the
        sources; otherwise those that have been deleted are left out. A repeated call with the same request_id returns
        the runs of the first call, as long as their records exist. Raises NotFound, AlreadyExists (REQUEST_ID_REUSED),
        Exhausted (LIMIT_REACHED).
        """
        body = {
            "subject": hashlib.sha256(subject.encode()).hexdigest(),
            "sources": " ".join(sorted(sources)) if named else "",
            "cause": cause,
        }
        async with self._database.locking(caller.tenant_id) as database:
            earlier = await self._requests.claim(database, caller, request_id, "notification", body)
            if earlier:
                ids = [names.parse_uuid("operations", name) for name in earlier.split()]
                values = {"tenant": caller.tenant_id, "ids": ids}
                return [
                    operations.from_row(row)
                    for row in await all_rows(database, self._queries["named"], values)
                ]
            runs = list[Operation]()
            for source in sorted(sources):  # in one order, so that no two calls wait for each other
                operation = await self._add(database, caller, source, NewRun(subject, cause=cause))
                if operation is not None:
                    runs.append(operation)
                    event = AuditEvent.of_call(caller, names.source(source))
                    await self._audit.write(database, event)
                elif named:
                    raise NotFound.of("source", names.source(source))
            text = " ".join(names.operation(run.id) for run in runs)
            await self._requests.record(database, caller, request_id, text)
            return runs

    @shielded
    async def find_scheduled(self, tenant_id: str, schedule_id: UUID) -> Source | None:
        """Return the source with this schedule; None if it was deleted or has another schedule by now."""
        values = {"tenant": tenant_id, "schedule": schedule_id}
        async with self._database.tenant(tenant_id) as database:
            row = await one_row(database, self._queries["scheduled"], values)
        return None if row is None else build_source(row)

    @shielded
    async def start_scheduled(
        self, tenant_id: str, schedule_id: UUID, due: datetime, next_run_time: datetime
    ) -> Operation | None:
        """Add the run that was due, in the name of the administrator of the source, and store when the next one is due.
        Returns None without a new run: the run was added already, a run for all subjects has not ended, or the
        administrator was deleted.
        """
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
    async def wake(self, tenant_id: str, operation_id: UUID) -> None:
        """Make the job of the next run: of the runs that wait for the end of this run, the run that has waited longest.
        Make no job if that run already has one, or if a run of the source works.
        """
        values = {"tenant": tenant_id, "id": operation_id}
        async with self._database.tenant(tenant_id) as database:
            # A call that saw the ended run work, and so makes no job, holds this lock until its run can be seen.
            await database.execute(self._queries["lock_sources_of"], values)
            woken = await database.execute(self._queries["wake"], values)
            for waiting, subject in await woken.fetchall():
                await self._queue.defer(database, JobKind.SYNC, tenant_id, waiting, rank=_rank(subject))

    async def _add(
        self, database: Connection, caller: Principal, source_id: str, run: NewRun
    ) -> Operation | None:
        """Add a run, and its job if no other run of the source is open: the end of each run makes the job of the next
        one. Returns None if the source does not exist."""
        values: dict[str, object] = {
            "tenant": caller.tenant_id,
            "source": source_id,
            "id": self._new_id(),
            "user": caller.user_id,
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
                (
                    f"{before['runs']} runs of {names.source(source_id)} are already waiting; begin one run for "
                    "all subjects with SyncSource, or try again later."
                ),
                {"limit": "waiting_runs", "scope": "tenant", "value": str(MOST_WAITING)},
                retry_after=_LATER_SECONDS,
            )
        row = await one_row(
            database, self._queries["insert"], {**values, "epoch": 1 if before["runs"] == 0 else 0}
        )
        assert row is not None, "a conflict updates the row"
        operation = operations.from_row(row)
        await database.execute(self._operations["forget"], {"tenant": caller.tenant_id})
        if before["runs"] == 0:
            rank = _rank(run.subject)
            await self._queue.defer(database, JobKind.SYNC, caller.tenant_id, operation.id, rank=rank)
        return operation

    @shielded
    async def list_failed_rows(self, caller: Principal, source_id: str, query: ListQuery) -> Page[Row]:
        """Return a page of the rows that were set aside. Raises NotFound."""
        values = {"tenant": caller.tenant_id, "source": source_id}
        async with self._database.tenant(caller.tenant_id) as database:
            await self._require(database, caller.tenant_id, source_id)
            failed = self._queries["failed_rows"]
            return await _LIST.read(database, failed, query, values, to_row)

    @shielded
    async def begin(self, tenant_id: str, operation_id: UUID) -> RunTask | None:
        """Claim a run, and take over the outcome of ended ingestions that earlier runs began. Returns None if the run
        has ended. Raises OwnershipLost while another run of the source works, NotFound if the source was deleted.
        """
        async with self._database.tenant(tenant_id) as database:
            values = {"tenant": tenant_id, "id": operation_id}
            row = await one_row(database, self._queries["source_of"], values)
            if row is None:
                return None
            source_id = row["source_id"]
            await database.execute(self._queries["lock_source"], {**values, "source": source_id})
            row = await one_row(database, self._queries["begin"], values)
            if row is None:  # it has ended meanwhile, or another run of the source works
                raise OwnershipLost
            source = await one_row(database, KIND.text("get"), {"tenant": tenant_id, "id": source_id})
            if source is None:  # the source was deleted; its run ends with this error
                raise NotFound.of("source", names.source(source_id))
            maker = await one_row(database, self._queries["maker"], values)
            claim = RunClaim(tenant_id, operation_id, row["epoch"], source_id)
            reading = row["stage"] != "embedding"
            if reading:
                # What a cancelled run began may have ended. This run makes again what failed, or leaves it among the
                # failed rows, and takes the rest for unchanged.
                await self._take_over(database, claim, every=True)
        return RunTask(
            claim,
            build_source(source),
            None if maker is None else maker["id"],
            row["subject"],
            row["confirmed"],
            reading,
            row["retry"],
        )

    @shielded
    async def is_running(self, tenant_id: str, operation_id: UUID) -> bool:
        """Return whether the run has not ended."""
        try:
            async with self._database.tenant(tenant_id) as database:
                return not (await operations.find(self._operations, database, tenant_id, operation_id)).done
        except NotFound:
            return False

    @shielded
    async def find_failed(self, claim: RunClaim) -> frozenset[DocumentKey]:
        """Return the kinds and keys of the rows that earlier runs set aside; the key is "" if it could not be read."""
        async with self._database.tenant(claim.tenant_id) as database:
            cursor = await database.execute(self._queries["failed_keys"], run_values(claim))
            return frozenset(DocumentKey(kind, key) for kind, key in await cursor.fetchall())

    @shielded
    async def find_documents(self, claim: RunClaim) -> Mapping[DocumentKey, StoredDocument]:
        """Return the documents of the source."""
        async with self._database.tenant(claim.tenant_id) as database:
            rows = await database.execute(self._queries["known"], run_values(claim))
            # Without a list of all rows, of which there may be very many.
            return {
                DocumentKey(kind, key): StoredDocument(
                    bytes(digest),
                    document_id,
                    subject,
                    pending,
                    Fetched(**fetched) if fetched else None,
                    searched,
                )
                async for kind, key, digest, document_id, subject, pending, fetched, searched in rows
            }

    @shielded
    async def store_plan(
        self,
        claim: RunClaim,
        counts: RunCounts,
        changes: int,
        failures: Sequence[NewFailure],
        gone: Sequence[DocumentKey] = (),
        refetched: Mapping[DocumentKey, Fetched] | None = None,
    ) -> None:
        """Store what the run will do, and forget what an earlier attempt wanted to publish together. changes: the
        number of documents to make or delete. gone: the documents that `publish` deletes with the changes of their
        subjects. refetched: how pages were fetched whose documents stay as they are. Raises OwnershipLost.
        """
        values = {
            **run_values(claim),
            "counts": Jsonb(asdict(counts)),
            "changes": changes,
            "subject": None,
            "gone_kinds": [key.kind for key in gone],
            "gone_keys": [key.key for key in gone],
        }
        async with self._hold(claim) as database:
            for name in ("planned", "forget_waiting", "gone"):
                await database.execute(self._queries[name], values)
            if refetched:
                fetched = [Jsonb(asdict(item)) for item in refetched.values()]
                await database.execute(
                    self._queries["refetched"],
                    {
                        **run_values(claim),
                        "kinds": [at.kind for at in refetched],
                        "keys": [at.key for at in refetched],
                        "fetched": fetched,
                    },
                )
            await self._insert(database, claim, failures)

    @shielded
    async def check(self, claim: RunClaim) -> None:
        """Raises OwnershipLost if the run was cancelled or taken over."""
        async with self._hold(claim):
            pass

    @shielded
    async def set_aside(self, claim: RunClaim, failure: NewFailure, subject: str, *, new: bool) -> None:
        """Store one more row that makes no document. subject: the subject whose documents then stay as they are; "" if
        others do not depend on the row. new: whether the document would have been the row's first. Raises OwnershipLost."""
        async with self._hold(claim) as database:
            await self._insert(database, claim, [failure])
            await self._count_failed(database, claim, [new])
            if subject:
                await database.execute(
                    self._queries["forget_waiting"], {**run_values(claim), "subject": subject}
                )

    @shielded
    async def wait(self, claim: RunClaim) -> None:
        """Store that all rows have been read, and all changes made but for the indexing. A run for all subjects forgets
        what earlier runs set aside. Raises OwnershipLost."""
        async with self._hold(claim) as database:
            for name in ("forget_earlier_failures", "wait"):
                await database.execute(self._queries[name], run_values(claim))

    @shielded
    async def publish(self, claim: RunClaim) -> Sequence[UUID]:
        """Publish some subjects whose documents are all indexed: all of a subject in one transaction, new versions and
        deletions. If one of them could not be indexed, none is published, and their rows are set aside. Returns the
        operations that ended; none if no subject is ready. Raises OwnershipLost.
        """
        ended = list[UUID]()
        subjects = await self._ready(claim)
        try:
            for start in range(0, len(subjects), _SUBJECTS_AT_ONCE):
                ended += await self._publish(claim, subjects[start : start + _SUBJECTS_AT_ONCE])
        except GenerationSwitched:
            await self._index_again(claim)
        return ended

    @shielded
    async def _ready(self, claim: RunClaim) -> Sequence[str]:
        async with self._database.tenant(claim.tenant_id) as database:
            values = {**run_values(claim), "most": _READY_AT_ONCE}
            cursor = await database.execute(self._queries["ready_subjects"], values)
            return [subject for (subject,) in await cursor.fetchall()]

    @shielded
    async def _publish(self, claim: RunClaim, subjects: Sequence[str]) -> Sequence[UUID]:
        """Publish the documents of these subjects that are ready. Raises OwnershipLost, GenerationSwitched."""
        values = {**run_values(claim), "subjects": list(subjects)}
        ended = list[UUID]()
        async with self._hold(claim) as database:
            locked = await database.execute(self._queries["lock_documents"], values)
            values["documents"] = [document for (document,) in await locked.fetchall()]
            await database.execute(self._queries["lock_operations"], values)
            together = await all_rows(database, self._queries["together"], values)
            for _, rows in groupby(together, key=itemgetter("subject")):
                group = list(rows)
                # What was read before the locks may have changed.
                if all(row["gone"] or not row["waits"] or row["indexed"] for row in group):
                    ended += await self._publish_subject(database, claim, group)
        return ended

    async def _publish_subject(
        self, database: Connection, claim: RunClaim, rows: Sequence[Mapping[str, Any]]
    ) -> Sequence[UUID]:
        """Publish all documents of a subject, or none of them. The documents are locked. Returns the operations that ended."""
        tenant_id = claim.tenant_id
        live = [row for row in rows if not row["gone"]]
        failed = any(row["error_message"] is not None for row in live)
        ended, digests = list[UUID](), list[bytes]()
        if failed:
            failures = [
                NewFailure(
                    DocumentKey(row["kind"], row["key"]),
                    row["error_message"] or _OTHER_FAILED,
                    row["subject"],
                )
                for row in live
            ]
            await self._insert(database, claim, failures)
            new = [row["searched"] == 0 for row in live]
            await self._count_failed(database, claim, new, len(rows) - len(live))
            digests = [bytes(row["digest"]) for row in rows]
        for row in rows:
            values = {
                "tenant": tenant_id,
                "document": row["document_id"],
                "metadata": Jsonb(row["next_metadata"]),
            }
            if failed:
                if row["waits"] and await self._withdraw(database, claim, row["operation_id"]):
                    ended.append(row["operation_id"])
                continue
            if row["gone"]:
                ended += await self._documents.delete_locked(
                    database, tenant_id, row["document_id"], row["collection_id"]
                )
                digests.append(b"")
                continue
            await database.execute(self._queries["set_metadata"], values)
            searched = True
            if row["waits"]:
                version = build(IngestClaim, row, tenant_id=tenant_id, generation=row["indexed_generation"])
                searched = await self._publisher.publish(database, version, row["searched"])
                ended.append(row["operation_id"])
            # Somebody else has published a newer version: the next run makes the document again.
            digests.append(bytes(row["next_digest"]) if searched else b"")
        places = [NewFailure(DocumentKey(row["kind"], row["key"]), "") for row in rows]
        await database.execute(
            self._queries["published"], {**run_values(claim), **_columns(places), "digests": digests}
        )
        return ended

    @shielded
    async def _index_again(self, claim: RunClaim) -> None:
        async with self._hold(claim) as database:
            again = await database.execute(self._queries["index_again"], run_values(claim))
            for (operation_id,) in await again.fetchall():
                await self._queue.defer(database, JobKind.INGEST, claim.tenant_id, operation_id)

    @shielded
    async def release(self, tenant_id: str, operation_id: UUID) -> Sequence[UUID]:
        """Cancel the versions that wait for a run which will not publish them. Returns their operations."""
        claim = RunClaim(tenant_id, operation_id, 0, "")
        ended = list[UUID]()
        while held := await self._find_waiting(claim):
            for waiting, document_id in held:
                if await self._release(claim, waiting, document_id):
                    ended.append(waiting)
        return ended

    @shielded
    async def _find_waiting(self, claim: RunClaim) -> Sequence[tuple[UUID, UUID]]:
        """Some of the operations that wait for the run, with their documents."""
        async with self._database.tenant(claim.tenant_id) as database:
            values = {**run_values(claim), "most": _RELEASED_AT_ONCE}
            return await (await database.execute(self._queries["held"], values)).fetchall()

    @shielded
    async def _release(self, claim: RunClaim, operation_id: UUID, document_id: UUID) -> bool:
        values = {"tenant": claim.tenant_id, "document": document_id}
        async with self._database.tenant(claim.tenant_id) as database:
            await database.execute(self._operations["lock_document"], values)
            return await self._withdraw(database, claim, operation_id)

    async def _withdraw(self, database: Connection, claim: RunClaim, operation_id: UUID) -> bool:
        """Cancel an ingestion that waits for the run. Returns whether it did."""
        values = {**run_values(claim), "operation": operation_id}
        row = await one_row(database, self._queries["still_held"], values)
        if row is None:
            return False
        name = names.operation(operation_id)
        error = CallCancelled(Reason.OPERATION_CANCELLED, _NOT_PUBLISHED, {"operation": name})
        return await self._all_operations.withdraw(database, operations.from_row(row), error)

    @shielded
    async def earlier(self, claim: RunClaim) -> Sequence[UUID]:
        """Return the ended runs of the source for which versions still wait."""
        async with self._database.tenant(claim.tenant_id) as database:
            cursor = await database.execute(self._queries["earlier"], run_values(claim))
            return [run for (run,) in await cursor.fetchall()]

    @shielded
    async def settle(self, claim: RunClaim) -> int:
        """Take the outcome of ended ingestions over: the row of one that failed is set aside, and is tried again in the
        next run. Returns how many documents are still to be published or deleted. Raises OwnershipLost."""
        async with self._hold(claim) as database:
            await self._take_over(database, claim)
            row = await (await database.execute(self._queries["waiting"], run_values(claim))).fetchone()
            waiting, unread = (0, 0) if row is None else row
            await database.execute(self._queries["settled"], {**run_values(claim), "unread": unread})
            return int(waiting)

    async def _take_over(self, database: Connection, claim: RunClaim, *, every: bool = False) -> None:
        """Take over the outcome of ended ingestions. every: also of those for other subjects than that of the run, which
        the run does not count."""
        values = {**run_values(claim), "all": every}
        ended = await (await database.execute(self._queries["ended"], values)).fetchall()
        failed = [row for row in ended if row[2] is not None]
        await self._insert(
            database,
            claim,
            [NewFailure(DocumentKey(kind, key), *problem) for kind, key, *problem, _ in failed],
        )
        if failed and not every:
            await self._count_failed(database, claim, [new for *_, new in failed])

    @shielded
    async def end(self, claim: RunClaim) -> None:
        """End the run. Raises OwnershipLost."""
        async with self._hold(claim) as database:
            await database.execute(self._queries["end"], run_values(claim))

    @shielded
    async def fail(self, tenant_id: str, operation_id: UUID, error: ResponsaError) -> str | None:
        """End the run with an error. Returns the source's id, or None if the run had ended."""
        values = {"tenant": tenant_id, "id": operation_id, **operations.error_columns(error)}
        async with self._database.tenant(tenant_id) as database:
            failed = await one_row(database, self._queries["fail"], values)
            return None if failed is None else failed["source_id"]

    @shielded
    async def fail_all(self, tenant_id: str, source_id: str, error: ResponsaError) -> Sequence[UUID]:
        """End all runs of a source with an error. Returns those that had not ended."""
        values = {"tenant": tenant_id, "source": source_id, **operations.error_columns(error)}
        async with self._database.tenant(tenant_id) as database:
            failed = await database.execute(self._queries["fail_all"], values)
            return [run for (run,) in await failed.fetchall()]

    @asynccontextmanager
    async def _hold(self, claim: RunClaim) -> AsyncGenerator[Connection]:
        """A transaction during which nobody else can take the run. Raises OwnershipLost."""
        async with self._database.tenant(claim.tenant_id) as database:
            await operations.hold(self._operations, database, run_values(claim))
            yield database

    async def _insert(self, database: Connection, claim: RunClaim, failures: Sequence[NewFailure]) -> None:
        """Store failures in place of earlier ones of the same rows."""
        if failures:
            values = {
                **run_values(claim),
                **_columns(failures),
                "ids": [self._new_id() for _ in failures],
                "problems": [failure.problem[:_MOST_PROBLEM_CHARACTERS] for failure in failures],
                "subjects": [failure.subject for failure in failures],
            }
            for name in ("forget_failures", "insert_failures"):
                await database.execute(self._queries[name], values)

    async def _count_failed(
        self, database: Connection, claim: RunClaim, new: Sequence[bool], undeleted: int = 0
    ) -> None:
        """new: for each row that failed, whether its document would have been the first. undeleted: what is not deleted."""
        values = {**run_values(claim), "failed": len(new), "new": sum(new), "undeleted": undeleted}
        await database.execute(self._queries["count_failed"], values)

    async def _require(self, database: Connection, tenant_id: str, source_id: str) -> None:
        row = await one_row(database, KIND.text("get"), {"tenant": tenant_id, "id": source_id})
        if row is None:
            raise NotFound.of("source", names.source(source_id))


def _columns(failures: Sequence[NewFailure]) -> dict[str, list[str]]:
    return {
        "kinds": [failure.at.kind for failure in failures],
        "keys": [failure.at.key for failure in failures],
    }


def _rank(subject: str) -> JobRank:
    return JobRank.URGENT if subject else JobRank.USUAL


def _running(source_id: str, operation_id: UUID) -> Precondition:
    name = names.operation(operation_id)
    return Precondition(
        Reason.SOURCE_RUNNING,
        f"{name} is already reading {names.source(source_id)}; wait until it finishes, or cancel it.",
        {"source": names.source(source_id), "operation": name},
    )
