"""A worker that loses the connection to its store. The worker's writes do not arrive, and it receives nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from uuid import UUID

from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import Usage
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import (
    ALONE_AFTER_LOSSES,
    Append,
    Backlog,
    Claim,
    ClaimedTurn,
    Conclusion,
    Cursor,
    LogRow,
    News,
    TurnLost,
)
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.turns.service import Turns
from tests.contract.turn_harness import QUICK, RIVER, Script, Services, seen

Result = TypeVar("Result")


class Link:
    """The connection of a worker to its store. A commit that is sent while the link is cut is lost."""

    def __init__(self) -> None:
        self.cut = False
        self.under_way: set[asyncio.Task[Any]] = set()
        self.tried = asyncio.Event()
        self.claimed = asyncio.Event()
        self.taken: set[UUID] = set()
        self.stuck: asyncio.Event | None = None
        """If this is an asyncio.Event, calls wait until the event is set."""
        self.deaf = False
        """Whether renewals hide the losses of turns from the worker."""
        self.booked: list[Usage] = []
        self.polls: list[Sequence[Cursor]] = []
        self.backlogs = 0
        self.backlogs_read = 0
        """How many reads of a backlog have ended."""
        self.held: asyncio.Event | None = None
        self.reading = asyncio.Event()
        self.refused_appends: list[TurnLost | Unavailable] = []

    async def over(self, work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        if self.stuck is not None:
            await self.stuck.wait()
        if self.cut:
            self.tried.set()
            raise Unavailable(Reason.PART_UNAVAILABLE, "cut off")
        task = asyncio.ensure_future(work())
        self.under_way.add(task)
        task.add_done_callback(self.under_way.discard)
        return await asyncio.shield(task)

    async def sever(self) -> None:
        """Cut the link when no message is in transit."""
        self.cut = True
        while self.under_way:
            await asyncio.wait(self.under_way)

    def on(self, store: PostgresTurnStore) -> LinkedStore:
        return LinkedStore(store, self)


class LinkedStore(PostgresTurnStore):
    """A turn store behind a link. The link records the calls."""

    def __init__(self, store: PostgresTurnStore, link: Link) -> None:
        self.__dict__.update(store.__dict__)
        self._link = link

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
        claimed = await self._link.over(
            lambda: PostgresTurnStore.claim(
                self, owner, versions, lease_seconds, limit, here, alone_after, suspects
            )
        )
        self._link.taken.update(one.claim.turn_id for one in claimed)
        self._link.claimed.set()
        return claimed

    async def append(self, batch: Sequence[Append]) -> Mapping[UUID, TurnLost | Unavailable]:
        refused = await self._link.over(lambda: PostgresTurnStore.append(self, batch))
        self._link.refused_appends.extend(refused.values())
        return refused

    async def renew(self, claims: Sequence[Claim]) -> Sequence[UUID]:
        if self._link.deaf:
            return []
        return await self._link.over(lambda: PostgresTurnStore.renew(self, claims))

    async def finish(self, claim: Claim, rows: Sequence[LogRow], conclusion: Conclusion) -> bool:
        return await self._link.over(lambda: PostgresTurnStore.finish(self, claim, rows, conclusion))

    async def record_usage(self, claim: Claim, usage: Usage) -> None:
        self._link.booked.append(usage)
        await self._link.over(lambda: PostgresTurnStore.record_usage(self, claim, usage))

    async def release(self, claims: Sequence[Claim]) -> None:
        await self._link.over(lambda: PostgresTurnStore.release(self, claims))

    async def poll(self, cursors: Sequence[Cursor], limit: int) -> Sequence[News]:
        self._link.polls.append(cursors)
        return await self._link.over(lambda: PostgresTurnStore.poll(self, cursors, limit))

    async def backlog(self, caller: Principal, turn_id: UUID, after_seq: int, limit: int) -> Backlog:
        self._link.backlogs += 1
        rows = await self._link.over(
            lambda: PostgresTurnStore.backlog(self, caller, turn_id, after_seq, limit)
        )
        if self._link.held is not None:  # the response takes long to arrive
            self._link.reading.set()
            await self._link.held.wait()
        self._link.backlogs_read += 1
        return rows


@asynccontextmanager
async def lost_worker(
    services: Services, first: Script, *, through: int = 2
) -> AsyncGenerator[tuple[Turns, UUID, Link]]:
    """A turn whose log has reached `through`, and whose worker waits without a connection and without its lease."""
    link = Link()
    async with services.turns(first, QUICK, store=link.on) as old:
        turn_id = (await old.accept(services.ann, RIVER, None)).turn_id
        await seen(old, services.ann, turn_id, through)
        await first.waiting.wait()
        await link.sever()
        await services.expire(turn_id)
        yield old, turn_id, link
