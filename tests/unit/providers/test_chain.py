"""The next model of a chain after a failure, and the cost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

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
from responsa_server.providers.chain import ChainModel, ModelChain, ModelCircuits
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


async def test_a_key_that_was_not_taken_is_left_alone_for_half_a_minute() -> None:
    clock = Clock()
    circuits = ModelCircuits(clock)
    wrong = await given_up(ModelFault.CREDENTIAL, 3, circuits)
    assert wrong.calls == 1
    other = Told(WHOLE, name="a:other")
    error = await failure(chain(other, circuits=circuits))
    assert (error.fault, error.model, other.calls) == (ModelFault.CREDENTIAL, "a:other", 0)
    clock.now = 30.0
    await gathered(chain(wrong, Told(WHOLE, name="b:m"), circuits=circuits))
    assert wrong.calls == 2


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


async def test_who_is_silent_for_too_long_gives_way_and_is_closed() -> None:
    silent = Silent("a:m")
    pieces, error = await gathered(chain(silent, Told(WHOLE, name="b:m"), patience=0.01))
    assert (error, silent.left) == (None, True)
    assert pieces[1:] == [Switched("a:m", "b:m", ModelFault.TIMEOUT), *WHOLE]


async def test_the_last_one_is_waited_for_no_longer_than_the_others() -> None:
    silent = Silent("a:m")
    pieces, error = await gathered(chain(silent, patience=0.01))
    assert error
    assert (len(pieces), error.fault, error.model, silent.left) == (1, ModelFault.TIMEOUT, "a:m", True)


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


async def test_whoever_was_silent_twice_is_asked_no_more_for_half_a_minute() -> None:
    clock = Clock()
    circuits = ModelCircuits(clock)
    silent = await given_up(ModelFault.TIMEOUT, 4, circuits)
    assert silent.calls == 2
    other = Told(WHOLE, name="a:other")
    assert await gathered(chain(other, circuits=circuits)) == (WHOLE, None)
    clock.now = 30.0
    await gathered(chain(silent, circuits=circuits))
    assert silent.calls == 3


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
