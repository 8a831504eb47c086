"""The scripted models that fail."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from itertools import islice

import pytest

from responsa_lab.scripted.broken import Kind
from responsa_server.app.models import model_table
from responsa_server.domain.models import Ended, ModelFault, ModelPiece, Stop, Switched, TextPiece
from responsa_server.providers.settings import ModelSettings
from tests.unit.providers.asking import (
    INTENT,
    MODELS,
    STRONG,
    asked,
    pieces_of,
    said,
)
from tests.unit.providers.told import PROMPT, gathered


@pytest.mark.parametrize(
    ("kind", "fault", "told"),
    [
        (Kind.EMPTY, ModelFault.EMPTY, 0),
        (Kind.CUT, ModelFault.CUT, 4),
        (Kind.STALL, ModelFault.TIMEOUT, 0),
        (Kind.HANG, ModelFault.TIMEOUT, 4),
        (Kind.UNREACHABLE, ModelFault.UNREACHABLE, 0),
        (Kind.CREDENTIAL, ModelFault.CREDENTIAL, 0),
        (Kind.RATE_LIMITED, ModelFault.RATE_LIMITED, 0),
        (Kind.OVERLOADED, ModelFault.OVERLOADED, 0),
    ],
)
async def test_each_breaks_in_its_way(kind: Kind, fault: ModelFault, told: int) -> None:
    pieces, error = await gathered(MODELS[f"scripted:broken-{kind.value}"])
    assert error is not None
    assert error.fault is fault
    assert error.passing is (
        fault in (ModelFault.UNREACHABLE, ModelFault.RATE_LIMITED, ModelFault.OVERLOADED)
    )
    assert (error.retry_after is not None) is (fault is ModelFault.RATE_LIMITED)
    assert len(pieces) == told


async def test_what_ends_without_an_error() -> None:
    pieces, error = await gathered(MODELS["scripted:broken-unsafe"])
    assert (pieces[-1], error) == (Ended(complete=False, stop=Stop.UNSAFE), None)
    pieces, error = await gathered(MODELS["scripted:broken-invalid-json"])
    assert (pieces, error) == (await pieces_of(STRONG, PROMPT), None)
    broken = await said(
        MODELS["scripted:broken-invalid-json"], asked("intent_classification", "Hi", schema=INTENT)
    )
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(broken)


async def test_the_endless_one_is_left() -> None:
    stream = MODELS["scripted:broken-endless"].stream(PROMPT)

    async def some(pieces: AsyncGenerator[ModelPiece, None]) -> int:
        async with aclosing(pieces):
            count = 0
            async for piece in pieces:
                assert isinstance(piece, TextPiece)
                count += 1
                if count == 5000:
                    break
        return count

    assert await some(stream) == 5000


async def test_each_gives_way_to_the_next_before_its_first_word() -> None:
    models = model_table(ModelSettings(scripted=True))
    failing = ["empty", "unreachable", "401", "429", "500"]
    chain = models.chain([*(f"scripted:broken-{kind}" for kind in failing), "scripted:strong"])
    assert chain is not None
    pieces, error = await gathered(chain)
    await models.close()
    assert error is None
    assert [one.source for one in islice(pieces, len(failing)) if isinstance(one, Switched)] == [
        f"scripted:broken-{kind}" for kind in failing
    ]
    assert pieces[-1] == Ended(complete=True)


def test_every_way_to_break_has_its_model() -> None:
    assert {f"scripted:broken-{kind.value}" for kind in Kind} <= set(MODELS)
