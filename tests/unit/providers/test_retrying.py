"""When the client repeats a request to a model, and how long the client waits before the repetition."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace

import pytest

from responsa_server.domain.events import Usage
from responsa_server.domain.models import (
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    Spent,
    TextPiece,
    ToolRequest,
)
from responsa_server.providers.chain import Retrying, RetryPolicy
from tests.unit.providers.told import PROMPT, Told, failing, gathered

WHOLE: Sequence[ModelPiece | ModelError] = [TextPiece("a"), Ended(complete=True)]
BUSY = failing(ModelFault.OVERLOADED, passing=True)


class Clock:
    """A clock that records pauses instead of waiting."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def retrying(model: Told, clock: Clock, chance: float = 1.0) -> Retrying:
    return Retrying(model, RetryPolicy(retries=2), sleep=clock.sleep, chance=lambda: chance)


async def test_what_may_pass_is_tried_again_after_growing_pauses() -> None:
    clock, model = Clock(), Told([BUSY], [BUSY], WHOLE)
    assert await gathered(retrying(model, clock)) == (WHOLE, None)
    assert (clock.pauses, model.calls, model.closed) == ([0.5, 1.0], 3, 3)


@pytest.mark.parametrize(("chance", "pauses"), [(0.0, [0.0, 0.0]), (0.5, [0.25, 0.5])])
async def test_pauses_are_by_chance(chance: float, pauses: list[float]) -> None:
    clock = Clock()
    await gathered(retrying(Told([BUSY], [BUSY], WHOLE), clock, chance))
    assert clock.pauses == pauses


async def test_after_the_last_try_the_error_is_passed_on() -> None:
    clock, model = Clock(), Told([BUSY])
    assert await gathered(retrying(model, clock)) == ([], BUSY)
    assert model.calls == 3


async def test_the_provider_is_left_alone_for_as_long_as_it_asks() -> None:
    clock = Clock()
    model = Told([failing(ModelFault.RATE_LIMITED, passing=True, retry_after=7.0)], WHOLE)
    assert await gathered(retrying(model, clock)) == (WHOLE, None)
    assert clock.pauses == [7.5]


async def test_who_asks_for_too_long_is_not_asked_again() -> None:
    error = failing(ModelFault.RATE_LIMITED, passing=True, retry_after=30.1)
    clock, model = Clock(), Told([error], WHOLE)
    assert await gathered(retrying(model, clock)) == ([], error)
    assert (clock.pauses, model.calls) == ([], 1)


async def test_nobody_waits_longer_than_whoever_asks() -> None:
    busy = failing(ModelFault.RATE_LIMITED, passing=True, retry_after=7.0)
    for patience, calls in ((7.0, 1), (60.0, 2)):
        clock, model = Clock(), Told([busy], WHOLE)
        async with aclosing(
            retrying(model, clock).stream(replace(PROMPT, patience_seconds=patience))
        ) as pieces:
            if calls == 1:
                with pytest.raises(ModelError) as caught:
                    await anext(pieces)
                assert caught.value.fault is ModelFault.RATE_LIMITED
            else:
                assert [piece async for piece in pieces] == WHOLE
        assert model.calls == calls


@pytest.mark.parametrize(
    "fault", [ModelFault.CREDENTIAL, ModelFault.REFUSED, ModelFault.CUT, ModelFault.EMPTY]
)
async def test_what_does_not_pass_is_not_tried_again(fault: ModelFault) -> None:
    model = Told([failing(fault)], WHOLE)
    assert (await gathered(retrying(model, Clock())))[1] is not None
    assert model.calls == 1


@pytest.mark.parametrize("said", [TextPiece("a"), ToolRequest("c", "note", {})])
async def test_nothing_is_tried_again_once_something_was_said(said: ModelPiece) -> None:
    model = Told([said, BUSY], WHOLE)
    assert await gathered(retrying(model, Clock())) == ([said], BUSY)
    assert model.calls == 1


async def test_what_a_failed_try_has_cost_is_counted() -> None:
    first, second = Spent(Usage(0, 10, 1), "", 4), Spent(Usage(0, 10, 5), "", 2, 1)
    pieces, _ = await gathered(retrying(Told([first, BUSY], [second, *WHOLE]), Clock()))
    assert pieces == [first, Spent(Usage(0, 20, 6), "", 6, 1), *WHOLE]


async def test_closing_closes_what_is_read() -> None:
    model = Told(WHOLE)
    async with aclosing(retrying(model, Clock()).stream(PROMPT)) as pieces:
        assert await anext(pieces) == TextPiece("a")
    assert model.closed == 1
