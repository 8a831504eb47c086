"""Reads of turns and their logs, and the partitions that hold the logs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final
from uuid import UUID

from psycopg import errors
from psycopg.rows import dict_row

from responsa_server.domain import names
from responsa_server.domain.errors import NotFound
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.lists import TURNS
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import Backlog, Cursor, LogRow, News, Turn
from responsa_server.stores.postgres.database import shielded, unavailable
from responsa_server.stores.postgres.listing import SqlList
from responsa_server.stores.postgres.turn_rows import TurnPart, caller, turn_of

_LIST: Final[SqlList[Turn]] = SqlList(
    TURNS, {"conversation": "conversation_id", "state": "state", "create_time": "create_time"}
)

# Calls of tools, or checkpoints, that are deleted in one statement, which has its bounds.
_MOST_PRUNED: Final = 5000


class TurnReads(TurnPart):
    """`backlog`, `poll`, `get`, `list`, `make_partitions`, `prune` and `prune_checkpoints` of a `TurnStore`."""

    FILES: ClassVar[Sequence[str]] = ("turn_reads.sql",)

    @shielded
    async def backlog(self, who: Principal, turn_id: UUID, after_seq: int, most: int) -> Backlog:
        """See `TurnStore.backlog`."""
        parameters = {**caller(who), "turn": turn_id, "after": after_seq, "most": most}
        [found] = await self._database.together(who.tenant_id, [(self._queries["backlog"], parameters)])
        if not found:
            raise NotFound.of("turn", names.turn(turn_id))
        first = found[0]
        rows = [_log_row(row) for row in found if row["seq"] is not None]
        return Backlog(
            rows,
            first["position"],
            first["end_seq"],
            first["queue_place"],
            first["terminal"],
            first["watched"],
        )

    @shielded
    async def poll(self, cursors: Sequence[Cursor], most: int) -> Sequence[News]:
        """See `TurnStore.poll`."""
        if not cursors:
            return []
        parameters = {
            "turns": [one.turn_id for one in cursors],
            "after": [one.after_seq for one in cursors],
            "most": most,
        }
        async with self._database.log_statements() as connection:
            cursor = connection.cursor(binary=True, row_factory=dict_row)
            await cursor.execute(self._queries["poll"], parameters)
            found = await cursor.fetchall()
        news: dict[UUID, News] = {}
        rows: dict[UUID, list[LogRow]] = {}
        for row in found:
            held = rows.setdefault(row["id"], [])
            if row["seq"] is not None:
                held.append(_log_row(row))
            news[row["id"]] = News(row["id"], held, row["end_seq"], row["queue_place"])
        return list(news.values())

    @shielded
    async def get(self, who: Principal, turn_id: UUID) -> Turn:
        """See `TurnStore.get`."""
        parameters = {**caller(who), "turn": turn_id, "owner_only": True}
        [found] = await self._database.together(who.tenant_id, [(self._queries["get_turn"], parameters)])
        if not found:
            raise NotFound.of("turn", names.turn(turn_id))
        return turn_of(found[0], self._codec)

    @shielded
    async def list(self, who: Principal, query: ListQuery) -> Page[Turn]:
        """See `TurnStore.list`."""
        async with self._database.tenant(who.tenant_id) as connection:
            rows = await _LIST.rows(connection, self._queries["list_turns"], query, caller(who))
        return _LIST.page([turn_of(row, self._codec) for row in rows], query)

    @shielded
    async def make_partitions(self, days_ahead: int) -> int:
        """See `TurnStore.make_partitions`."""
        return int(await self._value("make_partitions", {"days": days_ahead}) or 0)

    @shielded
    async def prune(self, days: int) -> int:
        """See `TurnStore.prune`. A log that is in use at the moment is left for the next time."""
        dropped = 0
        try:
            # Each in a transaction of its own, so that the log is never locked for longer than one partition takes. First what an earlier
            # call has taken out and not come to drop.
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
        """See `TurnStore.prune_checkpoints`."""
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
        """The one value that a function gives back. Raises _InUse where it gave up waiting for a lock."""
        async with self._database.log_statements() as connection:
            cursor = connection.cursor()
            try:
                await cursor.execute(self._queries[query], parameters)
            except errors.LockNotAvailable as error:
                raise _InUse from error
            row = await cursor.fetchone()
        if row is None:
            raise unavailable()
        return row[0]


class _InUse(Exception):
    """A lock could not be taken in time."""


def _log_row(row: Mapping[str, Any]) -> LogRow:
    return LogRow(row["seq"], row["last_seq"], row["deltas"], row["frame"])
