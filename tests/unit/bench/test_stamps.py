"""Words that carry their sending time, and the readers that measure how long words took."""

from __future__ import annotations

import asyncio
import time

import pytest

from bench.peers.lag import lagging
from bench.peers.provider import Provider
from bench.stamps import Reading, Tally, by_adapter
from responsa_lab.testing.loopback import Exchange, LoopbackServer
from responsa_server.domain.models import ModelError


async def test_every_word_of_every_stream_is_counted_and_was_sent_before_it_came() -> None:
    server = LoopbackServer(Provider().handle)
    await server.start()
    tally = Tally(2)
    await by_adapter(Reading(3, 5, 1, rounds=2, url=f"{server.url}/v1"), tally)
    await server.close()
    assert len(tally.firsts) == 3 * 2
    assert len(tally.words) == 3 * 2 * 3
    assert min(*tally.firsts, *tally.words) > 0


async def test_a_stream_that_breaks_off_is_no_figure() -> None:
    async def handle(exchange: Exchange) -> None:
        exchange.cut()

    server = LoopbackServer(handle)
    await server.start()
    with pytest.raises(ModelError):
        await by_adapter(Reading(1, 5, 1, url=f"{server.url}/v1"), Tally(0))
    await server.close()


async def test_a_loop_that_is_held_up_shows() -> None:
    async with lagging() as found:
        while not found:
            await _turn()
        before = len(found)
        _hold(0.05)
        while len(found) == before:
            await _turn()
    # The loop is blocked for 50 ms. This delays one sample by up to 50 ms, and the loop misses nine more samples.
    assert max(found[before:]) > 40
    assert len(found) - before >= 8


async def _turn() -> None:
    await asyncio.sleep(0)


def _hold(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass
