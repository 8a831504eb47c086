"""Collections in PostgreSQL."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final
from uuid import UUID

from responsa_server.domain import names
from responsa_server.domain.errors import InvalidRequest, NotFound, Precondition, Reason
from responsa_server.domain.formatting import counted
from responsa_server.domain.kinds import CollectionKind, kind_of
from responsa_server.domain.knowledge import (
    EVERYONE,
    FIRST_DIMENSIONS,
    Chunking,
    Collection,
    CollectionFields,
    CollectionReader,
    JobKind,
)
from responsa_server.domain.limits import NO_LIMIT, Scope, too_many
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import COLLECTIONS
from responsa_server.domain.people import AuditEvent, Principal, Reader, Role
from responsa_server.domain.rows import build
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.generation_table import first_generation
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.passages import PassageTable
from responsa_server.stores.postgres.readers import (
    NamedCollection,
    act_as,
    own_collection,
    visible_collection,
)
from responsa_server.stores.postgres.requests import CreationRequests, already_exists, check_etag
from responsa_server.stores.postgres.rows import one_row

_LIST: Final[SqlList[Collection]] = SqlList(
    COLLECTIONS,
    table="c.",
    identity="n.name",
    position=lambda row, field: (row.create_time if field == "create_time" else row.id, row.id),
)


class CollectionStore:
    """Collections of a tenant. Methods raise NotFound for an unknown collection. Each call is for one tenant."""

    def __init__(self, database: Database, pruning: JobQueue | None = None) -> None:
        """pruning: the job queue if a `VectorStore` holds the vectors, else None. With a queue, a deletion enqueues one job per
        document; the job removes the document's vectors.
        """
        self._pruning = pruning
        self._database = database
        self._passages = PassageTable()
        self._queries = Queries("collections.sql")
        self._audit = AuditLog()
        self._requests = CreationRequests()

    @shielded
    async def create(
        self,
        caller: Principal,
        collection_id: str,
        fields: CollectionFields,
        chunking: Chunking,
        embedding: str,
        request_id: UUID | None,
        *,
        dimensions: int = FIRST_DIMENSIONS,
        conversation_id: UUID | None = None,
        limit: int = NO_LIMIT,
    ) -> Collection:
        """Create a collection of the caller's. conversation_id: of the caller's conversation, whose files the
        collection holds; it counts for no limit of collections. embedding, dimensions: the name of the embedding model and the length of
        its vectors. limit: the maximum number of the caller's collections. Raises AlreadyExists: RESOURCE_ALREADY_EXISTS
        (of the caller's own collections), REQUEST_ID_REUSED; InvalidRequest (a reader that is not a user of the
        tenant); NotFound (the conversation); Exhausted (LIMIT_REACHED).
        """
        readers = fields.readers or ()
        body = {
            "collection_id": collection_id,
            "max_tokens": str(chunking.max_tokens),
            "overlap_tokens": str(chunking.overlap_tokens),
            "readers": " ".join(sorted(map(_text_of, readers))),
            **{
                name: value if isinstance(value, str) else "\n".join(value)
                for name, value in fields.columns.items()
                if value is not None
            },
            **({"conversation": str(conversation_id)} if conversation_id else {}),
        }
        async with self._database.tenant(caller.tenant_id) as connection:
            earlier = await self._requests.claim(connection, caller, request_id, "collection", body)
            if earlier is not None:
                await act_as(connection, caller)
                named = await visible_collection(connection, names.parse_slug("collections", earlier))
                if named.owner_id != caller.user_id:
                    # The collection was deleted, and the name means somebody else's now.
                    raise NotFound.of("collection", earlier)
                return await self._get(connection, caller.tenant_id, named.key)
            name = names.collection(collection_id)
            kind = kind_of(collection_id)
            values: dict[str, object] = {
                "tenant": caller.tenant_id,
                "slug": collection_id,
                "owner": caller.user_id,
                **fields.columns,
                "max_tokens": chunking.max_tokens,
                "overlap_tokens": chunking.overlap_tokens,
                "embedding": embedding,
                "kind": kind.value,
                "dimensions": dimensions,
                "generation": first_generation(dimensions),
                "conversation": conversation_id,
            }
            if conversation_id is not None:
                limit = NO_LIMIT
                if not await (await connection.execute(self._queries["own_conversation"], values)).fetchone():
                    raise NotFound.of("conversation", names.conversation(conversation_id))
            if limit:
                await connection.execute(self._queries["lock_owner"], values)
            if await self._insert(connection, values, kind) is None:
                raise already_exists("collection", name)
            if limit:
                # Counted after the insertion, because a caller at the limit should still learn that the collection exists.
                row = await (await connection.execute(self._queries["count_of_owner"], values)).fetchone()
                if row is not None and row[0] > limit:
                    raise too_many("collections", Scope.USER, limit)
            if kind is not CollectionKind.OWN and not readers:
                readers = (EVERYONE,)
            await self._share(connection, values, readers)
            await self._requests.record(connection, caller, request_id, name)
            await act_as(connection, caller)
            return await self._get(connection, caller.tenant_id, str(values["id"]))

    async def _insert(
        self, connection: Connection, values: dict[str, object], kind: CollectionKind
    ) -> str | None:
        """Store a collection, put its id into `values`, and return the id; None if the owner has one with this slug."""
        slug = str(values["slug"])
        # Samples and Responsa's documentation are everyone's, so their ids need not hide anything.
        ids = [] if kind is CollectionKind.OWN else [slug]
        ids += [new_key(slug), new_key(slug)]
        for values["id"] in ids:
            inserted = await connection.execute(self._queries["insert"], values)
            if await inserted.fetchone() is not None:
                return str(values["id"])
            if await (await connection.execute(self._queries["taken"], values)).fetchone() is not None:
                break
        return None

    async def _share(
        self,
        connection: Connection,
        values: Mapping[str, object],
        readers: Sequence[CollectionReader],
        without: Sequence[str] = (),
    ) -> tuple[Sequence[str], Sequence[str]]:
        """Replace the readers of a collection, and return the added and the removed readers, as in `AuditEvent`.
        values: with the tenant, the id and the owner, who is never a reader. without: as in `CollectionFields`. Raises
        InvalidRequest.
        """
        readers = await self._with_names(connection, values, readers, without)
        for query, kind, named in (
            ("unknown_readers", "user", [reader.user_id for reader in readers]),
            ("unknown_groups", "group", [reader.group_id for reader in readers]),
        ):
            cursor = await connection.execute(self._queries[query], {**values, f"{kind}s": named})
            if (row := await cursor.fetchone()) is not None:
                remedy = (
                    f"{kind}s/{row[1]} is not a {kind} of this tenant; send the name of one, {kind}s/{{uuid}}"
                )
                raise InvalidRequest.of_field(f"collection.readers[{row[0]}].{kind}", "readers.user", remedy)
        others = [reader for reader in readers if reader.user_id is None or reader.user_id != values["owner"]]
        parameters = {
            **values,
            "users": [other.user_id for other in others],
            "roles": [None if other.role is None else other.role.value for other in others],
            "groups": [other.group_id for other in others],
        }
        added, removed = [
            [cell for (cell,) in await (await connection.execute(self._queries[name], parameters)).fetchall()]
            for name in ("add_readers", "drop_readers")
        ]
        return added, removed

    async def _with_names(
        self,
        connection: Connection,
        values: Mapping[str, object],
        readers: Sequence[CollectionReader],
        without: Sequence[str],
    ) -> Sequence[CollectionReader]:
        """The readers without those with the addresses `without`, with the users' ids in place of their addresses.
        Raises InvalidRequest."""
        addresses = [*(reader.email for reader in readers if reader.email), *without]
        if not addresses:
            return readers
        parameters = {**values, "addresses": addresses}
        rows = await (await connection.execute(self._queries["with_addresses"], parameters)).fetchall()
        known: dict[str, UUID] = dict(rows)
        fields = {f"collection.readers[{index}].email": reader.email for index, reader in enumerate(readers)}
        fields |= {f"removed_emails[{index}]": address for index, address in enumerate(without)}
        for field, address in fields.items():
            if address and address not in known:
                remedy = "is unknown: nobody in this tenant has this address; check the spelling"
                raise InvalidRequest.of_field(field, "readers.user", remedy)
        named = (CollectionReader(known[reader.email]) if reader.email else reader for reader in readers)
        removed = {CollectionReader(known[address]) for address in without}
        return tuple(reader for reader in dict.fromkeys(named) if reader not in removed)

    @shielded
    async def get(self, reader: Reader, collection_id: str) -> Collection:
        """Return one collection. Administrators get any; otherwise only readers get it. Counts its documents."""
        async with self._database.reading(reader) as connection:
            named = await visible_collection(connection, collection_id)
            return await self._get(connection, reader.tenant_id, named.key)

    @shielded
    async def owner(self, reader: Reader, collection_id: str) -> UUID:
        """Return the owner of a collection that `get` returns."""
        async with self._database.by_key(reader, one_write=True) as connection:
            return (await visible_collection(connection, collection_id)).owner_id

    @shielded
    async def require(self, reader: Reader, collection_ids: Sequence[str]) -> None:
        """Raise NotFound for the first collection that does not exist or whose content the reader may not read."""
        async with self._database.reading(reader) as connection:
            cursor = await connection.execute(self._queries["unreadable"], {"names": list(collection_ids)})
            row = await cursor.fetchone()
        if row is not None:
            raise NotFound.of("collection", names.collection(row[0]))

    @shielded
    async def list(self, reader: Reader, query: ListQuery) -> Page[Collection]:
        """Return a page of the collections that `get` returns."""
        async with self._database.reading(reader) as connection:
            values = {"tenant": reader.tenant_id}
            return await _LIST.read(connection, self._queries["list"], query, values, _collection)

    @shielded
    async def update(
        self,
        reader: Reader,
        collection_id: str,
        changes: CollectionFields,
        *,
        etag: str,
        audit: AuditEvent | None = None,
        validate_only: bool = False,
    ) -> Collection:
        """Update a collection, and write the audit event, in one transaction, which validate_only undoes at its end.
        Raises NotPermitted unless `reader` is its owner or an administrator, Conflict ETAG_MISMATCH if the given etag is
        not "" and differs from the collection's etag, and InvalidRequest (a reader that is not a user of the tenant).
        """
        synonyms = changes.synonyms
        async with (
            self._database.reading(reader) as connection,
            connection.transaction(force_rollback=validate_only),
        ):
            named = await own_collection(connection, reader, collection_id)
            await self._lock(connection, reader.tenant_id, named, etag)
            if changes.readers:
                current = await self._get(connection, reader.tenant_id, named.key)
                require_private(current.conversation_id, changes.readers)
            if changes != CollectionFields():
                digest = hashlib.sha256(synonyms.encode()).digest() if synonyms else b""
                values = {
                    "tenant": reader.tenant_id,
                    "id": named.key,
                    "owner": named.owner_id,
                    **changes.columns,
                    "synonyms_sha256": None if synonyms is None else digest,
                }
                await connection.execute(self._queries["update"], values)
                if changes.readers is not None:
                    added, removed = await self._share(connection, values, changes.readers, changes.without)
                    if audit is not None:
                        audit = replace(audit, added_readers=added, removed_readers=removed)
                await self._audit.write(connection, audit)
            await act_as(connection, reader)
            return await self._get(connection, reader.tenant_id, named.key)

    @shielded
    async def delete(
        self,
        reader: Reader,
        collection_id: str,
        etag: str,
        *,
        force: bool,
        audit: AuditEvent | None = None,
        owner_id: UUID | None = None,
    ) -> Sequence[UUID]:
        """Delete a collection with its documents in one transaction, which also writes the audit event. Return the
        operations that the deletion ended.

        owner_id: the owner of the collection that the caller has checked; None if it has checked none. Raises NotFound
        if the name now means the collection of another owner, NotPermitted unless `reader` is its owner or an
        administrator, Conflict (ETAG_MISMATCH, RESOURCE_LOCKED), and Precondition COLLECTION_NOT_EMPTY if the
        collection holds documents and force is False.
        """
        tenant_id = reader.tenant_id
        async with self._database.deleting(reader, names.collection(collection_id)) as connection:
            named = await own_collection(connection, reader, collection_id)
            if owner_id not in (None, named.owner_id):
                raise NotFound.of("collection", names.collection(collection_id))
            values: dict[str, object] = {"tenant": tenant_id, "id": named.key}
            # Take locks in the order that every writer uses: collection, document, operations, statistics.
            await self._lock(connection, tenant_id, named, etag)
            documents = await (await connection.execute(self._queries["lock_documents"], values)).fetchall()
            if documents and not force:
                name = names.collection(named.shown)
                raise Precondition(
                    Reason.COLLECTION_NOT_EMPTY,
                    f"{name} holds {counted(len(documents), 'document')}; delete its documents first, or set force.",
                    {"collection": name, "documents": str(len(documents))},
                )
            operations = await self.delete_locked(
                connection, tenant_id, named.key, [row[0] for row in documents]
            )
            await self._audit.write(connection, audit)
            return operations

    async def delete_files_of(self, connection: Connection, tenant_id: str, conversation_id: UUID) -> None:
        """Delete the files of a conversation that this transaction has locked."""
        values: dict[str, object] = {"tenant": tenant_id, "conversation": conversation_id}
        locked = await (await connection.execute(self._queries["files_of_conversation"], values)).fetchone()
        if locked is not None:
            values["id"] = locked[0]
            documents = await (await connection.execute(self._queries["lock_documents"], values)).fetchall()
            await self.delete_locked(connection, tenant_id, locked[0], [row[0] for row in documents])

    async def delete_locked(
        self, connection: Connection, tenant_id: str, key: str, documents: Sequence[UUID]
    ) -> Sequence[UUID]:
        """Delete a collection that this transaction has locked, and its documents, which it has locked too. key: the
        collection's id in the database. Returns the operations that the deletion ended.
        """
        values: dict[str, object] = {"tenant": tenant_id, "id": key}
        ended = await connection.execute(
            self._queries["end_operations"],
            {
                **values,
                "documents": list(documents),
                "error_reason": Reason.OPERATION_CANCELLED.value,
                "error_message": "The collection was deleted before the operation ended.",
            },
        )
        operations = [row[0] for row in await ended.fetchall()]
        await self._passages.delete_collection(connection, tenant_id, key)
        await connection.execute(self._queries["delete_documents"], values)
        for query in ("keep_readers", "delete"):
            await connection.execute(self._queries[query], values)
        if self._pruning is not None:
            for document_id in documents:
                await self._pruning.defer(connection, JobKind.PRUNE, tenant_id, document_id)
        return operations

    async def _lock(self, connection: Connection, tenant_id: str, named: NamedCollection, etag: str) -> None:
        values = {"tenant": tenant_id, "id": named.key}
        row = await (await connection.execute(self._queries["lock"], values)).fetchone()
        name = names.collection(named.shown)
        if row is None:
            raise NotFound.of("collection", name)
        check_etag(etag, names.etag(row[0], row[1]), name)

    async def _get(self, connection: Connection, tenant_id: str, key: str) -> Collection:
        row = await one_row(connection, self._queries["get"], {"tenant": tenant_id, "id": key})
        if row is None:
            raise NotFound.of("collection", names.collection(key))
        return _collection(row)


def require_private(conversation_id: UUID | None, readers: Sequence[CollectionReader] | None) -> None:
    """Raises InvalidRequest if these are readers of the files of a conversation."""
    if conversation_id is not None and readers:
        raise InvalidRequest.of_field(
            "collection.readers",
            "readers.conversation",
            "must be empty, because the files of a conversation are for its owner alone; "
            "upload the file to a collection of yours, and share that",
        )


def new_key(slug: str) -> str:
    """A new id for a collection that its owner calls `slug`. Its end is random, so that it shows nothing about other collections."""
    return f"{slug[:54]}-{secrets.token_hex(4)}"


def _text_of(reader: CollectionReader) -> str:
    if reader.email:
        return reader.email
    if reader.group_id:
        return names.group(reader.group_id)
    return names.user(reader.user_id) if reader.user_id else reader.role.value if reader.role else "*"


def _reader(written: str, display_name: str) -> CollectionReader:
    """See `readers` in the query `get`."""
    if not written:
        return EVERYONE
    if written.startswith("users/"):
        return CollectionReader(names.parse_uuid("users", written), display_name=display_name)
    if written.startswith("groups/"):
        return CollectionReader(group_id=names.parse_uuid("groups", written), display_name=display_name)
    return CollectionReader(role=Role(written))


def _collection(row: Mapping[str, Any]) -> Collection:
    return build(
        Collection,
        row,
        chunking=Chunking(row["max_tokens"], row["overlap_tokens"]),
        etag=names.etag(row["create_time"], row["revision"]),
        readers=tuple(_reader(*cells) for cells in row["readers"] or ()),
    )
