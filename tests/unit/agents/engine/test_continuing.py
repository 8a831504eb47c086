"""An answer that breaks off: what stays, what is withdrawn, and what the reader, the citations and the bill get of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

import pytest

from responsa_server.agents.engine import continuing
from responsa_server.agents.engine.answer_text import AnswerWriter
from responsa_server.agents.engine.config import BYTES_A_TOKEN
from responsa_server.agents.engine.continuing import GO_ON, SeamComparison, to_keep, whole_sentences
from responsa_server.domain.agents import AgentEvent, AnswerTask, Withdrawal
from responsa_server.domain.errors import Unavailable
from responsa_server.domain.events import (
    Answered,
    Delta,
    Fallback,
    FallbackKind,
    ModelUsed,
    ProviderSwitched,
    Usage,
)
from responsa_server.domain.models import (
    ChatModel,
    Ended,
    Fit,
    ModelError,
    ModelFault,
    ModelPiece,
    ModelPrompt,
    Role,
    Spent,
    TextPiece,
    Withdrawn,
)
from responsa_server.providers.chain import ChainModel, ModelChain, ModelCircuits
from tests.raising import raises
from tests.unit.agents.shipping import parts_of, shipped, task_for
from tests.unit.agents.speaking import Says, Turn, answer_in, says, told_by
from tests.unit.agents.test_bad_models import Free

TUTOR_TOKENS = 60_000
CUT = ModelError(ModelFault.CUT, "cut")
END = Ended(complete=True)
FIRST = "Der Nil fließt weit nach Norden. [1] "
LOST = "Er ist 6.6"
REST = "Er mündet ins Mittelmeer [1]."
WHOLE = "Der Nil fließt weit nach Norden. Er mündet ins Mittelmeer."
ANEW = "Nur dieser eine Satz steht am Ende da. [1]"


def breaks(*texts: str) -> Says:
    return Says([*map(TextPiece, texts), CUT])


async def events_from(
    *models: ChatModel,
    prefix: bool = False,
    small: Sequence[int] = (),
    question: AnswerTask | None = None,
) -> list[AgentEvent]:
    members = [
        ChainModel(f"p{place}:m", f"p{place}", one, takes_prefix=prefix, small=place in small)
        for place, one in enumerate(models)
    ]
    chain = ModelChain(members, Free(), ModelCircuits(), patience_seconds=30.0)
    parts = parts_of(chain, small=frozenset(members[place].name for place in small))
    return await told_by(shipped("tutor", parts), question or task_for("tutor"))


def shown(events: Sequence[AgentEvent]) -> str:
    """The text that a reader sees in the end."""
    text = ""
    for event in events:
        if isinstance(event, Delta):
            assert event.byte_offset == len(text.encode())
            text += event.text
        elif isinstance(event, Withdrawal):
            assert text.startswith(event.text)
            text = event.text
    return text


def answering(model: Says) -> Sequence[ModelPrompt]:
    """The prompts for the answer, without those for the agent's decisions."""
    return [one for one in model.prompts if one.purpose == "response_synthesis"]


def end_of(events: Sequence[AgentEvent]) -> Answered:
    end = answer_in(events)
    assert end.text == shown(events)
    return end


async def test_the_next_model_writes_on_after_the_last_whole_sentence() -> None:
    second = says(REST[:9], REST[9:])
    events = await events_from(breaks(FIRST, LOST), second)
    end = end_of(events)
    assert (end.text, end.model) == (WHOLE, "p1:m")
    assert [(citation.answer.start, citation.answer.end) for citation in end.citations] == [(0, 33), (34, 59)]
    assert [event for event in events if isinstance(event, Withdrawal)] == [
        Withdrawal("Der Nil fließt weit nach Norden.")
    ]
    *decisions, switched = [event for event in events if isinstance(event, ProviderSwitched)]
    assert switched == ProviderSwitched("p0:m", "p1:m", "cut", mid_answer=True)
    assert not any(decision.mid_answer for decision in decisions)
    assert Fallback(FallbackKind.PROVIDER, "p0:m", "p1:m", "cut") in end.fallbacks
    *_, stands, order = second.prompts[-1].messages
    assert (stands.role, stands.text, order.text) == (Role.ASSISTANT, FIRST.rstrip(), GO_ON)
    # What is too short to be compared while it comes is compared at its end, and is not lost.
    events = await events_from(breaks(FIRST, LOST), says("Meist."))
    assert end_of(events).text == "Der Nil fließt weit nach Norden. Meist."


async def test_a_model_that_takes_a_prefix_continues_it_and_nothing_is_withdrawn() -> None:
    first, second = breaks(FIRST, LOST), says("5 km lang. ", REST)
    events = await events_from(first, second, prefix=True)
    assert end_of(events).text == WHOLE.replace("Er m", "Er ist 6.65 km lang. Er m")
    assert not [event for event in events if isinstance(event, Withdrawal)]
    assert second.prompts[-1].prefix == FIRST + LOST
    # What stands counts against the limit of the answer.
    most = answering(first)[-1].max_tokens - len((FIRST + LOST).encode()) // BYTES_A_TOKEN
    assert second.prompts[-1].max_tokens == most
    # The white space at the end of a prefix is written by the model, and may go on.
    events = await events_from(breaks(FIRST, "Er fließt.\n"), says("\n\n", REST), prefix=True)
    assert end_of(events).text == WHOLE.replace("Er m", "Er fließt.\n\nEr m")
    # Mistral's server repeats the prefix, so its text replaces what stands.
    repeating = says(FIRST + LOST, "5 km lang. ", REST)
    events = await events_from(breaks(FIRST, LOST), repeating, prefix=True)
    assert end_of(events).text == WHOLE.replace("Er m", "Er ist 6.65 km lang. Er m")
    assert len(answering(repeating)) == 1


@pytest.mark.parametrize("fault", [ModelFault.REFUSED, ModelFault.EMPTY])
async def test_a_server_that_takes_no_prefix_after_all_is_asked_to_write_on(fault: ModelFault) -> None:
    picky = ModelError(fault, "no prefix")
    second = Says(lambda prompt: [picky if prompt.prefix else TextPiece(REST), END])
    assert end_of(await events_from(breaks(FIRST, LOST), second, prefix=True)).text == WHOLE
    assert [bool(one.prefix) for one in answering(second)] == [True, False]


@pytest.mark.parametrize(
    ("comes", "calls"),
    [
        ("weit nach Norden. Und dann ist Schluss.", 2),
        (FIRST + REST, 1),
    ],
    ids=["repeats", "begins again"],
)
async def test_what_does_not_fit_withdraws_the_whole_step(comes: str, calls: int) -> None:
    second = Says(lambda prompt: [TextPiece(comes if prompt.messages[-1].text == GO_ON else ANEW), END])
    end = end_of(await events_from(breaks(FIRST, LOST), second))
    assert end.text == (ANEW.removesuffix(" [1]") if calls == 2 else WHOLE)
    assert len(answering(second)) == calls
    assert len(end.citations) == (1 if calls == 2 else 2)


@pytest.mark.parametrize("breaks_off", [False, True], ids=["alone", "after another model"])
async def test_reasoning_that_a_model_withdraws_does_not_stay(*, breaks_off: bool) -> None:
    thoughts = [
        TextPiece("Let me see what the user wants from me here. "),
        TextPiece("Is it the Nile?"),
        Withdrawn(0),
    ]

    def reasoned(prompt: ModelPrompt) -> list[ModelPiece]:
        before = thoughts if prompt.purpose == "response_synthesis" else []
        return [*before, TextPiece(REST if prompt.messages[-1].text == GO_ON else ANEW), END]

    model = Says(reasoned)
    end = end_of(await events_from(*([breaks(FIRST, LOST)] if breaks_off else []), model))
    assert end.text == ANEW.removesuffix(" [1]")
    assert len(end.citations) == 1


class Spending(Says):
    """A model whose answer leaves the turn 20 tokens, which is too little for another call."""

    def __init__(self, question: AnswerTask, *pieces: ModelPiece | Exception) -> None:
        super().__init__(pieces)
        self._question = question

    async def stream(self, prompt: ModelPrompt) -> AsyncGenerator[ModelPiece, None]:
        if prompt.purpose == "response_synthesis":
            used = self._question.meter.usage
            yield Spent(Usage(input_tokens=TUTOR_TOKENS - used.input_tokens - used.output_tokens - 20))
        async for piece in super().stream(prompt):
            yield piece


async def test_what_stood_stays_if_the_budget_allows_no_further_call() -> None:
    question = task_for("tutor")
    second = Spending(question, TextPiece("weit nach Norden. Und dann ist Schluss."), END)
    end = end_of(await events_from(breaks(FIRST, LOST), second, question=question))
    assert end.text.rstrip() == WHOLE.partition(" Er")[0]
    assert len(answering(second)) == 1


async def test_a_text_that_was_held_back_keeps_its_writer_if_no_other_model_may_be_called() -> None:
    question = task_for("tutor")
    first = Spending(question, TextPiece(FIRST), TextPiece(LOST), CUT)
    end = end_of(await events_from(first, says(ANEW), small=[0], question=question))
    assert (end.text, end.model) == (f"{WHOLE.partition(' Er')[0]} {LOST}", "p0:m")


async def test_a_small_model_writes_the_answer_anew_and_is_checked() -> None:
    second = says(ANEW)
    events = await events_from(breaks(FIRST, LOST), second, small=[1])
    assert end_of(events).text == ANEW.removesuffix(" [1]")
    assert GO_ON not in second.prompts[-1].messages[-1].text
    # What a small model had written was held back, so there is nothing to withdraw.
    events = await events_from(breaks(FIRST, LOST), says(ANEW), small=[0])
    assert end_of(events).text == ANEW.removesuffix(" [1]")
    assert not [event for event in events if isinstance(event, Withdrawal)]


async def test_three_models_in_turn_and_nobody_left() -> None:
    end = end_of(await events_from(breaks(FIRST, LOST), breaks("Er ist lang und breit. Er"), says(REST)))
    assert end.text == WHOLE.replace("Er m", "Er ist lang und breit. Er m")
    await raises(Unavailable, events_from(breaks(FIRST, LOST), breaks("Er ist")))


@pytest.mark.parametrize("prefix", [True, False])
async def test_the_only_model_is_asked_once_more_after_a_break(prefix: bool) -> None:
    def recovers(prompt: ModelPrompt) -> Sequence[ModelPiece | Exception]:
        rest = f"5 km lang. {REST}" if prompt.prefix else REST
        return [*map(TextPiece, (FIRST, LOST)), CUT] if len(answering(alone)) < 2 else [TextPiece(rest), END]

    alone = Says(recovers)
    events = await events_from(alone, prefix=prefix)
    end = end_of(events)
    assert end.text == (WHOLE.replace("Er m", "Er ist 6.65 km lang. Er m") if prefix else WHOLE)
    assert (len(answering(alone)), end.model) == (2, "p0:m")
    assert not any(fallback.kind is FallbackKind.PROVIDER for fallback in end.fallbacks)
    assert len([event for event in events if isinstance(event, Withdrawal)]) == (0 if prefix else 1)
    *_, used = [event.usage for event in events if isinstance(event, ModelUsed)]
    assert used.output_tokens == 3, "the pieces of both calls"


async def test_a_model_that_breaks_off_twice_fails_and_what_was_sent_stays() -> None:
    alone = breaks(FIRST, LOST)
    await raises(Unavailable, events_from(alone))
    assert len(answering(alone)) == 2


async def test_tokens_of_both_are_counted() -> None:
    first = Says([Spent(Usage(input_tokens=70)), TextPiece(FIRST), TextPiece(LOST), CUT])
    second = Says([TextPiece(REST), Spent(Usage(input_tokens=90, output_tokens=9)), END])
    *_, used = [one.usage for one in await events_from(first, second) if isinstance(one, ModelUsed)]
    # The two pieces of the first model are estimated, because its last report never came.
    assert (used.input_tokens, used.output_tokens, used.unpriced_tokens) == (160, 11, 171)


def test_a_writer_goes_back_to_any_character() -> None:
    pieces = "Grüße  [1, 2] aus `[3]` der\nÜbung [4"
    for keep in range(len(pieces) + 1):
        turn = Turn()
        writer = AnswerWriter(turn.run, "Vor: ", cites=True)
        fresh = AnswerWriter(Turn().run, "Vor: ", cites=True)
        for piece in pieces:
            writer.add(piece)
        writer.withdraw(keep)
        for piece in pieces[:keep]:
            fresh.add(piece)
        for each in (writer, fresh):
            each.add("und Ende [5].")
            each.finish()
        assert (writer.text, writer.marks) == (fresh.text, fresh.marks)
        assert shown([Delta("Vor: ", 0), *turn.events]) == writer.text


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        ("The hub serves 40 devices. It costs 3.", "The hub serves 40 devices. "),
        ("It serves us well [2]. And", "It serves us well [2]. "),
        ("It serves us well. [2] And", "It serves us well. [2] "),
        ("One two three four.\n\n- item one\n- item tw", "One two three four.\n\n- item one\n"),
        ("One two three four.\n", ""),
        ("Text here is fine.\n```py\nx = 1\ny", "Text here is fine.\n"),
        ("你好世界。这是第二", "你好世界。"),
        ("1. Item", ""),
    ],
)
def test_whole_sentences_stay(text: str, stays: str) -> None:
    assert text[: whole_sentences(text)] == stays


def test_too_little_is_not_worth_keeping() -> None:
    assert (to_keep("So it is. An", prefix=False), to_keep("So it", prefix=True)) == (0, 0)


STANDS = "The Rook hub serves up to 40 devices at once. It stands in the hall near the door. "


@pytest.mark.parametrize(
    ("stands", "pieces", "fit"),
    [
        (STANDS, ["The", " warranty lasts", " two years."], Fit.FITS),
        (STANDS, ["It", " stands in the hall near the door. It"], Fit.REPEATS),
        (STANDS, ["near", " the door. And"], Fit.REPEATS),
        (f"{STANDS}\n- ", ["the", " door. -", " It lasts"], Fit.REPEATS),
        (STANDS, ["The Rook hub", " serves up to 40 devices at once"], Fit.RESTARTS),
        (STANDS, ["A fact. The Rook hub serves up to 40", " devices at once. So"], Fit.REPEATS),
        (STANDS, ["A fact. The Rook hub serves up to 50", " devices at once. So"], Fit.FITS),
        (f"{STANDS}It lasts two ye", ["ars", " for all."], Fit.FITS),
        (f"{STANDS}It lasts two ye", ["years", " for all."], Fit.REPEATS),
        (f"{STANDS}It lasts two ye", ["lasts two", " years for all."], Fit.REPEATS),
    ],
)
def test_a_text_is_compared_with_what_stands(stands: str, pieces: Sequence[str], fit: Fit) -> None:
    compared = SeamComparison(stands)
    found = [compared.add(piece) for piece in pieces]
    found.append(compared.end())
    assert next((one for one in found if one not in (Fit.OPEN, Fit.FITS)), Fit.FITS) is fit


def test_long_code_is_not_read_again_with_each_piece(monkeypatch: pytest.MonkeyPatch) -> None:
    read = list[int]()

    def counted(text: str) -> int:
        read.append(len(text))
        return whole_sentences(text)

    monkeypatch.setattr(continuing, "whole_sentences", counted)
    code = "```py\n" + "x = call(1)\n" * 2000
    compared = SeamComparison(STANDS)
    for place in range(0, len(code), 4):
        assert compared.add(code[place : place + 4]) in (Fit.OPEN, Fit.FITS)
    assert sum(read) < 40 * len(code)
    # After the code, sentences are compared again.
    again = "```\nThat is all. The Rook hub serves up to 40 devices at once. " + "So it goes. " * 200
    found = {compared.add(again[place : place + 4]) for place in range(0, len(again), 4)}
    assert Fit.REPEATS in found
