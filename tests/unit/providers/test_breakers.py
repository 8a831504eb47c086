"""Circuit breakers: what opens and closes them, and one probe at a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from responsa_server.domain.breakers import (
    OPEN_SECONDS,
    PROBE_SECONDS,
    Breakers,
    CircuitOpen,
    Probe,
)
from responsa_server.domain.models import Ended, ModelFault, ModelPiece, ModelPrompt, TextPiece
from responsa_server.providers.chain import ChainModel, ModelChain, ModelCircuits
from tests.unit.agents.test_bad_models import Free
from tests.unit.providers.test_chain import WHOLE, Clock
from tests.unit.providers.told import Told, failing, gathered


def test_failures_in_a_row_open_a_circuit_and_a_success_closes_it() -> None:
    breakers = Breakers(Clock())
    breakers.record_failure("a", "timeout", 2)
    breakers.record_success("a")
    breakers.record_failure("a", "timeout", 2)
    assert breakers.admit("a") is Probe.CALL
    breakers.record_failure("a", "timeout", 2)
    assert (breakers.admit("a"), breakers.cause("a"), breakers.cause("b")) == (
        CircuitOpen("timeout"),
        "timeout",
        "",
    )
    breakers.record_success("a")
    assert breakers.admit("a") is Probe.CALL


def test_one_probe_at_a_time() -> None:
    clock = Clock()
    breakers = Breakers(clock)
    breakers.open("a", "credential")
    assert breakers.admit("a") == CircuitOpen("credential")
    clock.now = OPEN_SECONDS
    assert breakers.admit("a") is Probe.PROBE
    assert breakers.admit("a") == CircuitOpen("credential")
    breakers.record_failure("a", "timeout", 9)
    clock.now += OPEN_SECONDS - 1
    assert breakers.admit("a") == CircuitOpen("timeout")
    clock.now += 1
    assert breakers.admit("a") is Probe.PROBE
    # A probe that ended without an outcome, or of which nothing more was heard, may be repeated.
    breakers.end_probe("a")
    assert breakers.admit("a") is Probe.PROBE
    clock.now += PROBE_SECONDS
    assert breakers.admit("a") is Probe.PROBE
    breakers.record_success("a")
    assert breakers.admit("a") is Probe.CALL


async def test_a_probe_lets_the_other_calls_of_a_model_go_to_the_next_one() -> None:
    clock = Clock()
    circuits = ModelCircuits(clock)
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
    both = ModelChain(members, Free(), circuits, patience_seconds=30.0)
    circuits.note_failure(members[0], failing(ModelFault.CREDENTIAL), 0.0)
    clock.now = OPEN_SECONDS
    probing = asyncio.create_task(gathered(both))
    await probed.wait()
    pieces, _ = await gathered(both)
    assert (pieces[1:], slow.calls) == (list(WHOLE), 1)
    going.set()
    assert TextPiece("slow") in (await probing)[0]
    assert TextPiece("slow") in (await gathered(both))[0]


async def test_a_probe_without_an_outcome_lets_the_next_call_try() -> None:
    clock = Clock()
    circuits = ModelCircuits(clock)
    member = ChainModel("a:m", "a", Told([failing(ModelFault.RATE_LIMITED)]))
    circuits.note_failure(member, failing(ModelFault.CREDENTIAL), 0.0)
    clock.now = OPEN_SECONDS
    await gathered(ModelChain([member], Free(), circuits, patience_seconds=30.0))
    assert circuits.breakers.admit("key:a") is Probe.PROBE
