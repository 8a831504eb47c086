"""Replays in PostgreSQL. The operation's row is the fence, as in operations.py."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final
from uuid import UUID

from psycopg.types.json import Jsonb

from responsa_server.domain import names
from responsa_server.domain.agents import RecordedCall
from responsa_server.domain.errors import NotFound, ResponsaError
from responsa_server.domain.events import Usage
from responsa_server.domain.knowledge import JobKind, Operation
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import REPLAYED_QUESTIONS
from responsa_server.domain.people import AuditEvent, Principal, for_turn
from responsa_server.domain.replays import (
    CitedPart,
    Comparison,
    ReplayClaim,
    ReplayedEnd,
    ReplayedTurns,
    ReplayState,
    WaitingQuestion,
)
from responsa_server.domain.rows import Row
from responsa_server.domain.turns import FrameCodec, NewId, Question, TurnState
from responsa_server.stores.postgres import operations
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import Connection, Database, Queries, shielded
from responsa_server.stores.postgres.jobs import JobQueue
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.requests import CreationRequests
from responsa_server.stores.postgres.rows import all_rows, build, carried, one_row
from responsa_server.stores.postgres.turn_log import record_of

_LIST: Final[SqlList[Row]] = SqlList(
    REPLAYED_QUESTIONS,
    table="q.",
    identity="q.operation_id",
    position=lambda item, _: (item.place, item.operation_id),
)
_FREE: Final = Usage()
_NOTHING: Final = {"before": None, "after": None, "kept": 0, "lost": 0, "new": 0, "unrecorded": 0}


class PostgresReplays:
    """Replays. Methods that take a claim, but `book`, raise OwnershipLost, and write nothing, once the replay has ended
    or another worker has claimed it. All raise Unavailable if the store cannot be reached."""

    def __init__(
        self,
        database: Database,
        queue: JobQueue,
        codec: FrameCodec,
        reason: Callable[[bytes], str],
        new_id: NewId,
    ) -> None:
        """codec: reads questions. reason: returns the reason of a refusal or an error from a turn's terminal event, in
        capitals; otherwise ""."""
        self._database = database
        self._queue = queue
        self._codec = codec
        self._reason = reason
        self._new_id = new_id
        self._queries = Queries("replays.sql")
        self._operations = Queries("operations.sql")
        self._audit = AuditLog()
        self._requests = CreationRequests()

    @shielded
    async def start(
        self,
        caller: Principal,
        agent_version: str,
        source: ReplayedTurns | Sequence[str],
        max_cost_micros: int,
        request_id: UUID | None,
    ) -> Operation:
        """Select the questions of a replay, and enqueue its job. source: the turns of the version's agent, or the texts
        of questions. Raises AlreadyExists (REQUEST_ID_REUSED)."""
        selection = asdict(source) if isinstance(source, ReplayedTurns) else list(source)
        digest = hashlib.sha256(json.dumps(selection, default=str, sort_keys=True).encode()).hexdigest()
        field = "turns" if isinstance(source, ReplayedTurns) else "texts"
        body = {
            "agent_version": agent_version,
            field: digest,
            "max_cost_usd_micros": str(max_cost_micros),
        }
        values: dict[str, object] = {
            "tenant": caller.tenant_id,
            "user": caller.user_id,
            "id": self._new_id(),
            "agent_version": agent_version,
            "max_cost": max_cost_micros,
        }
        async with self._database.tenant(caller.tenant_id) as connection:
            earlier = await self._requests.claim(connection, caller, request_id, "replay", body)
            if earlier is not None:
                return await operations.named(self._operations, connection, caller.tenant_id, earlier)
            await connection.execute(self._queries["insert"], values)
            if isinstance(source, ReplayedTurns):
                agent, _ = names.parse_agent_version(agent_version)
                chosen = {
                    "agent": agent,
                    "start": source.start,
                    "end": source.end,
                    "states": [state.value for state in source.states],
                    "most": source.most,
                }
                await connection.execute(self._queries["add_turns"], {**values, **chosen})
            else:
                await connection.execute(self._queries["add_texts"], {**values, "texts": list(source)})
            row = await one_row(connection, self._queries["begun"], values)
            assert row is not None, "the operation was inserted"
            operation = operations.from_row(row)
            await connection.execute(self._operations["forget"], {"tenant": caller.tenant_id})
            await self._queue.defer(connection, JobKind.REPLAY, caller.tenant_id, operation.id)
            await self._requests.record(connection, caller, request_id, names.operation(operation.id))
            await self._audit.write(connection, AuditEvent.of_call(caller, agent_version))
            return operation

    @shielded
    async def list(self, tenant_id: str, operation_id: UUID, query: ListQuery) -> Page[Row]:
        """Return a page of the questions of a replay. Raises NotFound."""
        values = {"tenant": tenant_id, "id": operation_id}
        async with self._database.tenant(tenant_id) as connection:
            if await one_row(connection, self._queries["exists"], values) is None:
                raise NotFound.of("operation", names.operation(operation_id))
            return await _LIST.read(connection, self._queries["list"], query, values, self._listed)

    @shielded
    async def begin(self, tenant_id: str, operation_id: UUID) -> ReplayClaim | None:
        """Claim a replay under its next epoch. Returns None if it has ended."""
        values = {"tenant": tenant_id, "id": operation_id}
        async with self._database.tenant(tenant_id) as connection:
            row = await one_row(connection, self._queries["claim"], values)
        return (
            None if row is None else build(ReplayClaim, row, tenant_id=tenant_id, operation_id=operation_id)
        )

    @shielded
    async def begun(self, tenant_id: str, operation_id: UUID) -> bool:
        """Whether there is a replay that has not ended."""
        try:
            async with self._database.tenant(tenant_id) as connection:
                return not (await operations.find(self._operations, connection, tenant_id, operation_id)).done
        except NotFound:
            return False

    @shielded
    async def owned(self, claim: ReplayClaim) -> bool:
        """Whether the claim still holds."""
        async with self._database.tenant(claim.tenant_id) as connection:
            return await one_row(connection, self._queries["owned"], _values(claim)) is not None

    @shielded
    async def next(self, claim: ReplayClaim) -> WaitingQuestion | None:
        """Return the next question that waits, or None."""
        values = _values(claim)
        async with self._database.tenant(claim.tenant_id) as connection:
            row = await one_row(connection, self._queries["next"], values)
            if row is None:
                return None
            caller = None
            if row["user_id"] is not None:
                caller = for_turn(claim.tenant_id, row["user_id"], row["role"])
            if row["turn_id"] is None:
                return WaitingQuestion(row["place"], caller, Question(row["question"]))
            turn = {**values, "turn": row["turn_id"], "conversation": row["conversation_id"]}
            parts = [_part(part) for part in await all_rows(connection, self._queries["parts"], turn)]
        async with self._database.log_statements() as connection:
            calls = await all_rows(connection, self._queries["calls"], turn)
        return WaitingQuestion(
            row["place"],
            caller,
            self._codec.decode_question(bytes(row["request"])),
            row["conversation_id"],
            row["before_time"],
            ReplayedEnd(
                TurnState(row["state"]),
                self._reason(bytes(row["terminal"])),
                len(parts),
                row["cost_micros"],
                row["milliseconds"],
            ),
            parts,
            [RecordedCall(call["tool"], call["arguments"], record_of(call)) for call in calls],
        )

    @shielded
    async def record(
        self, claim: ReplayClaim, place: int, comparison: Comparison, model: str, usage: Usage
    ) -> None:
        """Store what the version made of a question, and its cost. model: the author of the answer."""
        settled = {
            "state": ReplayState.REPLAYED.value,
            "before": None if comparison.before is None else Jsonb(asdict(comparison.before)),
            "after": Jsonb(asdict(comparison.after)),
            "kept": comparison.citations_kept,
            "lost": comparison.citations_lost,
            "new": comparison.citations_new,
            "unrecorded": comparison.unrecorded_tool_calls,
        }
        async with self._database.tenant(claim.tenant_id) as connection:
            await self._settle(
                connection, claim, {**settled, "place": place}, comparison.counts, model, usage
            )

    @shielded
    async def leave_out(
        self, claim: ReplayClaim, state: ReplayState, place: int | None = None, usage: Usage = _FREE
    ) -> None:
        """Leave out a question, or all that wait. state: why. usage: what was spent on it nevertheless."""
        async with self._database.tenant(claim.tenant_id) as connection:
            values = {**_NOTHING, "state": state.value, "place": place}
            await self._settle(connection, claim, values, {}, "", usage)

    @shielded
    async def end(self, claim: ReplayClaim) -> None:
        """End a replay whose questions are all settled."""
        values = _values(claim)
        async with self._database.tenant(claim.tenant_id) as connection:
            await operations.hold(self._operations, connection, values)
            await connection.execute(self._queries["end"], values)

    @shielded
    async def record_usage(self, claim: ReplayClaim, usage: Usage) -> None:
        """Store what an answer has cost whose question is not settled, whoever has the replay now."""
        async with self._database.tenant(claim.tenant_id) as connection:
            await self._spend(connection, claim, "", usage)

    @shielded
    async def fail(self, tenant_id: str, operation_id: UUID, error: ResponsaError) -> None:
        """End a replay with an error. Does nothing if it has ended."""
        values = {"tenant": tenant_id, "id": operation_id, "epoch": None, **operations.error_columns(error)}
        async with self._database.tenant(tenant_id) as connection:
            await connection.execute(self._operations["end"], values)

    async def _settle(
        self,
        connection: Connection,
        claim: ReplayClaim,
        settled: Mapping[str, object],
        counts: Mapping[str, int],
        model: str,
        usage: Usage,
    ) -> None:
        values = _values(claim)
        await operations.hold(self._operations, connection, values)
        number = (await connection.execute(self._queries["settle"], {**values, **settled})).rowcount
        before = await operations.find(self._operations, connection, claim.tenant_id, claim.operation_id)
        added = Counter(before.counts)
        if number:  # otherwise the question was deleted meanwhile, and is left out when the replay ends
            added.update(counts or {"left_out": number})
        sums = {"settled": number, "counts": Jsonb(added)}
        await connection.execute(self._queries["count"], {**values, **sums})
        await self._spend(connection, claim, model, usage)

    async def _spend(self, connection: Connection, claim: ReplayClaim, model: str, usage: Usage) -> None:
        if usage != _FREE:
            agent, _ = names.parse_agent_version(claim.agent_version)
            cost = {**_values(claim), "agent": agent, "model": model, **asdict(usage)}
            await connection.execute(self._queries["spend"], cost)
            await connection.execute(self._queries["note_cost"], cost)

    def _listed(self, row: Mapping[str, Any]) -> Row:
        asked = row["request"]
        return carried(
            row,
            question=row["question"] if asked is None else self._codec.decode_question(bytes(asked)).text,
            before=_end(row["before"]),
            after=_end(row["after"]),
        )


def _values(claim: ReplayClaim) -> dict[str, object]:
    return {"tenant": claim.tenant_id, "id": claim.operation_id, "epoch": claim.epoch}


def _part(row: Mapping[str, Any]) -> CitedPart:
    if row["document_id"] is None:
        return CitedPart.of_tool(row["tool"], row["title"], row["uri"])
    return CitedPart.of_document(row["document_id"], row["version"], row["source_start"], row["source_end"])


def _end(stored: Mapping[str, Any] | None) -> ReplayedEnd | None:
    return None if stored is None else build(ReplayedEnd, stored)
