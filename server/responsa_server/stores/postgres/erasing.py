"""The erasing of users in PostgreSQL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from psycopg import errors
from psycopg.types.json import Jsonb

from responsa_server.domain import names
from responsa_server.domain.errors import InvalidRequest, NotFound, Precondition, Reason
from responsa_server.domain.formatting import counted
from responsa_server.domain.knowledge import JobKind
from responsa_server.domain.notifications import MailKind
from responsa_server.domain.people import (
    HEAD_START_SECONDS,
    AuditEvent,
    ErasedKind,
    EraseStage,
    Erasure,
    Principal,
    Role,
    for_turn,
)
from responsa_server.domain.turns import FrameCodec, TurnState
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.collections import CollectionStore
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    shielded,
)
from responsa_server.stores.postgres.documents import DocumentStore
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.mail import Outbox
from responsa_server.stores.postgres.rows import (
    one_row,
)
from responsa_server.stores.postgres.users import check_owner, lock_user

NOTICE: Final = "This answer was withdrawn, because a document that it used was erased."
"""The text that stands for a withdrawn answer."""

_CONVERSATIONS: Final = Queries("conversations.sql")
_NOBODY: Final = names.user(UUID(int=0))
"""A subject that no user has."""

# The number of conversations, documents or collections that one look at the database finds, and of turns that one statement reads.
_BATCH: Final = 100
_TURNS: Final = 500
# A large document or conversation takes a while.
_STEP_SECONDS: Final = 30


class PostgresErasing:
    """The store of erasings. Each method can be repeated, also after a process was killed in the middle of it, and by
    several processes at the same time: the counts are written in the transaction of each deletion. All methods raise
    Unavailable if the store cannot be reached.
    """

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        codec: FrameCodec,
        collections: CollectionStore,
        documents: DocumentStore,
        outbox: Outbox | None = None,
    ) -> None:
        """outbox: for notices to users who receive collections; None if the server sends no mails."""
        self._outbox = outbox
        self._database = database
        self._queue = queue
        self._codec = codec
        self._collections = collections
        self._documents = documents
        self._queries = Queries("erasing.sql")
        self._audit = AuditLog()

    @shielded
    async def begin(self, caller: Principal, user_id: UUID, heir: UUID | str | None, etag: str) -> Erasure:
        """Begin to erase a user, or return the erasing that has begun. From here on, no credential of the user is
        valid, and the user has neither a name nor an address. A job continues if this process is lost. heir: the user,
        or the user's folded e-mail address. If the user asks for it, the heir must be an administrator, or be able to
        read all collections that change hands.

        The heir owns the collections that others can read, or that hold documents of others, when this returns.

        Raises NotFound, NotPermitted (the user is an owner, and the caller is not), Conflict (ETAG_MISMATCH),
        Precondition (LAST_ADMINISTRATOR, LAST_OWNER; COLLECTION_NOT_EMPTY without an heir, if a collection holds
        documents of others), and InvalidRequest (the heir is not another active user of the tenant, or may not get the
        collections).
        """
        tenant_id, own = caller.tenant_id, caller.user_id == user_id
        audit = AuditEvent.of_call(caller, names.user(user_id))
        values: dict[str, object] = {"tenant": tenant_id, "user": user_id, "heir": None}
        async with self._database.locking(tenant_id, _STEP_SECONDS) as connection:
            begun = await self._find(connection, values)
            if begun is not None:
                return begun
            try:
                user = await lock_user(connection, tenant_id, user_id, etag, leaves=True)
            except NotFound:
                # Another call may have begun and ended since the look before.
                begun = await self._find(connection, values)
                if begun is None:
                    raise
                return begun
            check_owner(user, by_owner=caller.owner)
            if heir is None:
                await self._check_alone(connection, values)
            else:
                values.update(await self._lock_heir(connection, values, heir, own=own))
            if await self._row(connection, "begin", values) is not None:
                await self._hand_over(connection, values, audit, own=own)
                for query in ("delete_mails", "delete_invitations_to"):
                    await self._count(connection, values, await self._row(connection, query, values))
                await connection.execute(self._queries["withdraw_name"], values)
                await connection.execute(self._queries["revoke_keys"], values)
                await self._count(
                    connection, values, await self._row(connection, "delete_credentials", values)
                )
                await self._queue.defer(
                    connection, JobKind.ERASE, tenant_id, user_id, after=HEAD_START_SECONDS
                )
                await self._audit.write(connection, audit)
            erasure = await self._find(connection, values)
        assert erasure is not None, "the row was inserted, or was there before"
        return erasure

    async def _lock_heir(
        self, connection: Connection, values: Mapping[str, object], heir: UUID | str, *, own: bool
    ) -> Mapping[str, object]:
        """Lock the heir's row, and return the heir's id and role. Raises InvalidRequest."""
        id_and_address = (heir, "") if isinstance(heir, UUID) else (None, heir)
        named = dict(zip(("heir", "heir_address"), id_and_address, strict=True))
        row = await self._row(connection, "lock_heir", {**values, **named})
        if row is None:
            raise _no_heir(own=own)
        return {"heir": row["id"], "heir_role": row["role"]}

    @shielded
    async def find(self, tenant_id: str, user_id: UUID) -> Erasure | None:
        async with self._database.tenant(tenant_id) as connection:
            return await self._find(connection, {"tenant": tenant_id, "user": user_id})

    @shielded
    async def stage(self, tenant_id: str, user_id: UUID) -> EraseStage | None:
        """Return how far an erasing is; None if none has begun."""
        async with self._database.tenant(tenant_id) as connection:
            row = await self._row(connection, "find", {"tenant": tenant_id, "user": user_id})
        return None if row is None else EraseStage(row["sweep_time"] is not None, row["end_time"] is not None)

    @shielded
    async def open_turns(self, tenant_id: str, user_id: UUID) -> Sequence[tuple[Principal, UUID]]:
        """Return the turns of the user that have not ended, each with the principal for whom it runs."""
        async with self._database.tenant(tenant_id) as connection:
            cursor = await connection.execute(
                self._queries["open_turns"], {"tenant": tenant_id, "user": user_id}
            )
            rows = await cursor.fetchall()
        return [(for_turn(tenant_id, user, role), turn) for turn, user, role in rows]

    @shielded
    async def erase_conversations(self, tenant_id: str, user_id: UUID) -> None:
        """Erase the user's conversations, except those with a turn that has not ended."""
        values = {"tenant": tenant_id, "user": user_id, "most": _BATCH}
        while ids := await self._ids("conversations", values):
            erased = [await self._erase_conversation({**values, "conversation": id_}) for id_ in ids]
            if not any(erased):  # all of them are busy again
                return

    async def _erase_conversation(self, values: Mapping[str, object]) -> bool:
        for files in await self._ids("files_of_conversation", values):
            await self._erase_collection({**values, "collection": files})
        async with self._database.locking(str(values["tenant"]), _STEP_SECONDS) as connection:
            await self._row(connection, "hold", values)
            if await one_row(connection, _CONVERSATIONS["lock_conversation"], values) is None:
                return True
            if await one_row(connection, _CONVERSATIONS["active_turn"], values) is not None:
                return False
            await connection.execute(_CONVERSATIONS["delete_events"], values)
            counts = await one_row(connection, _CONVERSATIONS["delete_turns"], values)
            await connection.execute(_CONVERSATIONS["delete_conversation"], values)
            await self._count(connection, values, {**(counts or {}), "conversations": 1})
        return True

    @shielded
    async def erase_documents(self, tenant_id: str, user_id: UUID) -> None:
        """Erase the collections and documents that the user still has."""
        values = {"tenant": tenant_id, "user": user_id, "most": _BATCH}
        while ids := await self._ids("collections", values):
            for id_ in ids:
                await self._erase_collection({**values, "collection": id_})
        while ids := await self._ids("documents", values):
            for id_ in ids:
                await self._erase_document({**values, "document": id_})

    async def _check_alone(self, connection: Connection, values: Mapping[str, object]) -> None:
        """Refuse to erase documents of other users. Raises Precondition (COLLECTION_NOT_EMPTY)."""
        row = await self._row(connection, "documents_of_others", values)
        if row is None:
            return
        collection, number = names.collection(row["collection_id"]), int(row["documents"])
        raise Precondition(
            Reason.COLLECTION_NOT_EMPTY,
            (
                f"{collection} holds {counted(number, 'document')} of other users. Name a user who "
                "receives the collections in hand_over_to, or delete these documents first."
            ),
            {"collection": collection, "documents": str(number)},
        )

    async def _hand_over(
        self, connection: Connection, values: Mapping[str, object], audit: AuditEvent, *, own: bool
    ) -> None:
        """Give the collections that others can read, or that hold documents of others, to the heir, if there is one.
        audit: the event of the erasing. Raises InvalidRequest."""
        heir = values["heir"]
        if heir is None:
            return
        cursor = await connection.execute(self._queries["shared_collections"], values)
        shared = [key for (key,) in await cursor.fetchall()]
        if not shared:
            return
        parameters = {**values, "collections": shared}
        # Nobody gets foreign documents, whose storage counts for the owner, from somebody with whom they have nothing to do.
        if (
            own
            and values["heir_role"] != Role.ADMIN.value
            and await self._row(connection, "unread_by_heir", parameters) is not None
        ):
            raise _no_heir(own=own)
        await self._count(connection, values, await self._row(connection, "hand_over", parameters))
        assert isinstance(heir, UUID)
        event = replace(audit, action="collection.hand_over", resource_name=names.user(heir))
        await self._audit.write(connection, event)
        if self._outbox is not None:
            await self._outbox.notice(connection, str(values["tenant"]), heir, MailKind.COLLECTIONS_RECEIVED)

    async def _erase_collection(self, values: Mapping[str, object]) -> None:
        tenant, collection = str(values["tenant"]), str(values["collection"])
        async with self._database.locking(tenant, _STEP_SECONDS) as connection:
            await self._row(connection, "hold", values)
            if await self._row(connection, "lock_collection", values) is None:
                return
            cursor = await connection.execute(self._queries["lock_documents"], values)
            documents = [id_ for (id_,) in await cursor.fetchall()]
            await connection.execute(self._queries["mark_documents"], {**values, "documents": documents})
            await self._collections.delete_locked(connection, tenant, collection, documents)
            await self._count(connection, values, {"collections": 1, "documents": len(documents)})

    async def _erase_document(self, values: Mapping[str, object]) -> None:
        tenant, document = str(values["tenant"]), values["document"]
        assert isinstance(document, UUID)
        async with self._database.locking(tenant, _STEP_SECONDS) as connection:
            await self._row(connection, "hold", values)
            locked = await self._row(connection, "lock_document", values)
            if locked is None:
                return
            await connection.execute(self._queries["mark_documents"], {**values, "documents": [document]})
            await self._documents.delete_locked(connection, tenant, document, locked["collection_id"])
            await self._count(connection, values, {"documents": 1})

    @shielded
    async def erase_user(self, tenant_id: str, user_id: UUID) -> bool:
        """Erase what is left, and the user. Return False, and change nothing, if a call that began before the erasing
        has added something in the meantime."""
        values = {
            "tenant": tenant_id,
            "user": user_id,
            "nobody": _NOBODY,
            "error_reason": Reason.OPERATION_CANCELLED.value,
            "error_message": "The source was run for a user who was erased before the run ended.",
        }
        try:
            async with self._database.locking(tenant_id, _STEP_SECONDS) as connection:
                await self._row(connection, "hold", values)
                await connection.execute(self._queries["forget_subject_of_runs"], values)
                await connection.execute(self._queries["hand_over_operations"], values)
                await connection.execute(self._queries["hold_counts"], values)
                for query in ("delete_credentials", "delete_rest", "delete_keys"):
                    await self._count(connection, values, await self._row(connection, query, values))
                for query in ("erase_addresses", "forget_subject"):
                    await connection.execute(self._queries[query], values)
                await connection.execute(self._queries["delete_user"], values)
                await connection.execute(self._queries["user_is_gone"], values)
        except errors.ForeignKeyViolation:
            return False
        return True

    @shielded
    async def withdraw_quotes(self, tenant_id: str, user_id: UUID) -> bool:
        """Withdraw the answers of other users that quote the erased documents. Return whether this is complete: False
        while turns have not ended that may still quote them.
        """
        values: dict[str, object] = {"tenant": tenant_id, "user": user_id, "most": _TURNS}
        async with self._database.tenant(tenant_id) as connection:
            # The question comes before the search: a turn that ends in between is found by it.
            complete = await self._row(connection, "may_still_quote", values) is None
            cursor = await connection.execute(self._queries["first_document"], values)
            row = await cursor.fetchone()
        first: datetime | None = None if row is None else row[0]
        if first is not None:
            await self._search_turns(values, first)
        if complete:
            async with self._database.locking(tenant_id) as connection:
                await self._row(connection, "hold", values)
                for query in ("forget_documents", "forget_readers", "end"):
                    await connection.execute(self._queries[query], values)
        return complete

    async def _search_turns(self, values: Mapping[str, object], first: datetime) -> None:
        after = _before(first)
        while True:
            async with self._database.tenant(str(values["tenant"])) as connection:
                cursor = await connection.execute(self._queries["quoting_turns"], {**values, "after": after})
                rows = await cursor.fetchall()
            for turn, quotes in rows:
                if quotes:
                    await self._withdraw({**values, "turn": turn})
            if len(rows) < _TURNS:
                return
            after = rows[-1][0]

    async def _withdraw(self, values: Mapping[str, object]) -> None:
        async with self._database.locking(str(values["tenant"]), _STEP_SECONDS) as connection:
            await self._row(connection, "hold", values)
            await self._row(connection, "hold_turn", values)
            locked = await self._row(connection, "lock_turn", values)
            if locked is None:
                return
            cursor = await connection.execute(self._queries["erased_documents"], values)
            documents = frozenset(id_ for (id_,) in await cursor.fetchall())
            rest = self._codec.without_documents(
                bytes(locked["terminal"]), documents, NOTICE, has_read=locked["has_read"]
            )
            state = TurnState.REFUSED.value if rest.withdrawn else locked["state"]
            changed = {**values, "terminal": rest.terminal, "state": state, "notice": NOTICE}
            await connection.execute(self._queries["withdraw"], changed)
            if rest.withdrawn:
                await connection.execute(self._queries["withdraw_message"], changed)
                await self._count(connection, values, {"withdrawn_answers": 1})

    async def _find(self, connection: Connection, values: Mapping[str, object]) -> Erasure | None:
        row = await self._row(connection, "find", values)
        if row is None:
            return None
        counts = {ErasedKind(kind): int(count) for kind, count in row["receipt"].items()}
        return Erasure(
            str(values["tenant"]), row["user_id"], row["heir_id"], row["begin_time"], row["end_time"], counts
        )

    async def _count(
        self, connection: Connection, values: Mapping[str, object], counts: Mapping[str, int] | None
    ) -> None:
        if counts:
            await connection.execute(self._queries["count"], {**values, "counts": Jsonb(dict(counts))})

    async def _ids(self, query: str, values: Mapping[str, object]) -> Sequence[Any]:
        async with self._database.tenant(str(values["tenant"])) as connection:
            cursor = await connection.execute(self._queries[query], values)
            return [id_ for (id_,) in await cursor.fetchall()]

    async def _row(
        self, connection: Connection, query: str, values: Mapping[str, object]
    ) -> dict[str, Any] | None:
        return await one_row(connection, self._queries[query], values)


def _no_heir(*, own: bool) -> InvalidRequest:
    """The refusal of an heir. It does not say whether the user exists, or what the user may read."""
    right = " who is an administrator, or can read all collections that change hands," if own else ""
    return InvalidRequest.of_field(
        "hand_over_to",
        "user.heir",
        f"must be another user of the tenant{right} who is neither disabled nor a service; without such a user, the collections are erased",
    )


def _before(instant: datetime) -> UUID:
    """The greatest id that every UUIDv7 of this instant or later exceeds. A minute is left for clocks that differ."""
    milliseconds = int(instant.astimezone(UTC).timestamp() * 1000) - 60_000
    return UUID(int=milliseconds << 80)
