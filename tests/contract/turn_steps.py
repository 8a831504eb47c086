"""Helpers for tests of the turn store: rows, claims, results, and reads that no row-level policy restricts."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
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
    Accepted,
    Append,
    Checkpoint,
    Claim,
    ClaimedTurn,
    Conclusion,
    Ending,
    FrameCodec,
    LogRow,
    NewMessage,
    NewTurn,
    OnBusy,
    OpenTurn,
    Question,
    TurnLost,
    TurnState,
)
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.turns import PostgresTurnStore
from tests.conftest import DatabaseUrls
from tests.contract.people import WithPeople
from tests.plain_codec import PlainCodec

AGENT = "agents/default/versions/1"
STARTED = LogRow(1, 1, False, b"started")
FAILED = Conclusion(TurnState.FAILED, b"failed", Usage())
_WAITING = """SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND wait_event_type = 'Lock' AND pid <> pg_backend_pid()"""


def new_turn(
    text: str = "How long is the river?",
    *,
    conversation: UUID | None = None,
    request_id: UUID | None = None,
    lease_seconds: float = 60.0,
    collections: tuple[str, ...] = (),
    agent: str = "",
    on_busy: OnBusy = OnBusy.REJECT,
    version: str = AGENT,
    pending: bool = False,
    watched: bool = False,
    max_pending: int = 1000,
    max_queued: int = 8,
    parameters: str = "",
    max_cost_micros: int = 0,
    document_filter: str = "",
) -> NewTurn:
    """A turn for `accept`. pending: whether the turn begins as pending, so that any worker may claim it."""
    return NewTurn(
        id=uuid7(),
        conversation_id=conversation or uuid7(),
        question=Question(
            text,
            conversation,
            collections,
            agent,
            on_busy,
            parameters,
            max_cost_micros,
            document_filter=document_filter,
        ),
        request_id=request_id,
        agent_version=version,
        owner=None if pending else uuid7(),
        lease_seconds=lease_seconds,
        frame=b"started",
        cancel_on_disconnect=watched,
        max_pending=max_pending,
        max_queued=max_queued,
    )


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


class Store(WithPeople, PostgresTurnStore):
    """The turn store of a database with people. `ann` asks, unless a test names another caller."""

    def __init__(
        self, urls: DatabaseUrls, database: Database, codec: FrameCodec | None = None, **options: Any
    ) -> None:
        super().__init__(database, codec or PlainCodec(), **options)
        self.urls, self.database = urls, database
        self.conversations = PostgresConversationStore(database)

    async def take(self, new: NewTurn, caller: Principal | None = None) -> Accepted:
        """Accept a turn."""
        return await self.accept(caller or self.ann, new, cancelled)

    async def take_all(self, *turns: NewTurn, caller: Principal | None = None) -> None:
        """Accept these turns, one after the other."""
        for new in turns:
            await self.take(new, caller)

    async def make(self, *text: str, caller: Principal | None = None, **options: Any) -> NewTurn:
        """A turn that the store has accepted. text, options: the arguments of `new_turn`."""
        new = new_turn(*text, **options)
        await self.take(new, caller)
        return new

    async def write(self, turn: NewTurn | Claim, *rows: LogRow, **more: Any) -> None:
        """Append rows to one turn. Raises the store's error for the turn if the rows were not appended."""
        claim = turn if isinstance(turn, Claim) else claim_of(turn)
        left_out = await self.append([append_of(claim, *rows, **more)])
        for error in left_out.values():
            raise error

    async def rows(self, turn: NewTurn | UUID, caller: Principal | None = None) -> list[LogRow]:
        turn_id = turn if isinstance(turn, UUID) else turn.id
        return list((await self.backlog(caller or self.ann, turn_id, 0, 1000)).rows)

    async def state(self, turn: NewTurn, caller: Principal | None = None) -> TurnState:
        return (await self.get(caller or self.ann, turn.id)).state

    async def claim_all(
        self, owner: UUID | None = None, most: int = 100, *, lease_seconds: float = 60.0
    ) -> Sequence[ClaimedTurn]:
        return await self.claim(owner or uuid7(), [AGENT], lease_seconds, most)

    def count(self) -> Counter[str]:
        """The number of rows in each table that a turn writes, if it has any."""
        tables = ("conversation", "turn", "turn_event", "message", "citation")
        counts = {table: self.urls.value(f"SELECT count(*) FROM responsa.{table}") for table in tables}
        return +Counter(counts)

    def run_out(self, *turns: NewTurn) -> None:
        """Let the leases of these turns expire."""
        expired = "UPDATE responsa.turn SET lease_until = now() - interval '1 s' WHERE id = ANY (%s)"
        self.urls.ask(expired, [new.id for new in turns])

    def end_alone(self, turn: NewTurn) -> None:
        """Leave the state of a turn that has ended, although nothing that an end brings about was done."""
        self.urls.ask(
            "UPDATE responsa.turn SET state = 'failed', terminal = 'x', end_time = now() WHERE id = %s",
            turn.id,
        )


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


async def race(urls: DatabaseUrls, turn_id: UUID, *works: Callable[[], Awaitable[object]]) -> list[object]:
    """Begin these calls one after the other while their turn is locked, so that each waits for it or for the one before.
    Returns their results, or the expected errors that they raise."""
    async with locked(urls, "turn", turn_id):
        tasks: list[asyncio.Task[object]] = []
        for waiters, work in enumerate(works, start=1):
            tasks.append(asyncio.ensure_future(outcome(work)))
            await until_somebody_waits(urls, tasks[-1], waiters)
    return await asyncio.gather(*tasks)


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
