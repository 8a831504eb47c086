"""Asking a model for an object with a schema: replies that are accepted, that lead to a second request, or that end the
attempt; and what a call costs.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal

import pytest
from pydantic import BaseModel, ConfigDict, Field

from responsa_server.agents.engine.asking import (
    FREE,
    AnswerShape,
    ModelCall,
    StructuredInvalid,
    ask_typed,
    cause,
    json_object_of,
    may_write,
)
from responsa_server.agents.engine.node import OverBudget, TurnLimits
from responsa_server.agents.engine.prompts import Untrusted
from responsa_server.domain.events import ModelUsed, ProviderSwitched, Usage
from responsa_server.domain.models import (
    Ended,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    Price,
    PromptMessage,
    Provenance,
    Role,
    Spent,
    Stop,
    Switched,
    TextPiece,
)
from tests.raising import raises
from tests.unit.agents.asking import DEAR, asker, costing
from tests.unit.agents.speaking import TURN, Says, Turn


class Query(BaseModel):
    model_config = ConfigDict(extra="forbid")

    query: str = Field(min_length=1, max_length=50)
    certain: bool


SHAPE = AnswerShape(Query)
GOOD = '{"query": "length of the Nile", "certain": true}'
FOUND = Query(query="length of the Nile", certain=True)
END = Ended(complete=True)


def in_turn(*texts: str) -> Says:
    """A model that returns the next text at each call."""
    left = iter(texts)
    return Says(lambda _: [TextPiece(next(left)), END])


async def query_of(model: Says, turn: Turn | None = None) -> Query:
    return await ask_typed(
        asker(model),
        (turn or Turn()).run,
        "kb_search_query",
        SHAPE,
        {},
        Untrusted("And it?", others={"summary": ""}),
    )


@pytest.mark.parametrize(
    "text", [GOOD, f"```json\n{GOOD}\n```", f"Here it is: {GOOD} – is there more?", f"\n {GOOD}\x00"]
)
async def test_an_object_is_found_whatever_stands_round_it(text: str) -> None:
    model = in_turn(text)
    assert await query_of(model) == FOUND
    (prompt,) = model.prompts
    assert (prompt.purpose, prompt.label, prompt.schema) == ("kb_search_query", f"turns/{TURN}", SHAPE.schema)
    # The prompt's own hints take precedence over the agent's.
    assert (prompt.max_tokens, prompt.temperature) == (120, 0.0)
    assert SHAPE.text in prompt.messages[0].text


BAD = [
    "Sure!",
    '{"query": [nothing, ',
    '{"query": nothing}',
    "[]",
    '{"query": "x"}',
    '{"query": "", "certain": true}',
    '{"query": "x", "certain": "yes"}',
    '{"query": "x", "certain": true, "more": 1}',
    '{"query": "' + "x" * 51 + '", "certain": true}',
    '{"query": ' * 1200 + "}" * 1200,
]


@pytest.mark.parametrize("bad", BAD)
async def test_what_does_not_fit_is_asked_for_once_more_with_what_was_wrong(bad: str) -> None:
    model = in_turn(bad, GOOD)
    assert await query_of(model) == FOUND
    first, second = model.prompts
    assert list(second.messages[: len(first.messages)]) == list(first.messages)
    said, complaint = second.messages[len(first.messages) :]
    assert (said.role, said.place) == (Role.ASSISTANT, Provenance.MODEL)
    assert complaint.place is Provenance.USER
    assert "not what was asked for" in complaint.text
    assert len(complaint.text) < 500
    assert second.schema == SHAPE.schema


def test_the_object_in_a_text_must_be_json() -> None:
    assert json_object_of('Here it is: {"query": "Nile"}.') == '{"query": "Nile"}'
    with pytest.raises(StructuredInvalid, match="it is not valid JSON"):
        json_object_of('{"query": }')


def test_an_answer_with_too_many_levels_does_not_fit() -> None:
    """Python reads 900 levels of JSON, and then fails to write them or to walk through them."""
    with pytest.raises(StructuredInvalid):
        SHAPE.read('{"query": ' + "[" * 900 + "]" * 900 + "}")


@pytest.mark.parametrize("bad", BAD)
async def test_what_does_not_fit_twice_is_given_up(bad: str) -> None:
    model = in_turn(bad, bad)
    caught = await raises(StructuredInvalid, query_of(model))
    assert (len(model.prompts), cause(caught)) == (2, "structured_invalid")


@pytest.mark.parametrize(
    ("pieces", "fault"),
    [
        ([END], ModelFault.EMPTY),
        ([TextPiece(" \n"), END], ModelFault.EMPTY),
        ([TextPiece("x" * 20_000), END], ModelFault.MALFORMED),
        ([TextPiece(GOOD), Ended(complete=False, stop=Stop.UNSAFE)], ModelFault.REFUSED),
        ([TextPiece("{"), ModelError(ModelFault.CUT, "gone")], ModelFault.CUT),
        ([ModelError(ModelFault.CREDENTIAL, "no")], ModelFault.CREDENTIAL),
    ],
)
async def test_a_model_that_fails_is_not_asked_again(
    pieces: Sequence[ModelPiece | Exception], fault: ModelFault
) -> None:
    model = Says(pieces)
    caught = await raises(ModelError, query_of(model))
    assert (caught.fault, len(model.prompts), model.closed) == (fault, 1, True)
    assert cause(caught) == f"model_unavailable:{fault.value}"


async def test_a_model_that_takes_its_time_is_not_waited_for() -> None:
    model = Says([TextPiece("{"), asyncio.Event()])
    caught = await raises(ModelError, asker(model).raw(ModelPrompt([], ""), Turn().run, 0.01))
    assert (caught.fault, model.closed) == (ModelFault.TIMEOUT, True)


async def test_what_it_costs_is_counted_and_told() -> None:
    turn = Turn()
    model = Says(
        [Switched("a:x", "b:y", ModelFault.EMPTY), TextPiece(GOOD), Spent(Usage(0, 30, 9, 5), "b:y"), END]
    )
    await query_of(model, turn)
    assert turn.meter.usage == Usage(0, 30, 9, 5)
    assert turn.events == [
        ProviderSwitched("a:x", "b:y", "empty"),
        ModelUsed("b:y", Usage(0, 30, 9, 5)),
    ]


async def test_what_is_written_after_a_report_is_counted_until_the_next() -> None:
    """The report counts the tokens of the piece that follows it, and of no other."""
    turn = Turn()
    reported = Usage(input_tokens=30, output_tokens=9)
    halves = (TextPiece(GOOD[:20]), TextPiece(GOOD[20:]))
    await query_of(Says([Spent(reported, "a:x"), *halves, END]), turn)
    assert turn.meter.usage.output_tokens == 10


def test_a_schema_is_whole_and_without_made_up_titles() -> None:
    assert SHAPE.schema == {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "query": {"type": "string", "minLength": 1, "maxLength": 50},
            "certain": {"type": "boolean"},
        },
        "required": ["query", "certain"],
    }


# What a call costs while it runs, and when it ends.

MESSAGES = [PromptMessage(Role.USER, "x" * 400)]
PROMPT = ModelPrompt(MESSAGES, "")


async def called(
    pieces: Sequence[ModelPiece | Exception], turn: Turn, price: Price | None = None, most: int = 100
) -> None:
    call = ModelCall(Says(pieces), PROMPT, turn.run, costing(price))
    async with aclosing(call.pieces()) as stream:
        for _ in range(most):
            if await anext(stream, None) is None:
                return


async def test_a_call_that_is_cut_short_is_paid_for_by_what_was_read_and_said() -> None:
    turn = Turn()
    cheap = Price(Decimal("0.5"), Decimal(0), Decimal(0), Decimal("1.5"))
    await called([TextPiece("a"), TextPiece("b"), TextPiece("c"), END], turn, cheap, most=2)
    # The prompt has 100 tokens at 0.5 micro-dollars, and the answer has 2 tokens at 1.5 micro-dollars.
    used = Usage(input_tokens=100, output_tokens=2, cost_micros=53)
    assert turn.meter.usage == used
    assert turn.events == [ModelUsed("m", used)]


async def test_what_the_provider_tells_replaces_what_was_taken_for_it() -> None:
    turn = Turn()
    told = Spent(Usage(input_tokens=90, output_tokens=7, cost_micros=1000), "a:x")
    await called([TextPiece("a"), TextPiece("b"), told, END], turn, DEAR)
    assert turn.meter.usage == told.usage
    assert turn.events == [ModelUsed("a:x", told.usage)]


PRICES = {
    "dear:m": DEAR,
    "cheap:m": Price(Decimal("0.5"), Decimal(0), Decimal(0), Decimal("1.5")),
    "own:m": FREE,
}


def priced(model: str = "") -> Price | None:
    """The price of the model with this name; for "", the highest price of the chain. "unknown:m" has no price."""
    return PRICES.get(model) if model else DEAR


async def heard(model: Says, turn: Turn) -> None:
    """Call the model, and read its stream to the end."""
    async with aclosing(ModelCall(model, PROMPT, turn.run, priced).pieces()) as stream:
        async for _ in stream:
            pass


@pytest.mark.parametrize(
    ("model", "cost", "unpriced"),
    [("dear:m", 108, 0), ("cheap:m", 53, 0), ("own:m", 0, 0), ("unknown:m", 0, 102)],
)
@pytest.mark.parametrize("switched", [False, True])
async def test_a_call_that_is_cut_is_charged_at_the_price_of_the_model_that_wrote(
    model: str, cost: int, unpriced: int, switched: bool
) -> None:
    before = [Switched("dear:m", model, ModelFault.UNREACHABLE)] if switched else []
    says = Says([*before, TextPiece("a"), TextPiece("b"), ModelError(ModelFault.CUT, "")])
    says.name = "dear:m" if switched else model
    turn = Turn()
    await raises(ModelError, heard(says, turn))
    used = Usage(input_tokens=100, output_tokens=2, cost_micros=cost, unpriced_tokens=unpriced)
    assert (turn.meter.usage, turn.events[-1]) == (used, ModelUsed(model, used))


@pytest.mark.parametrize(
    ("name", "pieces", "used"),
    [
        # What failed models have cost stays beside the guess at the next one's.
        (
            "dear:m",
            [
                Spent(Usage(input_tokens=90, output_tokens=1, cost_micros=94), "dear:m"),
                Switched("dear:m", "cheap:m", ModelFault.OVERLOADED),
            ],
            Usage(input_tokens=190, output_tokens=3, cost_micros=94 + 53),
        ),
        # Gemini's first report may cover only the prompt. Cached input is not charged again.
        (
            "cheap:m",
            [Spent(Usage(input_tokens=90, cost_micros=9), "cheap:m")],
            Usage(input_tokens=90, output_tokens=2, cost_micros=12),
        ),
    ],
    ids=["another model", "a report of the prompt"],
)
async def test_text_that_a_provider_has_not_counted_yet_is_counted(
    name: str, pieces: Sequence[ModelPiece], used: Usage
) -> None:
    turn = Turn()
    cut = ModelError(ModelFault.CUT, "")
    await raises(ModelError, heard(Says([*pieces, TextPiece("a"), TextPiece("b"), cut], name=name), turn))
    assert turn.meter.usage == used


async def test_a_call_that_fails_is_told_with_what_it_has_cost() -> None:
    turn = Turn()
    caught = await raises(
        ModelError, called([Spent(Usage(input_tokens=9)), ModelError(ModelFault.CUT, "")], turn)
    )
    assert caught.model == "m"
    assert turn.events == [ModelUsed("m", Usage(input_tokens=9))]


@pytest.mark.parametrize(
    ("limits", "spent", "expected"),
    [
        (TurnLimits(), Usage(), 1000),
        (TurnLimits(tokens=500), Usage(), 400),
        (TurnLimits(tokens=500), Usage(input_tokens=100, output_tokens=100), 200),
        (TurnLimits(cost_micros=500), Usage(), 100),
        (TurnLimits(tokens=100), Usage(), "tokens"),
        (TurnLimits(cost_micros=100), Usage(), "cost_micros"),
        (TurnLimits(tokens=500, cost_micros=100), Usage(), "cost_micros"),
    ],
)
def test_a_call_may_write_what_is_left(limits: TurnLimits, spent: Usage, expected: int | str) -> None:
    run = replace(Turn().run, limits=limits, spent=lambda: spent)
    if isinstance(expected, int):
        assert may_write(run, 1000, MESSAGES, DEAR) == expected
        return
    with pytest.raises(OverBudget) as caught:
        may_write(run, 1000, MESSAGES, DEAR)
    assert caught.value.limit == expected
