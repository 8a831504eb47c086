"""A connection is lost just before or after a commit. The turn is the same whether the commit succeeded or not."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import replace
from uuid import UUID

import pytest
from uuid_utils.compat import uuid7

from responsa_server.domain.agents import AgentEvent, AnswerTask, Milestone
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import Delta
from responsa_server.domain.faults import Fault
from responsa_server.domain.turns import OnBusy, Question, TurnState
from responsa_server.stores.postgres.database import Database
from tests.contract.people import People
from tests.contract.turn_harness import QUICK, RIVER, SEARCHING, Script, Services, answer, followed
from tests.contract.turn_partition import Link
from tests.plain_codec import events_of


class Broken:
    """Faults that lose the connection the first few times that a turn reaches a place."""

    def __init__(self, place: Fault, times: int) -> None:
        self.place = place
        self.left = times

    async def at(self, place: Fault, turn_id: UUID | None = None) -> None:
        if place is self.place and self.left:
            self.left -= 1
            raise Unavailable(Reason.PART_UNAVAILABLE, f"gone at {place} of {turn_id}")


@pytest.mark.parametrize(
    "place",
    [
        Fault.BEFORE_ACCEPT,
        Fault.AFTER_ACCEPT,
        Fault.BEFORE_APPEND,
        Fault.AFTER_APPEND,
        Fault.BEFORE_FINISH,
        Fault.AFTER_FINISH,
    ],
)
async def test_a_turn_has_one_log_one_reply_and_one_successor(services: Services, place: Fault) -> None:
    gate = asyncio.Event()
    script = Script(
        [SEARCHING, Delta("It ", 0), Milestone(b"found"), gate, Delta("is.", 3), answer("It is.")]
    )
    faults = Broken(place, 3)
    async with services.turns(script, QUICK, faults=faults) as turns:
        request_id = uuid7()
        first = await turns.accept(services.ann, RIVER, request_id)
        second = await turns.accept(
            services.ann, Question("And?", first.conversation_id, on_busy=OnBusy.QUEUE), None
        )
        following = asyncio.create_task(followed(turns, services.ann, first.turn_id))
        gate.set()
        events = events_of(await following)
        assert (await turns.accept(services.ann, RIVER, request_id)).turn_id == first.turn_id
        assert (await turns.wait(services.ann, second.turn_id)).state is TurnState.ANSWERED
        assert events_of(await followed(turns, services.ann, first.turn_id)) == events
    assert faults.left == 0
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["kind"] == "answered"
    assert "".join(event["text"] for event in events if event["kind"] == "delta") == "It is."
    history = await services.conversations.history(services.ann, first.conversation_id, 10)
    assert [one.text for one in history] == [RIVER.text, "It is.", "And?", "It is."]
    assert len(script.tasks) == 2


@pytest.mark.parametrize("place", [Fault.BEFORE_CANCEL, Fault.AFTER_CANCEL])
async def test_a_cancel_ends_a_turn_once(services: Services, place: Fault) -> None:
    script = Script([SEARCHING, asyncio.Event()])
    async with services.turns(script, QUICK, faults=Broken(place, 2)) as turns:
        accepted = await turns.accept(services.ann, RIVER, None)
        await script.waiting.wait()
        turn = await turns.cancel(services.ann, accepted.turn_id)
        await script.closed.wait()
        events = events_of(await followed(turns, services.ann, accepted.turn_id))
        assert [event["kind"] for event in events].count("cancelled") == 1
        assert (turn.state, turn.last_seq) == (TurnState.CANCELLED, events[-1]["seq"])


class Meanwhile:
    """Faults that lose the response to the next accept after the test has set `work`. First, they run `work`."""

    def __init__(self) -> None:
        self.work: Callable[[], Awaitable[None]] | None = None

    async def at(self, place: Fault, turn_id: UUID | None = None) -> None:
        if place is Fault.AFTER_ACCEPT and self.work is not None:
            work, self.work = self.work, None
            await work()
            raise Unavailable(Reason.PART_UNAVAILABLE, f"the answer about {turn_id} is lost")


async def test_an_accept_that_hears_late_of_its_turn_leaves_it_to_who_runs_it(services: Services) -> None:
    first, second = asyncio.Event(), asyncio.Event()
    faults, script = Meanwhile(), Gated([first, second])

    async def predecessor_ends() -> None:
        first.set()
        while len(script.tasks) < 2:  # noqa: ASYNC110  only the agent shows this
            await asyncio.sleep(0)

    async with services.turns(script, QUICK, faults=faults) as turns:
        asked = await turns.accept(services.ann, RIVER, None)
        faults.work = predecessor_ends
        queued = await turns.accept(
            services.ann, Question("And?", asked.conversation_id, on_busy=OnBusy.QUEUE), None
        )
        assert (queued.attached, queued.state) == (True, TurnState.RUNNING)
        second.set()
        turn = await turns.wait(services.ann, queued.turn_id)
        assert (turn.state, turn.epoch) == (TurnState.ANSWERED, 2)
        events = events_of(await followed(turns, services.ann, queued.turn_id))
    assert [event["kind"] for event in events] == ["started", "status", "answered"]
    assert len(script.tasks) == 2


class Gated(Script):
    """An agent whose turns wait, each at its own gate."""

    def __init__(self, gates: Sequence[asyncio.Event]) -> None:
        super().__init__()
        self._gates = iter(gates)

    async def played(self, task: AnswerTask) -> AsyncGenerator[AgentEvent, None]:
        self.tasks.append(task)
        yield SEARCHING
        await next(self._gates).wait()
        yield answer()


async def test_a_turn_that_was_stopped_before_its_run_began_is_not_run_under_an_older_epoch(
    services: Services,
) -> None:
    """A process commits the accept of a turn and then pauses for longer than a lease. After the pause, the process claims the turn again
    before the run under the first epoch begins.
    """
    gate = asyncio.Event()
    faults, script = Held(), Script([SEARCHING, gate, answer()])
    async with services.turns(script, QUICK, faults=faults) as turns:
        accepting = asyncio.create_task(turns.accept(services.ann, RIVER, None))
        await faults.reached.wait()
        assert faults.turn_id is not None
        await services.expire(faults.turn_id)
        await script.waiting.wait()
        faults.go.set()
        accepted = await accepting
        gate.set()
        turn = await turns.wait(services.ann, accepted.turn_id)
        assert (turn.state, turn.epoch) == (TurnState.ANSWERED, 2)
        assert (len(script.tasks), script.closed.is_set()) == (1, True)


class Held:
    """Faults that hold a committed accept until the test lets it go on."""

    def __init__(self) -> None:
        self.reached, self.go = asyncio.Event(), asyncio.Event()
        self.turn_id: UUID | None = None

    async def at(self, place: Fault, turn_id: UUID | None = None) -> None:
        if place is Fault.AFTER_ACCEPT:
            self.turn_id = turn_id
            self.reached.set()
            await self.go.wait()


async def test_an_interrupt_whose_answer_was_lost_still_tells_the_worker(
    database: Database, redis_url: str, people: People
) -> None:
    services = Services(database, redis_url)
    script = Script([SEARCHING, asyncio.Event()])
    # The worker renews its lease only every 20 minutes, so it does not notice changes by itself.
    slow = replace(QUICK, lease_seconds=3600.0)
    link = Link()
    async with (
        services.turns(script, slow, store=link.on) as worker,
        services.turns(options=replace(QUICK, works=False), faults=Broken(Fault.AFTER_ACCEPT, 1)) as other,
    ):
        first = await worker.accept(people.ann, RIVER, None)
        await script.waiting.wait()
        link.deaf = True
        newer = await other.accept(
            people.ann, Question("third", first.conversation_id, on_busy=OnBusy.INTERRUPT), None
        )
        assert list(newer.ended) == []
        await script.closed.wait()
        link.deaf = False
        assert (await other.store.get(people.ann, first.turn_id)).state is TurnState.CANCELLED
        await other.cancel(people.ann, newer.turn_id)
