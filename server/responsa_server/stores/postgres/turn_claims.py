"""How workers come by turns and give them up, and how followers of watched turns are known."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, ClassVar
from uuid import UUID

from psycopg import errors
from psycopg.rows import dict_row

from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import ToolOutcome
from responsa_server.domain.people import Principal, Role
from responsa_server.domain.ports.turns import Checkpoint, Claim, ClaimedTurn, FrameCodec, ToolRecord
from responsa_server.stores.postgres.database import Connection, Database, shielded
from responsa_server.stores.postgres.turn_rows import NamedQueries, TurnPart, held, usage_of


class TurnClaims(TurnPart):
    """`claim`, `release` and `follows` of a `TurnStore`."""

    FILES: ClassVar[Sequence[str]] = ("turn_claims.sql",)

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
