"""The bounded queue between reading a call and working on it."""

from __future__ import annotations

import asyncio

import pytest

from responsa_server.calls.chain import Feed


async def test_items_come_in_order_and_then_the_end() -> None:
    feed: Feed[int] = Feed()

    async def write() -> None:
        for number in range(100):
            assert await feed.put(number)
        feed.end()

    writer = asyncio.create_task(write())
    assert [number async for number in feed] == list(range(100))
    await writer


async def test_the_writer_waits_for_room() -> None:
    feed: Feed[int] = Feed(most=2)
    assert await feed.put(1)
    assert await feed.put(2)
    third = asyncio.create_task(feed.put(3))
    await asyncio.sleep(0)
    assert not third.done()
    assert await anext(feed) == 1
    assert await third


async def test_an_error_comes_before_what_was_not_read() -> None:
    feed: Feed[int] = Feed()
    await feed.put(1)
    feed.end(ValueError("cut"))
    with pytest.raises(ValueError, match="cut"):
        await anext(feed)


async def test_a_reader_that_left_frees_the_writer() -> None:
    feed: Feed[int] = Feed(most=1)
    await feed.put(1)
    second = asyncio.create_task(feed.put(2))
    await asyncio.sleep(0)
    feed.abandon()
    assert await second is False
    assert await feed.put(3) is False
