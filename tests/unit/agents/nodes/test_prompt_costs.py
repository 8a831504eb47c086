"""The cost of a model call while it runs, and what the prompt node does when the call ends."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from dataclasses import replace
from decimal import Decimal

import pytest

from responsa_server.agents.engine.asking import FREE, ModelCall, may_write
from responsa_server.agents.engine.citations import Mark
from responsa_server.agents.engine.config import ModelTable, Traits
from responsa_server.agents.engine.kinds import NodeParts
from responsa_server.agents.engine.node import ModelDeclined, OverBudget, Run, TurnLimits
from responsa_server.agents.nodes.prompt import (
    Prompt,
    PromptInput,
    PromptOptions,
    PromptOutput,
    without_noise,
)
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import Delta, Fallback, FallbackKind, ModelUsed, ProviderSwitched, Usage
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
    ToolRequest,
)
from responsa_server.domain.tools import FixedTools
from responsa_server.search.quoting import Quotable
from tests.raising import raises
from tests.unit.agents.asking import DEAR, NOTE, PROMPTS, costing
from tests.unit.agents.evidence import FixedEvidence, evidence, excerpt
from tests.unit.agents.speaking import Says, Turn, deltas

MESSAGES = [PromptMessage(Role.USER, "x" * 400)]
PROMPT = ModelPrompt(MESSAGES, "")
END = Ended(complete=True)


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


async def test_what_failed_models_have_cost_stays_beside_the_guess_at_the_next_ones() -> None:
    turn = Turn()
    told = Spent(Usage(input_tokens=90, output_tokens=1, cost_micros=94), "dear:m")
    says = Says(
        [told, Switched("dear:m", "cheap:m", ModelFault.OVERLOADED), TextPiece("a"), TextPiece("b"), END],
        name="dear:m",
    )
    await heard(says, turn)
    assert turn.meter.usage == Usage(input_tokens=190, output_tokens=3, cost_micros=94 + 53)


async def test_text_that_a_provider_has_not_counted_yet_is_counted() -> None:
    """Gemini's first report of usage may cover only the prompt. Cached input is not charged again."""
    turn = Turn()
    told = Spent(Usage(input_tokens=90, cost_micros=9), "cheap:m")
    says = Says([told, TextPiece("a"), TextPiece("b"), ModelError(ModelFault.CUT, "")], name="cheap:m")
    await raises(ModelError, heard(says, turn))
    assert turn.meter.usage == Usage(input_tokens=90, output_tokens=2, cost_micros=12)


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


# The prompt node


def run_of(turn: Turn, limits: TurnLimits | None = None) -> Run:
    return replace(turn.run, limits=limits or TurnLimits(), spent=lambda: turn.meter.usage)


async def written(
    pieces: Sequence[ModelPiece | Exception], inputs: Mapping[str, object] | None = None, **options: object
) -> tuple[PromptOutput, Turn, Run, Says]:
    turn, model = Turn(), Says(pieces)
    run = run_of(turn)
    fixed = FixedEvidence(excerpt("The Nile is long."), excerpt("It ends in the sea."))
    parts = NodeParts(
        fixed,
        model=model,
        prompts=PROMPTS,
        tools=FixedTools([NOTE]),
        traits=Traits(
            "Chat", model=ModelTable.model_validate({"temperature": 0.1}), shown=frozenset({"level"})
        ),
    )
    given_options = {"prompt": "response_synthesis", "cites": True, **options}
    node = Prompt(parts, "write", PromptOptions.model_validate(given_options))
    asked = PromptInput.model_validate({"question": "Why?", **(inputs or {})})
    return await node.process(asked, run), turn, run, model


async def test_a_prompt_is_made_of_all_that_is_known() -> None:
    inputs = {
        "standalone_question": "Why is the Nile long?",
        "persona": "You teach.",
        "summary": "They spoke of rivers.",
        "parameters": {"level": "beginner", "teacher_id": "secret"},
        "evidence": evidence(),
    }
    output, _, _, model = await written([TextPiece("Rain [2]. Why [1, 2]"), END], inputs)
    (prompt,) = model.prompts
    instruction, passages, question = prompt.messages
    assert "You teach." in instruction.text
    assert "could not be reached" not in instruction.text
    assert (passages.place, question.place) == (Provenance.RETRIEVED, Provenance.USER)
    assert passages.text.startswith("[1]\n⟦data passage ")
    assert "Rivers › Long ones (2026-05-01)\n\nThe Nile is long." in passages.text
    for part in ("They spoke of rivers.", "level: beginner", "Why is the Nile long?", "Their number: 2"):
        assert part in question.text
    assert "secret" not in "".join(message.text for message in prompt.messages)
    assert (prompt.purpose, prompt.max_tokens, prompt.temperature) == ("response_synthesis", 1024, 0.1)
    assert (output.text, output.marks) == ("Rain. Why", (Mark(4, 2), Mark(9, 1), Mark(9, 2)))


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ("post", "post"),
        ("", "response_synthesis"),
        ("other", "response_synthesis"),
    ],
)
async def test_a_field_chooses_the_prompt(choice: str, name: str) -> None:
    table = {"by": "intent", "default": "response_synthesis", "post": "post", "chitchat": "chitchat"}
    _, _, _, model = await written([TextPiece("Hm."), END], {"choice": choice}, prompt=table)
    assert model.prompts[0].purpose == name


async def test_nothing_is_told_before_the_model_has_said_something() -> None:
    lost = Fallback(FallbackKind.WITHOUT_RETRIEVAL, "retrieve", "write", "part_unavailable:postgresql")
    turn = Turn()
    for pieces in ([END], [TextPiece("[1] "), END], [TextPiece("\n"), ModelError(ModelFault.CUT, "")]):
        model = Says(pieces)
        node = Prompt(
            NodeParts(model=model, prompts=PROMPTS),
            options=PromptOptions(prompt="response_synthesis", cites=True),
        )
        await raises(Unavailable, node.process(PromptInput(question="?", fallbacks=(lost,)), turn.run))
    assert deltas(turn.events) == []


async def test_what_a_model_will_not_say_is_told_by_when_it_stopped() -> None:
    unsafe = Ended(complete=False, stop=Stop.UNSAFE)
    for pieces, stream, begun in (
        ([unsafe], True, False),
        ([TextPiece("So"), unsafe], True, True),
        ([TextPiece("So"), unsafe], False, False),
    ):
        assert (await raises(ModelDeclined, written(pieces, stream=stream))).begun is begun


async def test_who_wrote_is_who_was_asked_last() -> None:
    switched = Switched("a:x", "b:y", ModelFault.OVERLOADED)
    output, turn, run, _ = await written([switched, TextPiece("So."), END])
    assert output.model == "b:y"
    assert turn.events[:-1] == [ProviderSwitched("a:x", "b:y", "overloaded"), Delta("So.", 0)]
    assert run.fallen == [Fallback(FallbackKind.PROVIDER, "a:x", "b:y", "overloaded")]
    caught = await raises(Unavailable, written([switched, ModelError(ModelFault.EMPTY, "")]))
    assert caught.metadata == {"model": "b:y", "cause": "empty"}


@pytest.mark.parametrize("limits", [TurnLimits(tokens=120), TurnLimits(cost_micros=140)])
async def test_a_stream_is_closed_where_the_turn_has_nothing_left(limits: TurnLimits) -> None:
    # This model ignores the limit on the tokens that it may write.
    turn = Turn()
    forever = asyncio.Event()
    model = Says([*(TextPiece(f"word{number} ") for number in range(100)), forever])
    node = Prompt(NodeParts(model=model, price=costing(DEAR)))
    output = await node.process(PromptInput(question="x" * 400), run_of(turn, limits))
    assert (output.complete, model.closed) == (False, True)
    assert len(output.text.split()) == (20 if limits.tokens else 10)
    assert model.prompts[0].max_tokens == (20 if limits.tokens else 10)


async def test_a_turn_that_has_nothing_left_is_not_begun_and_keeps_its_text() -> None:
    turn, model = Turn(), Says()
    caught = await raises(
        OverBudget,
        Prompt(NodeParts(model=model)).process(
            PromptInput(question="x" * 400, text="So far."), run_of(turn, TurnLimits(tokens=9))
        ),
    )
    assert (caught.text, model.prompts) == ("So far.", [])


async def test_what_a_provider_wants_back_with_a_request_goes_back() -> None:
    wanted = ToolRequest("c1", "note", {"text": "x"}, "signed")
    output, _, _, _ = await written([TextPiece("Let me see."), wanted, END], tools=True)
    (call,) = output.calls
    assert call.signature == "signed"
    done = {"call": call.model_dump(), "outcome": "ok", "content": "done"}
    _, _, _, model = await written(
        [TextPiece(" So."), END], {"text": "Let me see.", "results": [done]}, tools=True
    )
    (request,) = model.prompts[0].messages[-2].requests
    assert request == wanted
    assert [tool.id for tool in model.prompts[0].tools] == ["note"]


async def test_a_text_that_others_tell_is_kept() -> None:
    output, turn, _, _ = await written([TextPiece("So [1]."), END], stream=False)
    assert (output.text, output.marks, deltas(turn.events)) == ("So.", (Mark(2, 1),), [])


def test_a_passage_is_shown_without_what_says_nothing_and_can_still_be_quoted() -> None:
    long = "https://files.example.org/reports/2026/q3/" + "a" * 60
    text = (
        f"## Fees {{#fees-of-2026}}\n\nSee {long} or the [list]({long}) {{% page %}} for fees.\n"
        "Short: https://example.org/a. Code: `{% if fees %}`\n\n```\n{% raw %}\n```\n"
    )
    shown = without_noise(text)
    assert shown == (
        "## Fees\n\nSee https://files.example.org/… or the [list](https://files.example.org/…)  for fees.\n"
        "Short: https://example.org/a. Code: `{% if fees %}`\n\n```\n{% raw %}\n```\n"
    )
    for line in filter(None, shown.splitlines()):
        assert line == "```" or Quotable(text).find(line) is not None
