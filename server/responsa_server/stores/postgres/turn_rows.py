"""What the parts of the turn store share: named queries, parameters, and rows made into turns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, LiteralString, Protocol

from responsa_server.domain.events import Usage
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import Claim, End, EndedTurn, FrameCodec, LogRow, OpenTurn, Turn, TurnState
from responsa_server.stores.postgres.database import Connection, Database, one_row

USAGE: Final = ("embedding_tokens", "input_tokens", "output_tokens", "cost_micros", "unpriced_tokens")
"""What a usage counts; the columns are called as its fields are."""


class NamedQueries(Protocol):
    """Queries by name."""

    def __getitem__(self, name: str, /) -> LiteralString: ...


class TurnPart:
    """A part of the turn store. queries: its own, by name."""

    def __init__(self, database: Database, codec: FrameCodec, queries: NamedQueries) -> None:
        self._database = database
        self._codec = codec
        self._queries = queries

    async def _row(
        self, connection: Connection, query: str, parameters: Mapping[str, object]
    ) -> dict[str, Any] | None:
        return await one_row(connection, self._queries[query], parameters)


class EndingPart(TurnPart):
    """A part that ends turns which it does not run."""

    FILES: ClassVar[Sequence[str]] = ("turn_ends.sql",)

    async def _end(self, connection: Connection, row: Mapping[str, Any], end: End) -> EndedTurn:
        """End a turn whose conversation and row are locked and which has not ended."""
        ending = end(OpenTurn(row["id"], row["tenant_id"], row["last_seq"], row["attempt"]))
        parameters = {
            "tenant": row["tenant_id"],
            "turn": row["id"],
            "first": ending.row.first_seq,
            "last": ending.row.last_seq,
            "terminal": ending.terminal,
            "frame": ending.row.frame,
        }
        ended = await self._row(connection, "end_turn", parameters)
        if ended is None:
            raise AssertionError("a turn ended while its row was locked")
        return EndedTurn(row["id"], ended["epoch"], ending.row)


def caller(who: Principal) -> dict[str, object]:
    """Parameters that keep a query to its caller."""
    return {"tenant": who.tenant_id, "user": who.user_id}


def log_rows(rows: Sequence[LogRow]) -> dict[str, object]:
    """A log's rows as columns."""
    return {
        "seqs": [row.first_seq for row in rows],
        "last_seqs": [row.last_seq for row in rows],
        "deltas": [row.deltas for row in rows],
        "frames": [row.frame for row in rows],
    }


def held(claims: Sequence[Claim]) -> dict[str, object]:
    """Claims as columns."""
    return {"turns": [one.turn_id for one in claims], "epochs": [one.epoch for one in claims]}


def usage_of(row: Mapping[str, Any]) -> Usage:
    """The columns of a usage."""
    return Usage(**{name: row[name] for name in USAGE})


def usage_columns(usage: Usage) -> dict[str, object]:
    """A usage as parameters."""
    return {name: getattr(usage, name) for name in USAGE}


def usage_lists(usages: Sequence[Usage]) -> dict[str, object]:
    """Usages as columns."""
    return {name: [getattr(one, name) for one in usages] for name in USAGE}


def turn_of(row: Mapping[str, Any], codec: FrameCodec) -> Turn:
    """A turn's row with its usage summed up."""
    return Turn(
        id=row["id"],
        tenant_id=row["tenant_id"],
        user_id=row["user_id"],
        conversation_id=row["conversation_id"],
        request_id=row["request_id"],
        question=codec.decode_question(row["request"]),
        agent_version=row["agent_version"],
        state=TurnState(row["state"]),
        epoch=row["epoch"],
        last_seq=row["last_seq"],
        terminal=row["terminal"],
        usage=usage_of(row),
        create_time=row["create_time"],
        end_time=row["end_time"],
    )
