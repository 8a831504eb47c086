"""Turns: accept a question, run it, follow it, and end what was lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar
from uuid import UUID

import structlog
from structlog.typing import FilteringBoundLogger

from responsa_server.domain import names
from responsa_server.domain.errors import Exhausted, InvalidRequest, NotFound, Reason, Unavailable
from responsa_server.domain.listing import ListQuery, Page
from responsa_server.domain.people import Principal
from responsa_server.domain.ports.agents import Agent
from responsa_server.domain.ports.turns import (
    Accepted,
    Claim,
    Clock,
    ConversationStore,
    Ending,
    FrameCodec,
    LostTurn,
    NewId,
    NewTurn,
    Scopes,
    TurnStore,
)
from responsa_server.domain.turns import MAX_QUESTION_BYTES, LogRow, Question, Started, Turn
from responsa_server.turns import endings
from responsa_server.turns.hub import Hub
from responsa_server.turns.pack import Happened, number, pack
from responsa_server.turns.repeat import repeated
from responsa_server.turns.worker import RunningTurn, Worker
from responsa_server.turns.writer import ATTEMPT

Result = TypeVar("Result")

_ACCEPT_PATIENCE_SECONDS: Final = 5.0
_BACKLOG_ROWS: Final = 64
_SWEEP_MOST: Final = 100
_PARTITION_SECONDS: Final = 6 * 3600.0


@dataclass(frozen=True, slots=True)
class TurnOptions:
    """How turns are kept; times in seconds. poll: how often a turn that runs elsewhere is looked for in the log."""

    lease_seconds: float = 6.0
    sweep_seconds: float = 1.0
    heartbeat_seconds: float = 15.0
    poll_seconds: float = 0.5
    max_running: int = 64
    partition_days_ahead: int = 14


class Turns:
    """All turns that callers ask for in this process, and those that run here. `start` before use, `drain` and `close` at the end."""

    def __init__(
        self,
        store: TurnStore,
        conversations: ConversationStore,
        scopes: Scopes,
        agent: Agent,
        codec: FrameCodec,
        new_id: NewId,
        options: TurnOptions | None = None,
        *,
        clock: Clock | None = None,
        logger: FilteringBoundLogger | None = None,
    ) -> None:
        self._store = store
        self._scopes = scopes
        self._agent = agent
        self._codec = codec
        self._new_id = new_id
        self._options = options or TurnOptions()
        self._clock: Clock = clock or (lambda: datetime.now(UTC))
        self._log: FilteringBoundLogger = logger or structlog.get_logger("responsa.turns")
        self._hub = Hub()
        self._worker = Worker(store, conversations, agent, codec, self._hub, self._clock, new_id, self._log)
        self._owner = new_id()
        self._running: dict[UUID, tuple[RunningTurn, asyncio.Task[None]]] = {}
        self._accepting = 0
        self._draining = False
        self._loops: list[asyncio.Task[None]] = []
        self._unattended: set[asyncio.Task[Any]] = set()

    async def start(self) -> None:
        """Make room in the log, end what an earlier process left, and keep doing both. Raises Unavailable."""
        await self._store.make_partitions(self._options.partition_days_ahead)
        await self._sweep()
        self._loops = [
            asyncio.create_task(self._every(self._options.sweep_seconds, self._sweep), name="turns-sweep"),
            asyncio.create_task(self._every(_PARTITION_SECONDS, self._partition), name="turns-partitions"),
        ]

    async def accept(self, who: Principal, question: Question, request_id: UUID | None) -> Accepted:
        """Accept a question and run it here, or attach to the turn that this request_id has.

        Nothing is left behind by an error. When the caller leaves, what was begun goes on. Raises InvalidRequest, NotFound (conversation, collection),
        AlreadyExists (REQUEST_ID_REUSED), Conflict (CONVERSATION_BUSY), Exhausted (OVERLOADED), Unavailable (DRAINING, PART_UNAVAILABLE).
        """
        _check(question)
        return await self._unattended_by_caller(self._accept(who, question, request_id))

    async def _accept(self, who: Principal, question: Question, request_id: UUID | None) -> Accepted:
        if self._draining:
            raise Unavailable(
                Reason.DRAINING, "The server is shutting down; try again in a moment.", retry_after=1.0
            )
        if len(self._running) + self._accepting >= self._options.max_running:
            # Attaching costs nothing, so it is never refused.
            known = None if request_id is None else await self._store.find(who, question, request_id)
            if known is not None:
                return known
            limit = str(self._options.max_running)
            raise Exhausted(
                Reason.OVERLOADED,
                f"The server is answering {limit} questions at the moment, which is all it takes on; try again soon.",
                {"limit": limit},
                retry_after=1.0,
            )
        if question.collections:
            # A turn that was accepted stays what it is, whatever became of its collections since.
            known = None if request_id is None else await self._store.find(who, question, request_id)
            if known is not None:
                return known
            await self._scopes.require(who.tenant_id, question.collections)
        self._accepting += 1
        try:
            return await self._begin(who, question, request_id)
        finally:
            self._accepting -= 1

    async def _begin(self, who: Principal, question: Question, request_id: UUID | None) -> Accepted:
        turn_id = self._new_id()
        creates = question.conversation_id is None
        conversation_id = question.conversation_id or self._new_id()
        started = Started(conversation_id, self._agent.version, created_conversation=creates)
        (row,) = pack(self._codec, turn_id, number(1, ATTEMPT, [Happened(self._clock(), started)]))
        claim = Claim(turn_id, who.tenant_id, 1, self._options.lease_seconds)
        new = NewTurn(
            turn_id,
            conversation_id,
            question,
            request_id,
            self._agent.version,
            self._owner,
            claim.lease_seconds,
            row.frame,
        )
        accepted = await repeated(lambda: self._store.accept(who, new), _ACCEPT_PATIENCE_SECONDS)
        if not accepted.attached:
            running = RunningTurn(who, claim, conversation_id, question, first_in_conversation=creates)
            self._hub.open(turn_id, who, row)
            task = asyncio.create_task(self._worker.run(running), name=f"turn-{turn_id}")
            self._running[turn_id] = (running, task)
            task.add_done_callback(lambda _: self._running.pop(turn_id, None))
        return accepted

    async def follow(
        self, who: Principal, turn_id: UUID, after_seq: int = 0
    ) -> AsyncGenerator[LogRow | None, None]:
        """The rows of a turn's log that end after after_seq, each once, in order, as they are committed; None is a heartbeat.

        Ends after the row with the terminal event. Raises NotFound, Unavailable; who follows again with the last row's last_seq misses nothing.
        """
        cursor = after_seq
        silent_since = self._now()
        with self._hub.subscribe(turn_id, who, after_seq) as subscription:
            while True:
                news = await subscription.news(self._patience(turn_id, silent_since))
                if news is None:
                    if self._now() - silent_since >= self._options.heartbeat_seconds:
                        silent_since = self._now()
                        yield None
                    if not self._hub.runs(turn_id):
                        subscription.unsettle()
                    continue
                behind = news.behind
                for row in news.rows:
                    if row.last_seq <= cursor:
                        continue
                    if behind or row.first_seq > cursor + 1:
                        behind = True
                        break
                    yield row
                    cursor, silent_since = row.last_seq, self._now()
                if not behind:
                    if news.ended:
                        return
                    continue
                while True:
                    backlog = await self._store.backlog(who, turn_id, cursor, _BACKLOG_ROWS)
                    for row in backlog.rows:
                        yield row
                        cursor, silent_since = row.last_seq, self._now()
                    if len(backlog.rows) < _BACKLOG_ROWS:
                        break
                if backlog.end_seq is not None:
                    if cursor < backlog.end_seq:  # its rows are gone, though the turn is not
                        raise NotFound.of("turn", names.turn(turn_id))
                    return

    async def get(self, who: Principal, turn_id: UUID) -> Turn:
        """One turn of the caller's. Raises NotFound."""
        return await self._store.get(who, turn_id)

    async def wait(self, who: Principal, turn_id: UUID) -> Turn:
        """The turn, once it has ended. Raises NotFound."""
        with self._hub.subscribe(turn_id, who, 0) as subscription:
            if subscription.behind:  # not known to be the caller's, or not running here
                turn = await self._store.get(who, turn_id)
                if turn.state.terminal:
                    return turn
            while True:
                news = await subscription.news(self._patience(turn_id, self._now()))
                if news is None or news.ended or not self._hub.runs(turn_id):
                    turn = await self._store.get(who, turn_id)
                    if turn.state.terminal:
                        return turn

    async def list(self, who: Principal, query: ListQuery) -> Page[Turn]:
        """The caller's turns. Raises InvalidRequest."""
        return await self._store.list(who, query)

    async def drain(self, grace_seconds: float) -> None:
        """Take no new questions, let what runs end for so long, then end the rest as failed, to be asked again."""
        self._draining = True
        deadline = self._now() + grace_seconds
        while (
            tasks := {task for _, task in self._running.values()} | self._unattended
        ) and self._now() < deadline:
            await asyncio.wait(tasks, timeout=deadline - self._now(), return_when=asyncio.FIRST_COMPLETED)
        await self._stop_running()

    async def close(self) -> None:
        """Stop all that runs here."""
        self._draining = True
        for loop in self._loops:
            loop.cancel()
        await asyncio.gather(*self._loops, return_exceptions=True)
        self._loops = []
        if self._unattended:
            await asyncio.wait(self._unattended)
        await self._stop_running()

    async def _stop_running(self) -> None:
        """The worker lives, so it says so itself: nobody has to wait for a lease to run out."""
        left = list(self._running.values())
        for running, _ in left:
            if not running.stop.done():
                running.stop.set_result(endings.shut_down(running.claim.turn_id))
        if left:
            _, hanging = await asyncio.wait({task for _, task in left}, timeout=self._options.lease_seconds)
            for task in hanging:  # the store is away: the lease runs out and another process sweeps
                task.cancel()
            if hanging:
                await asyncio.wait(hanging)

    async def _sweep(self) -> None:
        """End turns whose lease ran out, of this and any other process."""
        while True:
            swept = await self._store.sweep(self._end_lost, _SWEEP_MOST)
            for lost, ending in swept:
                self._log.warning("turn_swept", turn=names.turn(lost.turn_id), tenant=lost.tenant_id)
                self._hub.publish(lost.turn_id, [ending.row], ended=True)
            if len(swept) < _SWEEP_MOST:
                return

    def _end_lost(self, lost: LostTurn) -> Ending:
        happened = Happened(self._clock(), endings.worker_lost(lost.turn_id))
        events = number(lost.last_seq + 1, ATTEMPT, [happened])
        (row,) = pack(self._codec, lost.turn_id, events)
        return Ending(row, self._codec.encode_terminal(events[0]))

    async def _partition(self) -> None:
        await self._store.make_partitions(self._options.partition_days_ahead)

    async def _every(self, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except Unavailable as error:
                self._log.warning("turns_upkeep_unavailable", reason=error.reason.value)
            except (
                Exception
            ):  # upkeep must go on; the next round may do better, and the log tells of this one
                self._log.exception("turns_upkeep_failed")

    async def _unattended_by_caller(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run work to its end whether or not the caller stays."""
        task = asyncio.create_task(work)
        self._unattended.add(task)
        task.add_done_callback(self._attended)
        return await asyncio.shield(task)

    def _attended(self, task: asyncio.Task[Any]) -> None:
        self._unattended.discard(task)
        if not task.cancelled():
            task.exception()  # when the caller left, nobody else asks for it

    def _patience(self, turn_id: UUID, silent_since: float) -> float:
        """How long to wait for news before looking again."""
        heartbeat = max(silent_since + self._options.heartbeat_seconds - self._now(), 0.0)
        return heartbeat if self._hub.runs(turn_id) else min(heartbeat, self._options.poll_seconds)

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _check(question: Question) -> None:
    size = len(question.text.encode())
    if not question.text.strip() or size > MAX_QUESTION_BYTES:
        wanted = f"1 to {MAX_QUESTION_BYTES} bytes with more than white space"
        raise InvalidRequest.of_field("text", "string.length", f"send {wanted}; this has {size} bytes")
    if "\x00" in question.text:
        raise InvalidRequest.of_field(
            "text", "string.no_nul", "remove the characters U+0000, which cannot be stored"
        )
