"""The `TurnStore` in PostgreSQL. This module accepts questions as turns, reads and lists turns, and prunes their
logs. turn_log.py has the methods for workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, Final
from uuid import UUID

from psycopg import errors
from psycopg.rows import dict_row

from responsa_server.domain import names
from responsa_server.domain.conversations import ConversationOrigin
from responsa_server.domain.errors import Conflict, Exhausted, NotFound, Reason, Unavailable
from responsa_server.domain.formatting import counted
from responsa_server.domain.limits import NO_LIMIT, AcceptLimits, Scope, too_many
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import TURNS
from responsa_server.domain.people import Principal
from responsa_server.domain.quotas import Grant, Metric, QuotaRules, grant_for
from responsa_server.domain.turns import (
    Accepted,
    Backlog,
    Cursor,
    End,
    EndedTurn,
    FrameCodec,
    LogRow,
    News,
    NewTurn,
    OnBusy,
    Question,
    Turn,
    TurnState,
)
from responsa_server.stores.postgres.database import (
    Batcher,
    Connection,
    Database,
    Queries,
    concurrent_change,
    shielded,
)
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.quotas import exception_of, usage_row
from responsa_server.stores.postgres.requests import request_id_reused
from responsa_server.stores.postgres.turn_log import (
    MOST_TURNS,
    NamedQueries,
    TurnLog,
    caller_parameters,
    find_withheld,
    grant_of,
    turn_of,
    waits_for_a_lock,
)
from responsa_server.stores.postgres.wire import prepare

# The maximum number of attempts at an accept. An accept is tried again if the row that conflicts with it is gone before
# the accept can read that row.
_LOOKS: Final = 8
_OPEN_RETRY_SECONDS: Final = 1.0
_LIST: Final[SqlList[Turn]] = SqlList(TURNS, {"conversation": "conversation_id"})

# The maximum number of tool calls or checkpoints that one statement deletes, so that the statement stays short.
_MOST_PRUNED: Final = 5000


def turn_queries() -> Queries:
    """All queries of the turn store, by name."""
    return Queries("turns.sql", TurnLog.FILE, "quotas.sql")


class PostgresTurnStore(TurnLog):
    """A `TurnStore`. codec: decodes and encodes the questions that rows store. rules: the quotas of the settings.
    queries: the queries to use instead of `turn_queries()`.
    """

    def __init__(
        self,
        database: Database,
        codec: FrameCodec,
        *,
        rules: QuotaRules | None = None,
        queries: NamedQueries | None = None,
    ) -> None:
        super().__init__(database, codec, queries or turn_queries())
        self._rules = rules or QuotaRules()
        self._accepting: Batcher[tuple[Principal, Mapping[str, object]], bool] = Batcher(
            self._accept_together, MOST_TURNS, database.background, lambda: self._window()
        )

    @shielded
    async def accept(self, caller: Principal, new: NewTurn, interrupt: End) -> Accepted:
        parameters = self._parameters(caller, new)
        whole = self._whole(caller, new)
        # Usually there is no conflict, and one round trip is enough.
        if whole is None:
            accepted = await self._accepting.put((caller, parameters))
        else:
            accepted = await self._accept_and_reserve(caller, {**parameters, **_reservation(whole)})
        if accepted:
            return Accepted(
                new.id,
                new.conversation_id,
                attached=False,
                state=_state(new),
                grant=whole,
                agent_version=new.agent_version,
            )
        async with self._database.locking(caller) as connection:
            return await self._accept_after_a_look(connection, caller, new, parameters, interrupt)

    def _whole(self, caller: Principal, new: NewTurn) -> Grant | None:
        """The most that the turn can use of what its user's role limits; None if the role limits nothing of it."""
        quota = self._rules.of(caller.limit_role)
        if new.demand is None or quota.unlimited:
            return None
        amounts = {metric: new.demand.most(metric, self._rules.turn_tokens) for metric in Metric}
        tokens, micros = (
            amounts[metric] if quota.limits(metric) and amounts[metric] else None for metric in Metric
        )
        return None if tokens is None and micros is None else Grant(tokens, micros)

    async def _accept_together(
        self, questions: Sequence[tuple[Principal, Mapping[str, object]]]
    ) -> Sequence[bool]:
        """Accept the questions that conflict with nothing. For each question, returns whether it was accepted; nothing
        is changed for the others."""
        accept = prepare(self._queries["accept_turn"])
        # Every transaction takes the users in the same order, because it keeps their locks to its end.
        order = sorted(
            range(len(questions)),
            key=lambda index: (questions[index][0].tenant_id, questions[index][0].user_id),
        )
        parts = [(questions[index][0], [accept.bind(questions[index][1])]) for index in order]
        try:
            done = await self._database.turns(parts)
        except Unavailable as error:
            if waits_for_a_lock(error):
                return [False] * len(questions)
            raise
        accepted = {index: written.ntuples > 0 for index, (written,) in zip(order, done, strict=True)}
        return [accepted[index] for index in range(len(questions))]

    async def _accept_and_reserve(self, caller: Principal, parameters: Mapping[str, object]) -> bool:
        """Like `_accept_together`, for a question that must also reserve what its user's role limits. It is accepted
        alone, because a quota that has too little left rolls the transaction back."""
        limits = {**parameters, **asdict(self._rules.of(caller.limit_role))}
        statements = [prepare(self._queries[name]).bind(limits) for name in ("accept_turn", "reserve_all")]
        try:
            [[written, _]] = await self._database.turns([(caller, statements)])
        except errors.RaiseException:  # the quota has too little left
            return False
        except Unavailable as error:
            if waits_for_a_lock(error):
                return False
            raise
        return written.ntuples > 0

    async def _accept_after_a_look(
        self,
        connection: Connection,
        caller: Principal,
        new: NewTurn,
        parameters: Mapping[str, object],
        interrupt: End,
    ) -> Accepted:
        """Accept a question that conflicts with something: an earlier attempt at the same call, a turn with the same request_id, a missing
        collection, other turns of the conversation, too many waiting turns, too many open turns of the user or the tenant, or a quota.
        """
        queues = new.question.conversation_id is not None and new.question.on_busy is not OnBusy.REJECT
        ended: list[EndedTurn] = []
        for _ in range(_LOOKS):
            # Lock the conversation before anything is read, so that other calls that end or queue a turn of this
            # conversation wait.
            slot = await self._row(connection, "lock_place" if queues else "find_place", parameters)
            earlier = await self._row(connection, "find_accepted", parameters)
            if earlier is not None:
                accepted = self._attach(earlier, new.question, new.request_id, new.id)
                return accepted if accepted.attached else replace(accepted, agent_version=new.agent_version)
            if new.question.collections:
                missing = await self._row(connection, "missing_collection", parameters)
                if missing is not None:
                    raise NotFound.of("collection", names.collection(missing["id"]))
            state = _state(new)
            if new.question.conversation_id is not None:
                if slot is None:
                    raise NotFound.of("conversation", names.conversation(new.conversation_id))
                state, more = await self._make_room(connection, new, parameters, interrupt)
                ended.extend(more)
            values = {**parameters, **_state_columns(new, state), "may_use": True}
            if await self._row(connection, "accept_turn", values) is not None:
                # The rows of users are locked last.
                await self._settle(connection, caller.tenant_id, ended)
                grant = await self._reserve(connection, caller, new)
                return Accepted(new.id, new.conversation_id, False, state, ended, grant, new.agent_version)
            await self._require_room(connection, new.limits, parameters)
            if state is TurnState.PENDING:
                await self._require_capacity(connection, new.max_pending)
        raise concurrent_change()

    async def _make_room(
        self, connection: Connection, new: NewTurn, parameters: Mapping[str, object], interrupt: End
    ) -> tuple[TurnState, list[EndedTurn]]:
        """Apply the question's on_busy if the conversation is busy. Returns the state in which the question's turn
        begins, and the turns that were ended for it."""
        cursor = await connection.execute(self._queries["open_turns"], parameters)
        present = await cursor.fetchall()
        if not present:
            return _state(new), []
        match new.question.on_busy:
            case OnBusy.REJECT:
                raise _busy(new.conversation_id, present[0][0])
            case OnBusy.QUEUE:
                if sum(state == TurnState.QUEUED.value for _, state in present) >= new.max_queued:
                    raise _full(new.conversation_id, new.max_queued)
                return TurnState.QUEUED, []
            case OnBusy.INTERRUPT:
                ended: list[EndedTurn] = []
                for turn_id, _ in present:
                    locked = await self._row(connection, "lock_turn", {**parameters, "turn": turn_id})
                    if locked is not None and not TurnState(locked["state"]).terminal:
                        ended.append(await self._end(connection, locked, interrupt))
                return _state(new), ended

    async def _reserve(self, connection: Connection, principal: Principal, new: NewTurn) -> Grant | None:
        """Reserve what the turn may use of its user's quota. Raises Exhausted (QUOTA_EXHAUSTED), which undoes the whole transaction."""
        if new.demand is None:
            return None
        parameters = {**caller_parameters(principal), "turn": new.id}
        quota = exception_of(await self._row(connection, "exception", parameters)).over(
            self._rules.of(principal.limit_role)
        )
        if quota.unlimited:
            return None
        await connection.execute(self._queries["first_usage"], parameters)
        row = await self._row(connection, "hold_usage", parameters)
        if row is None:  # the row was deleted just now
            raise concurrent_change()
        grant = grant_for(principal.user_id, quota, usage_row(row), new.demand, self._rules.turn_tokens)
        if grant is not None:
            await connection.execute(self._queries["reserve"], {**parameters, **_grant_columns(grant)})
        return grant

    async def _require_room(
        self, connection: Connection, limits: AcceptLimits, parameters: Mapping[str, object]
    ) -> None:
        row = await self._row(connection, "open_turns_of", parameters)
        if row is not None and 0 < limits.user <= row["of_user"]:
            raise too_many("pending_turns", Scope.USER, limits.user, retry_after=_OPEN_RETRY_SECONDS)
        if row is not None and 0 < limits.tenant <= row["of_tenant"]:
            raise too_many("pending_turns", Scope.TENANT, limits.tenant, retry_after=_OPEN_RETRY_SECONDS)
        row = await self._row(connection, "room_to_begin_conversation", parameters)
        if row is not None and not row["room"]:
            raise too_many("conversations", Scope.USER, limits.conversations)

    async def _require_capacity(self, connection: Connection, limit: int) -> None:
        row = await self._row(connection, "overloaded", {"max_pending": limit})
        if row is not None and row["overloaded"]:
            raise Exhausted(
                Reason.OVERLOADED,
                (
                    f"The server's limit of {counted(limit, 'question')} that may wait for a worker is "
                    "reached, and the server accepts no more at the moment; try again soon."
                ),
                {"limit": str(limit)},
                retry_after=1.0,
            )

    def _parameters(self, principal: Principal, new: NewTurn) -> dict[str, object]:
        request = self._codec.encode_question(new.question)
        creates = new.question.conversation_id is None
        return {
            **caller_parameters(principal),
            "role": principal.role.value,
            "widget": principal.widget,
            "id": new.id,
            "conversation": new.conversation_id,
            "create": creates,
            "title": new.title,
            "origin": ConversationOrigin.of(principal).value,
            "request_id": new.request_id,
            "request": request,
            "request_sha256": hashlib.sha256(request).digest(),
            "agent_version": new.agent_version,
            "frame": new.frame,
            "watched": new.cancel_on_disconnect,
            "traceparent": new.traceparent or None,
            "experiment": part.experiment_id if (part := new.assignment) else None,
            "candidate": part.candidate if part else None,
            "unit": part.unit if part else None,
            "collections": list(dict.fromkeys(new.question.collections)),
            "max_pending": new.max_pending,
            "may_use": new.demand is None,
            "most_open": new.limits.user,
            "most_open_of_tenant": new.limits.tenant,
            "most_conversations": new.limits.conversations if creates else NO_LIMIT,
            **_reservation(None),
            **_state_columns(new, _state(new)),
        }

    @shielded
    async def find(self, caller: Principal, question: Question, request_id: UUID) -> Accepted | None:
        parameters = {**caller_parameters(caller), "request_id": request_id}
        async with self._database.tenant(caller.tenant_id) as connection:
            row = await self._row(connection, "find_request", parameters)
        return None if row is None else self._attach(row, question, request_id, None)

    def _attach(
        self, row: Mapping[str, Any], question: Question, request_id: UUID | None, own: UUID | None
    ) -> Accepted:
        """Attach to the turn that was found, if it has the same question. own: the id with which this call tried to write its turn."""
        difference = _difference(self._codec.decode_question(row["request"]), question)
        if difference is not None:
            raise request_id_reused(request_id, names.turn(row["id"]), difference)
        # An epoch above 1 means that an earlier attempt at this call wrote the turn, and a worker has since claimed it.
        # That worker runs the turn, so this call attaches to it.
        attached = row["id"] != own or row["epoch"] > 1
        state = TurnState(row["state"])
        return Accepted(row["id"], row["conversation_id"], attached, state, grant=grant_of(row))

    @shielded
    async def backlog(self, caller: Principal, turn_id: UUID, after_seq: int, limit: int) -> Backlog:
        parameters = {**caller_parameters(caller), "turn": turn_id, "after": after_seq, "most": limit}
        records, withheld = await self._database.together(
            caller,
            [
                (self._queries["backlog"], parameters),
                (self._queries["withheld"], {"turns": [turn_id], "own": True}),
            ],
        )
        if not records:
            raise NotFound.of("turn", names.turn(turn_id))
        first = records[0]
        terminal = first["terminal"]
        rows: Sequence[LogRow] = self._rows(turn_id, after_seq, records, limit)
        if withheld:
            rows = []
            terminal = None if terminal is None else self._codec.withhold(terminal)
        return Backlog(
            rows,
            first["position"],
            first["end_seq"],
            first["queue_place"],
            terminal,
            first["watched"],
            bool(withheld),
        )

    @shielded
    async def poll(self, cursors: Sequence[Cursor], limit: int) -> Sequence[News]:
        if not cursors:
            return []
        parameters = {
            "turns": [cursor.turn_id for cursor in cursors],
            "after": [cursor.after_seq for cursor in cursors],
            "most": limit,
        }
        async with self._database.log_statements() as connection:
            cursor = connection.cursor(binary=True, row_factory=dict_row)
            await cursor.execute(self._queries["poll"], parameters)
            rows = await cursor.fetchall()
        turns: dict[UUID, list[dict[str, Any]]] = {}
        for row in rows:
            turns.setdefault(row["id"], []).append(row)
        return [
            News(
                turn_id,
                self._rows(turn_id, of[0]["after"], of, limit),
                of[0]["end_seq"],
                of[0]["queue_place"],
                of[0]["orphaned"],
            )
            for turn_id, of in turns.items()
        ]

    def _rows(
        self, turn_id: UUID, after_seq: int, records: Sequence[Mapping[str, Any]], limit: int
    ) -> Sequence[LogRow]:
        """The rows that were read from a turn's log. If the turn has ended and the log was read to its end, its
        terminal event is the last of them. If the log was pruned, there are none."""
        rows = [
            LogRow(row["seq"], row["last_seq"], row["deltas"], row["frame"])
            for row in records
            if row["seq"] is not None
        ]
        through, end, terminal = (
            rows[-1].last_seq if rows else after_seq,
            records[0]["end_seq"],
            records[0]["terminal"],
        )
        if None not in (end, terminal) and through == end - 1 and len(rows) < limit:
            frame = self._codec.frame(turn_id, through, end, [terminal])
            rows.append(LogRow(end, end, False, frame))
        return rows

    @shielded
    async def get(self, caller: Principal, turn_id: UUID) -> Turn:
        parameters = {**caller_parameters(caller), "turn": turn_id, "owner_only": True}
        rows, withheld = await self._database.together(
            caller,
            [
                (self._queries["get_turn"], parameters),
                (self._queries["withheld"], {"turns": [turn_id], "own": True}),
            ],
        )
        if not rows:
            raise NotFound.of("turn", names.turn(turn_id))
        return turn_of(rows[0], self._codec, [row["id"] for row in withheld])

    @shielded
    async def find_withheld(self, turn_ids: Collection[UUID]) -> Collection[UUID]:
        async with self._database.log_statements() as connection:
            return await find_withheld(connection, self._queries["withheld_from_users"], turn_ids)

    @shielded
    async def list(self, caller: Principal, query: ListQuery) -> Page[Turn]:
        async with self._database.reading(caller) as connection:
            text, values = self._queries["list_turns"], caller_parameters(caller)
            rows = await _LIST.rows(connection, text, query, values)
            total = await _LIST.total(connection, text, query, values)
            withheld = await find_withheld(connection, self._queries["withheld"], [row["id"] for row in rows])
        return _LIST.page([turn_of(row, self._codec, withheld) for row in rows], query, total)

    @shielded
    async def make_partitions(self, days_ahead: int) -> int:
        return int(await self._value("make_partitions", {"days": days_ahead}) or 0)

    @shielded
    async def prune(self, days: int) -> int:
        """See `TurnStore.prune`. A partition of the log that is in use is left for the next call."""
        dropped = 0
        try:
            # Each partition is dropped in its own transaction, so that the log is locked only briefly. Partitions that an
            # earlier call has detached but not dropped come first.
            dropped += int(await self._value("drop_partitions", {}) or 0)
            while await self._value("detach_partition", {"days": days}) is not None:
                dropped += int(await self._value("drop_partitions", {}) or 0)
        except _InUse:
            pass
        async with self._database.log_statements() as connection:
            parameters = {"days": days, "most": _MOST_PRUNED}
            while (
                await connection.execute(self._queries["prune_tools"], parameters)
            ).rowcount == _MOST_PRUNED:
                pass
            await connection.execute(self._queries["prune_followers"])
        return dropped

    @shielded
    async def prune_checkpoints(self, hours: float) -> int:
        dropped = 0
        async with self._database.log_statements() as connection:
            for query in ("prune_ended_checkpoints", "prune_open_checkpoints"):
                removed = _MOST_PRUNED
                while removed == _MOST_PRUNED:
                    parameters = {"hours": hours, "most": _MOST_PRUNED}
                    removed = (await connection.execute(self._queries[query], parameters)).rowcount
                    dropped += removed
        return dropped

    async def _value(self, query: str, parameters: Mapping[str, object]) -> Any:
        """The single value that a function returns. Raises _InUse if it gave up waiting for a lock."""
        async with self._database.log_statements() as connection:
            cursor = connection.cursor()
            try:
                await cursor.execute(self._queries[query], parameters)
            except errors.LockNotAvailable as error:
                raise _InUse from error
            row = await cursor.fetchone()
        assert row is not None, "SELECT of a function always returns a row"
        return row[0]


class _InUse(Exception):
    """A lock was not available in time."""


def _state(new: NewTurn) -> TurnState:
    """The state of a new turn that does not have to wait."""
    return TurnState.PENDING if new.owner is None else TurnState.RUNNING


def _state_columns(new: NewTurn, state: TurnState) -> dict[str, object]:
    """The state as parameters, with the claim if the turn begins as running."""
    claimed = state is TurnState.RUNNING
    return {
        "state": state.value,
        "owner": new.owner if claimed else None,
        "lease": timedelta(seconds=new.lease_seconds) if claimed else None,
    }


def _reservation(grant: Grant | None) -> dict[str, object]:
    """A reservation that is written with its turn, as parameters."""
    return {
        "reserved_tokens": grant.tokens if grant else None,
        "reserved_micros": grant.cost_micros if grant else None,
    }


def _grant_columns(grant: Grant) -> dict[str, object]:
    """A reservation as parameters."""
    return {
        "tokens": grant.tokens,
        "micros": grant.cost_micros,
        "short_of_tokens": Metric.TOKENS in grant.short,
        "short_of_micros": Metric.COST_MICROS in grant.short,
    }


def _difference(before: Question, now: Question) -> str | None:
    """The first field of the request in which two questions differ; None if the questions are equal."""
    fields = (
        ("conversation", before.conversation_id, now.conversation_id),
        ("agent", (before.agent, before.agent_version), (now.agent, now.agent_version)),
        ("text", before.text, now.text),
        (
            "options.scope",
            (before.collections, before.document_filter),
            (now.collections, now.document_filter),
        ),
        ("options.on_busy", before.on_busy, now.on_busy),
        ("options.parameters", before.parameters, now.parameters),
        ("options.max_cost_usd_micros", before.max_cost_micros, now.max_cost_micros),
        ("options.history", before.history, now.history),
        ("options.max_output_tokens", before.max_output_tokens, now.max_output_tokens),
    )
    return next((field for field, old, other in fields if old != other), None)


def _busy(conversation_id: UUID, turn_id: UUID) -> Conflict:
    return Conflict(
        Reason.CONVERSATION_BUSY,
        "The conversation's last question is still being answered; wait for the answer, then ask again.",
        {"conversation": names.conversation(conversation_id), "active_turn": names.turn(turn_id)},
        retry_after=1.0,
    )


def _full(conversation_id: UUID, limit: int) -> Exhausted:
    return Exhausted(
        Reason.QUEUE_FULL,
        "This conversation already has the maximum number of waiting questions; wait for an answer, then ask again.",
        {"conversation": names.conversation(conversation_id), "limit": str(limit)},
        retry_after=1.0,
    )
