"""How workers claim, write and end the turns of all tenants. The turns' epochs fence all writes of workers: events, checkpoints,
tool calls and ends. This module also cancels turns from outside their workers.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, Final, LiteralString, Protocol
from uuid import UUID

from psycopg import errors
from psycopg.rows import dict_row

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound, Unavailable
from responsa_server.domain.events import (
    AnyCitation,
    ByteRange,
    Difference,
    Effect,
    SourcePassage,
    ToolCalled,
    ToolCitation,
    ToolFault,
    ToolOutcome,
    ToolReturned,
    ToolSource,
    Usage,
)
from responsa_server.domain.insight import TurnFacts
from responsa_server.domain.people import AuditEvent, Principal, for_turn
from responsa_server.domain.quotas import Grant, Metric
from responsa_server.domain.rows import build
from responsa_server.domain.turns import (
    ALONE_AFTER_LOSSES,
    Append,
    CancelledTurn,
    Checkpoint,
    Claim,
    ClaimedTurn,
    Conclusion,
    End,
    EndedTurn,
    FrameCodec,
    LogRow,
    NewMessage,
    OpenTurn,
    ToolRecord,
    Turn,
    TurnLost,
    TurnState,
)
from responsa_server.stores.postgres.audit import AuditLog
from responsa_server.stores.postgres.database import (
    Batcher,
    Connection,
    Database,
    concurrent_change,
    shielded,
    uuid_array,
)
from responsa_server.stores.postgres.rows import (
    one_row,
)
from responsa_server.stores.postgres.wire import Bound, prepare, send

USAGE: Final = ("embedding_tokens", "input_tokens", "output_tokens", "cost_micros", "unpriced_tokens")
"""The counters of a usage. The columns have the same names as the fields of `Usage`."""


class NamedQueries(Protocol):
    """Maps the names of queries to their SQL."""

    def __getitem__(self, name: str, /) -> LiteralString: ...


MOST_TURNS: Final = 32
"""The maximum number of turns that begin or end in one transaction. With no more rows than this, joins are cheap under every plan."""


@dataclass(frozen=True, slots=True)
class _End:
    """The last write of a turn."""

    claim: Claim
    rows: Sequence[LogRow]
    conclusion: Conclusion


class TurnLog:
    """The methods of a `TurnStore` for workers (`claim`, `expire_lost`, `mark_alone`, `release`, `append`, `renew`,
    `follows`, `finish` and `book`), and the methods that cancel turns.
    """

    FILE: Final = "turn_log.sql"

    def __init__(
        self,
        database: Database,
        codec: FrameCodec,
        queries: NamedQueries,
    ) -> None:
        self._database = database
        self._codec = codec
        self._queries = queries
        self._audit = AuditLog()
        self._window: Callable[[], float] = lambda: 0.0
        self._finishing: Batcher[_End, bool | None] = Batcher(
            self._finish_together, MOST_TURNS, database.background, lambda: self._window()
        )
        # The claims whose commit was not confirmed, by owner. The owner's next call of `claim` checks whether these
        # claims were committed.
        self._unsure: dict[UUID, Sequence[ClaimedTurn]] = {}

    def gather(self, window: Callable[[], float]) -> None:
        """See `TurnStore.gather`."""
        self._window = window

    @shielded
    async def claim(
        self,
        owner: UUID,
        versions: Sequence[str],
        lease_seconds: float,
        limit: int,
        here: Sequence[UUID] = (),
        alone_after: int = ALONE_AFTER_LOSSES,
        suspects: bool = True,
    ) -> Sequence[ClaimedTurn]:
        """See `TurnStore.claim`."""
        await self._promote_orphans()
        parameters = {"owner": owner, "versions": list(versions), "lease": timedelta(seconds=lease_seconds)}
        unsure = {claimed.claim.turn_id: claimed for claimed in self._unsure.pop(owner, ())}
        taken: list[ClaimedTurn] = []
        try:
            async with self._database.log() as connection:
                if unsure:
                    again = await self._again(connection, list(unsure.values()), parameters)
                    taken.extend(claimed for turn, claimed in unsure.items() if turn in again)
                if limit > len(taken):
                    rows = await self._all(
                        connection,
                        "claim_turns",
                        {
                            **parameters,
                            "most": limit - len(taken),
                            "here": list(here),
                            "alone_after": alone_after,
                            "suspects": suspects,
                        },
                    )
                    taken.extend(await self._build_claimed(connection, rows, lease_seconds) if rows else ())
        except Unavailable:
            doubtful = unsure | {claimed.claim.turn_id: claimed for claimed in taken}
            if doubtful:
                self._unsure[owner] = list(doubtful.values())
            raise
        return taken

    async def _again(
        self, connection: Connection, unsure: Sequence[ClaimedTurn], parameters: Mapping[str, object]
    ) -> set[UUID]:
        """Those of the uncertain turns that belong to this worker."""
        claims = [claimed.claim for claimed in unsure]
        rows = await self._all(connection, "claim_again", {**parameters, **claim_lists(claims)})
        return {row["id"] for row in rows}

    async def _promote_orphans(self) -> None:
        async with self._database.log_statements() as connection:
            # If another question has begun in the conversation in the meantime, the end of that question's turn
            # promotes the next turn.
            with contextlib.suppress(errors.UniqueViolation):
                await connection.execute(self._queries["promote_orphans"])

    async def _build_claimed(
        self, connection: Connection, rows: Sequence[Mapping[str, Any]], lease_seconds: float
    ) -> Sequence[ClaimedTurn]:
        checkpoints: dict[UUID, Checkpoint] = {}
        tools: dict[UUID, dict[str, ToolRecord]] = {}
        # A first attempt has no checkpoint.
        if turns := [row["id"] for row in rows if row["attempt"] > 1]:
            for row in await self._all(connection, "checkpoints", {"turns": turns}):
                checkpoints[row["turn_id"]] = Checkpoint(
                    row["last_seq"], row["text_bytes"], usage_of(row), row["state"]
                )
            for row in await self._all(connection, "tools", {"turns": turns}):
                tools.setdefault(row["turn_id"], {})[row["call_id"]] = record_of(row)
        return [
            build(
                ClaimedTurn,
                row,
                claim=Claim(row["id"], row["tenant_id"], row["epoch"], lease_seconds, grant_of(row)),
                caller=for_turn(row["tenant_id"], row["user_id"], row["role"]),
                question=self._codec.decode_question(row["request"]),
                lost_alone=row["alone"],
                checkpoint=checkpoints.get(row["id"]),
                tools=tools.get(row["id"], {}),
                traceparent=row["traceparent"] or "",
            )
            for row in rows
        ]

    @shielded
    async def expire_lost(self, lease_seconds: float, grace_seconds: float) -> tuple[int, int]:
        """See `TurnStore.expire_lost`."""
        # On the writer's connection: if it was lost, the lock is held again before the others are judged.
        async with self._database.writer() as connection:
            presence = self._database.presence
            if not presence.held:
                return 0, 0
            cursor = await connection.execute(self._queries["other_workers"], {"worker": presence.worker})
            others = await cursor.fetchall()
            absent = [worker for worker, missing in others if missing]
            ended = presence.judge(absent, grace_seconds, lease_seconds)
            if not ended:
                return len(others), 0
            cursor = await connection.execute(self._queries["expire_leases"], {"workers": list(ended)})
            return len(others), cursor.rowcount

    @shielded
    async def mark_alone(self, claim: Claim, alone: bool) -> None:
        """See `TurnStore.mark_alone`."""
        parameters = {"turn": claim.turn_id, "epoch": claim.epoch, "alone": alone}
        async with self._database.log_statements() as connection:
            await connection.execute(self._queries["mark_alone"], parameters)

    @shielded
    async def release(self, claims: Sequence[Claim]) -> None:
        """See `TurnStore.release`."""
        if not claims:
            return
        async with self._database.log_statements() as connection:
            await connection.execute(self._queries["release_turns"], claim_lists(claims))

    @shielded
    async def follows(self, process: UUID, turn_ids: Sequence[UUID], seconds: float) -> None:
        """See `TurnStore.follows`."""
        parameters = {"process": process, "turns": list(turn_ids), "seconds": seconds}
        async with self._database.log_statements() as connection:
            await connection.execute(self._queries["follow_turns"], parameters)

    async def _all(
        self, connection: Connection, query: str, parameters: Mapping[str, object]
    ) -> Sequence[dict[str, Any]]:
        cursor = connection.cursor(binary=True, row_factory=dict_row)
        await cursor.execute(self._queries[query], parameters)
        return await cursor.fetchall()

    @shielded
    async def append(self, batch: Sequence[Append]) -> Mapping[UUID, TurnLost | Unavailable]:
        """See `TurnStore.append`."""
        if not batch:
            return {}
        async with self._database.writer() as connection:
            return await self._write(connection, batch)

    async def _write(
        self, connection: Connection, batch: Sequence[Append]
    ) -> Mapping[UUID, TurnLost | Unavailable]:
        parts = ["append_fence"]
        parameters = {**claim_lists([item.claim for item in batch]), **_fence(batch)}
        if any(item.rows for item in batch):
            parts.append("append_rows")
            parameters |= log_rows([row for item in batch for row in item.rows])
        if any(item.checkpoint for item in batch):
            parts.append("append_checkpoints")
            parameters |= _checkpoints(batch)
        if any(item.tools for item in batch):
            parts.append("append_tools")
            parameters |= _tools(batch)
        # All parts are one statement in one transaction, so that either all rows of a turn are written or none.
        statement = ",\n".join(self._queries[part] for part in parts)
        append = prepare(f"WITH {statement}\nSELECT id FROM fenced")
        (result,) = await send(connection, [append.bind(parameters)])
        if result.ntuples == len(batch):
            return {}
        written = {UUID(bytes=result.get_value(row, 0)) for row in range(result.ntuples)}
        missing = [item for item in batch if item.claim.turn_id not in written]
        if not missing:
            return {}
        positions = await self._positions(connection, [item.claim for item in missing])
        outcomes = {item.claim.turn_id: _outcome(positions.get(item.claim.turn_id), item) for item in missing}
        return {turn: outcome for turn, outcome in outcomes.items() if outcome is not None}

    @shielded
    async def renew(self, claims: Sequence[Claim]) -> Sequence[UUID]:
        """See `TurnStore.renew`. If another session has locked a turn's row, the turn's lease is not extended."""
        if not claims:
            return []
        parameters = {**claim_lists(claims), "leases": [claim.lease_seconds for claim in claims]}
        async with self._database.writer() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(self._queries["renew_leases"], parameters)
            renewed = {row[0] for row in await cursor.fetchall()}
            missing = [claim for claim in claims if claim.turn_id not in renewed]
            if not missing:
                return []
            positions = await self._positions(connection, missing)
        return [claim.turn_id for claim in missing if _gone(positions.get(claim.turn_id), claim)]

    async def _positions(
        self, connection: Connection, claims: Sequence[Claim]
    ) -> Mapping[UUID, Mapping[str, Any]]:
        """The positions of turns by id. Deleted turns are left out."""
        cursor = connection.cursor(binary=True, row_factory=dict_row)
        await cursor.execute(self._queries["positions"], {"turns": [claim.turn_id for claim in claims]})
        return {row["id"]: row for row in await cursor.fetchall()}

    @shielded
    async def finish(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> bool:
        """See `TurnStore.finish`."""
        end = _End(claim, rows, conclusion)
        promoted = await self._finishing.put(end)
        if promoted is None:
            promoted = await self._finish_alone(end)
        return promoted

    async def _finish_together(self, ends: Sequence[_End]) -> Sequence[bool | None]:
        """For each end, whether it has promoted a queued turn; None if the turn was skipped."""
        tenants: dict[str, list[tuple[int, _End]]] = {}
        for index, end in enumerate(ends):
            tenants.setdefault(end.claim.tenant_id, []).append((index, end))
        # Every transaction takes the tenants, and in each the users, in the same order, because it keeps its locks to its end.
        parts = [(tenant, [end for _, end in tenants[tenant]]) for tenant in sorted(tenants)]
        try:
            done = await self._database.turns(
                [(tenant, self._finishes(tenant, theirs)) for tenant, theirs in parts]
            )
        except Unavailable as error:
            if waits_for_a_lock(error):
                return [None] * len(ends)
            raise
        outcomes: list[bool | None] = [None] * len(ends)
        for (tenant, _), (finished, promoted, *_) in zip(parts, done, strict=True):
            promoting = {promoted.get_value(row, 0) for row in range(promoted.ntuples)}
            for row in range(finished.ntuples):
                finish = int.from_bytes(finished.get_value(row, 0) or b"")
                index, _ = tenants[tenant][finish - 1]
                outcomes[index] = finished.get_value(row, 1) in promoting
        return outcomes

    def _finishes(self, tenant_id: str, ends: Sequence[_End], *, settle: bool = False) -> list[Bound]:
        """The statements that end turns of a tenant."""
        parameters = _ends(tenant_id, ends)
        names = ["finish_turns", "promote_after"]
        if settle or any(_counts(end) for end in ends):
            names.append("settle_turns")
        return [prepare(self._queries[name]).bind(parameters) for name in names]

    async def _finish_alone(self, end: _End) -> bool:
        """End a turn that was skipped: wait for the locks on its conversation and row, then try again."""
        claim = end.claim
        key = {"tenant": claim.tenant_id, "turn": claim.turn_id}
        locks = [prepare(self._queries[name]).bind(key) for name in ("hold_conversation", "hold_turn")]
        finish = self._finishes(claim.tenant_id, [end], settle=True)
        [[_, _, finished, promoted, _]] = await self._database.turns(
            [(claim.tenant_id, [*locks, *finish])], patient=True
        )
        if finished.ntuples:
            return promoted.ntuples > 0
        [rows] = await self._database.together(claim.tenant_id, [(self._queries["position"], key)])
        return _finished_before(rows[0] if rows else None, claim, end.rows)

    @shielded
    async def cancel(
        self, caller: Principal, turn_id: UUID, owner_only: bool, end: End, audit: AuditEvent | None = None
    ) -> CancelledTurn:
        """See `TurnStore.cancel`."""
        parameters = {**caller_parameters(caller), "turn": turn_id, "owner_only": owner_only}
        async with self._database.locking(caller) as connection:
            if await self._row(connection, "find_cancelled", parameters) is None:
                raise NotFound.of("turn", names.turn(turn_id))
            await self._row(connection, "hold_conversation", parameters)
            locked = await self._row(connection, "lock_turn", parameters)
            ended: EndedTurn | None = None
            if locked is not None and not TurnState(locked["state"]).terminal:
                ended = await self._end(connection, locked, end)
                await self._row(connection, "promote_after", {**parameters, "turns": [turn_id]})
                await self._settle(connection, caller.tenant_id, [ended])
                if audit is not None:
                    await self._audit.write(connection, replace(audit, about=locked["user_id"]))
            row = await self._row(connection, "get_turn", parameters)
            withheld = await find_withheld(connection, self._queries["withheld"], [turn_id])
        if row is None:  # the turn was deleted in the meantime
            raise NotFound.of("turn", names.turn(turn_id))
        return CancelledTurn(turn_of(row, self._codec, withheld), ended)

    @shielded
    async def cancel_unfollowed(self, caller: Principal, turn_id: UUID, end: End) -> EndedTurn | None:
        """See `TurnStore.cancel_unfollowed`."""
        parameters = {**caller_parameters(caller), "turn": turn_id}
        async with self._database.locking(caller.tenant_id) as connection:
            if await self._row(connection, "hold_watched", parameters) is None:
                return None
            locked = await self._row(connection, "lock_unfollowed", parameters)
            if locked is None:
                return None
            ended = await self._end(connection, locked, end)
            await self._row(connection, "promote_after", {**parameters, "turns": [turn_id]})
            await self._settle(connection, caller.tenant_id, [ended])
        return ended

    @shielded
    async def record_usage(self, claim: Claim, usage: Usage) -> None:
        """See `TurnStore.record_usage`."""
        parameters = {
            "tenant": claim.tenant_id,
            "turn": claim.turn_id,
            "epoch": claim.epoch,
            **{name: getattr(usage, name) for name in USAGE},
        }
        await self._database.together(claim.tenant_id, [(self._queries["book_spent"], parameters)])

    async def _end(self, connection: Connection, row: Mapping[str, Any], end: End) -> EndedTurn:
        """End an open turn whose conversation and row are locked."""
        ending = end(OpenTurn(row["id"], row["tenant_id"], row["last_seq"], row["attempt"]))
        parameters = {
            "tenant": row["tenant_id"],
            "turn": row["id"],
            "last": ending.row.last_seq,
            "terminal": ending.terminal,
        }
        ended = await self._row(connection, "end_turn", parameters)
        if ended is None:
            raise AssertionError("a turn ended while its row was locked")
        return EndedTurn(row["id"], ended["epoch"], ending.row)

    async def _settle(self, connection: Connection, tenant_id: str, ended: Sequence[EndedTurn]) -> None:
        """Count what the turns have used that this transaction has ended. Comes after all changes of turns."""
        if ended:
            parameters = {"tenant": tenant_id, "turns": [turn.turn_id for turn in ended]}
            await connection.execute(self._queries["settle_turns"], parameters)

    async def _row(
        self, connection: Connection, query: str, parameters: Mapping[str, object]
    ) -> dict[str, Any] | None:
        return await one_row(connection, self._queries[query], parameters)


async def find_withheld(
    connection: Connection, query: LiteralString, turns: Collection[UUID]
) -> Collection[UUID]:
    """Those of the turns that have read what the transaction's reader may no longer read."""
    if not turns:
        return ()
    return {
        row[0]
        for row in await (await connection.execute(query, {"turns": list(turns), "own": False})).fetchall()
    }


def caller_parameters(caller: Principal) -> dict[str, object]:
    """Parameters that restrict a query to its caller."""
    return {"tenant": caller.tenant_id, "user": caller.user_id}


def log_rows(rows: Sequence[LogRow]) -> dict[str, object]:
    """The rows of a log as parameters: one list for each column."""
    return {
        "seqs": [row.first_seq for row in rows],
        "last_seqs": [row.last_seq for row in rows],
        "deltas": [row.deltas for row in rows],
        "frames": [row.frame for row in rows],
    }


def claim_lists(claims: Sequence[Claim]) -> dict[str, object]:
    """Claims as parameters: a list of turn ids and a list of epochs."""
    return {"turns": [claim.turn_id for claim in claims], "epochs": [claim.epoch for claim in claims]}


def grant_of(row: Mapping[str, Any]) -> Grant | None:
    """What a turn has reserved, by the columns of its row."""
    tokens, micros = row["reserved_tokens"], row["reserved_micros"]
    if tokens is None and micros is None:
        return None
    short = {Metric.TOKENS: row["short_of_tokens"], Metric.COST_MICROS: row["short_of_micros"]}
    return Grant(tokens, micros, frozenset(metric for metric, lacks in short.items() if lacks))


def usage_of(row: Mapping[str, Any]) -> Usage:
    """The usage that a row's columns hold."""
    return Usage(**{name: row[name] for name in USAGE})


def usage_lists(usages: Sequence[Usage]) -> dict[str, object]:
    """Usages as parameters: one list for each counter."""
    return {name: [getattr(usage, name) for usage in usages] for name in USAGE}


def turn_of(row: Mapping[str, Any], codec: FrameCodec, withheld: Collection[UUID]) -> Turn:
    """The turn in a row, as its reader sees it. The row must hold the turn's total usage. withheld: the turns that have
    read what the reader may no longer read."""
    state, terminal = TurnState(row["state"]), row["terminal"]
    if row["id"] in withheld and terminal is not None:
        terminal = codec.withhold(terminal)
        state = TurnState.REFUSED if state is TurnState.ANSWERED else state
    question = codec.decode_question(row["request"])
    return build(Turn, row, question=question, state=state, terminal=terminal, usage=usage_of(row))


def _counts(end: _End) -> bool:
    """Whether the end may change what the user has used or reserved. Most turns without a language model save the statement."""
    usage = end.conclusion.usage
    used = usage.input_tokens + usage.output_tokens + usage.cost_micros > 0
    return used or end.claim.grant is not None or end.claim.epoch > 1


def waits_for_a_lock(error: Unavailable) -> bool:
    """Whether a transaction was rolled back because of the locks of others."""
    return isinstance(error.__cause__, (errors.LockNotAvailable, errors.DeadlockDetected))


def _lost(position: Mapping[str, Any] | None, claim: Claim) -> bool:
    return position is None or position["epoch"] != claim.epoch or TurnState(position["state"]).terminal


def _gone(position: Mapping[str, Any] | None, claim: Claim) -> bool:
    """Whether the claim is lost, or was released so that any worker may claim the turn."""
    return position is None or position["released"] or _lost(position, claim)


def _outcome(position: Mapping[str, Any] | None, append: Append) -> TurnLost | Unavailable | None:
    """Determine why an append found no row. Returns None if an earlier attempt at the same append was committed after all.

    The last seq is enough to decide this, because only the holder of the epoch writes under that epoch, one write after the other.
    """
    turn = names.turn(append.claim.turn_id)
    if position is None or _lost(position, append.claim):
        return TurnLost(turn)
    if append.rows and position["last_seq"] == append.rows[-1].last_seq:
        return None
    if position["released"] or (append.rows and position["last_seq"] != append.rows[0].first_seq - 1):
        return TurnLost(turn)
    # Another session had locked the row. Another try will show whether that session has claimed the turn.
    return concurrent_change()


def _fence(batch: Sequence[Append]) -> dict[str, object]:
    """The expected position of each turn, and the indexes of its rows and checkpoint in the arrays, counted from 1."""
    ends = list(accumulate(len(item.rows) for item in batch))
    saves = accumulate(int(item.checkpoint is not None) for item in batch)
    return {
        "firsts": [item.rows[0].first_seq if item.rows else 0 for item in batch],
        "lasts": [item.rows[-1].last_seq if item.rows else 0 for item in batch],
        "leases": [item.claim.lease_seconds for item in batch],
        "froms": [end - len(item.rows) + 1 for item, end in zip(batch, ends, strict=True)],
        "tos": ends,
        "saves": [save if item.checkpoint else 0 for item, save in zip(batch, saves, strict=True)],
        "read_documents": [
            uuid_array(doc.document_id for doc in item.read) if item.read else "" for item in batch
        ],
        "read_versions": [_numbers(doc.version for doc in item.read) if item.read else "" for item in batch],
        "attempts": [item.attempt for item in batch],
        "words": [item.words for item in batch],
    }


def _numbers(values: Iterable[int]) -> str:
    """Numbers as the text of a PostgreSQL array."""
    return "{" + ",".join(map(str, values)) + "}"


def _checkpoints(batch: Sequence[Append]) -> dict[str, object]:
    saved = [item.checkpoint for item in batch if item.checkpoint is not None]
    return {
        "saved_seqs": [save.last_seq for save in saved],
        "text_bytes": [save.text_bytes for save in saved],
        **usage_lists([save.usage for save in saved]),
        "states": [save.state for save in saved],
    }


def _tools(batch: Sequence[Append]) -> dict[str, object]:
    """Tool calls as columns. A call and its outcome in the same append make one row, because a statement cannot change a
    row that it inserts. The outcomes of earlier calls are separate columns.
    """
    called: list[tuple[UUID, ToolCalled, ToolReturned | None]] = []
    returned: list[tuple[UUID, ToolReturned]] = []
    for append in batch:
        turn = append.claim.turn_id
        outcomes = {tool.call_id: tool for tool in append.tools if isinstance(tool, ToolReturned)}
        for tool in append.tools:
            if isinstance(tool, ToolCalled):
                called.append((turn, tool, outcomes.pop(tool.call_id, None)))
        returned.extend((turn, tool) for tool in outcomes.values())
    return {
        "called_turns": [turn for turn, _, _ in called],
        "calls": [tool.call_id for _, tool, _ in called],
        "tools": [tool.tool for _, tool, _ in called],
        "arguments": [json.dumps(dict(tool.arguments)) for _, tool, _ in called],
        "effects": [tool.effect.value for _, tool, _ in called],
        "outcomes": [outcome.outcome.value if outcome else "" for _, _, outcome in called],
        "contents": [outcome.content if outcome else "" for _, _, outcome in called],
        "datas": [_json(outcome.data) if outcome else "" for _, _, outcome in called],
        "sources": [_sources(outcome.sources) if outcome else "" for _, _, outcome in called],
        "faults": [_fault(outcome) if outcome else "" for _, _, outcome in called],
        "returned_turns": [turn for turn, _ in returned],
        "returns": [tool.call_id for _, tool in returned],
        "returned_outcomes": [tool.outcome.value for _, tool in returned],
        "returned_contents": [tool.content for _, tool in returned],
        "returned_datas": [_json(tool.data) for _, tool in returned],
        "returned_sources": [_sources(tool.sources) for _, tool in returned],
        "returned_faults": [_fault(tool) for _, tool in returned],
    }


def _json(value: object) -> str:
    """A value as JSON; "" for None."""
    return "" if value is None else json.dumps(value)


def _fault(tool: ToolReturned) -> str:
    return tool.fault.value if tool.fault else ""


def _sources(sources: Sequence[ToolSource]) -> str:
    """The sources as JSON; "" if there are none."""
    return _json([_source(source) for source in sources]) if sources else ""


def _source(source: ToolSource) -> Mapping[str, object]:
    plain = {
        "uri": source.uri,
        "title": source.title,
        "fetch_time": source.fetch_time.isoformat(),
        "text": source.text,
    }
    if source.passage is None:
        return plain
    passage = source.passage
    location = {
        "passage": str(passage.passage_id),
        "document": str(passage.document_id),
        "version": passage.version,
        "start": passage.range.start,
        "end": passage.range.end,
    }
    return {**plain, "passage": location}


def record_of(row: Mapping[str, Any]) -> ToolRecord:
    """An entry of the ledger."""
    return ToolRecord(
        ToolOutcome(row["outcome"]) if row["outcome"] else None,
        row["content"],
        row["data"],
        sources_of(row["sources"]),
        ToolFault(row["fault"]) if row["fault"] else None,
        Effect(row["effect"]) if row["effect"] else None,
        row["tool"],
        row["arguments"],
    )


def sources_of(plain: Sequence[Mapping[str, Any]] | None) -> Sequence[ToolSource]:
    """The sources in a column of the ledger."""
    return tuple(_read_source(source) for source in plain or ())


def _read_source(plain: Mapping[str, Any]) -> ToolSource:
    location = plain.get("passage")
    passage = None
    if location is not None:
        passage = SourcePassage(
            UUID(location["passage"]),
            UUID(location["document"]),
            location["version"],
            ByteRange(location["start"], location["end"]),
        )
    time = datetime.fromisoformat(plain["fetch_time"])
    return ToolSource(plain["uri"], plain["title"], time, plain["text"], passage)


def _ends(tenant_id: str, ends: Sequence[_End]) -> dict[str, object]:
    """The ends of turns as columns. The turn keeps the last row of each."""
    rows = [end.rows[:-1] for end in ends]
    through = list(accumulate(map(len, rows)))
    conclusions = [end.conclusion for end in ends]
    return {
        "tenant": tenant_id,
        **claim_lists([end.claim for end in ends]),
        **log_rows([row for some in rows for row in some]),
        "firsts": [end.rows[0].first_seq for end in ends],
        "lasts": [end.rows[-1].last_seq for end in ends],
        "froms": [end - len(some) + 1 for some, end in zip(rows, through, strict=True)],
        "tos": through,
        "states": [conclusion.state.value for conclusion in conclusions],
        "terminals": [conclusion.terminal for conclusion in conclusions],
        **usage_lists([conclusion.usage for conclusion in conclusions]),
        "titles": [conclusion.title for conclusion in conclusions],
        "speaks": [bool(conclusion.messages) for conclusion in conclusions],
        **facts_columns([conclusion.facts for conclusion in conclusions]),
        "documents": [uuid_array(read.document_id for read in conclusion.read) for conclusion in conclusions],
        "versions": [_numbers(read.version for read in conclusion.read) for conclusion in conclusions],
        "messages": [
            _message(index, message) for index, end in enumerate(conclusions, 1) for message in end.messages
        ],
        "citations": [
            row
            for index, end in enumerate(conclusions, 1)
            for message in end.messages
            for row in _citations(index, message)
        ],
    }


def facts_columns(facts: Sequence[TurnFacts]) -> dict[str, object]:
    """Facts as parameters: one list for each column."""
    return {
        "models": [row.model for row in facts],
        "collections": [row.collection_id for row in facts],
        "refusals": [row.refusal for row in facts],
        "numbers_of_citations": [row.citations for row in facts],
        "unsupported": [row.unsupported for row in facts],
        "fallbacks": ["{" + ",".join(row.fallbacks) + "}" for row in facts],
    }


def _finished_before(position: Mapping[str, Any] | None, claim: Claim, rows: Sequence[LogRow]) -> bool:
    """Determine why a finish found no row. If an earlier attempt to finish the same turn was committed after all, returns whether it
    promoted a turn. Otherwise raises TurnLost or Unavailable.

    The last seq is enough to decide this, because only the holder of the epoch writes under that epoch, one write after the other.
    """
    if position is None or position["epoch"] != claim.epoch:
        raise TurnLost(names.turn(claim.turn_id))
    terminal = TurnState(position["state"]).terminal
    if terminal and position["last_seq"] == rows[-1].last_seq:
        return bool(position["promoted"])
    if terminal or position["last_seq"] != rows[0].first_seq - 1:
        raise TurnLost(names.turn(claim.turn_id))
    # The conflicting row was rolled back in the meantime, so another try will succeed.
    raise concurrent_change()


def _message(finish: int, message: NewMessage) -> dict[str, object]:
    return {
        "finish": finish,
        "id": str(message.id),
        "speaker": message.speaker.value,
        "content": message.text,
        "refusal": message.refusal.value if message.refusal else None,
    }


def _citations(finish: int, message: NewMessage) -> Sequence[dict[str, object]]:
    return [
        {
            "finish": finish,
            "message_id": str(message.id),
            "place": index,
            "title": citation.title,
            "uri": citation.uri,
            "source_start": citation.source.start,
            "source_end": citation.source.end,
            "quote": citation.quote,
            "sha256": citation.sha256.hex(),
            "answer_start": citation.answer.start,
            "answer_end": citation.answer.end,
            "score": citation.score,
            "quote_origin": citation.quote_origin,
            "verdict": citation.verdict,
            "differences": [_difference(difference) for difference in citation.differences] or None,
            **_origin(citation),
        }
        for index, citation in enumerate(message.citations)
    ]


def _difference(difference: Difference) -> dict[str, object]:
    """A difference in the form of the column `differences`."""
    answer, source = difference.answer, difference.source
    span = None if source is None else [source.start, source.end]
    return {"kind": difference.kind, "answer": [answer.start, answer.end], "source": span}


def _origin(citation: AnyCitation) -> dict[str, object]:
    """The columns that say where a citation's quote is from."""
    if isinstance(citation, ToolCitation):
        return {
            "page": 0,
            "path": "",
            "date": "",
            "call_id": citation.origin.call_id,
            "tool": citation.origin.tool,
            "source_index": citation.origin.source_index,
            "fetch_time": citation.origin.fetch_time.isoformat(),
        }
    return {
        "passage_id": str(citation.passage_id),
        "document_id": str(citation.document_id),
        "version": citation.version,
        "page": citation.page,
        "boxes": citation.boxes,
        "path": citation.path,
        "date": citation.date,
    }
