"""Items that arrive during a write are written together by the next write."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from responsa_server.domain.background import Background
from responsa_server.domain.errors import Unavailable
from responsa_server.stores.postgres.database import Batcher, unavailable


class Writing:
    """Writes that end when the test allows it. The result of an item is twice the item, and the item 13 cannot be stored."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self._arrived = asyncio.Condition()
        self.gate = asyncio.Event()
        self.away = False

    async def write(self, items: Sequence[int]) -> Sequence[int]:
        async with self._arrived:
            self.batches.append(list(items))
            self._arrived.notify_all()
        await self.gate.wait()
        if self.away:
            raise unavailable()
        if 13 in items:
            raise ValueError("13")
        return [2 * item for item in items]

    async def until(self, count: int) -> None:
        async with self._arrived:
            await self._arrived.wait_for(lambda: len(self.batches) >= count)


@pytest.fixture
def writing() -> Writing:
    return Writing()


async def test_what_comes_alone_is_written_at_once_and_what_comes_meanwhile_together(
    writing: Writing,
) -> None:
    gathered = Batcher(writing.write, limit=3, background=Background())
    first = asyncio.create_task(gathered.put(1))
    await writing.until(1)
    others = [asyncio.create_task(gathered.put(item)) for item in (2, 3, 4, 5)]
    await asyncio.sleep(0)
    writing.gate.set()
    assert await asyncio.gather(first, *others) == [2, 4, 6, 8, 10]
    assert writing.batches == [[1], [2, 3, 4], [5]]
    assert await gathered.put(7) == 14


async def test_while_many_write_each_write_waits_for_the_window(writing: Writing) -> None:
    gathered = Batcher(writing.write, limit=3, background=Background(), window=lambda: 0.2)
    writing.gate.set()
    assert await gathered.put(1) == 2
    outcomes = [asyncio.create_task(gathered.put(2))]
    for _ in range(10):  # without a window, the second write would have ended by now
        await asyncio.sleep(0)
    outcomes.append(asyncio.create_task(gathered.put(3)))
    assert await asyncio.gather(*outcomes) == [4, 6]
    assert writing.batches == [[1], [2, 3]]


async def test_one_that_cannot_be_stored_keeps_no_other_from_being_stored(writing: Writing) -> None:
    gathered = Batcher(writing.write, limit=8, background=Background())
    tasks = [asyncio.create_task(gathered.put(item)) for item in (1, 2, 13, 4)]
    await writing.until(1)
    writing.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert [outcomes[0], outcomes[1], outcomes[3]] == [2, 4, 8]
    assert isinstance(outcomes[2], ValueError)


async def test_an_unknown_outcome_is_told_to_all_and_written_once(writing: Writing) -> None:
    gathered = Batcher(writing.write, limit=8, background=Background())
    writing.away = True
    tasks = [asyncio.create_task(gathered.put(item)) for item in (1, 2, 3)]
    await writing.until(1)
    writing.gate.set()
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes)
    assert sum(len(items) for items in writing.batches) == 3


async def test_a_caller_that_leaves_takes_nothing_back_and_keeps_nobody_waiting(writing: Writing) -> None:
    gathered = Batcher(writing.write, limit=8, background=Background())
    first = asyncio.create_task(gathered.put(1))
    await writing.until(1)
    leaving = asyncio.create_task(gathered.put(2))
    staying = asyncio.create_task(gathered.put(3))
    await asyncio.sleep(0)
    first.cancel()
    leaving.cancel()
    writing.gate.set()
    assert await staying == 6
    assert writing.batches == [[1], [2, 3]]
    assert first.cancelled()
    assert leaving.cancelled()


async def test_the_owner_awaits_a_write_whose_caller_has_left(writing: Writing) -> None:
    background = Background()
    gathered = Batcher(writing.write, limit=8, background=background)
    leaving = asyncio.create_task(gathered.put(1))
    await writing.until(1)
    later = asyncio.create_task(gathered.put(2))
    await asyncio.sleep(0)
    leaving.cancel()
    later.cancel()
    draining = asyncio.create_task(background.drain())
    await asyncio.sleep(0)
    assert not draining.done()
    writing.gate.set()
    await draining
    assert writing.batches == [[1], [2]]


async def test_a_write_that_the_owner_cancels_leaves_no_caller_waiting(writing: Writing) -> None:
    background = Background()
    gathered = Batcher(writing.write, limit=8, background=background)
    first = asyncio.create_task(gathered.put(1))
    await writing.until(1)
    second = asyncio.create_task(gathered.put(2))
    await asyncio.sleep(0)
    # This write has not begun.
    other = Batcher(writing.write, limit=8, background=background)
    elsewhere = asyncio.create_task(other.put(4))
    await asyncio.sleep(0)
    await background.cancel()
    outcomes = await asyncio.gather(first, second, elsewhere, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [asyncio.CancelledError] * 3
    writing.gate.set()
    assert await gathered.put(3) == 6
    assert writing.batches == [[1], [3]]
