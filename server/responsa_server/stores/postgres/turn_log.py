"""What workers do with turns, over all tenants: claim and release them, and write rows, checkpoints and tool calls of many behind the fence of their epochs."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from datetime import timedelta
from itertools import accumulate
from typing import Any, ClassVar
from uuid import UUID

from psycopg import errors
from psycopg.rows import dict_row

from responsa_server.domain import names
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import ToolCalled, ToolOutcome, ToolReturned
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.turns import (
    Append,
    Checkpoint,
    Claim,
    ClaimedTurn,
    FrameCodec,
    ToolRecord,
    TurnLost,
    TurnState,
)
from responsa_server.stores.postgres.database import Connection, Database, shielded, unavailable
from responsa_server.stores.postgres.turn_rows import (
    NamedQueries,
    TurnPart,
    held,
    log_rows,
    usage_lists,
    usage_of,
)


class TurnLog(TurnPart):
    """`claim`, `release`, `append`, `renew` and `follows` of a `TurnStore`."""

    FILES: ClassVar[Sequence[str]] = ("turn_log.sql",)

    def __init__(self, database: Database, codec: FrameCodec, queries: NamedQueries) -> None:
        super().__init__(database, codec, queries)
        # What a claim took whose commit was not heard of, by owner: the next claim looks whether it has them.
        self._unsure: dict[UUID, Sequence[ClaimedTurn]] = {}

    @shielded
    async def claim(
        self,
        owner: UUID,
        versions: Sequence[str],
        lease_seconds: float,
        most: int,
        here: Sequence[UUID] = (),
    ) -> Sequence[ClaimedTurn]:
        """See `TurnStore.claim`."""
        await self._promote_orphans()
        parameters = {"owner": owner, "versions": list(versions), "lease": timedelta(seconds=lease_seconds)}
        unsure = {one.claim.turn_id: one for one in self._unsure.pop(owner, ())}
        taken: list[ClaimedTurn] = []
        try:
            async with self._database.log() as connection:
                if unsure:
                    again = await self._again(connection, list(unsure.values()), parameters)
                    taken.extend(one for turn, one in unsure.items() if turn in again)
                if most > len(taken):
                    rows = await self._all(
                        connection,
                        "claim_turns",
                        {**parameters, "most": most - len(taken), "here": list(here)},
                    )
                    taken.extend(await self._claimed(connection, rows, lease_seconds) if rows else ())
        except Unavailable:
            doubtful = unsure | {one.claim.turn_id: one for one in taken}
            if doubtful:
                self._unsure[owner] = list(doubtful.values())
            raise
        return taken

    async def _again(
        self, connection: Connection, unsure: Sequence[ClaimedTurn], parameters: Mapping[str, object]
    ) -> set[UUID]:
        """Those that are ours after all."""
        claims = [one.claim for one in unsure]
        rows = await self._all(connection, "claim_again", {**parameters, **held(claims)})
        return {row["id"] for row in rows}

    async def _promote_orphans(self) -> None:
        async with self._database.log_statements() as connection:
            # Another question took the place meanwhile, and promotes at its end.
            with contextlib.suppress(errors.UniqueViolation):
                await connection.execute(self._queries["promote_orphans"])

    async def _claimed(
        self, connection: Connection, rows: Sequence[Mapping[str, Any]], lease_seconds: float
    ) -> Sequence[ClaimedTurn]:
        checkpoints: dict[UUID, Checkpoint] = {}
        tools: dict[UUID, dict[str, ToolRecord]] = {}
        # A first attempt has nothing to go on from.
        if turns := [row["id"] for row in rows if row["attempt"] > 1]:
            for row in await self._all(connection, "checkpoints", {"turns": turns}):
                checkpoints[row["turn_id"]] = Checkpoint(
                    row["last_seq"], row["text_bytes"], usage_of(row), row["state"]
                )
            for row in await self._all(connection, "tools", {"turns": turns}):
                outcome = ToolOutcome(row["outcome"]) if row["outcome"] else None
                tools.setdefault(row["turn_id"], {})[row["call_id"]] = ToolRecord(outcome, row["content"])
        return [
            ClaimedTurn(
                claim=Claim(row["id"], row["tenant_id"], row["epoch"], lease_seconds),
                who=Principal(row["tenant_id"], row["user_id"], Role(row["role"]), "turn"),
                conversation_id=row["conversation_id"],
                question=self._codec.decode_question(row["request"]),
                agent_version=row["agent_version"],
                last_seq=row["last_seq"],
                attempt=row["attempt"],
                losses=row["losses"],
                age_seconds=row["age_seconds"],
                first_in_conversation=row["first_in_conversation"],
                checkpoint=checkpoints.get(row["id"]),
                tools=tools.get(row["id"], {}),
            )
            for row in rows
        ]

    @shielded
    async def release(self, claims: Sequence[Claim]) -> None:
        """See `TurnStore.release`."""
        if not claims:
            return
        async with self._database.log_statements() as connection:
            await connection.execute(self._queries["release_turns"], held(claims))

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
        parameters = {**held([one.claim for one in batch]), **_fence(batch)}
        if any(one.rows for one in batch):
            parts.append("append_rows")
            parameters |= log_rows([row for one in batch for row in one.rows])
        if any(one.checkpoint for one in batch):
            parts.append("append_checkpoints")
            parameters |= _checkpoints(batch)
        if any(one.tools for one in batch):
            parts.append("append_tools")
            parameters |= _tools(batch)
        # One statement, so one transaction: what is written with a turn's rows is written if and only if they are.
        statement = ",\n".join(self._queries[part] for part in parts)
        cursor = connection.cursor(binary=True)
        await cursor.execute(f"WITH {statement}\nSELECT id FROM fenced", parameters)
        written = {row[0] for row in await cursor.fetchall()}
        missing = [one for one in batch if one.claim.turn_id not in written]
        if not missing:
            return {}
        positions = await self._positions(connection, [one.claim for one in missing])
        outcomes = {one.claim.turn_id: _settle(positions.get(one.claim.turn_id), one) for one in missing}
        return {turn: outcome for turn, outcome in outcomes.items() if outcome is not None}

    @shielded
    async def renew(self, claims: Sequence[Claim]) -> Sequence[UUID]:
        """See `TurnStore.renew`. A lease whose row somebody has locked at the moment keeps its end."""
        if not claims:
            return []
        parameters = {**held(claims), "leases": [one.lease_seconds for one in claims]}
        async with self._database.writer() as connection:
            cursor = connection.cursor(binary=True)
            await cursor.execute(self._queries["renew_leases"], parameters)
            renewed = {row[0] for row in await cursor.fetchall()}
            missing = [one for one in claims if one.turn_id not in renewed]
            if not missing:
                return []
            positions = await self._positions(connection, missing)
        return [one.turn_id for one in missing if _gone(positions.get(one.turn_id), one)]

    async def _positions(
        self, connection: Connection, claims: Sequence[Claim]
    ) -> Mapping[UUID, Mapping[str, Any]]:
        """Where turns stand, by id; without those that are gone."""
        cursor = connection.cursor(binary=True, row_factory=dict_row)
        await cursor.execute(self._queries["positions"], {"turns": [one.turn_id for one in claims]})
        return {row["id"]: row for row in await cursor.fetchall()}


def _lost(position: Mapping[str, Any] | None, claim: Claim) -> bool:
    return position is None or position["epoch"] != claim.epoch or TurnState(position["state"]).terminal


def _gone(position: Mapping[str, Any] | None, claim: Claim) -> bool:
    """Lost, or released: anybody may take it."""
    return position is None or position["released"] or _lost(position, claim)


def _settle(position: Mapping[str, Any] | None, append: Append) -> TurnLost | Unavailable | None:
    """Tell why an append found no row; None when an earlier try of the same append was committed after all.

    Only who holds the epoch writes under it, one write after the other, so the last seq tells.
    """
    turn = names.turn(append.claim.turn_id)
    if position is None or _lost(position, append.claim):
        return TurnLost(turn)
    if append.rows and position["last_seq"] == append.rows[-1].last_seq:
        return None
    if position["released"] or (append.rows and position["last_seq"] != append.rows[0].first_seq - 1):
        return TurnLost(turn)
    # Somebody had the row locked: it is worth another try, which tells whether they took the turn.
    return unavailable()


def _fence(batch: Sequence[Append]) -> dict[str, object]:
    """What each turn must stand at, and which of the rows and checkpoints are its own, counted from 1."""
    ends = list(accumulate(len(one.rows) for one in batch))
    saves = accumulate(int(one.checkpoint is not None) for one in batch)
    return {
        "firsts": [one.rows[0].first_seq if one.rows else 0 for one in batch],
        "lasts": [one.rows[-1].last_seq if one.rows else 0 for one in batch],
        "leases": [one.claim.lease_seconds for one in batch],
        "froms": [end - len(one.rows) + 1 for one, end in zip(batch, ends, strict=True)],
        "tos": ends,
        "saves": [place if one.checkpoint else 0 for one, place in zip(batch, saves, strict=True)],
    }


def _checkpoints(batch: Sequence[Append]) -> dict[str, object]:
    saved = [one.checkpoint for one in batch if one.checkpoint is not None]
    return {
        "saved_seqs": [one.last_seq for one in saved],
        "text_bytes": [one.text_bytes for one in saved],
        **usage_lists([one.usage for one in saved]),
        "states": [one.state for one in saved],
    }


def _tools(batch: Sequence[Append]) -> dict[str, object]:
    """Intents, each with its outcome when that is in the same append: a statement cannot change a row that it inserts. Outcomes of earlier intents apart."""
    called: list[tuple[UUID, ToolCalled, ToolReturned | None]] = []
    returned: list[tuple[UUID, ToolReturned]] = []
    for one in batch:
        turn = one.claim.turn_id
        outcomes = {tool.call_id: tool for tool in one.tools if isinstance(tool, ToolReturned)}
        for tool in one.tools:
            if isinstance(tool, ToolCalled):
                called.append((turn, tool, outcomes.pop(tool.call_id, None)))
        returned.extend((turn, tool) for tool in outcomes.values())
    return {
        "called_turns": [turn for turn, _, _ in called],
        "calls": [tool.call_id for _, tool, _ in called],
        "tools": [tool.tool for _, tool, _ in called],
        "arguments": [json.dumps(dict(tool.arguments)) for _, tool, _ in called],
        "outcomes": [outcome.outcome.value if outcome else "" for _, _, outcome in called],
        "contents": [outcome.content if outcome else "" for _, _, outcome in called],
        "returned_turns": [turn for turn, _ in returned],
        "returns": [tool.call_id for _, tool in returned],
        "returned_outcomes": [tool.outcome.value for _, tool in returned],
        "returned_contents": [tool.content for _, tool in returned],
    }
