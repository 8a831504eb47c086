"""Turns: accept a question, run it, follow it, cancel it, and hand it over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime
from typing import Final, assert_never
from uuid import UUID

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal
from responsa_server.domain.ports.agents import Agents
from responsa_server.domain.ports.conversations import ConversationStore
from responsa_server.domain.ports.faults import Faults, NoFaults
from responsa_server.domain.ports.relay import Committed, Hint, Interest, Relay, Reload, Taken, Work
from responsa_server.domain.ports.turns import (
    Accepted,
    Clock,
    EndedTurn,
    FrameCodec,
    NewId,
    TurnStore,
)
from responsa_server.domain.turns import Followed, Question, Turn
from responsa_server.turns.accepting import Accepting
from responsa_server.turns.cancelling import Cancelling
from responsa_server.turns.claiming import Claiming
from responsa_server.turns.following import Following
from responsa_server.turns.hub import Hub
from responsa_server.turns.log_writer import LogWriter
from responsa_server.turns.settings import TurnOptions as TurnOptions  # part of this API
from responsa_server.turns.upkeep import keep_going
from responsa_server.turns.worker import WorkerParts

_PARTITION_SECONDS: Final = 6 * 3600.0


class Turns:
    """All turns that callers ask for in this process, and those that run here. `start` before use, `drain` and `close` at the end."""

    def __init__(
        self,
        store: TurnStore,
        conversations: ConversationStore,
        agents: Agents,
        codec: FrameCodec,
        relay: Relay,
        new_id: NewId,
        options: TurnOptions | None = None,
        *,
        faults: Faults | None = None,
        clock: Clock | None = None,
        logger: FilteringBoundLogger | None = None,
        reload: Callable[[], None] | None = None,
    ) -> None:
        """reload: called when another process has read the agents' files anew."""
        self._reload = reload or _nothing
        self._options = options = options or TurnOptions()
        self._store = store
        self._relay = relay
        self._log: FilteringBoundLogger = logger or structlog.get_logger("responsa.turns")
        self._process = new_id()
        faults = faults or NoFaults()
        now: Clock = clock or (lambda: datetime.now(UTC))
        self._hub = Hub(self._process, relay, options.poll_seconds, _loop_time)
        self._writer = LogWriter(store, options.lease_seconds, faults, _loop_time, self._log)
        parts = WorkerParts(
            store,
            conversations,
            codec,
            self._hub,
            self._writer,
            now,
            new_id,
            faults,
            self._log,
            options.max_losses,
            options.merge_bytes,
        )
        self._claiming = Claiming(parts, agents, relay, self._process, options)
        self._following = Following(store, self._hub, options, clock=_loop_time, log=self._log)
        self._cancelling = Cancelling(
            store,
            codec,
            self._hub,
            relay,
            self._claiming,
            self._following,
            options.disconnect_seconds,
            clock=now,
            faults=faults,
            log=self._log,
        )
        self._accepting = Accepting(
            store,
            agents,
            codec,
            relay,
            self._claiming,
            self._ended,
            self._process,
            options,
            clock=now,
            new_id=new_id,
            faults=faults,
        )
        self._loops: list[asyncio.Task[None]] = []

    @property
    def process(self) -> UUID:
        """This process, as the owner of the turns that it runs."""
        return self._process

    async def start(self) -> None:
        """Make room in the log, and begin to listen, to write, to look after followers and to claim. Raises Unavailable."""
        await self._store.make_partitions(self._options.partition_days_ahead)
        await self._relay.start(self._process, self._heard)
        self._writer.start()
        self._following.start()
        self._claiming.start()
        upkeep = (
            ("turns-partitions", self._partition, _PARTITION_SECONDS),
            ("turns-pruning", self._prune, self._options.prune_seconds),
        )
        self._loops = [
            asyncio.create_task(keep_going(work, seconds, self._log, "turns_upkeep"), name=name)
            for name, work, seconds in upkeep
        ]

    async def accept(
        self,
        who: Principal,
        question: Question,
        request_id: UUID | None,
        *,
        cancel_on_disconnect: bool = False,
    ) -> Accepted:
        """Accept a question, or attach to the turn that this request_id has.

        It runs here where there is room, else on whichever worker takes it; where its conversation is busy it does as question.on_busy says. Nothing is left
        behind by an error. When the caller leaves, what was begun goes on. Raises InvalidRequest and NotFound (conversation, collection, agent, and what the
        agent itself has against the question: see `Agent.admit`), AlreadyExists (REQUEST_ID_REUSED), Conflict (CONVERSATION_BUSY), Exhausted (QUEUE_FULL,
        OVERLOADED), Unavailable (DRAINING, PART_UNAVAILABLE).
        """
        return await self._accepting.accept(
            who, question, request_id, cancel_on_disconnect=cancel_on_disconnect
        )

    def follow(self, who: Principal, turn_id: UUID, after_seq: int = 0) -> AsyncGenerator[Followed, None]:
        """The rows of a turn's log that end after after_seq, each once, in order, as they are committed, with heartbeats between; the first may begin before it.

        Ends after the row with the terminal event; after a `Snapshot` where the log was pruned; after a `Reconnect` when this process goes away. Raises NotFound,
        InvalidRequest (AFTER_SEQ_BEYOND_END), Unavailable; who follows again with the last row's last_seq misses nothing.
        """
        return self._following.follow(who, turn_id, after_seq)

    def left(self, who: Principal, turn_id: UUID) -> None:
        """A client went away from its stream of a turn: when the turn is watched, and nobody follows it a while later, it is cancelled."""
        self._cancelling.left(who, turn_id)

    async def cancel(self, who: Principal, turn_id: UUID) -> Turn:
        """End a turn that has not ended, and stop what works on it. Its owner may, and administrators of the tenant.

        Returns the turn with the terminal event that won. When the caller leaves, the turn is cancelled all the same. Raises NotFound, Unavailable.
        """
        return await self._cancelling.cancel(who, turn_id)

    async def get(self, who: Principal, turn_id: UUID) -> Turn:
        """One turn of the caller's. Raises NotFound."""
        return await self._store.get(who, turn_id)

    async def wait(self, who: Principal, turn_id: UUID) -> Turn:
        """The turn, once it has ended, wherever it runs. Raises NotFound, and Unavailable (DRAINING) when this process goes away before."""
        return await self._following.wait(who, turn_id)

    async def list(self, who: Principal, query: ListQuery) -> Page[Turn]:
        """The caller's turns. Raises InvalidRequest."""
        return await self._store.list(who, query)

    async def drain(self, grace_seconds: float) -> None:
        """Take no new questions, send followers elsewhere, let what runs end within most of the grace, and release the rest for other workers.

        Where the store does not answer it takes some seconds longer than the grace, and no more; what could not be released is taken when its lease has run out.
        """
        deadline = _loop_time() + grace_seconds
        self._following.drain()
        await self._accepting.drain(grace_seconds)
        await self._claiming.drain(deadline)

    async def close(self) -> None:
        """Stop all that is left here. What still runs is released."""
        await self.drain(0.0)
        await self._cancelling.close()
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops = []
        await self._following.close()
        await self._writer.close()
        await self._relay.close()

    def _ended(self, ended: EndedTurn) -> None:
        self._cancelling.ended(ended)

    def _heard(self, hint: Hint) -> None:
        match hint:
            case Committed(turn_id=turn_id, rows=rows, ended=ended):
                if not rows:
                    return
                if ended:
                    self._hub.ended_elsewhere(turn_id, rows)
                else:
                    self._hub.offer(turn_id, rows, ended=False)
            case Interest(process=process, turn_ids=turn_ids):
                self._hub.interest(process, turn_ids)
            case Taken(turn_id=turn_id, epoch=epoch):
                self._claiming.taken(turn_id, epoch)
            case Work():
                self._claiming.wake()
            case Reload():
                self._reload()
            case _:
                assert_never(hint)

    async def _partition(self) -> None:
        await self._store.make_partitions(self._options.partition_days_ahead)

    async def _prune(self) -> None:
        if dropped := await self._store.prune(self._options.retention_days):
            self._log.info("turns_pruned", partitions=dropped)
        if dropped := await self._store.prune_checkpoints(self._options.checkpoint_hours):
            self._log.info("checkpoints_pruned", checkpoints=dropped)


def _nothing() -> None:
    """Nobody here reads files of agents."""


def _loop_time() -> float:
    return asyncio.get_running_loop().time()
