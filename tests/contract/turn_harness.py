"""Turns with a real store and an agent that a test scripts."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from responsa_server.domain.agents import Agent, AgentEvent, AnswerTask, Barrier, Emit
from responsa_server.domain.errors import NotFound
from responsa_server.domain.events import (
    Answered,
    AnswerOutcome,
    ByteRange,
    Citation,
    Fallback,
    JudgeVerdict,
    QuoteOrigin,
    Status,
    Step,
    Terminal,
    Usage,
)
from responsa_server.domain.experiments import Assignment
from responsa_server.domain.faults import Faults, NoFaults
from responsa_server.domain.limits import MessageGate
from responsa_server.domain.people import Principal
from responsa_server.domain.quotas import Demand
from responsa_server.domain.relay import Relay
from responsa_server.domain.turns import Followed, Heartbeat, LogRow, Question, TurnStore
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.stores.redis_relay import RedisRelay
from responsa_server.turns.runtime import Runtime
from responsa_server.turns.service import Turns
from responsa_server.turns.settings import TurnOptions
from tests.agent_streams import play
from tests.conftest import DatabaseUrls
from tests.contract.people import WithPeople
from tests.plain_codec import PlainCodec

SEARCHING = Status(Step.RETRIEVING, "Searching knowledge base...")
# Polling intervals are short. Leases are long, so that no lease expires on a slow machine; tests let leases expire
# explicitly.
QUICK = TurnOptions(lease_seconds=30.0, sweep_seconds=0.05, poll_seconds=0.05)
IDLE = replace(QUICK, works=False)
RIVER = Question("How long is the river?")
NO_REDIS = "unix:///nonexistent/redis.sock"
RELAY_KEY = b"the key of all relays in tests"


def answer(text: str = "It is.") -> Answered:
    return Answered(text, hashlib.sha256(text.encode()).digest(), (), AnswerOutcome.COMPLETE, 1, Usage(5))


def citation(quote: str = "The Nile is 6,650 km long.") -> Citation:
    size = len(quote.encode())
    return Citation(
        passage_id=uuid7(),
        document_id=uuid7(),
        version=3,
        title="Rivers of Africa",
        uri="rivers.md",
        source=ByteRange(10, 10 + size),
        quote=quote,
        sha256=hashlib.sha256(quote.encode()).digest(),
        answer=ByteRange(0, size),
        score=0.75,
        page=3,
        boxes=((100, 200, 900, 250),),
        path="Rivers!A4",
        date="2025-02-01",
        quote_origin=QuoteOrigin.COPIED,
        verdict=JudgeVerdict.NONE,
    )


Line = AgentEvent | asyncio.Event | Exception | Usage | Fallback


@dataclass
class Script:
    """A scripted agent. For each item of `events` it emits an event, waits at an asyncio.Event, raises an exception,
    spends a Usage or records a Fallback. After it has emitted a barrier, it waits until the barrier is passed.

    resumed: the items that are used instead after a resume from a checkpoint. objections: the errors with which the
    agent refuses the first questions, one error per question; it accepts all later questions.
    """

    events: Sequence[Line] = field(default_factory=lambda: [SEARCHING, answer()])
    resumed: Sequence[Line] = ()
    spends: Usage = field(default_factory=Usage)
    version: str = "agents/default/versions/1"
    time_limit_seconds: float = 30.0
    history_messages: int = 10
    older_messages: int = 0
    titles: bool = True
    asks_models: bool = True
    over_request: bool = False
    demands: Demand | None = None
    objections: list[Exception] = field(default_factory=list[Exception])
    admitted: list[tuple[Principal, Question]] = field(default_factory=list[tuple[Principal, Question]])
    tasks: list[AnswerTask] = field(default_factory=list[AnswerTask])
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def admit(self, caller: Principal, question: Question) -> None:
        self.admitted.append((caller, question))
        if self.objections:
            raise self.objections.pop(0)

    def demand(self, question: Question) -> Demand | None:
        return self.demands

    async def answer(self, task: AnswerTask, emit: Emit) -> Terminal:
        return await play(self.played(task), emit)

    async def played(self, task: AnswerTask) -> AsyncGenerator[AgentEvent, None]:
        self.tasks.append(task)
        self.begun.set()
        task.meter.add(self.spends)
        task.meter.over_request = self.over_request
        try:
            for event in self.events if task.resume is None else self.resumed:
                if isinstance(event, asyncio.Event):
                    self.waiting.set()
                    await event.wait()
                elif isinstance(event, Exception):
                    raise event
                elif isinstance(event, Usage):
                    task.meter.add(event)
                elif isinstance(event, Fallback):
                    task.meter.fell_back(event)
                else:
                    yield event
                    if isinstance(event, Barrier):
                        await event.passed.wait()
        finally:
            self.closed.set()


@dataclass
class Cast:
    """The agents of a process by id. The id "" means the default agent."""

    by_id: dict[str, Agent]
    assignment: Assignment | None = None

    def find(self, identity: str) -> Agent:
        if identity not in self.by_id:
            raise NotFound.of("agent", f"agents/{identity}")
        return self.by_id[identity]

    def assign(self, identity: str, user_id: UUID, conversation_id: UUID) -> tuple[Agent, Assignment | None]:
        return self.find(identity), self.assignment

    async def version(self, identity: str, number: int) -> Agent:
        name = f"agents/{identity}/versions/{number}"
        if name not in self.versions:
            raise NotFound.of("agent", name)
        return self.at(name)

    def at(self, version: str) -> Agent:
        return {one.version: one for one in self.by_id.values()}[version]

    @property
    def versions(self) -> Sequence[str]:
        return [one.version for one in self.by_id.values()]


class Services(WithPeople):
    """Services that share a database. Each service stands for a process. redis_url: the Redis that carries the
    services' hints; by default, the services have no Redis.
    """

    def __init__(
        self, database: Database, redis_url: str = NO_REDIS, urls: DatabaseUrls | None = None
    ) -> None:
        if urls is not None:
            self.urls = urls
        self.database = database
        self.redis_url = redis_url
        self.conversations = PostgresConversationStore(database)
        self.codec = PlainCodec()

    @asynccontextmanager
    async def turns(
        self,
        agent: Agent | Cast | None = None,
        options: TurnOptions | None = None,
        *,
        store: Callable[[PostgresTurnStore], TurnStore] = lambda store: store,
        relay: Relay | None = None,
        faults: Faults | None = None,
        gate: MessageGate | None = None,
    ) -> AsyncGenerator[Turns]:
        if relay is None:
            relay = RedisRelay(self.redis_url, RELAY_KEY)
        turns = Turns(
            store(PostgresTurnStore(self.database, PlainCodec())),
            self.conversations,
            agent if isinstance(agent, Cast) else Cast({"": agent or Script()}),
            relay,
            Runtime(uuid7, PlainCodec(), options or TurnOptions(), faults=faults or NoFaults()),
            gate=gate,
        )
        await turns.start()
        if isinstance(relay, RedisRelay) and self.redis_url != NO_REDIS:
            await relay.listening.wait()
        try:
            yield turns
        finally:
            await turns.close()

    async def value(self, query: str, *parameters: Any) -> Any:
        """The first column of a query's only row; None if there is no row. The query runs in the role that sees all tenants."""
        async with self.database.log() as connection:
            row = await (await connection.execute(query.encode(), parameters)).fetchone()
        return None if row is None else row[0]

    async def age(self, turn_id: UUID) -> None:
        """Let a turn's lease expire an hour after its beginning."""
        await self.expire(turn_id)
        async with self.database.log() as connection:
            await connection.execute(
                "UPDATE responsa.turn SET begin_time = now() - interval '1 h' WHERE id = %s", (turn_id,)
            )

    async def expire(self, turn_id: UUID) -> None:
        """Let a turn's lease expire, as if its time had passed."""
        async with self.database.log() as connection:
            await connection.execute(
                "UPDATE responsa.turn SET lease_until = now() - interval '1 s' WHERE id = %s", (turn_id,)
            )


async def follow_all(turns: Turns, caller: Principal, turn_id: UUID, after: int = 0) -> list[Followed]:
    """Everything that a follower receives, except heartbeats."""
    async with aclosing(turns.follow(caller, turn_id, after)) as news:
        return [one async for one in news if not isinstance(one, Heartbeat)]


async def followed(turns: Turns, caller: Principal, turn_id: UUID, after: int = 0) -> list[LogRow]:
    """All rows that a follower receives."""
    return [one for one in await follow_all(turns, caller, turn_id, after) if isinstance(one, LogRow)]


async def seen(turns: Turns, caller: Principal, turn_id: UUID, through: int) -> None:
    """Wait until the log has reached this seq."""
    async with aclosing(turns.follow(caller, turn_id)) as news:
        async for one in news:
            if isinstance(one, LogRow) and one.last_seq >= through:
                return
