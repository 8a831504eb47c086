"""Conversations, their messages with citations, and their summaries in PostgreSQL."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, LiteralString
from uuid import UUID

from psycopg.types.json import Jsonb

from responsa_server.domain import names
from responsa_server.domain.conversations import (
    Conversation,
    ConversationFiles,
    ConversationOrigin,
    Message,
    Speaker,
    Summary,
)
from responsa_server.domain.errors import Conflict, InvalidRequest, NotFound, Reason, Unavailable
from responsa_server.domain.events import (
    AnyCitation,
    ByteRange,
    Citation,
    Difference,
    DifferenceKind,
    JudgeVerdict,
    QuoteOrigin,
    RefusalReason,
    ToolCitation,
    ToolOrigin,
    ToolSource,
    VersionRead,
)
from responsa_server.domain.limits import NO_LIMIT, Scope, too_many
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import CONVERSATIONS, MESSAGES
from responsa_server.domain.people import AuditEvent, Principal, Server
from responsa_server.domain.rows import Row, build
from responsa_server.domain.turns import WITHHELD
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.collections import CollectionStore
from responsa_server.stores.postgres.database import (
    Connection,
    Database,
    Queries,
    concurrent_change,
    shielded,
)
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.requests import check_etag, request_id_reused
from responsa_server.stores.postgres.rows import all_rows, one_row, to_row
from responsa_server.stores.postgres.turn_log import NamedQueries, find_withheld, sources_of

_COLUMNS: Final[Mapping[str, LiteralString]] = {"pinned": "c.pinned::text", "archived": "c.archived::text"}
_CONVERSATIONS: Final[SqlList[Conversation]] = SqlList(CONVERSATIONS, _COLUMNS, table="c.")
_FOUND: Final[SqlList[Row]] = SqlList(
    CONVERSATIONS,
    _COLUMNS,
    table="c.",
    position=lambda row, field: (getattr(row.conversation, field), row.conversation.id),
)
_MESSAGES: Final[SqlList[Message]] = SqlList(MESSAGES, {"role": "speaker"})

_WILD: Final = re.compile(r"[\\%_]")
"""The characters that have a meaning in a pattern of LIKE."""
_MOST_FOUND: Final = 3
"""How many messages of a conversation a search shows."""
# Deleting a long conversation's log takes a while. A question in that conversation waits at most this number of seconds for the deletion.
_DELETE_SECONDS: Final = 15
_DELETE: Final = ("delete_events", "delete_turns", "delete_conversation")
_MOST_PRUNED: Final = 5
"""Of a transaction, so that none takes long."""


class PostgresConversationStore:
    """A `ConversationStore`."""

    def __init__(
        self,
        database: Database,
        collections: CollectionStore | None = None,
        *,
        queries: NamedQueries | None = None,
    ) -> None:
        """collections: deletes the files of conversations; None for one without a `VectorStore`."""
        self._database = database
        self._collections = collections or CollectionStore(database)
        self._queries: NamedQueries = queries or Queries("conversations.sql")
        self._audit = AuditLog()

    @shielded
    async def create(
        self,
        caller: Principal,
        identity: UUID,
        title: str,
        labels: Mapping[str, str],
        request_id: UUID | None,
        *,
        limit: int = NO_LIMIT,
    ) -> Conversation:
        request = {"title": title, "labels": dict(labels)}
        parameters = {
            **_caller(caller),
            "id": identity,
            "title": title,
            "labels": Jsonb(dict(labels)),
            "request_id": request_id,
            "request": None if request_id is None else Jsonb(request),
            "most": limit,
            "origin": ConversationOrigin.of(caller).value,
        }
        async with self._database.tenant(caller.tenant_id) as connection:
            await connection.execute(self._queries["create_conversation"], parameters)
            created = await self._row(connection, "created_conversation", parameters)
            if created is None:
                row = await self._row(connection, "room_for_conversation", parameters)
                if row is not None and not row["room"]:
                    raise too_many("conversations", Scope.USER, limit)
                raise concurrent_change()  # another call has deleted a conversation in the meantime
            if created["id"] != identity:
                for field in ("title", "labels"):
                    if created["request"][field] != request[field]:
                        raise request_id_reused(
                            request_id, names.conversation(created["id"]), f"conversation.{field}"
                        )
            return await self._get(connection, caller, created["id"])

    @shielded
    async def get(self, caller: Principal, identity: UUID) -> Conversation:
        async with self._database.tenant(caller.tenant_id) as connection:
            return await self._get(connection, caller, identity)

    async def _get(self, connection: Connection, caller: Principal, identity: UUID) -> Conversation:
        row = await self._row(connection, "get_conversation", {**_caller(caller), "conversation": identity})
        if row is None:
            raise _unknown(identity)
        return _conversation(row)

    @shielded
    async def list(self, caller: Principal, query: ListQuery) -> Page[Conversation]:
        async with self._database.tenant(caller.tenant_id) as connection:
            statement = self._queries["list_conversations"]
            return await _CONVERSATIONS.read(connection, statement, query, _caller(caller), _conversation)

    @shielded
    async def search(self, caller: Principal, words: Sequence[str], query: ListQuery) -> Page[Row]:
        patterns = ["%" + _WILD.sub(r"\\\g<0>", word) + "%" for word in words]
        values = {**_caller(caller), "patterns": patterns, "most": _MOST_FOUND}
        async with self._database.reading(caller) as connection:
            statement = self._queries["search_conversations"]
            return await _FOUND.read(connection, statement, query, values, _match)

    @shielded
    async def update(
        self,
        caller: Principal,
        identity: UUID,
        *,
        title: str | None,
        labels: Mapping[str, str] | None,
        etag: str,
        pinned: bool | None = None,
        archived: bool | None = None,
    ) -> Conversation:
        parameters = {
            **_caller(caller),
            "conversation": identity,
            "title": title,
            "labels": None if labels is None else Jsonb(dict(labels)),
            "pinned": pinned,
            "archived": archived,
            "revision": _revision(etag),
        }
        async with self._database.locking(caller.tenant_id) as connection:
            updated = await self._row(connection, "update_conversation", parameters)
            conversation = await self._get(connection, caller, identity)
        if updated is None:
            raise Conflict.of_etag(names.conversation(identity))
        return conversation

    @shielded
    async def delete(self, caller: Principal, identity: UUID, etag: str) -> None:
        parameters = {**_caller(caller), "conversation": identity}
        async with self._database.locking(caller.tenant_id, _DELETE_SECONDS) as connection:
            # Lock the conversation, so that no turn is accepted in the meantime.
            locked = await self._row(connection, "lock_conversation", parameters)
            if locked is None:
                raise _unknown(identity)
            check_etag(etag, _etag(locked["revision"]), names.conversation(identity))
            active = await self._row(connection, "active_turn", parameters)
            if active is not None:
                raise Conflict(
                    Reason.CONVERSATION_BUSY,
                    "A question of this conversation is still being answered; wait for the answer, then delete the conversation.",
                    {
                        "conversation": names.conversation(identity),
                        "active_turn": names.turn(active["id"]),
                    },
                    retry_after=1.0,
                )
            await self._delete(connection, caller.tenant_id, identity)
            if caller.acting is not None:
                event = AuditEvent.of(caller, "conversation.delete", names.conversation(identity))
                await self._audit.write(connection, event)

    @shielded
    async def prune(self, days: int) -> int:
        """Delete the conversations of all tenants that nobody has changed for `days`. Returns their number. Raises
        Unavailable, for the last tenant with which it failed, after the others."""
        async with self._database.log() as connection:
            tenants = [row["id"] for row in await all_rows(connection, self._queries["tenants"], {})]
        deleted, failed = 0, None
        for tenant in tenants:
            try:
                while count := await self._prune_some(tenant, days):
                    deleted += count
            except Unavailable as error:
                failed = error
        if failed is not None:
            raise failed
        return deleted

    @shielded
    async def _prune_some(self, tenant: str, days: int) -> int:
        values = {"tenant": tenant, "days": days, "most": _MOST_PRUNED}
        count = 0
        async with self._database.locking(tenant, _DELETE_SECONDS) as connection:
            for row in await all_rows(connection, self._queries["lock_old"], values):
                parameters = {"tenant": tenant, "conversation": row["id"]}
                # A question may have been accepted while the lock was awaited.
                if await self._row(connection, "active_turn", parameters) is None:
                    await self._delete(connection, tenant, row["id"])
                    count += 1
        return count

    async def _delete(self, connection: Connection, tenant: str, identity: UUID) -> None:
        await self._collections.delete_files_of(connection, tenant, identity)
        for query in _DELETE:
            await connection.execute(self._queries[query], {"tenant": tenant, "conversation": identity})

    @shielded
    async def files(self, caller: Principal, identity: UUID) -> ConversationFiles | None:
        """See `ConversationStore.files`."""
        async with self._database.by_key(Server(caller.tenant_id), one_write=True) as connection:
            row = await self._row(connection, "files", {**_caller(caller), "conversation": identity})
            return None if row is None else ConversationFiles(row["slug"], is_reading=row["reading"])

    @shielded
    async def messages(self, caller: Principal, identity: UUID, query: ListQuery) -> Page[Message]:
        async with self._database.reading(caller) as connection:
            await self._get(connection, caller, identity)
            values = {**_caller(caller), "conversation": identity}
            text = self._queries["list_messages"]
            messages = await self._messages(
                connection, caller, await _MESSAGES.rows(connection, text, query, values)
            )
            return _MESSAGES.page(messages, query, await _MESSAGES.total(connection, text, query, values))

    @shielded
    async def message(self, caller: Principal, identity: UUID) -> Message:
        async with self._database.reading(caller) as connection:
            row = await self._row(connection, "get_message", {**_caller(caller), "message": identity})
            if row is None:
                raise NotFound.of("message", names.message(identity))
            return (await self._messages(connection, caller, [row]))[0]

    @shielded
    async def give_feedback(
        self,
        caller: Principal,
        opinion: Mapping[str, object],
        *,
        turn_id: UUID | None = None,
        message_id: UUID | None = None,
    ) -> Row:
        values = {**_caller(caller), "message": message_id, "turn": turn_id}
        async with self._database.locking(caller.tenant_id) as connection:
            row = await self._row(connection, "lock_message", values)
            if row is None and turn_id is not None:
                raise NotFound.of("turn", names.turn(turn_id))
            if row is None:
                raise NotFound.of("message", "" if message_id is None else names.message(message_id))
            if row["speaker"] != Speaker.ASSISTANT.value:
                raise InvalidRequest.of_field(
                    "message", "message.answer", "must be an answer; this is a question"
                )
            row = await self._row(connection, "give_feedback", {**values, **opinion, "message": row["id"]})
            assert row is not None, "the message is locked, so it cannot be deleted"
            return to_row(row)

    @shielded
    async def answer_of(self, caller: Principal, turn_id: UUID) -> Message | None:
        async with self._database.reading(caller) as connection:
            row = await self._row(connection, "answer_of_turn", {**_caller(caller), "turn": turn_id})
            if row is None:
                raise NotFound.of("turn", names.turn(turn_id))
            if row["id"] is None:
                return None
            return (await self._messages(connection, caller, [row]))[0]

    @shielded
    async def citations(
        self, caller: Principal, *, turn_id: UUID | None = None, message_id: UUID | None = None
    ) -> Sequence[AnyCitation]:
        async with self._database.reading(caller) as connection:
            if turn_id is not None:
                row = await self._row(connection, "answer_of_turn", {**_caller(caller), "turn": turn_id})
            else:
                row = await self._row(connection, "get_message", {**_caller(caller), "message": message_id})
            if row is None and turn_id is not None:
                raise NotFound.of("turn", names.turn(turn_id))
            if row is None and message_id is not None:
                raise NotFound.of("message", names.message(message_id))
            if row is None or row["id"] is None:
                return ()
            return (await self._find_cited(connection, caller, [row["id"]])).get(row["id"], ())

    @shielded
    async def tool_sources(
        self, caller: Principal, *, turn_id: UUID | None = None, message_id: UUID | None = None
    ) -> Mapping[str, Sequence[ToolSource]]:
        values = {**_caller(caller), "turn": turn_id, "message": message_id}
        async with self._database.reading(caller) as connection:
            rows = await all_rows(connection, self._queries["tool_sources"], values)
        return {row["call_id"]: sources_of(row["sources"]) for row in rows}

    @shielded
    async def history(self, caller: Principal, identity: UUID, limit: int) -> Sequence[Message]:
        async with self._database.reading(caller) as connection:
            parameters = {**_caller(caller), "conversation": identity, "most": limit}
            rows = (await all_rows(connection, self._queries["last_messages"], parameters))[::-1]
            turns = {"tenant": caller.tenant_id, "turns": list({row["turn_id"] for row in rows})}
            readings = await all_rows(connection, self._queries["read_by_turns"], turns)
            read = {row["id"]: versions_of(row) for row in readings}
            messages = await self._messages(connection, caller, rows)
        return [
            replace(message, read=read.get(message.turn_id, ()))
            if message.speaker is Speaker.ASSISTANT and message.refusal is not RefusalReason.NOT_PERMITTED
            else message
            for message in messages
        ]

    async def _messages(
        self, connection: Connection, caller: Principal, rows: Sequence[Mapping[str, Any]]
    ) -> Sequence[Message]:
        """The messages in rows, as the transaction's reader sees them."""
        answers = [row["id"] for row in rows if row["speaker"] == Speaker.ASSISTANT.value]
        cited = await self._find_cited(connection, caller, answers)
        withheld = await find_withheld(
            connection, self._queries["withheld_answers"], {row["turn_id"] for row in rows}
        )
        messages = [_message(row, cited.get(row["id"], ())) for row in rows]
        return [_withhold(message) if message.turn_id in withheld else message for message in messages]

    async def _find_cited(
        self, connection: Connection, caller: Principal, messages: Sequence[UUID]
    ) -> Mapping[UUID, Sequence[AnyCitation]]:
        cited: defaultdict[UUID, list[AnyCitation]] = defaultdict(list)
        if messages:
            values = {"tenant": caller.tenant_id, "messages": messages}
            for row in await all_rows(connection, self._queries["citations"], values):
                cited[row["message_id"]].append(_citation(row))
        return cited

    async def _row(
        self, connection: Connection, query: str, parameters: Mapping[str, object]
    ) -> dict[str, Any] | None:
        return await one_row(connection, self._queries[query], parameters)


class PostgresSummaries:
    """Implements the port `Summaries`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._queries = Queries("conversations.sql")

    @shielded
    async def find(self, caller: Principal, conversation_id: UUID) -> Summary | None:
        parameters = {**_caller(caller), "conversation": conversation_id}
        async with self._database.reading(caller) as connection:
            row = await one_row(connection, self._queries["find_summary"], parameters)
        return None if row is None else Summary(row["summary"], row["through_message"], versions_of(row))

    @shielded
    async def keep(self, caller: Principal, conversation_id: UUID, summary: Summary) -> None:
        parameters = {
            **_caller(caller),
            "conversation": conversation_id,
            "through": summary.through,
            "summary": summary.text,
            "read_documents": [version.document_id for version in summary.read],
            "read_versions": [version.version for version in summary.read],
        }
        async with self._database.tenant(caller.tenant_id) as connection:
            await connection.execute(self._queries["keep_summary"], parameters)


def _caller(caller: Principal) -> dict[str, object]:
    return {"tenant": caller.tenant_id, "user": caller.user_id}


def _etag(revision: int) -> str:
    return f"{revision:x}"


def _revision(etag: str) -> int | None:
    """The revision of an etag; None if the text is empty, and -1 if it is not an etag."""
    if not etag:
        return None
    return int(etag, 16) if len(etag) <= 15 and all(digit in "0123456789abcdef" for digit in etag) else -1


def _unknown(identity: UUID) -> NotFound:
    return NotFound.of("conversation", names.conversation(identity))


def _conversation(row: Mapping[str, Any]) -> Conversation:
    return build(Conversation, row, etag=_etag(row["revision"]))


def _match(row: Mapping[str, Any]) -> Row:
    return Row(conversation=_conversation(row), messages=[to_row(message) for message in row["found"]])


def _message(row: Mapping[str, Any], citations: Sequence[AnyCitation]) -> Message:
    return build(
        Message,
        row,
        text=row["content"],
        citations=citations,
        refusal=RefusalReason(row["refusal"]) if row["refusal"] else None,
        feedback=to_row(row["feedback"]) if row.get("feedback") else None,
    )


def _withhold(message: Message) -> Message:
    """The message, for a reader without access to a document that its turn has read."""
    if message.speaker is Speaker.USER:
        return message
    return replace(message, text=WITHHELD, citations=(), refusal=RefusalReason.NOT_PERMITTED)


def versions_of(row: Mapping[str, Any]) -> Sequence[VersionRead]:
    """The versions of documents in the columns of a row."""
    return tuple(VersionRead(*pair) for pair in zip(row["read_documents"], row["read_versions"], strict=True))


def _citation(row: Mapping[str, Any]) -> AnyCitation:
    ranges = {
        "source": ByteRange(row["source_start"], row["source_end"]),
        "answer": ByteRange(row["answer_start"], row["answer_end"]),
        "quote_origin": QuoteOrigin(row["quote_origin"]),
        "verdict": JudgeVerdict(row["verdict"]),
        "differences": tuple(map(_difference, row["differences"] or ())),
    }
    if row["call_id"] is None:
        return build(Citation, row, **ranges, boxes=tuple(tuple(box) for box in row["boxes"] or ()))
    origin = ToolOrigin(row["call_id"], row["tool"], row["source_index"], row["fetch_time"])
    return build(ToolCitation, row, **ranges, origin=origin)


def _difference(fields: Mapping[str, Any]) -> Difference:
    source = ByteRange(*fields["source"]) if fields["source"] else None
    return Difference(DifferenceKind(fields["kind"]), ByteRange(*fields["answer"]), source)
