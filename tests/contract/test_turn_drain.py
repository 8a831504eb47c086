"""A stopping process hands over its turns and its followers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from responsa_server.domain.agents import Milestone
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import Delta, Usage
from responsa_server.domain.people import Principal
from responsa_server.domain.turns import Followed, LogRow, Reconnect, TurnState
from responsa_server.stores.postgres.database import Database
from responsa_server.turns.service import Turns
from tests.contract.people import People
from tests.contract.turn_harness import (
    NO_REDIS,
    QUICK,
    RIVER,
    SEARCHING,
    Script,
    Services,
    answer,
    follow_all,
    followed,
)
from tests.contract.turn_partition import Link
from tests.plain_codec import events_of
from tests.raising import raises


async def refused_by(turns: Turns, caller: Principal) -> bool:
    """Whether the process refuses questions because it drains."""
    try:
        await turns.accept(caller, RIVER, None)
    except Unavailable as error:
        return error.reason is Reason.DRAINING
    return False


async def test_it_takes_nothing_new_and_lets_turns_end(services: Services) -> None:
    gate = asyncio.Event()
    async with services.turns(Script([SEARCHING, gate, answer()]), QUICK) as turns:
        accepted = await turns.accept(services.ann, RIVER, None)
        waiting = asyncio.create_task(turns.wait(services.ann, accepted.turn_id))
        draining = asyncio.create_task(turns.drain(60))
        while not await refused_by(turns, services.bob):
            pass
        gate.set()
        await draining
        # Readers still receive the end of a turn that ends within the grace period.
        assert (await waiting).state is TurnState.ANSWERED
        assert (await turns.store.get(services.ann, accepted.turn_id)).epoch == 1


@pytest.mark.parametrize("with_redis", [True, False])
async def test_what_does_not_end_goes_on_elsewhere_without_a_loss(
    database: Database, redis_url: str, people: People, with_redis: bool
) -> None:
    services = Services(database, redis_url if with_redis else NO_REDIS)
    spent = Usage(0, 9, 4)
    first = Script([SEARCHING, Delta("It ", 0), Milestone(b"found"), Delta("wa", 3), spent, asyncio.Event()])
    gate = asyncio.Event()
    second = Script(resumed=[gate, Delta("is.", 3), answer("It is.")])
    async with services.turns(second, replace(QUICK, max_running=0)) as reader:
        async with services.turns(first, QUICK) as old:
            accepted = await old.accept(people.ann, RIVER, None)
            far = asyncio.create_task(followed(reader, people.ann, accepted.turn_id))
            near = asyncio.create_task(follow_all(old, people.ann, accepted.turn_id))
            waiting = asyncio.create_task(old.wait(people.ann, accepted.turn_id))
            await first.waiting.wait()
            async with services.turns(second, QUICK):
                await old.drain(0)
                assert first.closed.is_set()
                *rows, last = await near
                assert isinstance(last, Reconnect)
                gate.set()
                log = await far
                assert second.tasks[0].resume == b"found"
            assert rows == log[: len(rows)]  # the reader continues on another process
            resumed = await followed(reader, people.ann, accepted.turn_id, _through(rows))
            assert [*rows, *resumed] == log
            assert (await raises(Unavailable, waiting)).reason is Reason.DRAINING
        events = events_of(log)
        assert [event["kind"] for event in events] == [
            "started",
            "status",
            "delta",
            "delta",
            "restarted",
            "delta",
            "answered",
        ]
        turn = await reader.store.get(people.ann, accepted.turn_id)
        assert turn.usage == Usage(5) + spent
        assert await services.value("SELECT losses FROM responsa.turn WHERE id = %s", turn.id) == 0


def _through(rows: Sequence[Followed]) -> int:
    last = rows[-1]
    assert isinstance(last, LogRow)
    return last.last_seq


async def test_who_comes_while_it_goes_away_is_sent_on(services: Services) -> None:
    gate = asyncio.Event()
    async with services.turns(Script([SEARCHING, gate, answer()]), QUICK) as turns:
        accepted = await turns.accept(services.ann, RIVER, None)
        draining = asyncio.create_task(turns.drain(60))
        while not await refused_by(turns, services.bob):
            pass
        *_, last = await follow_all(turns, services.ann, accepted.turn_id)
        assert isinstance(last, Reconnect)
        gate.set()
        await draining


async def test_a_question_that_was_being_taken_is_handed_over_too(services: Services) -> None:
    first, second = Script([SEARCHING, asyncio.Event()]), Script()
    async with services.turns(first, QUICK) as old:
        accepting = asyncio.create_task(old.accept(services.ann, RIVER, None))
        await asyncio.sleep(0)
        draining = asyncio.create_task(old.drain(0))
        accepted = await accepting
        await draining
        async with services.turns(second, QUICK) as new:
            assert (await new.wait(services.ann, accepted.turn_id)).state is TurnState.ANSWERED


async def test_without_its_store_it_ends_all_the_same_and_the_lease_runs_out(services: Services) -> None:
    first, second = Script([SEARCHING, asyncio.Event()]), Script()
    link = Link()
    async with services.turns(first, QUICK, store=link.on) as old:
        accepted = await old.accept(services.ann, RIVER, None)
        await first.waiting.wait()
        await link.sever()
        await old.drain(0)
        assert first.closed.is_set()
    await services.expire(accepted.turn_id)
    async with services.turns(second, QUICK) as new:
        assert (await new.wait(services.ann, accepted.turn_id)).state is TurnState.ANSWERED


async def test_a_store_that_does_not_answer_holds_nobody_up(services: Services) -> None:
    first, second = Script([SEARCHING, asyncio.Event()]), Script()
    link = Link()
    async with services.turns(first, QUICK, store=link.on) as old:
        accepted = await old.accept(services.ann, RIVER, None)
        await first.waiting.wait()
        stuck = link.stuck = asyncio.Event()
        link.claimed.clear()
        link.tried.clear()
        async with asyncio.timeout(60):
            await old.drain(0)
        assert first.closed.is_set()
        link.stuck = None
    await services.expire(accepted.turn_id)
    async with services.turns(second, QUICK) as new:
        assert (await new.wait(services.ann, accepted.turn_id)).state is TurnState.ANSWERED
    stuck.set()
