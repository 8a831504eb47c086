"""A worker continues the turn of a lost worker, and the epoch blocks the lost worker's writes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from responsa_lab.testing.agent import ScriptedAgent, ScriptedModel, tool_cards
from responsa_server.domain.agents import AgentEvent, AnswerTask, Milestone
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import Delta, Effect, ToolOutcome, Usage
from responsa_server.domain.tools import ToolCall, ToolCard, ToolResult
from responsa_server.domain.turns import Question, TurnLost, TurnState
from responsa_server.stores.postgres.turns import PostgresTurnStore
from responsa_server.turns.service import Turns
from responsa_server.turns.settings import TurnOptions
from tests.contract.turn_harness import (
    IDLE,
    QUICK,
    RIVER,
    SEARCHING,
    Cast,
    Line,
    Script,
    Services,
    answer,
    followed,
    seen,
)
from tests.contract.turn_partition import Link, lost_worker
from tests.plain_codec import events_of


async def taken_over(
    services: Services, first: Script, second: Script, through: int, link: Link
) -> list[dict[str, Any]]:
    """The frames that followers of a turn receive if the turn's first worker loses its connection when the log has
    reached `through`. Followers on both processes receive the same frames.
    """
    async with services.turns(first, QUICK, store=link.on) as old, services.turns(second, IDLE) as reader:
        accepted = await old.accept(services.ann, RIVER, None)
        turn_id = accepted.turn_id
        await seen(reader, services.ann, turn_id, through)
        far = asyncio.create_task(followed(reader, services.ann, turn_id))
        near = asyncio.create_task(followed(old, services.ann, turn_id))
        await link.sever()
        await services.expire(turn_id)
        async with services.turns(second, QUICK):
            await second.begun.wait()
            link.cut = False
            await first.closed.wait()  # the first worker has noticed the loss and stopped
            log = await far
            assert await near == log
            assert await followed(reader, services.ann, turn_id) == log
        assert (await reader.store.get(services.ann, turn_id)).epoch == 2
    events = events_of(log)
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    return events


async def test_it_goes_on_from_the_checkpoint_and_withdraws_what_came_after(services: Services) -> None:
    first = Script([SEARCHING, Delta("It ", 0), Milestone(b"found"), Delta("was", 3), asyncio.Event()])
    second = Script(resumed=[Delta("is.", 3), answer("It is.")])
    with capture_logs() as logs:
        events = await taken_over(services, first, second, 4, Link())
    said = [
        (log["event"], log["attempt"])
        for log in logs
        if log["event"].startswith(("turn_taken", "turn_ended"))
    ]
    assert said == [("turn_taken_over", 2), ("turn_ended", 2)]
    assert [(event["kind"], event["attempt"]) for event in events] == [
        ("started", 1),
        ("status", 1),
        ("delta", 1),
        ("delta", 1),
        ("restarted", 2),
        ("delta", 2),
        ("answered", 2),
    ]
    assert (events[4]["from"], events[4]["keep"]) == (4, 3)
    (task,) = second.tasks
    assert task.resume == b"found"


async def test_without_a_checkpoint_it_begins_again(services: Services) -> None:
    first = Script([SEARCHING, Delta("It was", 0), asyncio.Event()])
    second = Script([SEARCHING, Delta("It is.", 0), answer("It is.")])
    events = await taken_over(services, first, second, 3, Link())
    kinds = ["started", "status", "delta", "restarted", "status", "delta", "answered"]
    assert [event["kind"] for event in events] == kinds
    assert (events[3]["from"], events[3]["keep"]) == (2, 0)
    assert second.tasks[0].resume is None


async def test_what_a_late_worker_tells_is_not_written(services: Services) -> None:
    gate = asyncio.Event()
    late: list[Line] = [Delta("late", 0), Milestone(b"late"), SEARCHING, answer("late")]
    first = Script([SEARCHING, gate, *late])
    second = Script([answer("It is.")])
    async with lost_worker(services, first) as (old, turn_id, link), services.turns(second, QUICK) as new:
        await new.wait(services.ann, turn_id)
        gate.set()
        await link.tried.wait()
        link.cut = False
        await first.closed.wait()
        events = events_of(await followed(old, services.ann, turn_id))
    assert [event["kind"] for event in events] == ["started", "status", "restarted", "answered"]
    assert all(isinstance(one, TurnLost) for one in link.refused_appends)
    assert await services.value("SELECT count(*) FROM responsa.turn_checkpoint") == 0


@dataclass
class Recorder:
    """A tool that counts its calls. As long as `holds` is true, its calls hang. Its card is that of the tool `once`,
    for which the question asks, whatever its effect."""

    effect: Effect
    holds: bool
    calls: int = 0
    called: asyncio.Event = field(default_factory=asyncio.Event)
    card: ToolCard = field(default_factory=lambda: tool_cards()[Effect.ONCE])
    timeout_seconds: float = 30.0

    async def call(self, call: ToolCall) -> ToolResult:
        self.calls += 1
        await call.sent()
        self.called.set()
        if self.holds:
            await asyncio.Event().wait()
        return ToolResult(ToolOutcome.OK, "done")

    async def close(self) -> None:
        pass


@pytest.mark.parametrize(
    ("then", "now", "again"),
    [(Effect.ONCE, Effect.NONE, 0), (Effect.NONE, Effect.ONCE, 0), (Effect.NONE, Effect.NONE, 1)],
    ids=["once_to_none", "none_to_once", "none"],
)
async def test_a_changed_declaration_does_not_repeat_a_call(
    services: Services, then: Effect, now: Effect, again: int
) -> None:
    first, second, link = Recorder(then, holds=True), Recorder(now, holds=False), Link()
    script = Question("tokens=2 pace_ms=0 tool=once seed=1")
    async with services.turns(ScriptedAgent(ScriptedModel(), [first]), QUICK, store=link.on) as old:
        accepted = await old.accept(services.ann, script, None)
        await first.called.wait()
        await link.sever()
        await services.expire(accepted.turn_id)
        async with services.turns(ScriptedAgent(ScriptedModel(), [second]), QUICK) as new:
            await new.wait(services.ann, accepted.turn_id)
    assert (first.calls, second.calls) == (1, again)
    outcome = await services.value("SELECT outcome FROM responsa.turn_tool")
    assert outcome == ("ok" if again else "unknown")


async def test_what_the_lost_worker_had_spent_is_booked(services: Services) -> None:
    spent = Usage(1, 20, 3)
    gate = asyncio.Event()
    first = Script([Usage(1, 1, 1), SEARCHING, Milestone(b"kept"), Delta("a", 0), spent, gate])
    # The answer states the usage of the whole turn, so that of the checkpoint is not added to it.
    ended = answer()
    second = Script(resumed=[ended])
    async with (
        lost_worker(services, first, through=3) as (_, turn_id, link),
        services.turns(second, QUICK) as new,
    ):
        turn = await new.wait(services.ann, turn_id)
        assert turn.usage == ended.usage  # the lost worker has not recorded its usage yet
        assert second.tasks[0].meter.usage == Usage(1, 1, 1)
        link.cut = False
        while not link.booked:  # noqa: ASYNC110  only the store shows this
            await asyncio.sleep(0)
    assert link.booked == [spent]
    async with services.turns(options=IDLE) as reader:
        assert (await reader.store.get(services.ann, turn_id)).usage == ended.usage + spent


async def test_a_turn_over_which_too_many_workers_were_lost_is_ended(services: Services) -> None:
    first = Script([SEARCHING, asyncio.Event()])
    async with lost_worker(services, first) as (_, turn_id, _):
        second = Script()
        async with services.turns(second, replace(QUICK, max_losses=0)) as new:
            turn = await new.wait(services.ann, turn_id)
            assert turn.state is TurnState.FAILED
            events = events_of(await followed(new, services.ann, turn_id))
            assert [event["kind"] for event in events][-2:] == ["restarted", "failed"]
            assert (events[-1]["reason"], events[-1]["retriable"]) == ("WORKER_LOST", True)
            assert second.tasks == []


@dataclass
class Suspected:
    """A process that runs a turn of `other`, and has claimed a turn of `agent` that lost two workers. `waits` was asked
    of the process after that."""

    turns: Turns
    link: Link
    cast: Cast
    agent: Script
    other: Script
    turn: UUID
    running: UUID
    waits: UUID


@asynccontextmanager
async def suspected(
    services: Services, options: TurnOptions, gate: asyncio.Event
) -> AsyncGenerator[Suspected]:
    other = Script([gate, answer()])
    agent = Script([SEARCHING, asyncio.Event()], version="agents/suspect/versions/1")
    cast, link = Cast({"": other, "suspect": agent}), Link()
    async with services.turns(cast, IDLE) as accepting:
        turn = (await accepting.accept(services.ann, replace(RIVER, agent="suspect"), None)).turn_id
        # As if one worker were lost and another one ran the turn, with any id. `expire` loses that one, too.
        async with services.database.log() as connection:
            await connection.execute(
                "UPDATE responsa.turn SET state = 'running', owner = id, losses = 1, lease_until = now() + interval '1 h'"
            )
        async with services.turns(cast, options, store=link.on) as turns:
            running = (await turns.accept(services.ann, RIVER, None)).turn_id
            await other.waiting.wait()
            await services.expire(turn)
            while turn not in link.taken:
                link.claimed.clear()
                await link.claimed.wait()
            waits = (await turns.accept(services.ann, RIVER, None)).turn_id
            yield Suspected(turns, link, cast, agent, other, turn, running, waits)


async def test_a_turn_that_lost_two_workers_runs_alone_and_ends_if_it_loses_a_third(
    services: Services,
) -> None:
    gate = asyncio.Event()
    async with suspected(services, QUICK, gate) as suspect:
        store = suspect.turns.store
        assert suspect.agent.tasks == []
        gate.set()
        assert (await suspect.turns.wait(services.ann, suspect.running)).state is TurnState.ANSWERED
        await seen(suspect.turns, services.ann, suspect.turn, 3)
        assert (await store.get(services.ann, suspect.waits)).state is TurnState.PENDING
        await suspect.link.sever()
        await services.expire(suspect.turn)
        async with services.turns(suspect.cast, QUICK) as new:
            assert (await new.wait(services.ann, suspect.waits)).state is TurnState.ANSWERED
            assert (await new.wait(services.ann, suspect.turn)).state is TurnState.FAILED
            events = events_of(await followed(new, services.ann, suspect.turn))
    assert [event["kind"] for event in events] == ["started", "restarted", "status", "restarted", "failed"]
    assert events[-1]["reason"] == "WORKER_LOST"
    assert len(suspect.agent.tasks) == 1


async def test_a_turn_that_lost_two_workers_delays_others_for_a_limited_time_and_is_then_not_blamed(
    services: Services,
) -> None:
    gate = asyncio.Event()
    async with suspected(services, replace(QUICK, alone_seconds=0.05), gate) as suspect:
        gate.set()
        assert (await suspect.turns.wait(services.ann, suspect.waits)).state is TurnState.ANSWERED
        assert not suspect.agent.closed.is_set()
        await suspect.link.sever()
        await services.expire(suspect.turn)
        suspect.agent.events = [answer()]
        async with services.turns(suspect.cast, QUICK) as new:
            assert (await new.wait(services.ann, suspect.turn)).state is TurnState.ANSWERED


async def test_the_time_limit_counts_from_when_a_worker_first_took_it(services: Services) -> None:
    first = Script([SEARCHING, asyncio.Event()])
    async with lost_worker(services, first) as (_, turn_id, _):
        await services.age(turn_id)
        second = Script()
        async with services.turns(second, QUICK) as new:
            await new.wait(services.ann, turn_id)
            end = events_of(await followed(new, services.ann, turn_id))[-1]
            assert (end["kind"], end["reason"]) == ("failed", "TURN_TIME_LIMIT")
            assert second.tasks == []


async def test_a_process_whose_own_lease_ran_out_goes_on_with_its_turn(services: Services) -> None:
    gate = asyncio.Event()
    script = Script([SEARCHING, gate, answer()])
    link = Link()
    async with services.turns(
        script, TurnOptions(lease_seconds=60, sweep_seconds=0.02), store=link.on
    ) as turns:
        accepted = await turns.accept(services.ann, RIVER, None)
        await script.waiting.wait()
        await seen(turns, services.ann, accepted.turn_id, 2)
        await services.expire(accepted.turn_id)
        for _ in range(2):  # the first of these calls may have begun before the lease expired
            link.claimed.clear()
            await link.claimed.wait()
        gate.set()
        turn = await turns.wait(services.ann, accepted.turn_id)
        assert (turn.state, turn.epoch) == (TurnState.ANSWERED, 1)
        events = events_of(await followed(turns, services.ann, accepted.turn_id))
    assert [event["kind"] for event in events] == ["started", "status", "answered"]
    assert len(script.tasks) == 1


class Lingering(Script):
    """An agent whose first run ignores a cancel."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = asyncio.Event()

    async def played(self, task: AnswerTask) -> AsyncGenerator[AgentEvent, None]:
        self.tasks.append(task)
        if len(self.tasks) == 1:
            self.begun.set()
            while not self.let_go.is_set():
                with suppress(asyncio.CancelledError):
                    await self.let_go.wait()
        yield answer()


async def test_a_turn_that_comes_back_is_run_though_its_last_run_here_is_still_ending(
    services: Services,
) -> None:
    script = Lingering()
    async with services.turns(script, QUICK) as turns:
        accepted = await turns.accept(services.ann, RIVER, None)
        await script.begun.wait()
        # Change the row as if another worker had claimed and released the turn.
        async with services.database.log() as connection:
            given_back = "UPDATE responsa.turn SET epoch = 2, lease_until = '-infinity' WHERE id = %s"
            await connection.execute(given_back, (accepted.turn_id,))
        try:
            async with asyncio.timeout(20):  # this is shorter than a lease
                turn = await turns.wait(services.ann, accepted.turn_id)
        finally:
            script.let_go.set()
    assert (turn.state, turn.epoch, len(script.tasks)) == (TurnState.ANSWERED, 3, 2)


async def test_what_an_earlier_process_left_is_taken_at_the_start(services: Services) -> None:
    first = Script([SEARCHING, asyncio.Event()])
    async with (
        lost_worker(services, first) as (_, turn_id, _),
        services.turns(Script(), TurnOptions(sweep_seconds=60)) as new,
    ):
        assert (await new.wait(services.ann, turn_id)).state is TurnState.ANSWERED


async def test_an_outage_during_which_nothing_can_be_claimed_is_one_line_in_the_log(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = deque([True, True, True, False, True, True])
    claim, over = PostgresTurnStore.claim, asyncio.Event()

    async def claiming(store: PostgresTurnStore, *arguments: Any, **options: Any) -> Any:
        if not away:
            over.set()
        elif away.popleft():
            raise Unavailable(Reason.STORAGE_FULL, "The disk is full.")
        return await claim(store, *arguments, **options)

    monkeypatch.setattr(PostgresTurnStore, "claim", claiming)
    with capture_logs() as logs:
        async with services.turns(Script([]), QUICK):
            await over.wait()
    assert [log["event"] for log in logs].count("turns_not_claimed") == 2
