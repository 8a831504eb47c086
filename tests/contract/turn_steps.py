"""Helpers for tests of the turn store: rows, claims, results, and reads that no row-level policy restricts."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import psycopg
from uuid_utils.compat import uuid7

from responsa_server.domain.conversations import Speaker
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import AnyCitation, ToolCalled, ToolReturned, Usage
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import (
    Append,
    Checkpoint,
    Claim,
    ClaimedTurn,
    Conclusion,
    Ending,
    LogRow,
    NewMessage,
    NewTurn,
    OpenTurn,
    TurnLost,
    TurnState,
    TurnStore,
)
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.conftest import AGENT, new_turn
from tests.plain_codec import PlainCodec

STARTED = LogRow(1, 1, False, b"started")
FAILED = Conclusion(TurnState.FAILED, b"failed", Usage())
_WAITING = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"""


def row(first: int, last: int | None = None, *, deltas: bool = False) -> LogRow:
    return LogRow(first, last or first, deltas, f"{first}-{last or first}".encode())


def claim_of(new: NewTurn, *, tenant: str = "acme", epoch: int = 1) -> Claim:
    return Claim(new.id, tenant, epoch, new.lease_seconds)


def append_of(
    claim: Claim,
    *rows: LogRow,
    checkpoint: Checkpoint | None = None,
    tools: Sequence[ToolCalled | ToolReturned] = (),
    attempt: int = 0,
) -> Append:
    return Append(claim, rows, checkpoint, tools, attempt=attempt, words=any(row.deltas for row in rows))


async def accept_all(store: TurnStore, caller: Principal, *turns: NewTurn) -> None:
    """Accept these turns, one after the other."""
    for new in turns:
        await store.accept(caller, new, interrupt=cancelled)


async def accepted_turn(store: TurnStore, caller: Principal, *text: str, **options: Any) -> NewTurn:
    """A turn that the store has accepted. text, options: the arguments of `new_turn`."""
    new = new_turn(*text, **options)
    await accept_all(store, caller, new)
    return new


async def append(store: PostgresTurnStore, claim: Claim, *rows: LogRow, **more: Any) -> None:
    """Append rows to one turn. Raises the store's error for the turn if the rows were not appended."""
    left_out = await store.append([append_of(claim, *rows, **more)])
    for error in left_out.values():
        raise error


def answered(*citations: AnyCitation) -> Conclusion:
    messages = (
        NewMessage(uuid7(), Speaker.USER, "How long is the Nile?"),
        NewMessage(uuid7(), Speaker.ASSISTANT, "The Nile is 6,650 km long.", citations),
    )
    return Conclusion(TurnState.ANSWERED, b"answer", Usage(11), messages, "How long is the Nile?")


def end(turn_id: UUID, seq: int, terminal: bytes = FAILED.terminal) -> LogRow:
    """The last row of an ended turn, which readers get and the log does not have."""
    return LogRow(seq, seq, False, PlainCodec().frame(turn_id, seq - 1, seq, [terminal]))


def cancelled(turn: OpenTurn) -> Ending:
    return Ending(end(turn.turn_id, turn.last_seq + 1, b"cancelled"), b"cancelled")


async def rows_of(store: PostgresTurnStore, caller: Principal, turn: NewTurn | UUID) -> list[LogRow]:
    turn_id = turn if isinstance(turn, UUID) else turn.id
    return list((await store.backlog(caller, turn_id, 0, 1000)).rows)


async def claim_all(
    store: PostgresTurnStore, owner: UUID | None = None, most: int = 100, *, lease_seconds: float = 60.0
) -> Sequence[ClaimedTurn]:
    return await store.claim(owner or uuid7(), [AGENT], lease_seconds, most)


def count(urls: DatabaseUrls) -> dict[str, int]:
    """The number of rows in each table that a turn writes."""
    tables = ("conversation", "turn", "turn_event", "message", "citation")
    return {table: urls.value(f"SELECT count(*) FROM responsa.{table}") for table in tables}


def run_out(urls: DatabaseUrls, *turns: UUID) -> None:
    """Let the leases of these turns expire."""
    urls.ask("UPDATE responsa.turn SET lease_until = now() - interval '1 s' WHERE id = ANY (%s)", list(turns))


async def until_somebody_waits(urls: DatabaseUrls, task: asyncio.Task[Any], waiters: int = 1) -> None:
    """Wait until `waiters` sessions wait for a lock. Fails if the task ends before that."""
    async with await psycopg.AsyncConnection.connect(urls.superuser, autocommit=True) as watch:
        while True:
            found = await (await watch.execute(_WAITING)).fetchone()
            if found is not None and found[0] >= waiters:
                return
            assert not task.done(), task


@asynccontextmanager
async def locked(urls: DatabaseUrls, table: str, identity: UUID) -> AsyncGenerator[None]:
    """Lock a row in another session until the end of the block."""
    async with await psycopg.AsyncConnection.connect(urls.superuser) as holder:
        query = f"SELECT FROM responsa.{table} WHERE id = %s FOR UPDATE"
        await holder.execute(query.encode(), (identity,))
        yield
        await holder.rollback()


async def outcome(work: Callable[[], Any]) -> object:
    """The result of a call, or the expected error that it raises."""
    try:
        return await work()
    except (TurnLost, Unavailable) as error:
        return error


def checkpoint(last_seq: int, text_bytes: int = 0, state: bytes = b"state") -> Checkpoint:
    return Checkpoint(last_seq, text_bytes, Usage(1, 2, 3, 40, 50), state)


def tool_ledger(claimed: ClaimedTurn) -> Mapping[str, tuple[str | None, str]]:
    """A turn's ledger of tool calls as plain values."""
    return {
        call: (tool.outcome.value if tool.outcome else None, tool.content)
        for call, tool in claimed.tools.items()
    }
