"""Turns on a real store with an agent that does as its test says."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from uuid_utils.compat import uuid7

from responsa_server.domain.ports.agents import AnswerTask
from responsa_server.domain.turns import Answered, AnswerOutcome, Event, Status, Step, Usage
from responsa_server.stores.postgres.collections import CollectionStore
from responsa_server.stores.postgres.conversations import PostgresConversationStore
from responsa_server.stores.postgres.database import Database
from responsa_server.stores.postgres.passages import PassageStore
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.turns.service import TurnOptions, Turns
from tests.plain_codec import PlainCodec

SEARCHING = Status(Step.RETRIEVING, "Searching knowledge base...")


def answer(text: str = "It is.") -> Answered:
    return Answered(text, hashlib.sha256(text.encode()).digest(), (), AnswerOutcome.COMPLETE, 1, Usage(5))


@dataclass
class Script:
    """An agent: tells each of `events`, waits at an asyncio.Event, and raises an exception or calls what it meets among them."""

    events: list[Event | asyncio.Event | Exception] = field(default_factory=lambda: [SEARCHING, answer()])
    spends: Usage = field(default_factory=Usage)
    version: str = "agents/default/versions/1"
    time_limit_seconds: float = 30.0
    history_messages: int = 10
    tasks: list[AnswerTask] = field(default_factory=list[AnswerTask])
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    closed: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, task: AnswerTask) -> AsyncGenerator[Event, None]:
        self.tasks.append(task)
        self.begun.set()
        task.meter.add(self.spends)
        try:
            for one in self.events:
                if isinstance(one, asyncio.Event):
                    await one.wait()
                elif isinstance(one, Exception):
                    raise one
                else:
                    yield one
        finally:
            self.closed.set()


class House:
    """Services that share a database: each stands for a process."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.conversations = PostgresConversationStore(database)
        self.codec = PlainCodec()

    @asynccontextmanager
    async def turns(
        self,
        script: Script | None = None,
        options: TurnOptions | None = None,
        *,
        store: Callable[[PostgresTurnStore], PostgresTurnStore] = lambda store: store,
    ) -> AsyncGenerator[Turns]:
        turns = Turns(
            store(PostgresTurnStore(self.database, PlainCodec())),
            self.conversations,
            CollectionStore(self.database, PassageStore(self.database)),
            script or Script(),
            PlainCodec(),
            uuid7,
            options,
        )
        await turns.start()
        try:
            yield turns
        finally:
            await turns.close()
