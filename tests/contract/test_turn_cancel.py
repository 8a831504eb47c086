"""Callers end turns through any process: they cancel a turn, or they stop following it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from uuid import UUID

import pytest

from responsa_server.domain.agents import Milestone
from responsa_server.domain.events import Usage
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import OnBusy, Question, TurnState
from responsa_server.stores.postgres.database import Database
from responsa_server.turns.service import Turns
from tests.contract.people import People
from tests.contract.turn_harness import (
    IDLE,
    NO_REDIS,
    QUICK,
    RIVER,
    SEARCHING,
    Script,
    Services,
    answer,
    followed,
)
from tests.plain_codec import events_of


def endless() -> Script:
    return Script([SEARCHING, asyncio.Event(), answer()])


async def said(services: Services, caller: Principal, conversation_id: UUID) -> Sequence[str]:
    return [one.text for one in await services.conversations.history(caller, conversation_id, 10)]


@pytest.mark.parametrize("with_redis", [True, False])
@pytest.mark.parametrize("elsewhere", [False, True])
async def test_it_ends_the_turn_stops_the_agent_and_tells_all_followers(
    database: Database, redis_url: str, people: People, elsewhere: bool, with_redis: bool
) -> None:
    services = Services(database, redis_url if with_redis else NO_REDIS)
    script = endless()
    async with services.turns(script, QUICK) as worker, services.turns(options=IDLE) as other:
        accepted = await worker.accept(people.ann, RIVER, None)
        following = [
            asyncio.create_task(followed(place, people.ann, accepted.turn_id)) for place in (worker, other)
        ]
        await script.waiting.wait()
        turn = await (other if elsewhere else worker).cancel(people.ann, accepted.turn_id)
        assert turn.state is TurnState.CANCELLED
        await script.closed.wait()
        near, far = [events_of(rows) for rows in await asyncio.gather(*following)]
        assert near == far
        assert (near[-1]["kind"], near[-1]["by"]) == ("cancelled", "owner")
        assert [one["kind"] for one in near].count("cancelled") == 1
        again = await worker.cancel(people.ann, accepted.turn_id)
        assert (again.terminal, again.last_seq) == (turn.terminal, turn.last_seq)
        assert (await other.wait(people.ann, accepted.turn_id)).terminal == turn.terminal
    assert await said(services, people.ann, accepted.conversation_id) == []


async def test_what_was_spent_until_then_is_booked(services: Services) -> None:
    kept, since = Usage(1, 10, 2), Usage(0, 20, 7)
    script = Script([kept, SEARCHING, Milestone(b"kept"), since, asyncio.Event()])
    async with services.turns(script, QUICK) as turns:
        accepted = await turns.accept(services.ann, RIVER, None)
        async with aclosing(turns.follow(services.ann, accepted.turn_id, 1)) as rows:
            await anext(rows)
        await script.waiting.wait()
        await turns.cancel(services.ann, accepted.turn_id)
        await script.closed.wait()
        while (turn := await turns.store.get(services.ann, accepted.turn_id)).usage == kept:  # noqa: ASYNC110  only the store shows this
            await asyncio.sleep(0)
        assert turn.usage == kept + since


async def test_a_newer_question_takes_the_place_of_all_before_it(services: Services) -> None:
    script = endless()
    async with services.turns(script, QUICK) as turns, services.turns(options=IDLE) as other:
        first = await turns.accept(services.ann, RIVER, None)
        queued = await turns.accept(
            services.ann, Question("second", first.conversation_id, on_busy=OnBusy.QUEUE), None
        )
        following = [
            asyncio.create_task(followed(place, services.ann, one.turn_id))
            for place in (turns, other)
            for one in (first, queued)
        ]
        await script.waiting.wait()
        newer = await other.accept(
            services.ann, Question("third", first.conversation_id, on_busy=OnBusy.INTERRUPT), None
        )
        assert {one.turn_id for one in newer.ended} == {first.turn_id, queued.turn_id}
        await script.closed.wait()
        for rows in await asyncio.gather(*following):
            end = events_of(rows)[-1]
            assert (end["kind"], end["by"]) == ("cancelled", "interrupt")
        while len(script.tasks) < 2:  # noqa: ASYNC110  only the agent shows this
            await asyncio.sleep(0)
        assert script.tasks[1].question.text == "third"
        await turns.cancel(services.ann, newer.turn_id)


class Stream:
    """A caller that follows a turn until the caller leaves."""

    def __init__(self, turns: Turns, caller: Principal, turn_id: UUID) -> None:
        self._turns, self._who, self._turn_id = turns, caller, turn_id
        self.told = asyncio.Event()
        self._task = asyncio.create_task(self._follow())

    async def _follow(self) -> None:
        async with aclosing(self._turns.follow(self._who, self._turn_id)) as news:
            async for _ in news:
                self.told.set()

    async def leave(self) -> None:
        self._task.cancel()
        await asyncio.wait({self._task})
        self._turns.leave(self._who, self._turn_id)


async def ended(turns: Turns, caller: Principal, turn_id: UUID) -> TurnState:
    """The final state of a turn. The turn is polled and not followed, because a client that waits counts as a follower."""
    while not (turn := await turns.store.get(caller, turn_id)).state.terminal:  # noqa: ASYNC110  only the store shows this
        await asyncio.sleep(0)
    return turn.state


SOON = replace(QUICK, disconnect_seconds=0.2)


async def test_who_may_not_see_a_turn_ends_nothing_by_leaving(services: Services) -> None:
    script = endless()
    async with services.turns(script, SOON) as turns:
        accepted = await turns.accept(services.ann, RIVER, None, cancel_on_disconnect=True)
        own = await turns.accept(services.bob, RIVER, None, cancel_on_disconnect=True)
        turns.leave(services.bob, accepted.turn_id)
        turns.leave(services.bob, own.turn_id)  # the server checks this call after the call above
        assert await ended(turns, services.bob, own.turn_id) is TurnState.CANCELLED
        assert not (await turns.store.get(services.ann, accepted.turn_id)).state.terminal


async def test_it_goes_on_while_somebody_follows_it_from_another_process(services: Services) -> None:
    gate = asyncio.Event()
    script = Script([SEARCHING, gate, answer()])
    async with (
        services.turns(script, SOON) as turns,
        services.turns(options=replace(SOON, works=False)) as other,
    ):
        accepted = await turns.accept(services.ann, RIVER, None, cancel_on_disconnect=True)
        first = Stream(turns, services.ann, accepted.turn_id)
        second = Stream(other, services.ann, accepted.turn_id)
        await first.told.wait()
        await second.told.wait()
        while await services.value("SELECT count(*) FROM responsa.turn_follower") < 2:  # noqa: ASYNC110  only the store shows this
            await asyncio.sleep(0)
        await first.leave()
        # Wait long enough for a wrong cancel to happen: until another turn, whose caller leaves now, is cancelled.
        witness = await turns.accept(services.bob, RIVER, None, cancel_on_disconnect=True)
        watcher = Stream(turns, services.bob, witness.turn_id)
        await watcher.told.wait()
        await watcher.leave()
        assert await ended(turns, services.bob, witness.turn_id) is TurnState.CANCELLED
        assert (await other.store.get(services.ann, accepted.turn_id)).state is TurnState.RUNNING
        await second.leave()
        assert await ended(turns, services.ann, accepted.turn_id) is TurnState.CANCELLED


async def test_a_process_that_goes_away_cancels_nothing(services: Services) -> None:
    first, second = endless(), Script()
    async with services.turns(second, replace(SOON, max_running=0)) as other:
        async with services.turns(first, SOON) as turns:
            accepted = await turns.accept(services.ann, RIVER, None, cancel_on_disconnect=True)
            stream = Stream(turns, services.ann, accepted.turn_id)
            await stream.told.wait()
            await stream.leave()
        assert (await other.store.get(services.ann, accepted.turn_id)).state is TurnState.RUNNING
    async with services.turns(second, SOON) as other:
        assert (await other.wait(services.ann, accepted.turn_id)).state is TurnState.ANSWERED
