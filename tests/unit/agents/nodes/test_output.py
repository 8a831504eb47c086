"""The text of models and templates on its way to the reader, and changes to the text before it is emitted."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from responsa_server.agents.engine.answer_text import AnswerWriter
from responsa_server.agents.engine.citations import Mark
from responsa_server.agents.engine.config import Traits
from responsa_server.agents.engine.prompts import FrontMatter, PromptSet, PromptSource
from responsa_server.agents.nodes.output import (
    Output,
    OutputModel,
    Template,
    TemplateInput,
)
from responsa_server.domain.events import Delta, Fallback, FallbackKind
from tests.unit.agents.speaking import Turn


def deltas(turn: Turn) -> list[Delta]:
    return [event for event in turn.events if isinstance(event, Delta)]


# Emitting text


def whole(turn: Turn, start: int = 0) -> str:
    """The text of the deltas, which must be contiguous."""
    end = start
    for delta in deltas(turn):
        assert delta.byte_offset == end
        end += len(delta.text.encode())
    return "".join(delta.text for delta in deltas(turn))


@pytest.mark.parametrize("pieces", [[" ", "\n"], [""], []])
def test_space_alone_is_no_answer(pieces: Sequence[str]) -> None:
    turn = Turn()
    teller = AnswerWriter(turn.run, lead="Without documents.")
    for piece in pieces:
        assert teller.add(piece)
    teller.finish()
    assert (teller.end, teller.text, turn.events) == (0, "", [])


def test_endless_space_comes_to_an_end() -> None:
    teller = AnswerWriter(Turn().run)
    assert not all(teller.add(" " * 1024) for _ in range(100))


@pytest.mark.parametrize("begun", ["", "So."])
def test_endless_marks_come_to_an_end(begun: str) -> None:
    teller = AnswerWriter(Turn().run, cites=True)
    teller.add(begun)
    pieces = 0
    while teller.add("[1]" * 100):
        pieces += 1
        assert pieces < 1_000
    teller.finish()
    assert teller.text == begun
    assert len(teller.marks) <= 256


def test_the_lead_is_told_with_the_first_words() -> None:
    turn = Turn()
    teller = AnswerWriter(turn.run, lead="Ohne Dokumente – so.", cites=True)
    teller.add("The Nile [1]")
    teller.add(".")
    teller.finish()
    assert whole(turn) == teller.text == "Ohne Dokumente – so.\n\nThe Nile."
    ((offset, passage, _),) = teller.marks
    assert (teller.text.encode()[offset:].decode(), passage) == (".", 1)


def test_where_text_was_told_before_there_is_no_lead_and_space_counts() -> None:
    turn = Turn()
    teller = AnswerWriter(turn.run, "Größe", lead="Without.", cites=True)
    teller.add(" a [2] b")
    teller.finish()
    assert (whole(turn, 7), teller.text, teller.marks) == (" a b", "Größe a b", (Mark(9, 2),))


# Output


async def test_an_output_tells_a_text_that_was_kept() -> None:
    turn = Turn()
    given = OutputModel(text="ü" * 1500, complete=False)
    assert await Output("out").process(given, turn.run) == given
    assert whole(turn) == given.text
    assert len(deltas(turn)) == 3


# Template


def prompts(text: str, *variables: str) -> PromptSet:
    front = FrontMatter.model_validate({"variables": {variable: variable for variable in variables}})
    return PromptSet({"t": PromptSource("prompts/t.md", front, text)})


async def filled(text: str, *variables: str, has_model: bool = False) -> tuple[str, Turn, list[Fallback]]:
    turn = Turn()
    run = turn.run
    node = Template(
        prompts(text, *variables), "t", "draft", traits=Traits("Chat", ("Why?",)), has_model=has_model
    )
    given = TemplateInput(question="And?", standalone_question="And why?", teacher="Ms A")
    output = await node.process(given, run)
    node.validate_output(output)
    assert output.answer.text == whole(turn)
    return output.answer.text, turn, run.fallen


async def test_a_template_speaks_of_what_there_is() -> None:
    text, _, _ = await filled(
        "{{ agent }} {{ teacher }} {{ question }} {{ questions[0] }}",
        "agent",
        "teacher",
        "question",
        "questions",
    )
    assert text == "Chat Ms A And why? Why?"


async def test_a_template_in_the_place_of_a_model_says_so() -> None:
    text, _, fallen = await filled("{{ without_model }}.", "without_model")
    assert text == "No language model is configured."
    assert fallen == [Fallback(FallbackKind.TEMPLATE, "model", "draft", "no_model")]
    # The edge to this node reports the fallback, so the node does not.
    text, _, fallen = await filled("{{ without_model }}.", "without_model", has_model=True)
    assert (text, fallen) == ("The language model is not available.", [])
    assert (await filled("Hello."))[2] == []
