"""The next model of a chain after a failure, repeated requests, circuit breakers, the limits of a key, and the cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from responsa_server.domain.breakers import (
    OPEN_SECONDS,
    PROBE_SECONDS,
    Breakers,
    CircuitOpen,
    Probe,
)
from responsa_server.domain.events import Usage
from responsa_server.domain.models import (
    ChatModel,
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    Price,
    Spent,
    Stop,
    Switched,
    TextPiece,
    ToolRequest,
    Withdrawn,
)
from responsa_server.domain.tools import ToolCard
from responsa_server.providers.chain import (
    ChainModel,
    KeyLimits,
    ModelChain,
    ModelCircuits,
    Retrying,
    RetryPolicy,
)
from responsa_server.providers.table import Limited
from tests.raising import raises
from tests.unit.providers.told import PROMPT, Told, failing, failure, gathered

WHOLE: Sequence[ModelPiece | ModelError] = [TextPiece("a"), Ended(complete=True)]


class Dear:
    """A price table: each token costs one micro-dollar, and models of the provider `free` have no price."""

    def price(self, model: str, at: date) -> Price | None:
        return None if model.startswith("free") else Price(*[Decimal(1)] * 4)

    def cost_micros(self, spent: Spent, at: date) -> int | None:
        tokens = spent.usage.input_tokens + spent.usage.output_tokens
        return None if self.price(spent.model, at) is None else tokens


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def chain(*models: ChatModel, circuits: ModelCircuits | None = None, patience: float = 300.0) -> ModelChain:
    members = [ChainModel(model.name, model.name.partition(":")[0], model) for model in models]
    return ModelChain(members, Dear(), circuits or ModelCircuits(), patience_seconds=patience)


async def given_up(fault: ModelFault, times: int, circuits: ModelCircuits) -> Told:
    """A model that always fails in this way. A chain of this model and another model has been asked `times` times."""
    failed = Told([failing(fault)], name="a:m")
    for _ in range(times):
        pieces, _ = await gathered(chain(failed, Told(WHOLE, name="b:m"), circuits=circuits))
        assert pieces[0] == Switched("a:m", "b:m", fault)
    return failed


async def test_the_first_one_that_answers_is_heard_alone() -> None:
    first, second = Told(WHOLE, name="a:m"), Told(WHOLE, name="b:m")
    both = chain(first, second)
    assert (both.name, await gathered(both)) == ("a:m", (WHOLE, None))
    assert (first.calls, second.calls) == (1, 0)


@pytest.mark.parametrize("fault", list(ModelFault))
async def test_who_fails_before_the_first_word_gives_way(fault: ModelFault) -> None:
    first, second = Told([failing(fault)], name="a:m"), Told(WHOLE, name="b:m")
    pieces, error = await gathered(chain(first, second))
    assert (pieces, error) == ([Switched("a:m", "b:m", fault), *WHOLE], None)


@pytest.mark.parametrize("said", [TextPiece("a"), ToolRequest("c", "note", {})])
async def test_after_the_first_word_nobody_takes_over(said: ModelPiece) -> None:
    first, second = Told([said, failing(ModelFault.CUT)], name="a:m"), Told(WHOLE, name="b:m")
    pieces, error = await gathered(chain(first, second))
    assert error
    assert (pieces, error.fault, error.model, second.calls) == ([said], ModelFault.CUT, "a:m", 0)


async def test_reasoning_that_was_withdrawn_is_no_part_of_the_answer() -> None:
    reasoning = [TextPiece("Hm, 7."), Withdrawn(0)]
    said = [*reasoning, TextPiece("It is 5."), Ended(complete=True)]
    assert await gathered(chain(Told(said, name="a:m"))) == (said, None)
    blank = [TextPiece("\n"), Withdrawn(0), *WHOLE]
    assert await gathered(chain(Told(blank, name="a:m"))) == (WHOLE, None)


async def test_when_all_fail_the_last_error_is_told_with_its_model() -> None:
    first, second = failing(ModelFault.OVERLOADED), failing(ModelFault.TIMEOUT)
    pieces, error = await gathered(chain(Told([first], name="a:m"), Told([second], name="b:m")))
    assert error
    assert pieces == [Switched("a:m", "b:m", ModelFault.OVERLOADED)]
    assert (error.fault, error.model) == (ModelFault.TIMEOUT, "b:m")


async def test_all_that_was_spent_is_priced_with_each_models_price() -> None:
    first = Told([Spent(Usage(0, 10, 0), "", 3), failing(ModelFault.OVERLOADED)], name="a:m")
    second = Told([Spent(Usage(0, 10, 0)), TextPiece("x"), Spent(Usage(0, 10, 5)), WHOLE[-1]], name="free:m")
    pieces, _ = await gathered(chain(first, second))
    assert [piece for piece in pieces if isinstance(piece, Spent)] == [
        Spent(Usage(0, 10, 0, 10), "a:m", 3),
        Spent(Usage(0, 20, 0, 10, 10), "free:m", 3),
        Spent(Usage(0, 20, 5, 10, 15), "free:m", 3),
    ]


@pytest.mark.parametrize(("fault", "calls"), [(ModelFault.CREDENTIAL, 1), (ModelFault.TIMEOUT, 2)])
async def test_a_key_that_was_not_taken_or_a_model_that_was_silent_twice_is_left_alone_for_half_a_minute(
    fault: ModelFault, calls: int
) -> None:
    clock = Clock()
    circuits = ModelCircuits(clock)
    failed = await given_up(fault, 4, circuits)
    assert failed.calls == calls
    other = Told(WHOLE, name="a:other")
    pieces, error = await gathered(chain(other, circuits=circuits))
    if fault is ModelFault.CREDENTIAL:  # it is the key of the other model too
        assert error
        assert (error.fault, error.model, other.calls) == (fault, "a:other", 0)
    else:
        assert pieces == WHOLE
    clock.now = 30.0
    await gathered(chain(failed, Told(WHOLE, name="b:m"), circuits=circuits))
    assert failed.calls == calls + 1


class Silent:
    """A model that reports its cost and then sends nothing more."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.left = False

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        try:
            yield Spent(Usage(0, 10, 0))
            await asyncio.Event().wait()
        finally:
            self.left = True


@pytest.mark.parametrize("last", [False, True])
async def test_who_is_silent_for_too_long_is_closed_and_gives_way_unless_it_is_the_last(last: bool) -> None:
    silent, others = Silent("a:m"), [] if last else [Told(WHOLE, name="b:m")]
    pieces, error = await gathered(chain(silent, *others, patience=0.01))
    assert silent.left
    assert pieces[1:] == ([] if last else [Switched("a:m", "b:m", ModelFault.TIMEOUT), *WHOLE])
    assert (error and (error.fault, error.model)) == ((ModelFault.TIMEOUT, "a:m") if last else None)


async def test_a_prompts_patience_is_divided_among_the_members() -> None:
    first, second = (Told([failing(ModelFault.OVERLOADED)], name=name) for name in ("a:m", "b:m"))
    for patience, shares in ((8.0, (4.0, 8.0)), (None, (5.0, 5.0))):
        async with aclosing(
            chain(first, second, patience=5.0 if patience is None else 300.0).stream(
                replace(PROMPT, patience_seconds=patience)
            )
        ) as pieces:
            assert await anext(pieces) == Switched("a:m", "b:m", ModelFault.OVERLOADED)
            await raises(ModelError, anext(pieces))
        found = [model.prompts[-1].patience_seconds for model in (first, second)]
        # The second model also gets the time that the first model did not use.
        assert found == pytest.approx(shares, abs=0.5)


async def test_the_time_of_a_silence_is_divided_among_the_members_that_are_left() -> None:
    models = [Told([failing(ModelFault.OVERLOADED)], name=f"{name}:m") for name in "abcd"]
    prompt = replace(PROMPT, silence_seconds=lambda: 12.0)
    async with aclosing(chain(*models).stream(prompt)) as pieces:
        for _ in models[1:]:
            await anext(pieces)
        await raises(ModelError, anext(pieces))
    assert [model.prompts[0].silence_seconds() for model in models] == [3.0, 4.0, 6.0, 12.0]
    await gathered(chain(models[0]))
    assert models[0].prompts[-1].silence_seconds() is None


@pytest.mark.parametrize("fault", [ModelFault.TIMEOUT, ModelFault.UNREACHABLE])
async def test_a_word_makes_up_for_a_failure(fault: ModelFault) -> None:
    circuits = ModelCircuits(Clock())
    one = Told([failing(fault)], WHOLE, [failing(fault)], WHOLE, name="a:m")
    for _ in range(4):
        await gathered(chain(one, circuits=circuits))
    assert one.calls == 4


async def test_a_server_that_is_not_there_is_left_alone_if_that_takes_long() -> None:
    gone = failing(ModelFault.UNREACHABLE)
    member = ChainModel("a:m", "a", Told(WHOLE))
    for waited, found in ((5.0, ModelFault.UNREACHABLE), (4.9, None)):
        circuits = ModelCircuits(Clock())
        circuits.note_failure(member, gone, waited)
        assert circuits.admit(member) == []
        circuits.note_failure(member, gone, waited)
        assert circuits.admit(member) == (found or [])
        circuits.note_answer(member)
        assert circuits.admit(member) == []
    # A model whose server refuses connections at once is asked each time, so it is used as soon as it recovers.
    one = Told([gone], [gone], [gone], WHOLE, name="a:m")
    shared = ModelCircuits(Clock())
    for _ in range(3):
        await gathered(chain(one, circuits=shared))
    assert await gathered(chain(one, circuits=shared)) == (WHOLE, None)


async def test_a_model_that_is_forbidden_leaves_the_others_of_its_key() -> None:
    circuits = ModelCircuits(Clock())
    forbidden = Told([ModelError(ModelFault.CREDENTIAL, "not this one", own=True)], name="a:dear")
    for _ in range(2):
        await gathered(chain(forbidden, circuits=circuits))
    assert forbidden.calls == 1
    assert await gathered(chain(Told(WHOLE, name="a:cheap"), circuits=circuits)) == (WHOLE, None)


BLANKS = [TextPiece(" "), TextPiece("\n"), Ended(complete=True)]
MARKS = [TextPiece("[1"), TextPiece("]"), TextPiece(" [2, 3] "), Ended(complete=True)]
CITES = replace(PROMPT, cites=True)


@pytest.mark.parametrize(("take", "prompt"), [(BLANKS, PROMPT), (BLANKS, CITES), (MARKS, CITES)])
async def test_blanks_and_marks_alone_are_no_answer(take: Sequence[ModelPiece], prompt: ModelPrompt) -> None:
    both = chain(Told(take, name="a:m"), Told(WHOLE, name="b:m"))
    async with aclosing(both.stream(prompt)) as pieces:
        assert [piece async for piece in pieces] == [Switched("a:m", "b:m", ModelFault.EMPTY), *WHOLE]


@pytest.mark.parametrize(
    ("texts", "prompt", "expected"),
    [
        (["\n", " a", " b"], PROMPT, ["\n a", " b"]),
        (["[1", "] a"], CITES, ["[1] a"]),
        (["[1", "]", "(x)"], CITES, ["[1](x)"]),
        (["[1, 2]"], PROMPT, ["[1, 2]"]),
        (["[p", "x] a"], CITES, ["[px] a"]),
        (["【1】 [Passage 2", "] a"], CITES, ["【1】 [Passage 2] a"]),
    ],
)
async def test_what_was_held_back_comes_with_the_first_word(
    texts: Sequence[str], prompt: ModelPrompt, expected: Sequence[str]
) -> None:
    take = [*map(TextPiece, texts), Ended(complete=True)]
    async with aclosing(chain(Told(take, name="a:m")).stream(prompt)) as pieces:
        assert [piece async for piece in pieces] == [*map(TextPiece, expected), Ended(complete=True)]


async def test_blanks_without_end_are_no_answer_either() -> None:
    blank = Told([TextPiece(" " * 600)] * 5, name="a:m")
    assert (await failure(chain(blank))).fault is ModelFault.EMPTY


@pytest.mark.parametrize("prompt", [replace(PROMPT, tools=[ToolCard("note", "Notes.")]), PROMPT])
async def test_blanks_may_be_all_where_nothing_may_be_said(prompt: ModelPrompt) -> None:
    end = Ended(complete=True) if prompt.tools else Ended(complete=False, stop=Stop.UNSAFE)
    async with aclosing(chain(Told([TextPiece(" "), end], name="a:m")).stream(prompt)) as pieces:
        assert [piece async for piece in pieces] == [end]


async def test_cancelling_closes_who_is_asked() -> None:
    silent = Silent("a:m")
    reading = asyncio.create_task(gathered(chain(silent, Told(WHOLE, name="b:m"))))
    await asyncio.sleep(0)
    reading.cancel()
    await raises(asyncio.CancelledError, reading)
    assert silent.left


# When the client repeats a request, and how long it waits before the repetition.
BUSY = failing(ModelFault.OVERLOADED, passing=True)
LATER = failing(ModelFault.RATE_LIMITED, passing=True, retry_after=7.0)
TOO_LATE = failing(ModelFault.RATE_LIMITED, passing=True, retry_after=30.1)


class Pauses:
    """Records pauses instead of waiting."""

    def __init__(self) -> None:
        self.pauses: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)


def retrying(model: Told, clock: Pauses, chance: float = 1.0) -> Retrying:
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
    takes: list[Sequence[ModelPiece | ModelError]],
    chance: float,
    pauses: list[float],
    error: ModelError | None,
) -> None:
    clock, model = Pauses(), Told(*takes)
    pieces = [piece for piece in takes[-1 if error is None else 0] if not isinstance(piece, ModelError)]
    assert await gathered(retrying(model, clock, chance)) == (pieces, error)
    assert clock.pauses == pauses
    assert model.calls == model.closed == len(pauses) + 1


async def test_nobody_waits_longer_than_whoever_asks() -> None:
    for patience, calls in ((7.0, 1), (60.0, 2)):
        clock, model = Pauses(), Told([LATER], WHOLE)
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
    pieces, _ = await gathered(retrying(Told([first, BUSY], [second, *WHOLE]), Pauses()))
    assert pieces == [first, Spent(Usage(0, 20, 6), "", 6, 1), *WHOLE]


async def test_closing_closes_what_is_read() -> None:
    model = Told(WHOLE)
    async with aclosing(retrying(model, Pauses()).stream(PROMPT)) as pieces:
        assert await anext(pieces) == TextPiece("a")
    assert model.closed == 1


# Circuit breakers: what opens and closes them, and one probe at a time.
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
    both = chain(slow, other, circuits=circuits)
    circuits.note_failure(ChainModel("a:m", "a", slow), failing(ModelFault.CREDENTIAL), 0.0)
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
    limited = Told([failing(ModelFault.RATE_LIMITED)], name="a:m")
    circuits.note_failure(ChainModel("a:m", "a", limited), failing(ModelFault.CREDENTIAL), 0.0)
    clock.now = OPEN_SECONDS
    await gathered(chain(limited, circuits=circuits))
    assert circuits.breakers.admit("key:a") is Probe.PROBE


# The limit on concurrent calls with the same key.
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
