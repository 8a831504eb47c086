"""Turns and their logs in PostgreSQL: accept, append, finish, sweep, and what readers ask for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final, LiteralString, Protocol
from uuid import UUID

from psycopg import sql
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from responsa_server.domain import names
from responsa_server.domain.errors import AlreadyExists, Conflict, NotFound, Reason
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal
from responsa_server.domain.ports.turns import (
    Accepted,
    Backlog,
    Claim,
    Conclusion,
    Ending,
    FrameCodec,
    LostTurn,
    NewMessage,
    NewTurn,
    TurnLost,
)
from responsa_server.domain.turns import LogRow, Question, Turn, TurnState, Usage
from responsa_server.stores.postgres import listing
from responsa_server.stores.postgres.database import Connection, Database, unavailable, uncancelled
from responsa_server.stores.postgres.listing import Column, Kind
from responsa_server.stores.postgres.queries import Queries

COLUMNS: Final[Mapping[str, Column]] = {
    "conversation": Column("conversation_id", Kind.NAME, prefix="conversations"),
    "state": Column(
        "state",
        Kind.ENUM,
        values={
            name: state.value for state in TurnState for name in (state.name, f"TURN_STATE_{state.name}")
        },
    ),
    "create_time": Column("create_time", Kind.TIME, orderable=True),
}

# How often an accept looks again when what stood in its way was gone before it could be named.
_LOOKS: Final = 8


class NamedQueries(Protocol):
    """Queries by name."""

    def __getitem__(self, name: str, /) -> LiteralString: ...


class PostgresTurnStore:
    """A `TurnStore`. codec reads and writes the questions that rows keep."""

    def __init__(self, database: Database, codec: FrameCodec, *, queries: NamedQueries | None = None) -> None:
        self._database = database
        self._codec = codec
        self._queries: NamedQueries = queries or Queries("turns.sql")

    async def accept(self, who: Principal, new: NewTurn) -> Accepted:
        """See `TurnStore.accept`."""
        return await uncancelled(self._accept(who, new))

    async def _accept(self, who: Principal, new: NewTurn) -> Accepted:
        request = self._codec.encode_question(new.question)
        parameters = {
            **_caller(who),
            "id": new.id,
            "conversation": new.conversation_id,
            "create": new.question.conversation_id is None,
            "request_id": new.request_id,
            "request": request,
            "request_sha256": hashlib.sha256(request).digest(),
            "agent_version": new.agent_version,
            "owner": new.owner,
            "lease": timedelta(seconds=new.lease_seconds),
            "frame": new.frame,
        }
        async with self._database.tenant(who.tenant_id) as connection:
            for _ in range(_LOOKS):
                if await self._row(connection, "accept_turn", parameters) is not None:
                    return Accepted(new.id, new.conversation_id, attached=False)
                # Something stands in the way: an earlier try of this very call, the request_id's turn, or the conversation's.
                found = await self._row(connection, "find_accepted", parameters)
                if found is not None:
                    return self._attach(found, new.question, new.request_id, new.id)
                if new.question.conversation_id is None:
                    continue
                place = await self._row(connection, "find_conversation", parameters)
                if place is None:
                    raise NotFound.of("conversation", names.conversation(new.conversation_id))
                if place["active_turn"] is not None:
                    raise _busy(new.conversation_id, place["active_turn"])
        raise unavailable()

    async def find(self, who: Principal, question: Question, request_id: UUID) -> Accepted | None:
        """See `TurnStore.find`."""

        async def work() -> Accepted | None:
            async with self._database.tenant(who.tenant_id) as connection:
                found = await self._row(
                    connection, "find_request", {**_caller(who), "request_id": request_id}
                )
            return None if found is None else self._attach(found, question, request_id, None)

        return await uncancelled(work())

    def _attach(
        self, row: Mapping[str, Any], question: Question, request_id: UUID | None, own: UUID | None
    ) -> Accepted:
        """The turn that was found, if it is of the same question. own: the id under which this call tried to write it."""
        difference = _difference(self._codec.decode_question(row["request"]), question)
        if difference is not None:
            raise AlreadyExists(
                Reason.REQUEST_ID_REUSED,
                f"This request_id was used before with another {difference}; take a new one for a new question.",
                {
                    "request_id": str(request_id),
                    "resource_name": names.turn(row["id"]),
                    "difference": difference,
                },
            )
        return Accepted(row["id"], row["conversation_id"], attached=row["id"] != own)

    async def append(self, claim: Claim, rows: Sequence[LogRow]) -> None:
        """See `TurnStore.append`."""
        await uncancelled(self._append(claim, rows))

    async def _append(self, claim: Claim, rows: Sequence[LogRow]) -> None:
        parameters = {**_fence(claim, rows), **_columns(rows)}
        async with self._database.log_statements() as connection:
            if await self._row(connection, "append_rows", parameters) is not None:
                return
            position = await self._row(connection, "log_position", {"turn": claim.turn_id})
        _settle(position, claim, rows, ended=False)

    async def renew(self, claim: Claim) -> None:
        """See `TurnStore.renew`."""

        async def work() -> None:
            parameters = {"turn": claim.turn_id, "epoch": claim.epoch, "lease": _lease(claim)}
            async with self._database.log_statements() as connection:
                if await self._row(connection, "renew_lease", parameters) is None:
                    raise TurnLost(names.turn(claim.turn_id))

        await uncancelled(work())

    async def finish(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> None:
        """See `TurnStore.finish`."""
        await uncancelled(self._finish(claim, rows, conclusion))

    async def _finish(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> None:
        parameters = {
            **_fence(claim, rows),
            **_columns(rows),
            "tenant": claim.tenant_id,
            "state": conclusion.state.value,
            "terminal": conclusion.terminal,
            "embedding_tokens": conclusion.usage.embedding_tokens,
            "messages": Jsonb([_message(one) for one in conclusion.messages]),
            "citations": Jsonb([row for one in conclusion.messages for row in _citations(one)]),
            "title": conclusion.title,
        }
        async with self._database.tenant(claim.tenant_id) as connection:
            if await self._row(connection, "finish_turn", parameters) is not None:
                return
            position = await self._row(
                connection, "position", {"tenant": claim.tenant_id, "turn": claim.turn_id}
            )
        _settle(position, claim, rows, ended=True)

    async def sweep(self, end: Callable[[LostTurn], Ending], most: int) -> Sequence[tuple[LostTurn, Ending]]:
        """See `TurnStore.sweep`."""

        async def work() -> Sequence[tuple[LostTurn, Ending]]:
            swept: list[tuple[LostTurn, Ending]] = []
            async with self._database.log() as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(self._queries["lost_turns"], {"most": most})
                for row in await cursor.fetchall():
                    lost = LostTurn(row["id"], row["tenant_id"], row["last_seq"])
                    ending = end(lost)
                    parameters = {
                        "turn": lost.turn_id,
                        "seq": ending.row.first_seq,
                        "last": ending.row.last_seq,
                        "terminal": ending.terminal,
                        "frame": ending.row.frame,
                    }
                    await connection.execute(self._queries["end_lost_turn"], parameters)
                    swept.append((lost, ending))
            return swept

        return await uncancelled(work())

    async def backlog(self, who: Principal, turn_id: UUID, after_seq: int, most: int) -> Backlog:
        """See `TurnStore.backlog`."""

        async def work() -> Backlog:
            parameters = {**_caller(who), "turn": turn_id, "after": after_seq, "most": most}
            async with self._database.tenant(who.tenant_id) as connection:
                cursor = connection.cursor(binary=True, row_factory=dict_row)
                await cursor.execute(self._queries["backlog"], parameters)
                found = await cursor.fetchall()
            if not found:
                raise NotFound.of("turn", names.turn(turn_id))
            rows = [
                LogRow(row["seq"], row["last_seq"], row["deltas"], row["frame"])
                for row in found
                if row["seq"] is not None
            ]
            return Backlog(rows, found[0]["end_seq"])

        return await uncancelled(work())

    async def get(self, who: Principal, turn_id: UUID) -> Turn:
        """See `TurnStore.get`."""

        async def work() -> Turn:
            async with self._database.tenant(who.tenant_id) as connection:
                row = await self._row(connection, "get_turn", {**_caller(who), "turn": turn_id})
            if row is None:
                raise NotFound.of("turn", names.turn(turn_id))
            return self._turn(row)

        return await uncancelled(work())

    async def list(self, who: Principal, query: ListQuery) -> Page[Turn]:
        """See `TurnStore.list`."""
        compiled = listing.compile(query, COLUMNS)
        statement = sql.SQL(self._queries["list_turns"]).format(where=compiled.where, order=compiled.order)

        async def work() -> Page[Turn]:
            async with self._database.tenant(who.tenant_id) as connection:
                cursor = connection.cursor(row_factory=dict_row)
                await cursor.execute(statement, {**compiled.params, **_caller(who)})
                turns = [self._turn(row) for row in await cursor.fetchall()]
            return listing.to_page(turns, query, lambda turn: (turn.create_time, turn.id))

        return await uncancelled(work())

    async def make_partitions(self, days_ahead: int) -> int:
        """See `TurnStore.make_partitions`."""

        async def work() -> int:
            async with self._database.log() as connection:
                row = await (
                    await connection.execute(self._queries["make_partitions"], {"days": days_ahead})
                ).fetchone()
            return int(row[0]) if row else 0

        return await uncancelled(work())

    async def _row(
        self, connection: Connection, query: str, parameters: Mapping[str, object]
    ) -> dict[str, Any] | None:
        cursor = connection.cursor(row_factory=dict_row)
        await cursor.execute(self._queries[query], parameters)
        return await cursor.fetchone()

    def _turn(self, row: Mapping[str, Any]) -> Turn:
        return Turn(
            id=row["id"],
            tenant_id=row["tenant_id"],
            user_id=row["user_id"],
            conversation_id=row["conversation_id"],
            request_id=row["request_id"],
            question=self._codec.decode_question(row["request"]),
            agent_version=row["agent_version"],
            state=TurnState(row["state"]),
            epoch=row["epoch"],
            last_seq=row["last_seq"],
            terminal=row["terminal"],
            usage=Usage(row["embedding_tokens"]),
            create_time=row["create_time"],
            end_time=row["end_time"],
        )


def _caller(who: Principal) -> dict[str, object]:
    return {"tenant": who.tenant_id, "user": who.user_id}


def _lease(claim: Claim) -> timedelta:
    return timedelta(seconds=claim.lease_seconds)


def _fence(claim: Claim, rows: Sequence[LogRow]) -> dict[str, object]:
    return {
        "turn": claim.turn_id,
        "epoch": claim.epoch,
        "lease": _lease(claim),
        "first": rows[0].first_seq,
        "last": rows[-1].last_seq,
    }


def _columns(rows: Sequence[LogRow]) -> dict[str, object]:
    return {
        "seqs": [row.first_seq for row in rows],
        "last_seqs": [row.last_seq for row in rows],
        "deltas": [row.deltas for row in rows],
        "frames": [row.frame for row in rows],
    }


def _settle(position: Mapping[str, Any] | None, claim: Claim, rows: Sequence[LogRow], *, ended: bool) -> None:
    """Tell why a fenced write found no row. Returns when an earlier try of the same write was committed after all.

    Only who holds the epoch writes under it, one write after the other, so the last seq tells.
    """
    if position is None or position["epoch"] != claim.epoch:
        raise TurnLost(names.turn(claim.turn_id))
    terminal = TurnState(position["state"]).terminal
    if position["last_seq"] == rows[-1].last_seq and terminal == ended:
        return
    if terminal or position["last_seq"] != rows[0].first_seq - 1:
        raise TurnLost(names.turn(claim.turn_id))
    # The write that stood in the way was taken back meanwhile: sending it again will do.
    raise unavailable()


def _message(message: NewMessage) -> dict[str, object]:
    return {
        "id": str(message.id),
        "speaker": message.speaker.value,
        "content": message.text,
        "refusal": message.refusal.value if message.refusal else None,
    }


def _citations(message: NewMessage) -> Sequence[dict[str, object]]:
    return [
        {
            "message_id": str(message.id),
            "place": place,
            "passage_id": str(one.passage_id),
            "document_id": str(one.document_id),
            "version": one.version,
            "title": one.title,
            "uri": one.uri,
            "source_start": one.source.start,
            "source_end": one.source.end,
            "quote": one.quote,
            "sha256": one.sha256.hex(),
            "answer_start": one.answer.start,
            "answer_end": one.answer.end,
            "score": one.score,
        }
        for place, one in enumerate(message.citations)
    ]


def _difference(before: Question, now: Question) -> str | None:
    """The first field of the request in which two questions differ, None when they are the same."""
    if before.conversation_id != now.conversation_id:
        return "conversation"
    if before.text != now.text:
        return "text"
    if before.collections != now.collections:
        return "options.scope"
    return None


def _busy(conversation_id: UUID, turn_id: UUID) -> Conflict:
    return Conflict(
        Reason.CONVERSATION_BUSY,
        "The conversation's last question is still being answered; wait for its end, then ask again.",
        {"conversation": names.conversation(conversation_id), "active_turn": names.turn(turn_id)},
        retry_after=1.0,
    )
