"""Documents in PostgreSQL. The store accepts, reads and deletes documents, and looks up the targets of citations."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import PurePosixPath
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound, NotPermitted, Precondition, Reason
from responsa_server.domain.knowledge import (
    CHUNKING_VERSION,
    DEFAULT_COLLECTION,
    FIRST_DIMENSIONS,
    CanonicalPiece,
    Chunking,
    Document,
    DocumentChanges,
    DocumentState,
    DocumentVersion,
    IngestStage,
    JobKind,
    NewDocument,
    Operation,
    SourceRef,
    SourceSlice,
)
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import DOCUMENT_VERSIONS, DOCUMENTS
from responsa_server.domain.passages import Passage
from responsa_server.domain.people import AuditEvent, Principal, Reader, Role, Server
from responsa_server.domain.rows import build
from responsa_server.domain.runs import RunClaim, RunUpload
from responsa_server.domain.turns import NewId
from responsa_server.stores.postgres import operations
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.collections import new_key
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.filters import DOCUMENT_COLUMNS
from responsa_server.stores.postgres.generation_table import first_generation
from responsa_server.stores.postgres.jobs import JobQueue, JobRank
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.passages import PassageTable
from responsa_server.stores.postgres.readers import act_as, readable_collection, visible_name
from responsa_server.stores.postgres.requests import CreationRequests, check_etag
from responsa_server.stores.postgres.rows import all_rows, one_row
from responsa_server.stores.postgres.staging import stage

_LIST: Final[SqlList[Document]] = SqlList(
    DOCUMENTS,
    {**DOCUMENT_COLUMNS, "state": "d.state", "size_bytes": "d.size_bytes"},
    identity="d.id",
)
_VERSIONS: Final[SqlList[DocumentVersion]] = SqlList(
    DOCUMENT_VERSIONS,
    {"version": "v.version"},
    identity="v.version::text",
    position=lambda row, _: (row.version, str(row.version)),
)


# One of so many new operations deletes old ones. The end of an id is random.
_FORGETS: Final = 8


@dataclass(frozen=True, slots=True)
class _Newest:
    """A document's newest version.

    stored: the number of the version that `content` and `parser` describe. It is smaller than `version` if later
    versions had the same text and were removed.
    content: None if the newest version failed and nothing of it was stored. parser: '' until the version is
    parsed, and if its passages were cut by other rules.
    """

    version: int
    state: DocumentState
    stored: int
    content: tuple[bytes, str, str, str] | None
    parser: str

    def is_of(self, new: NewDocument) -> bool:
        """Whether the upload has the same bytes as this version and, if the upload gives them, the same title, URI and media
        type.
        """
        if self.content is None or self.state is DocumentState.FAILED:
            return False
        sha256, title, uri, media_type = self.content
        stated = new.metadata
        return (
            sha256 == new.content.sha256
            and stated.title in ("", title)
            and stated.uri in ("", uri)
            and new.media_type in ("", media_type)
        )


class DocumentStore:
    """Documents of a tenant. Methods raise NotFound for an unknown document, and for one that the reader may not read.
    Each call is for one tenant."""

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        new_id: NewId,
        *,
        external_vectors: bool = False,
        kept_versions: int = 10,
        parsers: Collection[str] = (),
    ) -> None:
        """external_vectors: whether a `VectorStore` holds the vectors. If so, a deletion enqueues the job that removes
        the vectors. kept_versions: the number of versions of a document that are kept in addition to the searchable
        version and the cited versions. parsers: the parsers of this release, as they are stored with versions. An
        upload of the same bytes reads a version of any other parser again; without parsers, it never does.
        """
        self._external_vectors = external_vectors
        self._kept_versions = kept_versions
        self._parsers = frozenset(parsers)
        self._database = database
        self._passages = PassageTable()
        self._queue = queue
        self._new_id = new_id
        self._queries = Queries("documents.sql")
        self._audit = AuditLog()
        self._operations = Queries("operations.sql")
        self._requests = CreationRequests()

    @shielded
    async def accept(
        self,
        caller: Principal,
        new: NewDocument,
        embedding: str,
        request_id: UUID | None,
        *,
        dimensions: int = FIRST_DIMENSIONS,
        run: RunUpload | None = None,
    ) -> Operation:
        """Store a document and the job that indexes it, in one transaction. run: the run of a source that makes the document.

        The collection `default` is created if it is missing, with this embedding model and this length of vectors,
        unless the model is "". If the newest version already has these bytes and this description, the result is that
        version's running operation, or a completed operation marked unchanged. But if a parser of an earlier release
        made the text of that version, the bytes are read again, as by `reread`. Raises NotFound (collection),
        AlreadyExists REQUEST_ID_REUSED, OwnershipLost (the run).
        """
        stated = new.metadata
        body = {
            "collection": stated.collection_id,
            "source_key": stated.source_key,
            "title": stated.title,
            "uri": stated.uri,
            "media_type": stated.media_type,
            "content": new.content.sha256.hex(),
            "labels": _to_json(stated.labels),
            "metadata": _to_json(stated.metadata),
            "subject": stated.subject or "",
        }
        values: dict[str, object] = {
            "tenant": caller.tenant_id,
            "user": caller.user_id,
            "collection": stated.collection_id,
            "key": new_key(stated.collection_id),
            "subject": stated.subject,
            "source_key": stated.source_key,
            "title": stated.title or PurePosixPath(stated.source_key).name or stated.source_key,
            "declared_title": stated.title,
            "stated_title": stated.title,
            "uri": stated.uri,
            "media_type": new.media_type,
            "declared_type": stated.media_type,
            "sha256": new.content.sha256,
            "size": new.content.size,
            "embedding": embedding,
            "dimensions": dimensions,
            "generation": first_generation(dimensions),
            "max_tokens": Chunking().max_tokens,
            "overlap_tokens": Chunking().overlap_tokens,
            "labels": Jsonb(dict(stated.labels)),
            "metadata": Jsonb(dict(stated.metadata)),
        }
        async with self._database.by_key(caller if run is None else caller.tenant_id) as connection:
            if run is not None:
                await operations.hold(self._operations, connection, run_values(run.claim))
                await act_as(connection, caller)
            earlier = await self._requests.claim(connection, caller, request_id, "document", body)
            if earlier is not None:
                return await operations.find_named(self._operations, connection, caller.tenant_id, earlier)
            default = stated.collection_id == DEFAULT_COLLECTION
            if embedding and default:
                await act_as(connection, Server(caller.tenant_id))
                await connection.execute(self._queries["make_collection"], values)
                await act_as(connection, caller)
            # Without a collection of one's own that is called so, the name may mean somebody else's. Nobody uploads to
            # another one's `default` by not naming a collection.
            query = "own_collection" if default else "hold_collection"
            held = await (await connection.execute(self._queries[query], values)).fetchone()
            if held is None:
                raise NotFound.of("collection", names.collection(stated.collection_id))
            values["key"] = held[0]
            if caller.role is not Role.ADMIN and held[1] != caller.user_id:
                raise NotPermitted.owner_only()
            await act_as(connection, Server(caller.tenant_id))
            rank = JobRank.USUAL
            if run is not None:  # an upload does not wait for the many documents of a run
                rank = JobRank.URGENT if run.urgent else JobRank.LATE
            operation = await self._take_in(connection, caller, new, values, rank=rank)
            if run is not None:
                await self._note(connection, run, operation)
            name = names.operation(operation.id)
            await self._requests.record(connection, caller, request_id, name)
            return operation

    @shielded
    async def restore(
        self, caller: Principal, document_id: UUID, version: int, etag: str, request_id: UUID | None
    ) -> Operation:
        """Make a new version from the bytes and the description of an earlier version. If that is the newest version,
        the result is a completed operation marked unchanged. Raises NotFound (also for a version that is not READY),
        Conflict ETAG_MISMATCH, AlreadyExists REQUEST_ID_REUSED.
        """
        return await self._repeat(caller, document_id, etag, request_id, version)

    @shielded
    async def reread(
        self, caller: Principal, document_id: UUID, etag: str, request_id: UUID | None
    ) -> Operation:
        """Read the bytes of the searchable version again. The operation ends as unchanged if the text is the same.

        If a version is being indexed, the result is its running operation. Raises Conflict ETAG_MISMATCH, AlreadyExists
        REQUEST_ID_REUSED, and Precondition ORIGINAL_NOT_STORED if no version is stored.
        """
        return await self._repeat(caller, document_id, etag, request_id, None)

    @shielded
    async def read_outdated(self, tenant_id: str, limit: int) -> int:
        """Begin to read documents again whose searched version another parser than those of this release has read, or other
        rules have cut: at most `limit`, and none that has a newer version. Returns their number.
        """
        values = {
            "tenant": tenant_id,
            "parsers": list(self._parsers),
            "chunking": CHUNKING_VERSION,
            "most": limit,
        }
        async with self._database.tenant(tenant_id) as connection:
            rows = await (await connection.execute(self._queries["outdated"], values)).fetchall()
            for document_id, version, owner in rows:
                who = Principal(tenant_id, owner, Role.USER, "job")
                await self._copy(
                    connection, who, document_id, version, version + 1, reread=True, rank=JobRank.LATE
                )
        return len(rows)

    @shielded
    async def get(self, reader: Reader, document_id: UUID) -> Document:
        async with self._database.reading(reader) as connection:
            row = await one_row(
                connection, self._queries["get"], {"tenant": reader.tenant_id, "id": document_id}
            )
        if row is None:
            raise NotFound.of("document", names.document(document_id))
        return _document(row)

    @shielded
    async def get_managed(self, caller: Principal, document_id: UUID) -> Document:
        """Return a document that the caller may change: the uploader, the owner of its collection or an administrator,
        who need not be able to read it. Raises NotPermitted."""
        admin = caller.role is Role.ADMIN
        async with self._database.reading(Server(caller.tenant_id) if admin else caller) as connection:
            # The collection's owner is looked up by the collection's key: in another transaction, its name could mean another collection.
            row = await one_row(
                connection, self._queries["managed"], {"tenant": caller.tenant_id, "id": document_id}
            )
        if row is None:
            raise NotFound.of("document", names.document(document_id))
        if not admin and caller.user_id not in (row["owner_id"], row["collection_owner"]):
            raise NotPermitted.owner_only()
        return _document(row)

    @shielded
    async def size_of_copy(self, caller: Principal, document_id: UUID, version: int | None) -> int:
        """Return the size of the original that a copy of this version stores. version: None for the larger one of the
        searchable and the newest version. Returns 0 if there is no such version."""
        values: dict[str, object] = {"tenant": caller.tenant_id, "id": document_id, "version": version}
        async with self._database.tenant(caller.tenant_id) as connection:
            row = await (await connection.execute(self._queries["copied_bytes"], values)).fetchone()
        return 0 if row is None else row[0]

    @shielded
    async def find(self, reader: Reader, document_ids: Sequence[UUID]) -> Mapping[UUID, Document]:
        """Return the existing documents with these ids, by id."""
        async with self._database.reading(reader) as connection:
            values = {"tenant": reader.tenant_id, "ids": list(document_ids)}
            rows = await all_rows(connection, self._queries["find"], values)
        return {row["id"]: _document(row) for row in rows}

    @shielded
    async def list(self, reader: Reader, collection_id: str, query: ListQuery) -> Page[Document]:
        """Return a page of a collection's documents. Raises NotFound (collection)."""
        async with self._database.reading(reader) as connection:
            key = await readable_collection(connection, collection_id)
            values = {"tenant": reader.tenant_id, "key": key}
            return await _LIST.read(connection, self._queries["list"], query, values, _document)

    @shielded
    async def update(
        self,
        caller: Principal,
        document_id: UUID,
        changes: DocumentChanges,
        etag: str,
        audit: AuditEvent | None = None,
    ) -> Document:
        """Change a document in one transaction. A new title makes a new version of the same bytes, with the job that indexes it.

        Raises Conflict ETAG_MISMATCH.
        """
        values: dict[str, object] = {
            "tenant": caller.tenant_id,
            "id": document_id,
            "title": changes.title,
            "labels": None if changes.labels is None else Jsonb(dict(changes.labels)),
            "metadata": None if changes.metadata is None else Jsonb(dict(changes.metadata)),
        }
        name = names.document(document_id)
        async with self._database.tenant(caller.tenant_id) as connection:
            row = await (await connection.execute(self._queries["lock"], values)).fetchone()
            if row is None:
                raise NotFound.of("document", name)
            check_etag(etag, str(row[0]), name)
            await connection.execute(self._queries["update"], values)
            if changes.subject is not None:
                await self._set_subject(connection, values, row[1], changes.subject)
            if changes.title is not None:
                # The title is part of what searches use: of terms, of vectors and of the passages that answers cite. So
                # a new title makes a new
                # version of the same bytes. A document whose bytes could not be read has no such version.
                row = await (await connection.execute(self._queries["version_to_retitle"], values)).fetchone()
                if row is not None and row[1] != changes.title:
                    await self._copy(connection, caller, document_id, row[0], row[2], title=changes.title)
            await self._audit.write(connection, audit)
            updated = await one_row(connection, self._queries["get"], values)
            assert updated is not None, "the row is locked"
            # An administrator may change a document without being able to read it.
            await act_as(connection, caller)
            collection = await visible_name(connection, updated["collection_id"])
        return _document({**updated, "collection": collection})

    @shielded
    async def delete(
        self, tenant_id: str, document_id: UUID, etag: str, audit: AuditEvent | None = None
    ) -> Sequence[UUID]:
        """Delete a document with its versions, passages and vectors in one transaction, which also writes the audit
        event. Return the operations that the deletion ended.

        Raises Conflict (ETAG_MISMATCH, RESOURCE_LOCKED).
        """
        values: dict[str, object] = {"tenant": tenant_id, "id": document_id}
        name = names.document(document_id)
        async with self._database.deleting(tenant_id, name) as connection:
            row = await (await connection.execute(self._queries["lock"], values)).fetchone()
            if row is None:
                raise NotFound.of("document", name)
            check_etag(etag, str(row[0]), name)
            operation_ids = await self.delete_locked(connection, tenant_id, document_id, row[1])
            await self._audit.write(connection, audit)
            return operation_ids

    async def delete_locked(
        self, connection: Connection, tenant_id: str, document_id: UUID, collection_id: str
    ) -> Sequence[UUID]:
        """Delete a document that this transaction has locked. Returns the operations that the deletion ended."""
        values: dict[str, object] = {"tenant": tenant_id, "id": document_id}
        ended = await connection.execute(
            self._queries["end_operations"],
            {
                **values,
                "error_reason": Reason.OPERATION_CANCELLED.value,
                "error_message": "The document was deleted before it was indexed.",
            },
        )
        operation_ids = [row[0] for row in await ended.fetchall()]
        await self._passages.delete(connection, tenant_id, collection_id, document_id)
        await connection.execute(self._queries["delete"], values)
        if self._external_vectors:
            await self._queue.defer(connection, JobKind.PRUNE, tenant_id, document_id)
        return operation_ids

    @shielded
    async def canonical(
        self, reader: Reader, document_id: UUID, version: int | None, start: int, count: int
    ) -> CanonicalPiece:
        """Read a part of the canonical text. version: None means the searchable version. Raises NotFound, also for a
        version without text.
        """
        return CanonicalPiece(
            *await self._read_piece("canonical", reader, document_id, version, start, count)
        )

    @shielded
    async def version(self, reader: Reader, document_id: UUID, version: int | None) -> DocumentVersion:
        """Return a stored version. version: None means the searchable version, or the newest if no version is searchable yet."""
        values = {"tenant": reader.tenant_id, "id": document_id, "version": version}
        async with self._database.reading(reader) as connection:
            row = await one_row(connection, self._queries["version"], values)
        if row is None:
            raise _version_not_found(document_id, version)
        return _version(row)

    @shielded
    async def versions(self, reader: Reader, document_id: UUID, query: ListQuery) -> Page[DocumentVersion]:
        values: dict[str, object] = {"tenant": reader.tenant_id, "id": document_id}
        async with self._database.reading(reader) as connection:
            if await one_row(connection, self._queries["get"], values) is None:
                raise NotFound.of("document", names.document(document_id))
            return await _VERSIONS.read(connection, self._queries["versions"], query, values, _version)

    @shielded
    async def original(
        self, reader: Reader, document_id: UUID, version: int, start: int, count: int
    ) -> bytes:
        """Read a part of a version's original bytes. The result is empty beyond the end."""
        (data,) = await self._read_piece("original", reader, document_id, version, start, count)
        return bytes(data)

    async def _read_piece(
        self, query: str, reader: Reader, document_id: UUID, version: int | None, start: int, count: int
    ) -> tuple[Any, ...]:
        """The row of a part of a version. Raises NotFound."""
        values = {"tenant": reader.tenant_id, "id": document_id, "version": version}
        async with self._database.reading(reader) as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(self._queries[query], {**values, "start": start, "count": count})
            row = await cursor.fetchone()
        if row is None:
            raise _version_not_found(document_id, version)
        return row

    @shielded
    async def sources(self, reader: Reader, wanted: Sequence[SourceRef]) -> Sequence[SourceSlice]:
        """Look up the targets of citations. The result has the order of `wanted`."""
        values = {
            "tenant": reader.tenant_id,
            "documents": [ref.document_id for ref in wanted],
            "versions": [ref.version for ref in wanted],
            "starts": [ref.source.start for ref in wanted],
            "ends": [ref.source.end for ref in wanted],
        }
        async with self._database.reading(reader) as connection:
            rows = await (await connection.execute(self._queries["sources"], values)).fetchall()
            unread = [ref.document_id for ref, row in zip(wanted, rows, strict=True) if row[0] is None]
            hidden: set[UUID] = set()
            if unread:  # documents that are not for the reader, and deleted ones
                cursor = await connection.execute(self._queries["hidden"], {"ids": unread})
                hidden = {row[0] for row in await cursor.fetchall()}
        return [
            SourceSlice(version, None if text is None else bytes(text), ref.document_id not in hidden)
            for ref, (version, text) in zip(wanted, rows, strict=True)
        ]

    @shielded
    async def passage(self, reader: Reader, passage_id: UUID) -> Passage:
        """Return a passage of any stored version."""
        async with self._database.reading(reader) as connection:
            rows = await self._passages.get(connection, reader.tenant_id, [passage_id])
            if not rows:
                raise NotFound.of("passage", names.passage(passage_id))
            return replace(rows[0], collection_id=await visible_name(connection, rows[0].collection_id))

    @shielded
    async def prune(self, tenant_id: str, document_id: UUID) -> None:
        """Delete the passages of versions that are older than the searchable version, unless an answer cites them or a
        milestone names them. Delete such versions too, unless passages of them or the newest of them stay. Repeatable.
        """
        values: dict[str, object] = {"tenant": tenant_id, "id": document_id, "kept": self._kept_versions}
        async with self._database.tenant(tenant_id) as connection:
            # Lock the document, so that its searchable version does not change until the end.
            cursor = await connection.execute(self._queries["lock_searched_version"], values)
            row = await cursor.fetchone()
            if row is None or row[0] <= 1:
                return
            values["version"] = row[0]
            needed = await connection.execute(self._queries["needed_passages"], values)
            keep = [passage for (passage,) in await needed.fetchall()]
            await self._passages.retire(connection, tenant_id, document_id, row[0], keep)
            await connection.execute(self._queries["prune_versions"], values)

    @shielded
    async def with_vectors(self, tenant_id: str, document_id: UUID) -> tuple[int | None, Sequence[int]]:
        """Return the number of a document's newest version, and of those that are searched or being indexed. None:
        there is no such document."""
        values = {"tenant": tenant_id, "id": document_id}
        async with self._database.tenant(tenant_id) as connection:
            row = await (await connection.execute(self._queries["with_vectors"], values)).fetchone()
        return (None, ()) if row is None else (row[0], row[1])

    async def _take_in(
        self,
        connection: Connection,
        caller: Principal,
        new: NewDocument,
        values: dict[str, object],
        *,
        rank: JobRank,
    ) -> Operation:
        """Find or create the document, and find or create the operation for its bytes."""
        values["id"] = self._new_id()
        inserted = await connection.execute(self._queries["insert"], values)
        if await inserted.fetchone() is not None:
            return await self._begin_version(connection, caller, new, values, 1, rank=rank)
        locked = await (await connection.execute(self._queries["lock_by_key"], values)).fetchone()
        if locked is None:
            # The document was deleted after the insert found it, so try again. A second conflict is possible but very unlikely:
            # it needs another upload and another deletion of the same source key.
            return await self._take_in(connection, caller, new, values, rank=rank)
        document_id, owns, kept_title, subject, described = locked
        values["id"] = document_id
        newest = await self._newest(connection, values)
        same = newest.is_of(new)
        indexed = same and newest.state is DocumentState.READY
        running = None
        if same and not indexed:
            running = await self._running(connection, caller.tenant_id, document_id, newest.version)
        attaches = indexed or running is not None
        owns = owns or caller.role is Role.ADMIN
        if not (attaches and described) and not owns:
            raise NotPermitted(
                Reason.ROLE_REQUIRED,
                "A document with this source_key already exists, and only its uploader, the collection's owner or an administrator may "
                "replace it; use another source_key or another collection.",
                {"required_role": "ADMIN"},
            )
        if not described:
            await connection.execute(self._queries["describe"], values)
        if new.metadata.subject not in ("", subject):
            await self._set_subject(connection, values, str(values["key"]), new.metadata.subject)
        if indexed and owns and self._parsers and newest.parser not in self._parsers:
            return await self._copy(
                connection, caller, document_id, newest.stored, newest.version + 1, reread=True
            )
        if attaches:
            return running or await self._insert_operation(
                connection, caller, document_id, newest.stored, stage=IngestStage.DONE, unchanged=described
            )
        if kept_title and not new.metadata.title:
            values |= {"title": kept_title, "declared_title": kept_title}
        version = newest.version + 1
        await connection.execute(self._queries["begin_version"], {**values, "version": version})
        return await self._begin_version(connection, caller, new, values, version, rank=rank)

    async def _note(self, connection: Connection, run: RunUpload, operation: Operation) -> None:
        """Store what a run has made."""
        values = {
            **run_values(run.claim),
            "kind": run.at.kind,
            "key": run.at.key,
            "digest": run.digest,
            "together": run.together,
            "metadata": Jsonb(dict(run.metadata)),
            "fetched": None if run.fetched is None else Jsonb(asdict(run.fetched)),
            "document": operation.document_id,
            "operation": operation.id,
        }
        await connection.execute(self._queries["made_by_run"], values)

    async def _repeat(
        self,
        caller: Principal,
        document_id: UUID,
        etag: str,
        request_id: UUID | None,
        version: int | None,
    ) -> Operation:
        """Restore a version, or read the searchable version again if `version` is None."""
        name = names.document(document_id)
        kind = "reread" if version is None else "restored version"
        body = {"name": name if version is None else names.document_version(document_id, version)}
        values = {"tenant": caller.tenant_id, "id": document_id}
        async with self._database.tenant(caller.tenant_id) as connection:
            earlier = await self._requests.claim(connection, caller, request_id, kind, body)
            if earlier is not None:
                return await operations.find_named(self._operations, connection, caller.tenant_id, earlier)
            locked = await (await connection.execute(self._queries["lock_versions"], values)).fetchone()
            if locked is None:
                raise NotFound.of("document", name)
            revision, searched, newest, state = locked
            check_etag(etag, str(revision), name)
            operation = None
            if version is None and state == DocumentState.INDEXING:
                operation = await self._running(connection, caller.tenant_id, document_id, newest)
            elif version is not None and version == searched and state == DocumentState.READY:
                operation = await self._insert_operation(
                    connection, caller, document_id, version, stage=IngestStage.DONE, unchanged=True
                )
            if operation is None and version is None and searched == 0:
                raise Precondition(
                    Reason.ORIGINAL_NOT_STORED,
                    f"No version of {name} could be read, and nothing of it is kept; upload the document again.",
                    {"document": name},
                )
            if operation is None:
                operation = await self._copy(
                    connection, caller, document_id, version or searched, newest + 1, reread=version is None
                )
            await self._requests.record(connection, caller, request_id, names.operation(operation.id))
            return operation

    async def _copy(
        self,
        connection: Connection,
        caller: Principal,
        document_id: UUID,
        source: int,
        version: int,
        *,
        reread: bool = False,
        title: str | None = None,
        rank: JobRank = JobRank.USUAL,
    ) -> Operation:
        """Begin a new version of the bytes of an earlier one. reread: whether the new version is removed if the same
        parser makes the same text. title: another title; with None, the earlier version must be one that was searched.
        Raises NotFound.
        """
        values = {
            "tenant": caller.tenant_id,
            "id": document_id,
            "source": source,
            "version": version,
            "reread_of": source if reread else None,
            "title": title,
        }
        copied = await connection.execute(self._queries["copy_version"], values)
        row = await copied.fetchone()
        if row is None:
            raise _version_not_found(document_id, source)
        await connection.execute(self._queries["begin_copy"], values)
        operation = await self._insert_operation(
            connection, caller, document_id, version, stage=IngestStage.QUEUED
        )
        await self._queue.defer(
            connection,
            JobKind.INGEST,
            caller.tenant_id,
            operation.id,
            size_bytes=row[0],
            rank=rank,
            user_id=caller.user_id,
        )
        return operation

    async def _begin_version(
        self,
        connection: Connection,
        caller: Principal,
        new: NewDocument,
        values: dict[str, object],
        version: int,
        *,
        rank: JobRank,
    ) -> Operation:
        async with stage(connection, new.content) as placed:
            await connection.execute(
                self._queries["insert_version"],
                {**values, **placed, "version": version, "user": caller.user_id},
            )
        document_id = values["id"]
        assert isinstance(document_id, UUID)
        operation = await self._insert_operation(
            connection, caller, document_id, version, stage=IngestStage.QUEUED
        )
        size = new.content.size
        await self._queue.defer(
            connection,
            JobKind.INGEST,
            caller.tenant_id,
            operation.id,
            size_bytes=size,
            rank=rank,
            user_id=caller.user_id,
        )
        return operation

    async def _newest(self, connection: Connection, values: Mapping[str, object]) -> _Newest:
        values = {**values, "chunking": CHUNKING_VERSION}
        row = await (await connection.execute(self._queries["newest"], values)).fetchone()
        assert row is not None, "the row is locked"
        version, state, stored, sha256, title, uri, media_type, parser = row
        content = None if sha256 is None else (bytes(sha256), title, uri, media_type)
        return _Newest(version, DocumentState(state), stored or version, content, parser or "")

    async def _running(
        self, connection: Connection, tenant_id: str, document_id: UUID, version: int
    ) -> Operation | None:
        values = {"tenant": tenant_id, "document": document_id, "version": version}
        row = await one_row(connection, self._operations["running"], values)
        return None if row is None else operations.from_row(row)

    async def _insert_operation(
        self,
        connection: Connection,
        caller: Principal,
        document_id: UUID,
        version: int,
        *,
        stage: IngestStage,
        unchanged: bool = False,
    ) -> Operation:
        row = await one_row(
            connection,
            self._operations["insert"],
            {
                "id": self._new_id(),
                "tenant": caller.tenant_id,
                "user": caller.user_id,
                "document": document_id,
                "version": version,
                "stage": stage.value,
                "unchanged": unchanged,
            },
        )
        assert row is not None, "INSERT … RETURNING always returns a row"
        operation = operations.from_row(row)
        if operation.id.int % _FORGETS == 0:
            await connection.execute(self._operations["forget"], {"tenant": caller.tenant_id})
        return operation

    async def _set_subject(
        self, connection: Connection, values: Mapping[str, object], key: str, subject: str
    ) -> None:
        """Give a locked document another subject. It applies to all its passages at once, those of cited versions too.
        key: its collection's id in the tables."""
        parameters = {**values, "document": values["id"], "collection": key, "subject": subject}
        await connection.execute(self._queries["set_subject"], parameters)
        await self._passages.set_subject(connection, parameters)


def run_values(claim: RunClaim) -> dict[str, Any]:
    """The parameters that name a run."""
    return {
        "tenant": claim.tenant_id,
        "id": claim.operation_id,
        "epoch": claim.epoch,
        "source": claim.source_id,
    }


def _version_not_found(document_id: UUID, version: int | None) -> NotFound:
    if version is None:
        return NotFound.of("document", names.document(document_id))
    return NotFound.of("document", names.document_version(document_id, version), "document version")


def _version(row: Mapping[str, Any]) -> DocumentVersion:
    return build(DocumentVersion, row)


def _document(row: Mapping[str, Any]) -> Document:
    return build(
        Document,
        row,
        collection_id=row["collection"],
        error=operations.error_from_row(row),
        etag=str(row["revision"]),
        keywords=tuple(row["keywords"]),
    )


def _to_json(values: Mapping[str, object]) -> str:
    """The values as JSON with sorted keys, so that equal values give equal texts."""
    return json.dumps(values, sort_keys=True, ensure_ascii=False)
