"""Circuit breakers: what opens and closes them, one probe at a time, and the hints between processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from responsa_server.domain.breakers import (
    OPEN_SECONDS,
    PROBE_SECONDS,
    BarredCall,
    Breakers,
    Circuit,
    CircuitState,
    Probe,
)
from responsa_server.domain.models import Ended, ModelFault, ModelPiece, ModelPrompt, TextPiece
from responsa_server.providers.chain import Barred, ChainModel, ModelChain
from tests.unit.agents.test_bad_models import Free
from tests.unit.providers.test_chain import WHOLE, Clock
from tests.unit.providers.told import Told, failing, gathered


def pair(clock: Clock) -> tuple[Breakers, Breakers]:
    """The breakers of two processes that hear each other."""
    mine = Breakers(clock)
    yours = Breakers(clock, mine.heard)
    mine.tell = yours.heard
    return mine, yours


def test_failures_in_a_row_open_a_circuit_and_a_success_closes_it() -> None:
    breakers = Breakers(Clock())
    breakers.failed("a", "timeout", 2)
    breakers.succeeded("a")
    breakers.failed("a", "timeout", 2)
    assert breakers.admit("a") is Probe.CALL
    breakers.failed("a", "timeout", 2)
    assert (breakers.admit("a"), breakers.cause("a"), breakers.cause("b")) == (
        BarredCall("timeout"),
        "timeout",
        "",
    )
    breakers.succeeded("a")
    assert breakers.admit("a") is Probe.CALL


def test_one_probe_at_a_time_in_all_processes() -> None:
    clock = Clock()
    mine, yours = pair(clock)
    mine.open("a", "credential")
    assert yours.admit("a") == BarredCall("credential")
    clock.now = OPEN_SECONDS
    assert yours.admit("a") is Probe.PROBE
    assert mine.admit("a") == yours.admit("a") == BarredCall("credential")
    yours.failed("a", "timeout", 9)
    clock.now += OPEN_SECONDS - 1
    assert mine.admit("a") == BarredCall("timeout")
    clock.now += 1
    assert mine.admit("a") is Probe.PROBE
    # A probe that ended without an outcome, or of which nothing more was heard, may be repeated.
    mine.left("a")
    assert yours.admit("a") is Probe.PROBE
    yours.left("a")
    assert mine.admit("a") is Probe.PROBE
    clock.now += PROBE_SECONDS
    assert yours.admit("a") is Probe.PROBE
    yours.succeeded("a")
    assert mine.admit("a") is Probe.CALL


def test_without_hints_each_process_finds_out_for_itself() -> None:
    clock = Clock()
    said = list[Circuit]()
    mine, yours = Breakers(clock, said.append), Breakers(clock)
    mine.open("a", "timeout", 60.0)
    assert (yours.admit("a"), mine.admit("a", 60.0)) == (Probe.CALL, Probe.CALL)
    assert [(one.name, one.seconds, one.patience_seconds) for one in said] == [("a", OPEN_SECONDS, 60.0)]


async def test_a_probe_lets_the_other_calls_of_a_model_go_to_the_next_one() -> None:
    clock = Clock()
    barred = Barred(clock)
    probed, going = asyncio.Event(), asyncio.Event()

    class Slow:
        name = "a:m"
        calls = 0

        async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
            self.calls += 1
            probed.set()
            await going.wait()
            yield TextPiece("slow")
            yield Ended(complete=True)

    slow, other = Slow(), Told(WHOLE, name="b:m")
    members = [ChainModel("a:m", "a", slow), ChainModel("b:m", "b", other)]
    both = ModelChain(members, Free(), barred, patience_seconds=30.0)
    barred.failed(members[0], failing(ModelFault.CREDENTIAL), 30.0, 0.0)
    clock.now = OPEN_SECONDS
    probing = asyncio.create_task(gathered(both))
    await probed.wait()
    pieces, _ = await gathered(both)
    assert (pieces[1:], slow.calls) == (list(WHOLE), 1)
    going.set()
    assert TextPiece("slow") in (await probing)[0]
    assert TextPiece("slow") in (await gathered(both))[0]


@pytest.mark.parametrize(
    ("fault", "last"),
    [
        (ModelFault.CREDENTIAL, (CircuitState.OPEN, OPEN_SECONDS)),
        (ModelFault.RATE_LIMITED, (CircuitState.PROBED, 0.0)),
    ],
)
async def test_other_processes_get_the_outcome_of_a_probe_or_that_it_had_none(
    fault: ModelFault, last: tuple[CircuitState, float]
) -> None:
    clock = Clock()
    barred, hints = Barred(clock), list[Circuit]()
    member = ChainModel("a:m", "a", Told([failing(fault)]))
    barred.failed(member, failing(ModelFault.CREDENTIAL), 30.0, 0.0)
    clock.now = OPEN_SECONDS
    barred.breakers.tell = hints.append
    await gathered(ModelChain([member], Free(), barred, patience_seconds=30.0))
    assert [(hint.state, hint.seconds) for hint in hints] == [(CircuitState.PROBED, PROBE_SECONDS), last]
