"""The job that runs a source: it brings the documents of a source into step with the rows of the database, the pages of
the websites or the files of the folder.

A run reads all rows first and changes nothing meanwhile, so a database that goes away in the midst of it has no effect.
A run that ends by its budget makes what it has read until then, deletes nothing, and fails. While others wait, a run
that has read for a while gives its place to another tenant, and goes on later where it was.
The rows go to a temporary file, and only digests stay in memory. Then the run compares the keys and digests of the rows
with those of its documents. What is new or different is made, and what has no row any more is deleted. Nothing depends
on times or on what an earlier run has seen, so late commits and deletions are found, and a run that was interrupted
begins again and finds the rest.

At last the run waits until its documents are indexed. It waits in slices, because the same queue indexes documents. If
several documents of a subject change, the new versions wait too, and once all of them are indexed, the run publishes
them in one transaction, which also deletes those whose rows are gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import tempfile
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence, Set
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from time import monotonic
from typing import IO, Final
from uuid import UUID

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_etl.domain import (
    DatabaseFault,
    Databases,
    MadeRow,
    NewFailure,
    RunCounts,
    RunTask,
    SourceDocument,
    SourcePage,
    StoredDocument,
    WebConnection,
)
from responsa_etl.sources.budget import Budget, BudgetLimits, BudgetSpent
from responsa_etl.sources.crawling import Crawler
from responsa_etl.sources.declarations import DeclaredConnections
from responsa_etl.sources.folders import FolderReader, find_name_problem, mapping_of, write_name
from responsa_etl.sources.notifying import Notifier
from responsa_etl.sources.reading import RowSelection, read_rows, unreadable
from responsa_etl.sources.sandbox import SourceSandboxes
from responsa_etl.stores.source_runs import PostgresSourceRuns
from responsa_server.domain import names
from responsa_server.domain.errors import (
    InvalidRequest,
    NotFound,
    NotPermitted,
    Precondition,
    Reason,
    ResponsaError,
    Unavailable,
)
from responsa_server.domain.formatting import counted
from responsa_server.domain.knowledge import (
    LONGEST_PAUSE,
    DocumentMetadata,
    IngestStage,
    Look,
    Operation,
    OwnershipLost,
    pause_after,
    workers_lost,
)
from responsa_server.domain.people import Principal, Role, Server
from responsa_server.domain.runs import DocumentKey, Fetched, RunUpload
from responsa_server.domain.sharing import Scheduler
from responsa_server.domain.spools import spooling
from responsa_server.domain.unexpected import UnexpectedErrors
from responsa_server.library.library import Library
from responsa_server.telemetry import instruments
from responsa_server.telemetry.unexpected import note

_MOST_FAILURES: Final = 5
# With these faults of the database, another attempt may succeed.
_MOST_OF_FAULT: Final[Mapping[str, int]] = {
    DatabaseFault.UNREACHABLE: _MOST_FAILURES,
    DatabaseFault.CRASHED: 2,
}
# A look at the documents that are still to be indexed takes time for each of them. A document takes longer than
# _A_DOCUMENT, so these looks find much that is new.
_BETWEEN_LOOKS, _A_DOCUMENT, _MOST_BETWEEN_LOOKS = 0.2, 0.001, 30.0
# So few documents may always go: a share of a small number says nothing.
_ALWAYS_DELETED: Final = 1
_PIECE_BYTES: Final = 128 * 1024
_IN_MEMORY_BYTES: Final = 1 << 20
# A document may have megabytes.
_DOCUMENTS_READ: Final = 8
_PLACES: Final = 2
"""The places of runs for all subjects in a process; beside them are those that wait for one."""


@dataclass(slots=True)
class _SyncPlan:
    """What a run will do.

    file: the documents to make, one a line. places: where the line of each begins. collection: that of the documents.
    deletions_percent: see `MappingTable`. seen: the keys of all rows. changed: the documents to make, with their
    subjects. blocked: the subjects with a row that makes no document: either all documents of a subject follow the rows
    or none. refetched: how pages were fetched whose documents stay as they are. blind: the kinds with a row whose key
    could not be read; nothing of these kinds is deleted, because any document may be that of the row.
    """

    file: IO[bytes]
    places: dict[DocumentKey, int] = field(default_factory=dict[DocumentKey, int])
    written: int = 0
    collection: str = ""
    deletions_percent: int = 0
    seen: set[DocumentKey] = field(default_factory=set[DocumentKey])
    changed: dict[DocumentKey, str] = field(default_factory=dict[DocumentKey, str])
    failures: list[NewFailure] = field(default_factory=list[NewFailure])
    blocked: set[str] = field(default_factory=set[str])
    refetched: dict[DocumentKey, Fetched] = field(default_factory=dict[DocumentKey, Fetched])
    blind: set[str] = field(default_factory=set[str])

    def note(self, row: MadeRow, known: Mapping[DocumentKey, StoredDocument]) -> bytes:
        """Note a row. Returns the line that is written to the file next; b"" if there is nothing to make."""
        document = row.document
        key = document.key if document else row.key
        if key and (problem := find_name_problem(row.kind, key)):
            row, key = replace(row, problem=row.problem or problem), write_name(key)
        at = DocumentKey(row.kind, key)
        before = known.get(at)
        if row.unchanged:
            self.seen.add(at)
            return b""
        if row.problem or document is None:
            subject = document.subject if document else row.subject
            subjects = {subject, before.subject if before else ""} - {""}
            self.failures.append(NewFailure(at, row.problem, subject or next(iter(subjects), "")))
            if at.key:
                if not row.gone:
                    self.seen.add(at)
                self.changed.pop(at, None)  # of two rows with one key, neither is used
            else:
                self.blind.add(row.kind)
            self.blocked |= subjects
            return b""
        self.seen.add(at)
        if (
            before
            and before.digest == _digest(document, self.collection)
            and before.subject == document.subject
            # A version that is still being indexed may have to wait for other documents of its subject now.
            and not (before.pending and before.subject)
        ):
            if document.page is not None and document.page.fetched != before.fetched:
                self.refetched[at] = document.page.fetched
            return b""
        self.changed[at] = document.subject
        plain = asdict(document)
        if document.page is not None:
            plain["page"]["data"] = b64encode(document.page.data).decode()
        line = json.dumps(plain).encode() + b"\n"
        self.places[at] = self.written
        self.written += len(line)
        return line

    def order(self, changed: Mapping[DocumentKey, str], together: Set[str]) -> Sequence[DocumentKey]:
        """The documents to make in the order of the rows, but those of a subject that are published together one after
        the other: then the first subjects are complete early."""
        first = dict[str, int]()
        for at, subject in changed.items():
            first[subject] = min(first.get(subject, self.written), self.places[at])
        return sorted(
            changed,
            key=lambda at: (
                first[changed[at]] if changed[at] in together else self.places[at],
                self.places[at],
            ),
        )

    def documents(self, some: Sequence[DocumentKey]) -> Sequence[SourceDocument]:
        documents: list[SourceDocument] = []
        for at in some:
            self.file.seek(self.places[at])
            documents.append(_document(self.file.readline()))
        return documents


class Sync:
    """The job that runs a source."""

    def __init__(
        self,
        runs: PostgresSourceRuns,
        connections: DeclaredConnections,
        databases: Databases,
        crawler: Crawler,
        folders: FolderReader,
        sandboxes: SourceSandboxes,
        library: Library,
        ended: Callable[[Sequence[UUID]], None],
        notifier: Notifier,
        limits: BudgetLimits,
        errors: UnexpectedErrors | None = None,
    ) -> None:
        """ended: tells waiting callers which operations have ended. limits: of each run."""
        self._limits = limits
        self._places = Scheduler("runs of sources", _PLACES)
        self._runs = runs
        self._connections = connections
        self._databases = databases
        self._crawler = crawler
        self._folders = folders
        self._sandboxes = sandboxes
        self._library = library
        self._ended = ended
        self._notifier = notifier
        self._errors = errors or UnexpectedErrors()
        # The failures of a run in this process, since it last came further.
        self._failures: dict[UUID, int] = {}
        self._log: FilteringBoundLogger = structlog.get_logger("sources")

    async def work(self, tenant_id: str, operation_id: UUID, attempts: int) -> float | None:
        """Make one attempt, or wait once. Returns None if the run has ended, else the seconds until the next attempt.
        Whoever ended the run, its job wakes the next one and announces the end."""
        pause = await self._attempt(tenant_id, operation_id)
        if pause is None:
            try:
                await self._after_end(tenant_id, operation_id)
            except Unavailable:
                return pause_after(attempts)
        return pause

    async def give_up(self, tenant_id: str, operation_id: UUID, losses: int) -> None:
        """End a run that has lost this number of workers in succession. Raises Unavailable."""
        await self._fail(tenant_id, operation_id, workers_lost(operation_id, losses))
        self._ended([operation_id, *await self._runs.release(tenant_id, operation_id)])
        await self._after_end(tenant_id, operation_id)

    async def _after_end(self, tenant_id: str, operation_id: UUID) -> None:
        await self._runs.wake(tenant_id, operation_id)
        await self._notifier.announce_end(tenant_id, operation_id)

    async def _attempt(self, tenant_id: str, operation_id: UUID) -> float | None:
        begun, outcome = monotonic(), "failed"
        try:
            pause = await self._try_slice(tenant_id, operation_id)
            outcome = "ended" if pause is None else "continues"
            return pause
        finally:
            instruments.SYNCS.add(1, outcome)
            instruments.SYNC_SECONDS.add(monotonic() - begun)

    async def _try_slice(self, tenant_id: str, operation_id: UUID) -> float | None:
        failures = self._failures.get(operation_id, 0)
        try:
            waiting = await self._slice(tenant_id, operation_id)
        except OwnershipLost:
            if await self._runs.is_running(tenant_id, operation_id):
                return LONGEST_PAUSE  # another worker has it
            waiting = 0
        except Unavailable as error:
            self._log.warning("a run waits for a part that is unavailable", reason=error.reason.value)
            return pause_after(failures)
        except ResponsaError as error:
            # A database may be away for a moment; nothing else passes by itself.
            limit = _MOST_OF_FAULT.get(error.metadata.get("fault", ""), 0)
            if failures + 1 < limit:
                self._failures[operation_id] = failures + 1
                return pause_after(failures)
            await self._fail(tenant_id, operation_id, error)
            waiting = 0
        except Exception as error:  # whatever the error, the run must end, now or after more attempts
            note(self._errors, error, names.operation(operation_id))
            self._log.exception("an attempt to run a source failed")
            self._failures[operation_id] = failures + 1
            if failures + 1 < _MOST_FAILURES:
                return pause_after(failures)
            message = "Something went wrong. Please try again."
            internal = ResponsaError(Reason.INTERNAL, message, {"call_id": str(operation_id)})
            await self._fail(tenant_id, operation_id, internal)
            waiting = 0
        self._failures.pop(operation_id, None)
        if not waiting:
            self._ended([operation_id, *await self._runs.release(tenant_id, operation_id)])
            return None
        return Look(min(max(_BETWEEN_LOOKS, waiting * _A_DOCUMENT), _MOST_BETWEEN_LOOKS))

    async def _fail(self, tenant_id: str, operation_id: UUID, error: ResponsaError) -> None:
        """End the run with an error, and say so to operators. Raises Unavailable."""
        source_id = await self._runs.fail(tenant_id, operation_id, error)
        if source_id is None or isinstance(error, NotFound):  # somebody has deleted the source
            return
        instruments.SYNCS_FAILED.add(1)
        self._log.warning(
            "source_run_failed",
            tenant=tenant_id,
            source=names.source(source_id),
            operation=names.operation(operation_id),
            reason=error.reason.value,
            cause=error.message,
        )

    async def _slice(self, tenant_id: str, operation_id: UUID) -> int:
        """Returns how many documents are still to be published or deleted. If there are none, the run has ended. Once a
        call ends the run, whatever it does is stopped. Raises OwnershipLost."""
        reader, budget = Server(tenant_id), Budget(self._limits, self._places)
        try:
            operation = await self._library.operations.get(reader, operation_id)
        except NotFound:  # the record of the run was deleted
            return 0
        try:
            return await self._library.watching.run_until(
                reader, operation_id, operation.seq, lambda now: now.done, self._work(operation, budget)
            )
        finally:
            budget.give_up()

    async def _work(self, operation: Operation, budget: Budget) -> int:
        """See `_slice`."""
        if not operation.subject and operation.stage in (IngestStage.QUEUED, IngestStage.PARSING):
            await budget.hold()
        task = await self._runs.begin(operation.tenant_id, operation.id)
        if task is None:
            return 0
        if task.reading:
            with spooling(), tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
                await self._run(task, _SyncPlan(file), budget)
            await self._runs.wait(task.claim)
        while ended := await self._runs.publish(task.claim):
            self._ended(ended)
        if waiting := await self._runs.settle(task.claim):
            return waiting
        # Versions that an earlier attempt held back, and that this one did not want.
        self._ended(await self._runs.release(task.claim.tenant_id, task.claim.operation_id))
        await self._runs.end(task.claim)
        return 0

    async def _run(self, task: RunTask, plan: _SyncPlan, budget: Budget) -> None:
        if task.user_id is None:
            raise NotPermitted(
                Reason.ROLE_REQUIRED,
                (
                    "The user in whose name the run makes documents is no longer an administrator. If the "
                    "user started the run, start it again as an administrator; otherwise, ask an "
                    "administrator to change the source; later runs then use this administrator's name."
                ),
                {"required_role": Role.ADMIN.name},
            )
        for earlier in await self._runs.earlier(task.claim):
            self._ended(await self._runs.release(task.claim.tenant_id, earlier))
        known = await self._runs.find_documents(task.claim)
        failed = await self._runs.find_failed(task.claim) if task.retry else frozenset[DocumentKey]()
        spent = await self._read(task, plan, known, failed, budget)
        if spent is not None:  # either all documents of a subject follow the rows or none
            plan.blocked |= {*plan.changed.values()} - {""}
        gone = [
            (at, document)
            for at, document in known.items()
            if spent is None
            and at not in plan.seen
            and at.kind not in plan.blind
            and document.subject not in plan.blocked
            # A run for one subject has seen no other rows.
            and (not task.subject or document.subject == task.subject)
        ]
        changed = {at: subject for at, subject in plan.changed.items() if subject not in plan.blocked}
        failures: Sequence[NewFailure] = plan.failures
        if task.retry:
            # Earlier failures of rows whose key cannot be read are kept.
            failures = [failure for failure in failures if failure.at.key or failure.at not in failed]
            # The other documents of a subject have waited for the failed row.
            waited = {changed[at] for at in failed & changed.keys()}
            waited |= {known[at].subject for at in failed & known.keys()}
            waited -= {""}
            gone = [(at, document) for at, document in gone if at in failed or document.subject in waited]
            changed = {at: subject for at, subject in changed.items() if at in failed or subject in waited}
        self._check_deletions(task, plan, len(known), len(gone))
        updated = sum(at in known and known[at].searched for at in changed)
        counts = RunCounts(
            created=len(changed) - updated,
            updated=updated,
            deleted=len(gone),
            unchanged=len(plan.seen - plan.changed.keys() - {failure.at for failure in plan.failures}),
            failed=len(plan.failures),
            skipped=budget.skipped,
        )
        changes = Counter(changed.values()) + Counter(document.subject for _, document in gone)
        together = {subject for subject, count in changes.items() if subject and count > 1}
        await self._runs.store_plan(
            task.claim,
            counts,
            changes.total(),
            failures,
            [at for at, document in gone if document.subject in together],
            plan.refetched,
        )
        caller = Principal(task.claim.tenant_id, task.user_id, Role.ADMIN, "source")
        for _, document in gone:
            if document.subject not in together:
                await self._runs.check(task.claim)
                await self._delete(caller, document)
        refused = set[str]()
        order = await asyncio.to_thread(plan.order, changed, together)
        for start in range(0, len(order), _DOCUMENTS_READ):
            some = order[start : start + _DOCUMENTS_READ]
            for document in await asyncio.to_thread(plan.documents, some):
                if not task.subject:
                    await budget.hold()
                at = DocumentKey(document.kind, document.key)
                if document.subject in refused:
                    continue
                among = document.subject in together
                if not await self._make(
                    task, caller, plan.collection, document, known.get(at), together=among
                ):
                    refused |= {document.subject} & together
        if spent is not None:
            outcome = f"What was read until then is kept ({counted(len(order), 'document')}), and nothing was deleted."
            remedy = "Connect less, or ask the operator for a larger budget (sources.files, sources.run_seconds, sources.run_bytes)."
            message = f"The run ended by its budget, {spent}. {outcome} {remedy}"
            raise unreadable(task.source.connection, "", DatabaseFault.BUDGET, message)

    async def _read(
        self,
        task: RunTask,
        plan: _SyncPlan,
        known: Mapping[DocumentKey, StoredDocument],
        failed: Set[DocumentKey],
        budget: Budget,
    ) -> BudgetSpent | None:
        """Read all rows, and note what is different. failed: the rows that a retry tries again. Returns why the reading
        ended early; None if it did not. Raises Precondition (SOURCE_UNREADABLE), OwnershipLost."""
        only = {at.key for at in failed} if task.retry else None
        waiting, size, spent = list[bytes](), 0, None
        try:
            async with (
                budget.reading(),
                aclosing(await self._rows(task, plan, known, only, budget)) as rows,
            ):
                async for row in rows:
                    if row.document is None or row.document.page is None:
                        line = plan.note(row, known)
                    else:
                        line = await asyncio.to_thread(plan.note, row, known)  # a page may have megabytes
                    if line:
                        waiting.append(line)
                        size += len(line)
                    if size > _PIECE_BYTES:
                        await asyncio.to_thread(plan.file.writelines, waiting)
                        waiting, size = [], 0
                    budget.count(size=len(line))
        except BudgetSpent as error:
            spent = error
        await asyncio.to_thread(plan.file.writelines, waiting)
        return spent

    async def _rows(
        self,
        task: RunTask,
        plan: _SyncPlan,
        known: Mapping[DocumentKey, StoredDocument],
        only: Set[str] | None,
        budget: Budget,
    ) -> AsyncGenerator[MadeRow]:
        """The rows of a run, and note in the plan what its mapping or folder says. only: the keys to which a retry of
        pages or files limits itself. Raises as `_read`."""
        tenant_id = task.claim.tenant_id
        if (folder := task.source.folder) is not None:
            plan.collection, plan.deletions_percent = folder.collection, folder.deletions_percent
            if task.subject:
                return _no_rows()
            return self._folders.files(tenant_id, folder, known, only, budget)
        sandbox = self._sandboxes.of(tenant_id)
        mapping, problems = await sandbox.mapping(task.source.mapping)
        if mapping is None:  # a release may be stricter than the one that stored the mapping
            raise InvalidRequest.of_field("source.mapping", "source.mapping", str(problems[0]))
        connection = await self._connections.find(tenant_id, mapping.connection)
        if connection is None:
            message = (
                f"The connection “{mapping.connection}” is no longer declared, or no longer granted to this "
                "tenant; ask the owner of the installation."
            )
            raise unreadable(mapping.connection, "", DatabaseFault.NOT_GRANTED, message)
        if (misfit := mapping.find_misfit(connection)) is not None:
            raise InvalidRequest.of_field("source.mapping", "source.mapping", str(misfit))
        plan.collection, plan.deletions_percent = mapping.collection, mapping.deletions_percent
        if not isinstance(connection, WebConnection):
            return read_rows(
                self._databases, tenant_id, sandbox, connection, mapping, RowSelection(task.subject)
            )
        if task.subject:
            return _no_rows()
        return self._crawler.pages(tenant_id, connection, mapping, known, only, budget)

    async def _make(
        self,
        task: RunTask,
        caller: Principal,
        collection: str,
        document: SourceDocument,
        before: StoredDocument | None,
        *,
        together: bool,
    ) -> bool:
        """Make a document, or a new version of it. together: whether it waits for other documents of its subject.
        Returns False if it is refused."""
        at = DocumentKey(document.kind, document.key)
        if before is not None and before.subject != document.subject:
            # A new subject would read the old version until the new one is indexed.
            await self._runs.check(task.claim)
            await self._delete(caller, before)
            before = None
        page = document.page
        data, media_type = (
            (document.text.encode(), "text/markdown") if page is None else (page.data, page.media_type)
        )
        described = DocumentMetadata(
            collection,
            document.source_key(task.source.id),
            document.title,
            document.uri,
            media_type,
            # Metadata would apply at once.
            metadata={} if together and before is not None else document.metadata,
            subject=document.subject,
        )
        digest = await asyncio.to_thread(_digest, document, collection)
        fetched = None if page is None else page.fetched
        of_run = RunUpload(
            task.claim, at, digest, together, document.metadata, fetched, urgent=bool(task.subject)
        )
        try:
            operation = await self._library.upload(caller, described, _pieces(data), len(data), run=of_run)
        except InvalidRequest as error:
            subject = document.subject if together else ""
            failure = NewFailure(at, error.message, document.subject)
            await self._runs.set_aside(
                task.claim, failure, subject, new=before is None or not before.searched
            )
            return False
        if before is not None and before.document_id != operation.document_id:
            # The mapping names another collection than before.
            await self._delete(caller, before)
        return True

    async def _delete(self, caller: Principal, document: StoredDocument) -> None:
        with suppress(NotFound):  # somebody else may have deleted it
            await self._library.delete_document(caller, document.document_id)

    def _check_deletions(self, task: RunTask, plan: _SyncPlan, documents: int, deletions: int) -> None:
        limit = max(_ALWAYS_DELETED, documents * plan.deletions_percent // 100)
        if task.confirmed or deletions <= limit:
            return
        name = names.source(task.source.id)
        raise Precondition(
            Reason.SOURCE_DELETIONS,
            (
                f"The run would delete {deletions} of the {documents} documents of {name}, so it changed "
                "nothing. If these deletions are right, run the source again with allow_deletions."
            ),
            {"source": name, "deletions": str(deletions), "documents": str(documents)},
        )


async def _no_rows() -> AsyncGenerator[MadeRow]:
    """No page and no file is about a subject."""
    for row in ():
        yield row


def _document(line: bytes) -> SourceDocument:
    plain = json.loads(line)
    if (page := plain.pop("page")) is not None:
        fetched = Fetched(**page["fetched"])
        plain["page"] = SourcePage(b64decode(page["data"]), page["media_type"], fetched)
    return SourceDocument(**plain)


def _digest(document: SourceDocument, collection: str) -> bytes:
    plain = asdict(replace(document, page=None))
    del plain["page"]
    if document.page is not None:
        plain["media_type"] = document.page.media_type
        plain["data"] = hashlib.sha256(document.page.data).hexdigest()
    return hashlib.sha256(json.dumps([collection, plain], sort_keys=True).encode()).digest()


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), _PIECE_BYTES):
        yield data[start : start + _PIECE_BYTES]


_DAY: Final = 86_400.0


class Scheduling:
    """Begins the runs of schedules."""

    def __init__(self, runs: PostgresSourceRuns, sandboxes: SourceSandboxes) -> None:
        self._runs = runs
        self._sandboxes = sandboxes
        self._log: FilteringBoundLogger = structlog.get_logger("sources")

    async def work(self, tenant_id: str, schedule_id: UUID, attempts: int) -> float | None:
        """Begin the run if it is due. Returns the seconds until the next look; None if the source has no such schedule any more."""
        try:
            source = await self._runs.find_scheduled(tenant_id, schedule_id)
            if source is None or source.next_run_time is None:
                return None
            due, now = source.next_run_time, datetime.now(UTC)
            if due <= now:
                mapping = None if source.folder is None else mapping_of(source.folder)
                if mapping is None:
                    mapping, _ = await self._sandboxes.of(tenant_id).mapping(source.mapping)
                schedule = None if mapping is None else mapping.schedule
                if schedule is None:
                    # A release may be stricter than the one that stored the mapping.
                    self._log.error("a schedule cannot be read", source=source.id)
                    return _DAY
                later = schedule.after(now)
                begun = await self._runs.start_scheduled(tenant_id, schedule_id, due, later)
                if begun is None:
                    self._log.warning("a scheduled run did not begin", source=source.id)
                due = later
        except Unavailable:
            return pause_after(attempts)
        return min(_DAY, max(0.0, (due - now).total_seconds()))
