"""Background work that outlives its caller, and its end."""

from __future__ import annotations

import asyncio
import logging

import pytest

from responsa_server.domain.background import Background
from responsa_server.domain.errors import NotFound
from responsa_server.domain.knowledge import OwnershipLost
from responsa_server.domain.turns import TurnLost
from tests.raising import raises


async def test_work_that_does_not_end_in_time_is_cancelled() -> None:
    async def short() -> int:
        await asyncio.sleep(0)
        return 7

    async def endless() -> None:
        await asyncio.Event().wait()

    background = Background()
    ends, never = background.start(short()), background.start(endless())
    await background.drain(0.05)
    assert (ends.result(), never.cancelled(), len(background)) == (7, True, 0)


async def test_drain_waits_no_longer_than_needed() -> None:
    background = Background()
    gate = asyncio.Event()
    waiting = background.start(gate.wait())
    done = asyncio.create_task(background.drain(3600.0))
    await asyncio.sleep(0)
    assert not done.done()
    gate.set()
    await done
    assert waiting.result()


async def test_drain_awaits_work_that_starts_meanwhile() -> None:
    background = Background()
    gate, ended = asyncio.Event(), asyncio.Event()

    async def second() -> None:
        await gate.wait()
        ended.set()

    async def first() -> None:
        background.start(second())

    background.start(first())
    draining = asyncio.create_task(background.drain())
    await asyncio.sleep(0)
    gate.set()
    await draining
    assert ended.is_set()


async def test_a_cancelled_caller_does_not_cut_its_work(caplog: pytest.LogCaptureFixture) -> None:
    background = Background()
    begun, gate, ended = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await gate.wait()
        ended.set()

    caller = asyncio.create_task(background.run(work()))
    await begun.wait()
    caller.cancel()
    await raises(asyncio.CancelledError, caller)
    assert (ended.is_set(), len(background)) == (False, 1)
    gate.set()
    await background.drain()
    assert ended.is_set()
    assert caplog.records == []


async def test_the_caller_gets_the_result_or_the_error(caplog: pytest.LogCaptureFixture) -> None:
    background = Background()
    assert await background.run(_returns(3)) == 3
    await raises(RuntimeError, background.run(_raises(RuntimeError("seen"))), "seen")
    # `run` also accepts a task that was started elsewhere.
    assert await background.run(asyncio.create_task(_returns(4))) == 4
    assert caplog.records == []


@pytest.mark.parametrize(
    ("error", "level", "text"),
    [
        (RuntimeError("lost"), logging.ERROR, "background work failed"),
        (NotFound.of("turn", "turns/1"), logging.INFO, "background work ended with RESOURCE_NOT_FOUND"),
        (OwnershipLost(), logging.INFO, "background work ended with OwnershipLost"),
        (TurnLost(), logging.INFO, "background work ended with TurnLost"),
    ],
    ids=["unexpected", "of the domain", "operation overtaken", "turn overtaken"],
)
async def test_an_error_that_nobody_waits_for_is_logged_once(
    caplog: pytest.LogCaptureFixture, error: Exception, level: int, text: str
) -> None:
    caplog.set_level(logging.INFO)
    background, gate = Background(), asyncio.Event()

    async def work() -> None:
        await gate.wait()
        raise error

    caller = asyncio.create_task(background.run(work()))
    await asyncio.sleep(0)
    caller.cancel()
    await asyncio.wait({caller})
    gate.set()
    await background.drain()
    background.start(_raises(error))
    await background.drain()
    background.hold(asyncio.ensure_future(_raises(error)))
    await background.drain()
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(level, text)] * 3


async def _returns(value: int) -> int:
    return value


async def _raises(error: Exception) -> None:
    raise error
