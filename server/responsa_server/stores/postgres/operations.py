"""Operations in PostgreSQL: the reads of callers, the writes of the ingesting worker, and the errors that rows store.

The operation's row is the fence. Every write of a worker first locks this row and requires the epoch with which the worker began. A
call that cancels or deletes, and a worker that takes over, increase the epoch under the same lock. After that the old worker can
write nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from responsa_server.domain import names
from responsa_server.domain.errors import (
    DOCUMENT_REASONS,
    CallCancelled,
    DocumentRejected,
    NotFound,
    Precondition,
    Reason,
    ResponsaError,
    Unavailable,
)
from responsa_server.domain.knowledge import (
    CHUNKING_VERSION,
    OCR_PAGES,
    CanonicalText,
    Chunking,
    IngestClaim,
    IngestTask,
    JobKind,
    Operation,
    OperationKind,
    OwnershipLost,
)
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import OPERATIONS
from responsa_server.domain.passages import (
    IndexingAttempt,
    NewPassage,
    PassageVectors,
    VectorStore,
    generation_name,
)
from responsa_server.domain.people import AuditEvent, Reader
from responsa_server.domain.rows import build
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.generation_table import GenerationTable
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.passages import PassageTable
from responsa_server.stores.postgres.rows import one_row
from responsa_server.stores.postgres.staging import PIECE_BYTES, stage

_LIST: Final[SqlList[Operation]] = SqlList(
    OPERATIONS,
    {
        "done": "(stage = 'done')::text",
        "state": """CASE WHEN stage <> 'done' THEN 'running' WHEN error_reason IS NULL THEN 'succeeded'
            WHEN error_reason = 'OPERATION_CANCELLED' THEN 'cancelled' ELSE 'failed' END""",
        # The operation of a run has no collection. A document may have been deleted.
        "collection": """coalesce(collection_id, (SELECT d.collection_id FROM responsa.document AS d
            WHERE d.tenant_id = operation.tenant_id AND d.id = operation.document_id), '')""",
    },
)
# The number of seconds for which a replaced version is kept. An unfinished answer may still cite the version, so this time is
# longer than any turn may take.
_PRUNE_AFTER = 600.0
# The violations and the retry time of an error belong to a call, so they are not stored.
_ERRORS: Final[Mapping[Reason, type[ResponsaError]]] = {
    Reason.OPERATION_CANCELLED: CallCancelled,
    Reason.PART_UNAVAILABLE: Unavailable,
    Reason.WORKER_LOST: Unavailable,
    **dict.fromkeys(DOCUMENT_REASONS, DocumentRejected),
}


class OperationStore:
    """Operations of a tenant. Methods raise NotFound for an unknown operation. Each call is for one tenant."""

    def __init__(self, database: Database, queue: JobQueue, *, external_vectors: bool = False) -> None:
        """external_vectors: whether a `VectorStore` holds the vectors. If so, a cancellation enqueues the job that
        removes those of the version."""
        self._queue = queue
        self._external_vectors = external_vectors
        self._database = database
        self._passages = PassageTable()
        self._generations = GenerationTable(queue)
        self._queries = Queries("operations.sql")
        self._audit = AuditLog()

    @shielded
    async def get(self, reader: Reader, operation_id: UUID) -> Operation:
        """Return one operation. It exists for the user who began it, for administrators, and for readers of its
        document or its collection."""
        async with self._database.by_key(reader, one_write=True) as connection:
            values = {"tenant": reader.tenant_id, "id": operation_id}
            row = await one_row(connection, self._queries["get_shown"], values)
        if row is None:
            raise NotFound.of("operation", names.operation(operation_id))
        return from_row(row)

    @shielded
    async def seqs(self, reader: Reader, operation_ids: Sequence[UUID]) -> Mapping[UUID, int]:
        """Return the seq of each existing operation, by id."""
        values = {"tenant": reader.tenant_id, "ids": list(operation_ids)}
        async with self._database.by_key(reader, one_write=True) as connection:
            return dict(await (await connection.execute(self._queries["seqs"], values)).fetchall())

    @shielded
    async def list(self, reader: Reader, user_id: UUID | None, query: ListQuery) -> Page[Operation]:
        """Return a page of one user's operations. user_id: None means all users."""
        values = {"tenant": reader.tenant_id, "user": user_id}
        async with self._database.reading(reader) as connection:
            return await _LIST.read(connection, self._queries["list"], query, values, from_row)

    @shielded
    async def cancel(self, tenant_id: str, operation_id: UUID, audit: AuditEvent | None = None) -> None:
        """End an operation with OPERATION_CANCELLED unless it has already ended. Its worker can write nothing
        afterwards. The transaction also writes the audit event.
        """
        name = names.operation(operation_id)
        error = CallCancelled(
            Reason.OPERATION_CANCELLED, "The operation was cancelled by a call.", {"operation": name}
        )
        async with self._database.tenant(tenant_id) as connection:
            operation = await find(self._queries, connection, tenant_id, operation_id)
            if operation.kind is OperationKind.REINDEX:
                columns = error_columns(error)
                if await self._generations.end(connection, operation, columns, failed=False):
                    await self._audit.write(connection, audit)
            elif await self.withdraw(connection, operation, error):
                await self._audit.write(connection, audit)

    async def withdraw(self, connection: Connection, operation: Operation, error: CallCancelled) -> bool:
        """Cancel an ingestion in the caller's transaction. Returns whether it was still open."""
        if not await _end(self._queries, self._passages, connection, operation, error, epoch=None):
            return False
        values = {
            "tenant": operation.tenant_id,
            "document": operation.document_id,
            "version": operation.version,
            "error_reason": error.reason.value,
        }
        forgotten = await connection.execute(self._queries["forget_document"], values)
        whole = await forgotten.fetchone() is not None
        if not whole:
            await connection.execute(self._queries["restore_document"], values)
        if self._external_vectors:
            after = 0.0 if whole else _PRUNE_AFTER
            await self._queue.defer(
                connection, JobKind.PRUNE, operation.tenant_id, operation.document_id, after=after
            )
        return True

    @shielded
    async def delete(self, tenant_id: str, operation_id: UUID, audit: AuditEvent | None = None) -> None:
        """Delete an operation that has ended, and write the audit event. Raises Precondition OPERATION_RUNNING."""
        async with self._database.tenant(tenant_id) as connection:
            await find(self._queries, connection, tenant_id, operation_id)
            values = {"tenant": tenant_id, "id": operation_id}
            deleted = await connection.execute(self._queries["delete"], values)
            if await deleted.fetchone() is None:
                name = names.operation(operation_id)
                message = f"{name} has not finished; cancel it, or wait until it finishes."
                raise Precondition(Reason.OPERATION_RUNNING, message, {"operation": name})
            await self._audit.write(connection, audit)


class Publisher:
    """Makes versions searchable, in a transaction that has locked the document and then the operation."""

    def __init__(self, queue: JobQueue, *, prune_after: float = _PRUNE_AFTER, vectors: bool = True) -> None:
        """prune_after: see `IngestionStore`. vectors: False if a `VectorStore` holds the vectors of passages."""
        self._queue = queue
        self._prune_after = prune_after
        self._external_vectors = not vectors
        self._passages = PassageTable(vectors=vectors)
        self._queries = Queries("operations.sql")

    async def publish(
        self, connection: Connection, claim: IngestClaim, searched: int, total: int | None = None
    ) -> bool:
        """Make a version searchable in place of the former version, and end its operation. searched: the number of the
        former version. total: the number of passages; None if the operation has it already. Returns False if the former
        version is a newer one. Raises GenerationSwitched.
        """
        values = {**_values(claim), "total": total}
        tenant_id, document_id, version = claim.tenant_id, claim.document_id, claim.version
        if searched >= version:
            # A newer version was ready first. The searchable version never changes to an older one.
            await connection.execute(self._queries["done"], values)
            await self._passages.discard(connection, tenant_id, document_id, version)
            await connection.execute(self._queries["drop_version"], values)
            if self._external_vectors:
                await self.prune_later(connection, tenant_id, document_id)
            return False
        await self._passages.publish(
            connection,
            tenant_id,
            claim.collection_id,
            document_id,
            version,
            claim.generation,
            first=searched == 0,
        )
        cancelled = Reason.OPERATION_CANCELLED.value
        await connection.execute(self._queries["document_published"], {**values, "cancelled": cancelled})
        if searched > 0:
            await self.prune_later(connection, tenant_id, document_id)
        return True

    async def prune_later(self, connection: Connection, tenant_id: str, document_id: UUID) -> None:
        """Enqueue the job that removes versions which are neither searched nor cited."""
        await self._queue.defer(connection, JobKind.PRUNE, tenant_id, document_id, after=self._prune_after)


class IngestionStore:
    """A worker's interface to operations. Statements run as the role responsa_app, with the job's tenant set. Once
    another worker claims the operation or the operation ends, the methods that take a claim raise OwnershipLost and write
    nothing.

    A `VectorStore` has commits of its own, so the order of writes matters if there is one:

    1. the vectors of passages, not published, while the passages' transaction holds the operation;
    2. their publication under the epoch of the operation: searches find them but discard them, because their passages are not live;
    3. the commit of the version: passages, statistics, document and operation change together, and from then on search
       covers the whole version;
    4. the removal of the vectors of older versions.

    If a worker is lost before the commit, the former version is unchanged. The next attempt has a greater epoch,
    removes the lost worker's vectors and starts over. Whatever ends the operation without a commit, and every later
    version, enqueues the prune job, which removes the vectors of versions that are neither searched nor being indexed.
    """

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        *,
        prune_after: float = _PRUNE_AFTER,
        vectors: VectorStore | None = None,
    ) -> None:
        """prune_after: the minimum number of seconds for which a replaced version is kept. vectors: the store of the
        vectors of passages; None if they are in the database."""
        self._database = database
        self._vectors = vectors
        self._passages = PassageTable(vectors=vectors is None)
        self._publisher = Publisher(queue, prune_after=prune_after, vectors=vectors is None)
        self._queries = Queries("operations.sql")

    @shielded
    async def begin(self, tenant_id: str, operation_id: UUID) -> IngestTask | None:
        """Claim an operation under its next epoch, and delete the rows of earlier attempts, a part at a time, so that a
        call can end the operation meanwhile. Returns None if nothing is left to do. Raises OwnershipLost."""
        values: dict[str, object] = {"tenant": tenant_id, "id": operation_id}
        async with self._database.by_key(tenant_id, one_write=True) as connection:
            begun = await (await connection.execute(self._queries["begin"], values)).fetchone()
            if begun is None:
                return None
            document_id, version, epoch, seq = begun
            values |= {"document": document_id, "version": version}
            values |= {"most": PIECE_BYTES, "chunking": CHUNKING_VERSION}
            cursor = connection.cursor(binary=True)
            await cursor.execute(self._queries["task"], values)
            row = await cursor.fetchone()
            assert row is not None, "a version is not deleted while its operation runs"
        (
            collection_id,
            source_key,
            title,
            uri,
            declared_type,
            media_type,
            size_bytes,
            max_tokens,
            overlap_tokens,
            embedding,
            earlier_sha256,
            generation,
            original,
            earlier_parser,
            usual_language,
        ) = row
        claim = IngestClaim(
            tenant_id, operation_id, epoch, collection_id, document_id, version, embedding, generation
        )
        # In pieces, because a call that ends the operation waits for each of them.
        while epoch > 1 and await self._discard_some(claim):
            pass
        if epoch > 1 and self._vectors is not None:
            await self._vectors.drop_attempts(tenant_id, document_id, version, epoch)
        return IngestTask(
            claim=claim,
            source_key=source_key,
            title=title,
            uri=uri,
            declared_type=declared_type,
            media_type=media_type,
            size_bytes=size_bytes,
            chunking=Chunking(max_tokens, overlap_tokens),
            seq=seq,
            original=None if original is None else bytes(original),
            earlier_sha256=None if earlier_sha256 is None else bytes(earlier_sha256),
            earlier_parser=earlier_parser or "",
            usual_language=usual_language or "",
        )

    @shielded
    async def _discard_some(self, claim: IngestClaim) -> bool:
        """Remove some of the rows of earlier attempts. Returns whether there may be more. Raises OwnershipLost."""
        async with self._database.by_key(claim.tenant_id) as connection:
            await hold(self._queries, connection, _values(claim))
            return await self._passages.discard_some(
                connection, claim.tenant_id, claim.document_id, claim.version
            )

    @shielded
    async def original(self, claim: IngestClaim, start: int, count: int) -> bytes:
        """Read bytes of the original. Raises OwnershipLost if the version has been deleted."""
        values = {**_values(claim), "start": start, "count": count}
        async with self._database.by_key(claim.tenant_id, one_write=True) as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(self._queries["original_piece"], values)
            row = await cursor.fetchone()
        if row is None:
            raise OwnershipLost
        return bytes(row[0])

    @shielded
    async def end_unchanged(self, claim: IngestClaim) -> None:
        """Remove the version, because its text is that of the version that it reads again, and end the operation. Raises OwnershipLost."""
        values = _values(claim)
        async with self._database.by_key(claim.tenant_id) as connection:
            document = await (await connection.execute(self._queries["lock_document"], values)).fetchone()
            if document is None:
                raise OwnershipLost
            await hold(self._queries, connection, _values(claim))
            same = await (await connection.execute(self._queries["same_text"], values)).fetchone()
            # The earlier version may have been removed if a still newer version is searchable.
            version = document[0] if same is None else same[0]
            await connection.execute(self._queries["done_unchanged"], {**values, "kept": version})
            await connection.execute(self._queries["document_unchanged"], values)
            await connection.execute(self._queries["drop_version"], values)

    @shielded
    async def set_parsed(self, claim: IngestClaim, text: CanonicalText, passages_total: int) -> None:
        """Store the canonical text and set the stage to EMBEDDING. Raises OwnershipLost."""
        values = {**_values(claim), "total": passages_total}
        async with self._database.by_key(claim.tenant_id) as connection:
            await hold(self._queries, connection, values)
            await self._store_text(connection, claim, text)
            await connection.execute(self._queries["embedding"], values)

    async def _store_text(self, connection: Connection, claim: IngestClaim, text: CanonicalText) -> None:
        """Store the canonical text of an operation that this transaction holds."""
        values = {
            **_values(claim),
            "sha256": text.text.sha256,
            "length": text.text.size,
            "title": text.title,
            "media_type": text.media_type,
            "language": text.language,
            "parser": text.parser,
            "chunking": CHUNKING_VERSION,
            "author": text.description.author,
            "date": text.description.date,
            "summary": text.description.summary,
            "keywords": list(text.description.keywords),
            "body_start": text.body_start,
        }
        counts = {**text.left_out, OCR_PAGES: text.ocr_pages} if text.ocr_pages else dict(text.left_out)
        if counts or text.guessed_charset:
            notes = {"counts": Jsonb(counts), "charset": text.guessed_charset}
            await connection.execute(self._queries["left_out"], {**_values(claim), **notes})
        row = await (await connection.execute(self._queries["parsed"], values)).fetchone()
        assert row is not None, "a version cannot be deleted while this transaction has locked its operation"
        if not row[0]:
            async with stage(connection, text.text) as placed:
                await connection.execute(self._queries["canonical"], {**values, **placed})

    @shielded
    async def write(
        self, claim: IngestClaim, passages: Sequence[NewPassage], passages_done: int | None
    ) -> None:
        """Store passages, which are not searchable yet, and the progress if `passages_done` is not None. Raises OwnershipLost."""
        async with (
            self._database.outside(self._vectors),
            self._database.by_key(claim.tenant_id) as connection,
        ):
            await hold(self._queries, connection, _values(claim))
            await self._write(connection, claim, passages)
            if passages_done is not None:
                values = {**_values(claim), "done": passages_done}
                await connection.execute(self._queries["progress"], values)

    async def _write(
        self, connection: Connection, claim: IngestClaim, passages: Sequence[NewPassage]
    ) -> None:
        """Store passages and their vectors for an operation that this transaction holds."""
        await self._passages.write(connection, claim.tenant_id, passages, claim.generation)
        if self._vectors is not None:
            vectors = [PassageVectors(item.passage.id, item.vectors) for item in passages]
            await self._vectors.put({_attempt(claim): vectors})

    @shielded
    async def find_cached(self, tenant_id: str, model: str, hashes: Sequence[bytes]) -> Mapping[bytes, bytes]:
        """The cached vectors of texts with these SHA-256 hashes."""
        async with self._database.by_key(tenant_id, one_write=True) as connection:
            return await self._passages.find_cached(connection, tenant_id, model, hashes)

    @shielded
    async def cache_vectors(self, tenant_id: str, model: str, vectors: Mapping[bytes, bytes]) -> None:
        """Cache vectors under the SHA-256 of their texts. This needs no fence, because a vector is correct whichever worker computed it."""
        async with self._database.by_key(tenant_id, one_write=True) as connection:
            await self._passages.cache_vectors(connection, tenant_id, model, vectors)

    @shielded
    async def publish(
        self, claim: IngestClaim, passages: Sequence[NewPassage] = (), text: CanonicalText | None = None
    ) -> bool | None:
        """In one transaction, store the last passages, make this version searchable in place of the former one, and end
        the operation. text: the canonical text, if `set_parsed` was not called because these are all passages.

        If a newer version is already searchable, this version is deleted instead, and the result is False. If a run
        publishes the version with others, it waits, and the result is None. Repeatable. Raises OwnershipLost,
        GenerationSwitched.
        """
        searched = await self._publish(claim, passages, text)
        if searched and self._vectors is not None:
            await self._vectors.drop_versions(claim.tenant_id, claim.document_id, claim.version)
        return searched

    async def _publish(
        self, claim: IngestClaim, passages: Sequence[NewPassage], text: CanonicalText | None
    ) -> bool | None:
        total = None if text is None else len(passages)
        values = {**_values(claim), "total": total}
        async with (
            self._database.outside(self._vectors),
            self._database.by_key(claim.tenant_id) as connection,
        ):
            locked = await connection.execute(self._queries["lock_document"], values)
            held = await hold(self._queries, connection, values)
            document = await locked.fetchone()
            if document is None:
                raise OwnershipLost
            if text is not None:
                await self._store_text(connection, claim, text)
            await self._write(connection, claim, passages)
            if self._vectors is not None:
                await self._vectors.publish(_attempt(claim))
            if held:
                await connection.execute(self._queries["indexed"], {**values, "generation": claim.generation})
                return None
            return await self._publisher.publish(connection, claim, document[0], total)

    @shielded
    async def fail(self, claim: IngestClaim, error: ResponsaError) -> None:
        """End the operation with an error, which the document records too, and delete all rows of the version; the
        previous version stays searchable. Raises OwnershipLost."""
        if not await self._end(claim.tenant_id, claim.operation_id, error, claim.epoch):
            raise OwnershipLost

    @shielded
    async def give_up(self, tenant_id: str, operation_id: UUID, error: ResponsaError) -> None:
        """Like `fail`, for an operation whose claim is not known. Does nothing if the operation has ended."""
        await self._end(tenant_id, operation_id, error, None)

    async def _end(self, tenant_id: str, operation_id: UUID, error: ResponsaError, epoch: int | None) -> bool:
        async with self._database.by_key(tenant_id) as connection:
            try:
                operation = await find(self._queries, connection, tenant_id, operation_id)
            except NotFound:
                return False
            ended = await _end(self._queries, self._passages, connection, operation, error, epoch=epoch)
            if ended and self._vectors is not None:
                await self._publisher.prune_later(connection, tenant_id, operation.document_id)
            return ended


async def find(queries: Queries, connection: Connection, tenant_id: str, operation_id: UUID) -> Operation:
    """Read an operation in the caller's transaction. Raises NotFound."""
    row = await one_row(connection, queries["get"], {"tenant": tenant_id, "id": operation_id})
    if row is None:
        raise NotFound.of("operation", names.operation(operation_id))
    return from_row(row)


async def find_named(queries: Queries, connection: Connection, tenant_id: str, name: str) -> Operation:
    """Read the operation that an earlier call with the same request id created. Raises NotFound."""
    values = {"tenant": tenant_id, "id": names.parse_uuid("operations", name)}
    row = await one_row(connection, queries["get_shown"], values)
    if row is None:
        raise NotFound.of("operation", name)
    return from_row(row)


async def hold(queries: Queries, connection: Connection, claim: Mapping[str, object]) -> bool:
    """Lock an operation for a worker that writes. claim: the tenant, the operation's id and the worker's epoch. Returns
    whether a run will publish what the operation indexes. Raises OwnershipLost.
    """
    row = await (await connection.execute(queries["hold"], claim)).fetchone()
    if row is None:
        raise OwnershipLost
    return bool(row[0])


async def _end(
    queries: Queries,
    passages: PassageTable,
    connection: Connection,
    operation: Operation,
    error: ResponsaError,
    *,
    epoch: int | None,
) -> bool:
    """End an operation with an error and remove all rows of its version. Returns whether the operation was still open.

    epoch: the epoch that the operation must have. None accepts any epoch, and so takes the operation away from its worker.
    """
    values: dict[str, object] = {
        "tenant": operation.tenant_id,
        "id": operation.id,
        "document": operation.document_id,
        "version": operation.version,
        "epoch": epoch,
        **error_columns(error),
    }
    await connection.execute(queries["lock_document"], values)
    if await (await connection.execute(queries["end"], values)).fetchone() is None:
        return False
    await passages.discard(connection, operation.tenant_id, operation.document_id, operation.version)
    await connection.execute(queries["fail_document"], values)
    await connection.execute(queries["drop_version"], values)
    return True


def from_row(row: Mapping[str, Any]) -> Operation:
    """An operation from all columns of its row. Its collection has the id of the column `shown`, if the query has it;
    otherwise the id of the tables."""
    return build(
        Operation,
        row,
        error=error_from_row(row),
        collection_id=row.get("shown") or row["collection_id"] or "",
        source_id=row["source_id"] or "",
    )


def _values(claim: IngestClaim) -> dict[str, object]:
    return {
        "tenant": claim.tenant_id,
        "id": claim.operation_id,
        "epoch": claim.epoch,
        "document": claim.document_id,
        "version": claim.version,
    }


def _attempt(claim: IngestClaim) -> IndexingAttempt:
    return IndexingAttempt(
        claim.tenant_id,
        claim.collection_id,
        claim.document_id,
        claim.version,
        claim.epoch,
        claim.embedding,
        generation_name(claim.collection_id, claim.generation),
    )


def error_columns(error: ResponsaError) -> dict[str, object]:
    """Parameters for the three columns of an error."""
    return {
        "error_reason": error.reason.value,
        "error_message": error.message,
        "error_metadata": Jsonb(dict(error.metadata)),
    }


def error_from_row(row: Mapping[str, Any]) -> ResponsaError | None:
    """The error in the columns error_reason, error_message and error_metadata; None if the row holds no error."""
    if row["error_reason"] is None:
        return None
    reason = Reason(row["error_reason"])
    metadata: Mapping[str, str] = row["error_metadata"] or {}
    return _ERRORS.get(reason, ResponsaError)(reason, row["error_message"] or "", dict(metadata))
