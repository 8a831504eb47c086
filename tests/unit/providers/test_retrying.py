"""When the client repeats a request to a model, and how long the client waits before the repetition."""

from __future__ import annotations

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
from tests.raising import raises
from tests.unit.providers.told import PROMPT, Told, failing, gathered

WHOLE: list[ModelPiece | ModelError] = [TextPiece("a"), Ended(complete=True)]
BUSY = failing(ModelFault.OVERLOADED, passing=True)
LATER = failing(ModelFault.RATE_LIMITED, passing=True, retry_after=7.0)
TOO_LATE = failing(ModelFault.RATE_LIMITED, passing=True, retry_after=30.1)


class Clock:
    """A clock that records pauses instead of waiting."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def retrying(model: Told, clock: Clock, chance: float = 1.0) -> Retrying:
    return Retrying(model, RetryPolicy(retries=2), sleep=clock.sleep, chance=lambda: chance)


@pytest.mark.parametrize(
    ("takes", "chance", "pauses", "error"),
    [
        pytest.param([[BUSY], [BUSY], WHOLE], 1.0, [0.5, 1.0], None, id="growing pauses"),
        pytest.param([[BUSY], [BUSY], WHOLE], 0.5, [0.25, 0.5], None, id="pauses by chance"),
        pytest.param([[BUSY], [BUSY], WHOLE], 0.0, [0.0, 0.0], None, id="no pauses by chance"),
        pytest.param([[BUSY]], 1.0, [0.5, 1.0], BUSY, id="the last try"),
        pytest.param([[LATER], WHOLE], 1.0, [7.5], None, id="as long as the provider asks"),
        pytest.param([[TOO_LATE], WHOLE], 1.0, [], TOO_LATE, id="the provider asks for too long"),
        *(
            pytest.param([[error := failing(fault)], WHOLE], 1.0, [], error, id=fault)
            for fault in (ModelFault.CREDENTIAL, ModelFault.REFUSED, ModelFault.CUT, ModelFault.EMPTY)
        ),
        *(
            pytest.param([[said, BUSY], WHOLE], 1.0, [], BUSY, id=f"after {said}")
            for said in (TextPiece("a"), ToolRequest("c", "note", {}))
        ),
    ],
)
async def test_only_what_may_pass_is_tried_again(
    takes: list[list[ModelPiece | ModelError]], chance: float, pauses: list[float], error: ModelError | None
) -> None:
    clock, model = Clock(), Told(*takes)
    pieces = [piece for piece in takes[-1 if error is None else 0] if not isinstance(piece, ModelError)]
    assert await gathered(retrying(model, clock, chance)) == (pieces, error)
    assert clock.pauses == pauses
    assert model.calls == model.closed == len(pauses) + 1


async def test_nobody_waits_longer_than_whoever_asks() -> None:
    for patience, calls in ((7.0, 1), (60.0, 2)):
        clock, model = Clock(), Told([LATER], WHOLE)
        async with aclosing(
            retrying(model, clock).stream(replace(PROMPT, patience_seconds=patience))
        ) as pieces:
            if calls == 1:
                assert (await raises(ModelError, anext(pieces))).fault is ModelFault.RATE_LIMITED
            else:
                assert [piece async for piece in pieces] == WHOLE
        assert model.calls == calls


async def test_what_a_failed_try_has_cost_is_counted() -> None:
    first, second = Spent(Usage(0, 10, 1), "", 4), Spent(Usage(0, 10, 5), "", 2, 1)
    pieces, _ = await gathered(retrying(Told([first, BUSY], [second, *WHOLE]), Clock()))
    assert pieces == [first, Spent(Usage(0, 20, 6), "", 6, 1), *WHOLE]


async def test_closing_closes_what_is_read() -> None:
    model = Told(WHOLE)
    async with aclosing(retrying(model, Clock()).stream(PROMPT)) as pieces:
        assert await anext(pieces) == TextPiece("a")
    assert model.closed == 1
