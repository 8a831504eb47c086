"""The library's background jobs: ingesting one document version, and removing versions that no answer cites.

Ingestion parses, cuts, embeds, stores and publishes. Starting over is always safe, because search finds a version only
once the whole version is stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import closing
from time import monotonic
from typing import Final, Protocol
from uuid import UUID

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_contract import MAX_BYTES, LeftOutKind
from responsa_formats.containers import MIB
from responsa_formats.rejections import ParserUnavailable, Rejected
from responsa_formats.sandbox.parsed_file import ParsedFile
from responsa_server.domain import names
from responsa_server.domain.errors import (
    NotFound,
    Precondition,
    Reason,
    ResponsaError,
    Unavailable,
)
from responsa_server.domain.knowledge import (
    LONGEST_PAUSE,
    CanonicalText,
    GenerationSwitched,
    GiveUp,
    IngestTask,
    JobKind,
    OwnershipLost,
    Work,
    pause_after,
    workers_lost,
)
from responsa_server.domain.parts import Health, PartReport
from responsa_server.domain.passages import NewPassage, VectorStore
from responsa_server.domain.people import Server, work_for
from responsa_server.ingest.describing import Describer, Topics
from responsa_server.ingest.formats import FORMATS
from responsa_server.ingest.indexing import CutDocument, DocumentIdentity, Indexer, Indexers
from responsa_server.ingest.memory import FreeMemory
from responsa_server.ingest.parsing import document_error
from responsa_server.ingest.reindexing import Reindex
from responsa_server.ingest.watching import Watching
from responsa_server.search.embedder import undeclared_embedding
from responsa_server.stores.postgres.documents import DocumentStore
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.operations import IngestionStore, OperationStore
from responsa_server.telemetry import instruments
from responsa_server.telemetry.unexpected import note
from responsa_server.text.file_names import name_words

DOCUMENT_SECONDS: Final = 600.0
MAX_TITLE_BYTES: Final = MAX_BYTES["DocumentMetadata.title"]
# The minimum number of seconds between two writes of the progress.
_PROGRESS_SECONDS: Final = 0.5
_PIECE_BYTES: Final = 1024 * 1024
# The text of a document with at most this number of passages is stored together with them. Nobody needs to see the
# progress of such a document.
_SMALL_PASSAGES: Final = 2


Announce = Callable[[str, UUID], Awaitable[None]]
"""Announces the end of an operation of a tenant if it failed, once, however often it is called. Raises Unavailable."""


class Parser(Protocol):
    """Reads a document's bytes, as `responsa_formats.sandbox.pool.ParserPool` does."""

    async def read(
        self,
        source: AsyncIterator[bytes],
        declared_name: str = "",
        declared_type: str = "",
        *,
        known_format: str = "",
    ) -> ParsedFile:
        """Parse a document into a file that the caller closes. Raises Rejected if the document is at fault,
        ParserUnavailable if the server is at fault, and the errors of `source`.
        """
        ...


class Ingest:
    """One attempt at an operation."""

    def __init__(
        self,
        ingestions: IngestionStore,
        parser: Parser,
        indexers: Indexers,
        watching: Watching,
        *,
        describer: Describer | None = None,
        topics: Topics | None = None,
        document_seconds: float = DOCUMENT_SECONDS,
    ) -> None:
        """describer: describes documents. topics: finds where subjects begin. None: without a model. document_seconds:
        the maximum time for a document, for each MiB if it is larger.
        """
        self._ingestions = ingestions
        self._parser = parser
        self._indexers = indexers
        self._watching = watching
        self._describer = describer or Describer()
        self._topics = topics or Topics()
        self._document_seconds = document_seconds
        self._log: FilteringBoundLogger = structlog.get_logger("ingest")

    async def run(self, tenant_id: str, operation_id: UUID) -> bool:
        """Ingest the version, or end its operation with the error of the document or of its collection. Returns whether
        the operation may have ended with an error: if it had ended before, that is not known.

        Raises GenerationSwitched if another generation of the collection became active, and OwnershipLost if another
        call ended the operation or another worker took it. Also raises any error of the server itself; after such an
        error the operation can be tried again.
        """
        task = await self._ingestions.begin(tenant_id, operation_id)
        if task is None:
            return True
        failed, begun, outcome = True, monotonic(), "failed"
        try:
            await self._while_owned(task)
            failed, outcome = False, "ready"
        except Rejected as rejected:
            outcome = "rejected"
            error = document_error(rejected, task.source_key, task.declared_type)
            await self._ingestions.fail(task.claim, error)
        except Precondition as error:
            outcome = "rejected"
            await self._ingestions.fail(task.claim, error)
        finally:
            instruments.DOCUMENTS.add(1, outcome)
            instruments.DOCUMENT_BYTES.add(task.size_bytes)
            instruments.DOCUMENT_SECONDS.add(monotonic() - begun)
        self._watching.report_end([operation_id])
        return failed

    async def give_up(self, tenant_id: str, operation_id: UUID, error: ResponsaError) -> None:
        """End the operation with an error of the server after the last attempt has failed."""
        await self._ingestions.give_up(tenant_id, operation_id, error)
        self._watching.report_end([operation_id])

    async def _while_owned(self, task: IngestTask) -> None:
        """Ingest the version. Once another process or a call has taken the operation away, stop at once: the process
        that parses the document is killed. Raises OwnershipLost, and Rejected after the maximum time."""
        claim = task.claim
        seconds = self._document_seconds * max(1.0, task.size_bytes / MIB)
        try:
            await self._watching.run_until(
                Server(claim.tenant_id),
                claim.operation_id,
                task.seq,
                # The worker's own success keeps the epoch, so it is not a loss.
                lambda operation: operation.epoch != claim.epoch,
                self._take_in(task),
                seconds,
            )
        except TimeoutError:
            message = f"Ingesting the document took more than {seconds:,.0f} seconds."
            raise Rejected.as_over_limit(message) from None

    async def _take_in(self, task: IngestTask) -> None:
        indexer = await self._indexers.of_name(task.claim.embedding)
        if indexer is None:
            claim = task.claim
            raise undeclared_embedding(claim.collection_id, claim.embedding, self._indexers.configured)
        recognised = FORMATS.with_media_type(task.media_type)
        parsed = await self._parser.read(
            self._original(task),
            task.source_key,
            task.declared_type,
            known_format="" if recognised is None else recognised.name,
        )
        with closing(parsed):
            await self._index(task, indexer, parsed)

    async def _original(self, task: IngestTask) -> AsyncGenerator[bytes]:
        if task.original is not None:
            yield task.original
            return
        for start in range(0, task.size_bytes, _PIECE_BYTES):
            yield await self._ingestions.original(task.claim, start, _PIECE_BYTES)

    async def _index(self, task: IngestTask, indexer: Indexer, parsed: ParsedFile) -> None:
        file_format = FORMATS.with_name(parsed.format)
        if (
            file_format is None
        ):  # a malicious document may have taken over the parser, so the format may not exist
            raise Rejected.as_malformed("The parser returned no usable result for this document.")
        if task.earlier_sha256 == parsed.sha256 and task.earlier_parser == file_format.parsed_by:
            await self._ingestions.end_unchanged(task.claim)
            return
        begins = await self._topics.begins(parsed, self._log)
        cut = await indexer.cut(parsed, task.chunking, file_format.media_type, begins, task.usual_language)
        if not cut.passage_count:
            raise Rejected.as_empty()
        title = title_of(task.title, task.source_key, parsed)
        text = CanonicalText(
            text=parsed,
            title=title,
            media_type=file_format.media_type,
            language=cut.language,
            parser=file_format.parsed_by,
            description=await self._describer.describe(parsed, title, cut, self._log),
            left_out={LeftOutKind(kind): count for kind, count in parsed.left_out.items()},
            guessed_charset=parsed.guessed_charset,
            ocr_pages=parsed.ocr_pages,
            body_start=parsed.body_start,
        )
        # `_embed` returns the last batch, and the passages of two sections are never in one batch.
        small = cut.passage_count <= _SMALL_PASSAGES and len(cut.sections) == 1
        if not small:
            await self._ingestions.set_parsed(task.claim, text, cut.passage_count)
        last = await self._embed(task, indexer, title, cut)
        await self._ingestions.publish(task.claim, last, text if small else None)

    async def _embed(
        self, task: IngestTask, indexer: Indexer, title: str, cut: CutDocument
    ) -> Sequence[NewPassage]:
        """Make the passages, write all batches but the last, and return the last one, which `publish` writes."""
        claim = task.claim
        identity = DocumentIdentity(
            claim.tenant_id,
            claim.collection_id,
            claim.document_id,
            claim.version,
            title,
            address := task.uri or task.source_key,
            name_of(task.title, address),
        )
        loop = asyncio.get_running_loop()
        done, written = 0, float("-inf")
        last: Sequence[NewPassage] = ()
        async for batch in indexer.passages(identity, cut, task.size_bytes):
            done += len(batch)
            if done == cut.passage_count:
                last = batch
                continue
            due = loop.time() - written >= _PROGRESS_SECONDS
            if due:
                written = loop.time()
            await self._ingestions.write(claim, batch, done if due else None)
        return last


def title_of(title: str, source_key: str, parsed: ParsedFile) -> str:
    """The uploader's title, or else the document's own title, or else the source key."""
    title_text = title or parsed.title or source_key
    return title_text.encode()[:MAX_TITLE_BYTES].decode(errors="ignore")


def name_of(title: str, address: str) -> str:
    """See `Passage.name`. title: the uploader's; '' if there is none."""
    return "" if title else name_words(address)


class KnowledgeJobs:
    """Runs the document jobs in a task on the server's event loop. Implements `ReportedPart`: `check` reports whether jobs are
    being taken.
    """

    name = "jobs"

    def __init__(
        self,
        runner: JobQueue,
        ingest: Ingest,
        documents: DocumentStore,
        operations: OperationStore,
        *,
        max_attempts: int = 6,
        vectors: VectorStore | None = None,
        reindex: Reindex | None = None,
        beside: Mapping[str, Callable[[], Coroutine[None, None, None]]] | None = None,
    ) -> None:
        """vectors: the vector store; None if vectors are stored in the database. reindex: builds generations; None if
        this process does not. beside: what else runs while jobs are taken, by name; it looks for its work itself.

        max_attempts: the number of failed attempts after which an operation ends. Attempts that found a part
        unavailable, such as the database, do not end it.
        """
        self._runner = runner
        self._ingest = ingest
        self._documents = documents
        self._operations = operations
        self._max_attempts = max_attempts
        self._vectors = vectors
        self._reindex = reindex
        self._beside = dict(beside or {})
        self._announce: Announce | None = None
        self._task: asyncio.Task[None] | None = None
        self._others: list[asyncio.Task[None]] = []
        self._memory = FreeMemory()
        self._log: FilteringBoundLogger = structlog.get_logger("ingest")

    async def start(
        self,
        more: Mapping[JobKind, Work] | None = None,
        announce: Announce | None = None,
        give_up: Mapping[JobKind, GiveUp] | None = None,
    ) -> None:
        """Start taking jobs. Returns at once. more: the work of jobs of other kinds, on the same queue. announce:
        called when an operation may have ended with an error. give_up: see `JobQueue.run`, for jobs of other kinds.
        """
        if self._task is None:
            self._announce = announce
            work: dict[JobKind, Work] = {
                JobKind.INGEST: self.ingest,
                JobKind.PRUNE: self.prune,
                **(more or {}),
            }
            give_ups: dict[JobKind, GiveUp] = {
                JobKind.INGEST: self._with_give_up(self._ingest.give_up),
                **(give_up or {}),
            }
            if self._reindex is not None:
                work[JobKind.REINDEX] = self._build(self._reindex)
                work[JobKind.DISCARD] = self._reindex.discard
                give_ups[JobKind.REINDEX] = self._with_give_up(self._reindex.give_up)
            work = {kind: self._with_memory_back(each) for kind, each in work.items()}
            self._task = asyncio.create_task(self._runner.run(work, give_ups), name="knowledge jobs")
            self._task.add_done_callback(self._report_end)
            self._others = [asyncio.create_task(run(), name=name) for name, run in self._beside.items()]

    async def close(self) -> None:
        """Stop taking jobs. A running job returns to the queue, and the next worker starts it over."""
        tasks = [*self._others, *([] if self._task is None else [self._task])]
        self._task, self._others = None, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._memory.close()

    @property
    def alive(self) -> bool:
        return self._task is not None and not self._task.done()

    async def check(self) -> PartReport:
        if self.alive:
            return PartReport(Health.OK)
        return PartReport(
            Health.DOWN,
            detail="Uploaded documents are not being read. The server's log says why; restart the server.",
        )

    async def ingest(self, tenant_id: str, operation_id: UUID, attempts: int) -> float | None:
        """Make one attempt at an operation. Returns None when it has ended, else the seconds to wait before the next attempt."""
        pause = pause_after(attempts)
        try:
            if await self._ingest.run(tenant_id, operation_id):
                await self._announce_end(tenant_id, operation_id)
        except GenerationSwitched:
            return 0.0
        except OwnershipLost:
            # The operation has ended, or another worker runs the same job. Do not report the job as done: the queue would
            # then delete it, and the other worker may be lost too. Instead, check again at growing intervals.
            return None if await self._has_ended(tenant_id, operation_id) else LONGEST_PAUSE * (attempts + 1)
        except Unavailable as error:
            self._log.warning("an operation waits for a part that is unavailable", reason=error.reason.value)
            return pause
        except Exception as error:  # whatever the error, the operation must end, now or after more attempts
            if not isinstance(error, ParserUnavailable):
                note(self._runner.errors, error, names.operation(operation_id))
            self._log.exception("an attempt at an operation failed", attempt=attempts + 1)
            if attempts + 1 < self._max_attempts:
                return pause
            await self._ingest.give_up(tenant_id, operation_id, _public_error(error, operation_id))
            await self._announce_end(tenant_id, operation_id)
        return None

    async def prune(self, tenant_id: str, document_id: UUID, attempts: int) -> float | None:
        """Remove a document's versions that no answer cites."""
        try:
            await self._documents.prune(tenant_id, document_id)
            if self._vectors is not None:
                newest, older = await self._documents.with_vectors(tenant_id, document_id)
                # A version that begins meanwhile has a greater number. If the document is gone, all its vectors go.
                before = None if newest is None else newest + 1
                await self._vectors.drop_versions(tenant_id, document_id, before, older)
        except Unavailable:
            return pause_after(attempts)
        return None

    def _build(self, reindex: Reindex) -> Work:
        async def work(tenant_id: str, operation_id: UUID, attempts: int) -> float | None:
            pause = await reindex.work(tenant_id, operation_id, attempts)
            if pause is None:
                await self._announce_end(tenant_id, operation_id)
            return pause

        return work

    def _with_memory_back(self, work: Work) -> Work:
        async def run(tenant_id: str, identity: UUID, attempts: int) -> float | None:
            work_for(Server(tenant_id), background=True)
            try:
                return await work(tenant_id, identity, attempts)
            finally:
                self._memory.give_back_soon()

        return run

    def _with_give_up(self, end: Callable[[str, UUID, ResponsaError], Awaitable[None]]) -> GiveUp:
        async def give_up(tenant_id: str, operation_id: UUID, losses: int) -> None:
            await end(tenant_id, operation_id, workers_lost(operation_id, losses))
            await self._announce_end(tenant_id, operation_id)

        return give_up

    async def _announce_end(self, tenant_id: str, operation_id: UUID) -> None:
        """Announce the end of an operation if it failed. Raises Unavailable; then the job is repeated, and finds that
        its operation has ended."""
        if self._announce is not None:
            await self._announce(tenant_id, operation_id)

    async def _has_ended(self, tenant_id: str, operation_id: UUID) -> bool:
        try:
            return (await self._operations.get(Server(tenant_id), operation_id)).done
        except NotFound:
            return True

    def _report_end(self, task: asyncio.Task[None]) -> None:
        """Log the error if the task failed. Nothing awaits the task, so the error would be lost otherwise."""
        if not task.cancelled() and (error := task.exception()) is not None:
            note(self._runner.errors, error, "jobs")
            self._log.error("the task that takes jobs from the queue has ended", exc_info=error)


def _public_error(error: Exception, operation_id: UUID) -> ResponsaError:
    """What the caller may read. A job belongs to no call: the lines of the log name its operation instead."""
    if isinstance(error, ParserUnavailable):
        return Unavailable(
            Reason.PART_UNAVAILABLE,
            "The parser cannot be started at the moment; upload the document again later.",
            {"part": "parser"},
        )
    return ResponsaError(
        Reason.INTERNAL, "Something went wrong. Please try again.", {"call_id": str(operation_id)}
    )
