"""The limit on concurrent calls with the same key."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from responsa_server.domain.models import (
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    TextPiece,
)
from responsa_server.providers.chain import KeyLimits
from responsa_server.providers.table import Limited
from tests.unit.providers.told import PROMPT, Told, failure, gathered


class Gated:
    """A model that counts concurrent calls and waits until the test releases it."""

    name = "gated"

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.full = asyncio.Event()
        self.running = 0
        self.most = 0

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        self.running += 1
        self.most = max(self.most, self.running)
        if self.running == 3:
            self.full.set()
        try:
            await self.gate.wait()
            yield TextPiece("a")
            yield Ended(complete=True)
        finally:
            self.running -= 1


async def test_no_more_answers_at_a_time_than_there_are_places() -> None:
    limits, models = KeyLimits(concurrent=3, a_minute=0, wait_seconds=300), Gated()
    # Both models use the same key.
    limited = [Limited("m", lambda: models, limits), Limited("m", lambda: models, limits)]
    reading = [asyncio.create_task(gathered(limited[place % 2])) for place in range(10)]
    await models.full.wait()
    models.gate.set()
    assert all(error is None for _, error in await asyncio.gather(*reading))
    assert models.most == 3


async def test_who_finds_no_place_in_time_is_told_so() -> None:
    limits, model = KeyLimits(concurrent=1, a_minute=0, wait_seconds=0.01), Told([Ended(complete=True)])
    async with limits.place():
        error = await failure(Limited("m", lambda: model, limits))
    assert (error.fault, error.passing) == (ModelFault.OVERLOADED, False)
    assert await gathered(Limited("m", lambda: model, limits)) == ([Ended(complete=True)], None)


async def test_no_more_requests_a_minute_than_are_allowed() -> None:
    limits = KeyLimits(concurrent=1, a_minute=2, wait_seconds=0.01)
    model = Told([Ended(complete=True)])
    results = [(await gathered(Limited("m", lambda: model, limits)))[1] for _ in range(3)]
    assert results[:2] == [None, None]
    assert isinstance(results[2], ModelError)
    assert (results[2].fault, results[2].passing, model.calls) == (ModelFault.RATE_LIMITED, False, 2)
    # A rejected call holds no slot.
    assert limits._places._free


@pytest.mark.parametrize("cancelled", [True, False])
async def test_a_place_is_given_back_whoever_leaves(cancelled: bool) -> None:
    limits, model = KeyLimits(concurrent=1, a_minute=0, wait_seconds=10.0), Gated()
    limited = Limited("m", lambda: model, limits)
    if cancelled:
        reading = asyncio.create_task(gathered(limited))
        waiting = asyncio.create_task(gathered(limited))
        await asyncio.sleep(0)
        for one in (waiting, reading):
            one.cancel()
            with pytest.raises(asyncio.CancelledError):
                await one
    else:
        model.gate.set()
        async with aclosing(limited.stream(PROMPT)) as pieces:
            await anext(pieces)
    assert limits._places._free
    assert model.running == 0
