"""The summary of the messages that are not read word for word."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

import pytest

from responsa_server.agents.engine.node import Run, TurnLimits
from responsa_server.agents.engine.state import StateMessage
from responsa_server.agents.nodes.summariser import (
    MOST_READ_BYTES,
    Summarise,
    SummaryInput,
    SummaryOptions,
    first_sentences,
)
from responsa_server.domain.conversations import MAX_SUMMARY_BYTES, Summary
from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.domain.events import Fallback, FallbackKind
from responsa_server.domain.models import Ended, ModelError, ModelFault, Provenance, TextPiece
from responsa_server.domain.people import Principal
from tests.unit.agents.asking import asker
from tests.unit.agents.shipping import Notes
from tests.unit.agents.speaking import Says, Turn

TALK = UUID(int=5)
OPTIONS = SummaryOptions(prompt="conversation_summary")


def older(count: int) -> tuple[StateMessage, ...]:
    return tuple(
        StateMessage.model_validate(
            {
                "speaker": "assistant" if number % 2 else "user",
                "text": f"Message {number} says this. And more.",
                "id": str(UUID(int=number + 1)),
            }
        )
        for number in range(count)
    )


def says(text: str = "They spoke of rivers.") -> Says:
    return Says([TextPiece(text), Ended(complete=True)])


def run(talk: UUID | None = TALK) -> Run:
    return replace(Turn().run, conversation_id=talk)


async def summed(node: Summarise, messages: tuple[StateMessage, ...], with_run: Run | None = None) -> str:
    return (await node.process(SummaryInput(older=messages), with_run or run())).summary


async def test_a_model_sums_up_and_what_it_said_is_kept() -> None:
    model, notes = says(), Notes()
    node = Summarise("summary", OPTIONS, asker(model), notes)
    assert await summed(node, older(3)) == "They spoke of rivers."
    assert notes.kept == {TALK: Summary("They spoke of rivers.", UUID(int=3))}
    (prompt,) = model.prompts
    assert prompt.purpose == "conversation_summary"
    assert [message.place for message in prompt.messages] == [Provenance.INSTRUCTION, Provenance.USER]
    assert "user: Message 2 says this. And more." in prompt.messages[1].text
    # The next turn reads the stored summary, and adds the messages that the summary does not cover.
    assert await summed(node, older(5)) == (
        "They spoke of rivers.\nassistant: Message 3 says this.\nuser: Message 4 says this."
    )
    assert len(model.prompts) == 1
    # After ten more messages, a new summary is made from the old summary and only these messages.
    assert await summed(node, older(13)) == "They spoke of rivers."
    second = model.prompts[1].messages[1].text
    assert "They spoke of rivers." in second
    assert "Message 2" not in second
    assert "Message 3" in second
    assert notes.kept[TALK].through == UUID(int=13)


async def test_outside_a_conversation_nothing_is_kept() -> None:
    notes = Notes()
    node = Summarise("summary", OPTIONS, asker(says()), notes)
    assert await summed(node, older(3), run(None)) == "They spoke of rivers."
    assert notes.kept == {}


async def test_with_nothing_before_nothing_is_asked() -> None:
    model = says()
    assert await summed(Summarise("summary", OPTIONS, asker(model), Notes()), ()) == ""
    assert model.prompts == []


BEFORE = Summary("Before.", UUID(int=1))


@pytest.mark.parametrize(
    ("kept", "limits", "cause"),
    [
        (None, TurnLimits(), "model_unavailable:cut"),
        (BEFORE, TurnLimits(), "model_unavailable:cut"),
        (BEFORE, TurnLimits(tokens=50), "budget:tokens"),
    ],
    ids=["nothing kept", "a model that fails", "nothing left for a summary"],
)
async def test_without_a_new_summary_the_turn_has_what_was_kept_before(
    kept: Summary | None, limits: TurnLimits, cause: str
) -> None:
    notes, model = Notes({} if kept is None else {TALK: kept}), Says([ModelError(ModelFault.CUT, "")])
    with_run = replace(run(), limits=limits)
    node = Summarise("summary", OPTIONS, asker(model), notes)
    assert await summed(node, older(20), with_run) == ("" if kept is None else "Before.")
    assert bool(model.prompts) is (cause == "model_unavailable:cut")
    assert with_run.fallen == [Fallback(FallbackKind.WITHOUT_SUMMARY, "m", "summary", cause)]


class Away(Notes):
    async def find(self, caller: Principal, conversation_id: UUID) -> Summary | None:
        raise Unavailable(Reason.PART_UNAVAILABLE, "away", {"part": "postgresql"})

    async def keep(self, caller: Principal, conversation_id: UUID, summary: Summary) -> None:
        raise Unavailable(Reason.PART_UNAVAILABLE, "away", {"part": "postgresql"})


async def test_where_nothing_can_be_kept_it_is_made_each_time() -> None:
    model = says()
    node = Summarise("summary", OPTIONS, asker(model), Away())
    for _ in range(2):
        assert await summed(node, older(3)) == "They spoke of rivers."
    assert len(model.prompts) == 2


async def test_a_long_summary_is_cut_to_what_can_be_kept() -> None:
    notes = Notes()
    text = "ü " * MAX_SUMMARY_BYTES
    found = await summed(Summarise("summary", OPTIONS, asker(says(text)), notes), older(3))
    assert 0 < len(found.encode()) <= MAX_SUMMARY_BYTES
    assert notes.kept[TALK].text == found


async def test_without_a_model_the_first_sentences_of_the_newest_do() -> None:
    node = Summarise("summary", SummaryOptions())
    assert not node.calls_model
    assert await summed(node, older(2)) == "user: Message 0 says this.\nassistant: Message 1 says this."
    found = first_sentences(older(100))
    assert found.endswith("assistant: Message 99 says this.")
    assert "Message 0 " not in found
    assert len(found.encode()) <= 1024
    long = (older(1)[0].model_copy(update={"text": "x" * 5000}),)
    assert len(first_sentences(long)) < 220


async def test_a_model_reads_the_newest_that_fit_and_the_first_sentences_of_the_rest() -> None:
    model = says()
    long = tuple(
        one.model_copy(update={"text": f"Number {place} begins. {'ü' * 3000}"})
        for place, one in enumerate(older(40))
    )
    assert await summed(Summarise("summary", OPTIONS, asker(model), Notes()), long) == "They spoke of rivers."
    read = model.prompts[0].messages[1].text
    assert len(read.encode()) < MOST_READ_BYTES + 2048
    notes, _, talk = read.partition("The messages to take in:")
    assert "Number 39 begins. ü" in talk
    assert "Number 33 begins." in notes
    assert "Number 33 begins." not in talk
    assert talk.index("Number 38 ") < talk.index("Number 39 ")
