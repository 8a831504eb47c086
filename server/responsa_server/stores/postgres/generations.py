"""Generations in PostgreSQL: the calls of users, and the writes of the worker that builds a generation.

The operation's row is the fence, as in operations.py. The row of the collection's statistics is locked while a
generation becomes active and while a version is published, so a published version always has vectors in the active
generation.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID, uuid4

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound, Precondition, Reason, ResponsaError
from responsa_server.domain.events import ByteRange
from responsa_server.domain.generations import (
    MAX_GENERATIONS,
    Generation,
    GenerationState,
    GenerationTask,
    UnembeddedPassage,
)
from responsa_server.domain.knowledge import IngestStage, JobKind, Operation
from responsa_server.domain.passages import (
    BUILT,
    IndexingAttempt,
    OutlinedHeading,
    Passage,
    PassagePiece,
    PassageVectors,
    VectorKind,
    VectorStore,
    generation_name,
)
from responsa_server.domain.people import AuditEvent, Principal, Reader, Server
from responsa_server.domain.rows import build
from responsa_server.domain.turns import NewId
from responsa_server.stores.postgres import operations
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
    uuid_array,
)
from responsa_server.stores.postgres.generation_table import FIRST_TABLE, GenerationTable
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.passages import PassageTable
from responsa_server.stores.postgres.readers import (
    NamedCollection,
    act_as,
    own_collection,
    visible_collection,
)
from responsa_server.stores.postgres.requests import CreationRequests
from responsa_server.stores.postgres.rows import all_rows, one_row

_MOST_DISCARDED: Final = 10_000
# How many passages a `VectorStore` is asked about at once.
_MOST_ASKED: Final = 256
_MOST_ROUNDS: Final = 256


class GenerationStore:
    """Generations of a tenant's collections. Methods raise NotFound for an unknown collection or generation. Those that
    change something raise NotPermitted unless the caller is the collection's owner or an administrator. Each call is for one
    tenant."""

    def __init__(self, database: Database, queue: JobQueue, new_id: NewId) -> None:
        self._database = database
        self._queue = queue
        self._new_id = new_id
        self._table = GenerationTable(queue)
        self._queries = Queries("generations.sql")
        self._audit = AuditLog()
        self._operations = Queries("operations.sql")
        self._requests = CreationRequests()

    @shielded
    async def list(self, reader: Reader, collection_id: str) -> Sequence[Generation]:
        """Return all generations of a collection, newest first. There is always exactly one that is ACTIVE."""
        async with self._database.reading(reader) as connection:
            named = await self._resolve(connection, reader, collection_id)
            return await self._require(connection, reader.tenant_id, named, None)

    @shielded
    async def find(
        self, reader: Reader, collection_ids: Sequence[str]
    ) -> Mapping[tuple[str, int], Generation]:
        """Return the generations of the existing collections with these ids, by collection and number."""
        generations: list[Generation] = []
        async with self._database.reading(reader) as connection:
            for collection_id in collection_ids:
                with contextlib.suppress(NotFound):
                    await act_as(connection, reader)
                    named = await self._resolve(connection, reader, collection_id)
                    generations += await self._read(connection, reader.tenant_id, named, None)
        return {(generation.collection_id, generation.number): generation for generation in generations}

    @shielded
    async def build(
        self,
        caller: Principal,
        collection_id: str,
        embedding: str,
        dimensions: int,
        *,
        activate: bool,
        request_id: UUID | None,
    ) -> Operation:
        """Create a generation, and enqueue the job that builds it. Failed generations are removed. Raises Precondition
        REINDEX_RUNNING and GENERATION_STATE (the collection has MAX_GENERATIONS generations), AlreadyExists
        REQUEST_ID_REUSED.
        """
        body = {"collection": collection_id, "embedding": embedding, "activate": str(activate)}
        async with self._database.reading(caller) as connection:
            earlier = await self._requests.claim(connection, caller, request_id, "generation", body)
            if earlier is not None:
                return await operations.find_named(self._operations, connection, caller.tenant_id, earlier)
            named = await own_collection(connection, caller, collection_id)
            values: dict[str, object] = {"tenant": caller.tenant_id, "collection": named.key}
            await self._lock(connection, values, named)
            for name in ("keep_active", "forget_failed"):
                await connection.execute(self._queries[name], values)
            # Raise Precondition if the collection can have no other generation.
            generations = await self._require(connection, caller.tenant_id, named, None)
            if len(generations) >= MAX_GENERATIONS:
                oldest = next(old for old in reversed(generations) if old.state is not GenerationState.ACTIVE)
                what = f"the collection has {len(generations)} generations, the maximum; delete this or another one"
                raise _not_allowed(oldest, what)
            row = await (await connection.execute(self._queries["next_number"], values)).fetchone()
            assert row is not None, "the row is locked"
            values |= {
                "number": row[0],
                "generation": self._new_id(),
                "embedding": embedding,
                "dimensions": dimensions,
                "activate": activate,
            }
            await connection.execute(self._queries["insert_generation"], values)
            return replace(
                await self._begin(connection, caller, values, request_id), collection_id=named.shown
            )

    @shielded
    async def activate(
        self, caller: Principal, collection_id: str, number: int, *, request_id: UUID | None
    ) -> Operation:
        """Enqueue the job that completes a generation and makes it active. If it is active already, the operation has
        ended. Raises Precondition REINDEX_RUNNING, GENERATION_STATE (failed), AlreadyExists REQUEST_ID_REUSED.
        """
        body = {"generation": names.generation(collection_id, number)}
        async with self._database.reading(caller) as connection:
            earlier = await self._requests.claim(connection, caller, request_id, "activation", body)
            if earlier is not None:
                return await operations.find_named(self._operations, connection, caller.tenant_id, earlier)
            named = await own_collection(connection, caller, collection_id)
            values: dict[str, object] = {
                "tenant": caller.tenant_id,
                "collection": named.key,
                "number": number,
            }
            await self._lock(connection, values, named)
            [generation] = await self._require(connection, caller.tenant_id, named, number)
            if generation.state is GenerationState.ACTIVE:
                begun = await self._begin(connection, caller, values, request_id, stage=IngestStage.DONE)
                return replace(begun, collection_id=named.shown)
            again = await connection.execute(self._queries["build_again"], values)
            if await again.fetchone() is None:
                raise _not_allowed(
                    generation, "only a complete generation can be activated; call ReindexCollection"
                )
            return replace(
                await self._begin(connection, caller, values, request_id), collection_id=named.shown
            )

    @shielded
    async def delete(
        self, reader: Reader, collection_id: str, number: int, audit: AuditEvent | None = None
    ) -> None:
        """Delete a generation, enqueue the job that deletes its vectors, and write the audit event. Raises Precondition
        GENERATION_STATE (active or building)."""
        tenant_id = reader.tenant_id
        async with self._database.deleting(reader, names.generation(collection_id, number)) as connection:
            named = await own_collection(connection, reader, collection_id)
            values: dict[str, object] = {"tenant": tenant_id, "collection": named.key, "number": number}
            await connection.execute(self._queries["lock_collection"], values)
            [generation] = await self._require(connection, tenant_id, named, number)
            if generation.state is GenerationState.ACTIVE:
                raise _not_allowed(generation, "activate another generation first")
            if generation.state is GenerationState.BUILDING:
                raise _not_allowed(
                    generation,
                    "cancel the operation that is building it, or wait until the operation finishes",
                )
            row = await (await connection.execute(self._queries["delete_generation"], values)).fetchone()
            assert row is not None, "the collection is locked"
            if generation.state is not GenerationState.FAILED:
                await self._table.discard(connection, tenant_id, row[0])
            await self._audit.write(connection, audit)

    async def _resolve(self, connection: Connection, reader: Reader, collection_id: str) -> NamedCollection:
        """The collection that the reader means. From here on, the transaction sees all of the tenant. Raises NotFound."""
        named = await visible_collection(connection, collection_id)
        await act_as(connection, Server(reader.tenant_id))
        return named

    async def _lock(
        self, connection: Connection, values: Mapping[str, object], named: NamedCollection
    ) -> None:
        """Lock the collection. Raises NotFound, and Precondition if an operation builds or activates one of its generations."""
        name = names.collection(named.shown)
        locked = await connection.execute(self._queries["lock_collection"], values)
        if await locked.fetchone() is None:
            raise NotFound.of("collection", name)
        any_number = {**values, "number": None}
        running = await (await connection.execute(self._queries["running"], any_number)).fetchone()
        if running is not None:
            operation = names.operation(running[0])
            raise Precondition(
                Reason.REINDEX_RUNNING,
                f"{operation} is already building or activating a generation of {name}; wait until it finishes, or cancel it.",
                {"collection": name, "operation": operation},
            )

    async def _begin(
        self,
        connection: Connection,
        caller: Principal,
        values: Mapping[str, object],
        request_id: UUID | None,
        *,
        stage: IngestStage = IngestStage.QUEUED,
    ) -> Operation:
        """Create the operation and, unless it has ended already, its job."""
        parameters = {**values, "id": self._new_id(), "user": caller.user_id, "stage": stage.value}
        row = await one_row(connection, self._queries["insert_operation"], parameters)
        assert row is not None, "INSERT … RETURNING always returns a row"
        operation = operations.from_row(row)
        await connection.execute(self._operations["forget"], {"tenant": caller.tenant_id})
        if not operation.done:
            await self._queue.defer(connection, JobKind.REINDEX, caller.tenant_id, operation.id)
        await self._requests.record(connection, caller, request_id, names.operation(operation.id))
        return operation

    async def _require(
        self, connection: Connection, tenant_id: str, named: NamedCollection, number: int | None
    ) -> Sequence[Generation]:
        """The collection's generations, or the one with this number. Raises NotFound."""
        generations = await self._read(connection, tenant_id, named, number)
        if not generations:
            if number is None:
                raise NotFound.of("collection", names.collection(named.shown))
            raise NotFound.of("generation", names.generation(named.shown, number))
        return generations

    async def _read(
        self, connection: Connection, tenant_id: str, named: NamedCollection, number: int | None
    ) -> Sequence[Generation]:
        values = {"tenant": tenant_id, "collections": [named.key], "number": number}
        rows = await all_rows(connection, self._queries["generations"], values)
        return [build(Generation, row, collection_id=named.shown) for row in rows]


@dataclass(slots=True)
class _Round:
    """A look at passages with the question whether a `VectorStore` has their vectors. time: when it began; every
    version that was published before is looked at, because the publication had ended.
    since: only documents that changed after this time are looked at, because the round before looked at the others.
    after: the last passage up to which no vectors are missing.
    """

    time: datetime
    since: datetime | None = None
    after: UUID | None = None


class GenerationBuildStore:
    """A worker's interface to the generation that it builds. Methods that take a task raise OwnershipLost, and write
    nothing, once the operation has ended or another worker has claimed it. Statements run as the role responsa_app,
    with the job's tenant set.

    If a `VectorStore` holds the vectors, it is asked which passages lack them, in rounds: the first over all passages,
    each later one over the documents that changed during the one before. Vectors are put while their passages are
    locked against deletion. This process remembers how far a round is; another one begins with the first round, which
    then finds most vectors.
    """

    def __init__(self, database: Database, queue: JobQueue, vectors: VectorStore | None = None) -> None:
        """vectors: the store of the vectors of passages; None if they are in the database."""
        self._vectors = vectors
        self._rounds: dict[UUID, _Round] = {}
        self._database = database
        self._passages = PassageTable()
        self._table = GenerationTable(queue)
        self._queries = Queries("generations.sql")
        self._operations = Queries("operations.sql")

    @shielded
    async def begin(self, tenant_id: str, operation_id: UUID) -> GenerationTask | None:
        """Claim an operation under its next epoch. What earlier attempts stored is kept. Return None if no work is left."""
        values: dict[str, object] = {"tenant": tenant_id, "id": operation_id}
        async with self._database.tenant(tenant_id) as connection:
            claimed = await (await connection.execute(self._queries["claim"], values)).fetchone()
            if claimed is None:
                self._rounds.pop(operation_id, None)
                return None
            collection_id, number, epoch, rate_time = claimed
            values |= {"collection": collection_id, "number": number}
            row = await (await connection.execute(self._queries["task"], values)).fetchone()
            assert row is not None, "a generation stays in the state building while its operation runs"
            generation, embedding, activate = row
            values |= {"generation": generation, "rate_time": rate_time}
            await self._passages.take_time(connection)
            name = "count_passages" if epoch == 1 and self._vectors is None else "total_passages"
            counted = await (await connection.execute(self._queries[name], values)).fetchone()
        done = 0 if counted is None else counted[0]
        return GenerationTask(
            tenant_id, operation_id, epoch, collection_id, number, generation, embedding, activate, done
        )

    @shielded
    async def is_running(self, tenant_id: str, operation_id: UUID) -> bool:
        """Return whether the operation has not ended."""
        try:
            async with self._database.tenant(tenant_id) as connection:
                return not (await operations.find(self._operations, connection, tenant_id, operation_id)).done
        except NotFound:
            return False

    @shielded
    async def active(self, tenant_id: str) -> Sequence[GenerationTask]:
        """Return the active generation of each of the tenant's collections, as a task for `missing` and `refill` alone."""
        async with self._database.tenant(tenant_id) as connection:
            rows = await connection.execute(self._queries["embeddings"], {"tenant": tenant_id})
            return [
                GenerationTask(
                    tenant_id, uuid4(), 0, id_, 0, generation, model, activate=False, passages_done=0
                )
                async for id_, model, generation in rows
            ]

    @shielded
    async def missing(
        self, task: GenerationTask, after: UUID | None, limit: int, *, seconds: float = math.inf
    ) -> Sequence[UnembeddedPassage]:
        """Return passages that searches can find and that lack vectors in the generation, ordered by id. after: the id
        of the last passage of the previous page. seconds: after this time, none is returned while a `VectorStore` lacks
        none of those that were looked at; the next call goes on.
        """
        if self._vectors is not None:
            return await self._missing_outside(self._vectors, task, after, limit, time.monotonic() + seconds)
        name = "missing_in_first" if task.generation_id is None else "missing"
        async with self._database.tenant(task.tenant_id) as connection:
            await self._passages.take_time(connection)
            values = {**_values(task), "after": after, "limit": limit}
            rows = await (await connection.execute(self._queries[name], values)).fetchall()
        return await self._to_embed(task, [id_ for (id_,) in rows])

    async def _missing_outside(
        self, vectors: VectorStore, task: GenerationTask, after: UUID | None, limit: int, until: float
    ) -> Sequence[UnembeddedPassage]:
        round_ = self._rounds.get(task.operation_id)
        if round_ is None:
            if len(self._rounds) >= _MOST_ROUNDS:  # other processes have ended the operations of most
                del self._rounds[next(iter(self._rounds))]
            round_ = self._rounds[task.operation_id] = _Round(await self._settle(task))
        round_.after = after or round_.after
        generation = generation_name(task.collection_id, task.generation_id)
        while ids := await self._live(task, round_):
            lacking = await vectors.lacking(task.tenant_id, task.embedding, generation, ids)
            rows = await self._to_embed(task, lacking[:limit])
            if rows:  # otherwise none is missing, or they were deleted meanwhile
                pieces = await vectors.pieces(
                    Server(task.tenant_id), [row.passage.id for row in rows if not row.pieces], None
                )
                return [replace(row, pieces=row.pieces or pieces.get(row.passage.id, ())) for row in rows]
            round_.after = lacking[limit - 1] if len(lacking) > limit else ids[-1]
            if time.monotonic() >= until:
                return ()  # `complete` does not take the round for ended
        self._rounds[task.operation_id] = _Round(await self._settle(task), since=round_.time)
        return ()

    async def _settle(self, task: GenerationTask) -> datetime:
        """The present time, when no transaction that publishes in the collection is open."""
        async with self._database.tenant(task.tenant_id) as connection:
            # The statistics of a collection that is gone would stay for ever.
            held = await connection.execute(self._queries["hold_collection"], _values(task))
            if await held.fetchone() is not None:
                await self._passages.lock_statistics(connection, task.tenant_id, task.collection_id)
            row = await (await connection.execute(self._queries["time"])).fetchone()
            assert row is not None, "a SELECT without FROM returns a row"
            return row[0]

    async def _live(self, task: GenerationTask, round_: _Round) -> Sequence[UUID]:
        values = {**_values(task), "after": round_.after, "since": round_.since, "limit": _MOST_ASKED}
        async with self._database.tenant(task.tenant_id) as connection:
            await self._passages.take_time(connection)
            cursor = await connection.execute(self._queries["live"], values)
            return [id_ for (id_,) in await cursor.fetchall()]

    async def _to_embed(self, task: GenerationTask, ids: Sequence[UUID]) -> Sequence[UnembeddedPassage]:
        if not ids:
            return ()
        values = {**_values(task), "ids": uuid_array(ids)}
        async with self._database.tenant(task.tenant_id) as connection:
            rows = await (await connection.execute(self._queries["unembedded"], values)).fetchall()
            stored = await connection.execute(self._queries["stored_pieces"], values)
            pieces: dict[UUID, list[PassagePiece]] = {}
            for passage_id, kind, start, end in await stored.fetchall():
                piece = PassagePiece(VectorKind(kind), ByteRange(start, end), None)
                pieces.setdefault(passage_id, []).append(piece)
        return [
            UnembeddedPassage(
                Passage(
                    id_,
                    task.collection_id,
                    document,
                    version,
                    title,
                    uri,
                    ByteRange(start, end),
                    text,
                    tuple(headings),
                    outline=tuple(OutlinedHeading(*heading) for heading in outline or ()),
                    name=name,
                ),
                language,
                bytes(header or b"").decode(),
                pieces.get(id_, ()),
            )
            for id_, document, version, title, uri, start, end, text, headings, outline, name, language, header in rows
        ]

    @shielded
    async def write(
        self, task: GenerationTask, passages: Sequence[PassageVectors], *, since: int, seconds: float
    ) -> None:
        """Store the vectors of passages, and the progress. Passages that were deleted in the meantime are left out.
        since: the number of passages that had vectors `seconds` ago; the rate of the work is measured from then.
        """
        async with (
            self._database.outside(self._vectors),
            self._database.tenant(task.tenant_id) as connection,
        ):
            await operations.hold(self._operations, connection, _values(task))
            ids = uuid_array([passage.passage_id for passage in passages])
            held = await connection.execute(self._queries["hold_passages"], {**_values(task), "ids": ids})
            there = {id_: version for id_, *version in await held.fetchall()}
            live = [passage for passage in passages if passage.passage_id in there]
            if self._vectors is None:
                await self._passages.write_vectors(
                    connection, task.tenant_id, task.collection_id, live, task.generation_id
                )
            else:
                await self._vectors.put(_by_version(task, live, there), published=True)
            progress = {**_values(task), "count": len(live), "since": since, "seconds": seconds}
            await connection.execute(self._queries["progress"], progress)

    @shielded
    async def complete(self, task: GenerationTask) -> bool:
        """If no passage lacks vectors, end the operation, and make the generation active or READY, in one transaction.
        Return False, and change nothing, if a passage lacks vectors.
        """
        values = {**_values(task), "after": None, "limit": 1}
        async with self._database.tenant(task.tenant_id) as connection:
            await self._passages.take_time(connection)
            # Locks are taken in the order that every writer uses: collection, operation, statistics.
            await connection.execute(self._queries["lock_collection"], values)
            await operations.hold(self._operations, connection, _values(task))
            await self._passages.lock_statistics(connection, task.tenant_id, task.collection_id)
            if self._vectors is not None:
                looked = self._rounds.get(task.operation_id)
                if looked is None or looked.since is None:
                    return False  # the first round has not ended
                name, values["since"] = "changed", looked.since
            else:
                name = "missing_in_first" if task.generation_id is None else "missing"
            if await (await connection.execute(self._queries[name], values)).fetchone() is not None:
                return False
            if task.activate:
                await connection.execute(self._queries["retire_active"], values)
            await connection.execute(self._queries["completed"], values)
            if task.activate:
                await connection.execute(self._queries["switch"], values)
            await connection.execute(self._queries["end_operation"], values)
        self._rounds.pop(task.operation_id, None)
        return True

    @shielded
    async def refill(self, task: GenerationTask, passages: Sequence[PassageVectors]) -> bool:
        """Put the vectors of passages in the place of those that they have in a collection's active generation. Return
        False, and put nothing, if that is another one by now. Passages that were deleted in the meantime are left out.
        """
        values = {**_values(task), "ids": uuid_array([passage.passage_id for passage in passages])}
        async with (
            self._database.outside(self._vectors),
            self._database.tenant(task.tenant_id) as connection,
        ):
            held = await (await connection.execute(self._queries["hold_active"], values)).fetchone()
            if held is None:
                return False
            rows = await (await connection.execute(self._queries["hold_passages"], values)).fetchall()
            there = {id_: version for id_, *version in rows}
            live = [passage for passage in passages if passage.passage_id in there]
            if self._vectors is not None:
                await self._vectors.put(_by_version(task, live, there), published=True)
            else:
                # What is kept in memory is read again.
                await self._passages.lock_statistics(connection, task.tenant_id, task.collection_id)
                await connection.execute(self._queries["remove_vectors"], values)
                await self._passages.write_vectors(
                    connection, task.tenant_id, task.collection_id, live, task.generation_id
                )
            return True

    @shielded
    async def fail(self, tenant_id: str, operation_id: UUID, error: ResponsaError) -> None:
        """End the operation with an error. A generation that was never complete becomes FAILED, and a job deletes its
        vectors; any other keeps its vectors and its former state. Does nothing if the operation has ended.
        """
        self._rounds.pop(operation_id, None)
        async with self._database.tenant(tenant_id) as connection:
            try:
                operation = await operations.find(self._operations, connection, tenant_id, operation_id)
            except NotFound:
                return
            await self._table.end(connection, operation, operations.error_columns(error), failed=True)

    @shielded
    async def discard(self, tenant_id: str, generation_id: UUID) -> bool:
        """Delete some of the vectors under this id if no generation keeps them, and return whether more may be left.
        The id 0 means vectors in the first table of collections that keep no generation there.
        """
        values = {"tenant": tenant_id, "generation": generation_id, "most": _MOST_DISCARDED}
        first = generation_id == FIRST_TABLE
        name = "discard_first_vectors" if first else "discard_vectors"
        async with self._database.tenant(tenant_id) as connection:
            await self._passages.take_time(connection)
            if (await connection.execute(self._queries[name], values)).rowcount == _MOST_DISCARDED:
                return True
        if self._vectors is not None:
            async with self._database.tenant(tenant_id) as connection:
                name = "discarded_first" if first else "discarded"
                rows = await (await connection.execute(self._queries[name], values)).fetchall()
            for (generation,) in rows:
                await self._vectors.drop_generation(tenant_id, generation)
        return False


def _by_version(
    task: GenerationTask, passages: Sequence[PassageVectors], versions: Mapping[UUID, Sequence[Any]]
) -> Mapping[IndexingAttempt, Sequence[PassageVectors]]:
    """versions: the document and the version of each passage."""
    by_attempt: dict[IndexingAttempt, list[PassageVectors]] = {}
    generation = generation_name(task.collection_id, task.generation_id)
    for passage in passages:
        document_id, version = versions[passage.passage_id]
        attempt = IndexingAttempt(
            task.tenant_id, task.collection_id, document_id, version, BUILT, task.embedding, generation
        )
        by_attempt.setdefault(attempt, []).append(passage)
    return by_attempt


def _values(task: GenerationTask) -> dict[str, object]:
    return {
        "tenant": task.tenant_id,
        "id": task.operation_id,
        "epoch": task.epoch,
        "collection": task.collection_id,
        "number": task.number,
        "generation": task.generation_id,
    }


def _not_allowed(generation: Generation, remedy: str) -> Precondition:
    name = names.generation(generation.collection_id, generation.number)
    return Precondition(
        Reason.GENERATION_STATE,
        f"{name} is {generation.state.value}: {remedy}.",
        {"generation": name, "state": generation.state.value},
    )
