from __future__ import annotations

import sys

import pytest

from responsa_server.agents.engine.rewriting import (
    MAX_ENTITIES,
    answered_questions,
    content_words,
    entities,
    goes_on,
    needs_context,
    points_back,
    standalone,
)
from responsa_server.agents.engine.state import Said
from responsa_server.domain.conversations import Speaker


def history(
    asked: str = "How long is the Nile?", answer: str = "The Nile is 6,650 km long.", title: str = "Rivers"
) -> list[Said]:
    return [
        Said(speaker=Speaker.USER, text=asked),
        Said(speaker=Speaker.ASSISTANT, text=answer, titles=(title,) if title else ()),
    ]


@pytest.mark.parametrize(
    ("question", "rewritten"),
    [
        ("Where does it begin?", "Where does it begin? (Rivers, Nile)"),
        (
            "Which large cities does it pass on its way?",
            "Which large cities does it pass on its way? (Rivers, Nile)",
        ),
        ("And the width?", "And the width? (How long is the Nile?)"),
        ("What about the Congo?", "What about the Congo? (How long is the ?)"),
        ("Wo entspringt er?", "Wo entspringt er? (Rivers, Nile)"),
        ("How wide is the Nile?", "How wide is the Nile? (Rivers)"),
        ("它在哪里？", "它在哪里？ (Rivers, Nile)"),
    ],
)
def test_a_follow_up_carries_over_what_the_last_answer_was_about(question: str, rewritten: str) -> None:
    assert standalone(question, history()) == rewritten


@pytest.mark.parametrize(
    "question",
    [
        "Where does it begin?",
        "So which cities are on the way to Cairo?",
        "Are there large cities such as Cairo on the way?",
        "Which cities flood again in the summer months?",
    ],
)
def test_the_question_before_is_added_whole_to_more_questions(question: str) -> None:
    assert standalone(question, history(), whole=True) == f"{question} (How long is the Nile?)"
    alone = "Which rivers in Africa are longer than the Congo?"
    assert standalone(alone, history(), whole=True) is None


def test_a_question_with_few_words_may_go_on_with_what_was_said() -> None:
    question = "What is one ordinary day of work?"
    assert not goes_on(question)
    assert goes_on(question, 5)
    assert not goes_on("Which painters worked in Florence during the Renaissance?", 5)


def test_the_answered_questions_are_those_with_an_answer_that_is_no_refusal() -> None:
    refused = [
        Said(speaker=Speaker.USER, text="Who?"),
        Said(speaker=Speaker.ASSISTANT, text="Nothing found.", refused=True),
    ]
    waiting = [Said(speaker=Speaker.USER, text="And the Congo?")]
    said = [*history("How long?"), *refused, *history("How wide?"), *waiting]
    assert answered_questions(said) == ["How long?", "How wide?"]


@pytest.mark.parametrize(
    "question",
    [
        "Which painters worked in Florence during the Renaissance?",
        "尼罗河流经哪些国家以及有多长？",
    ],
)
def test_a_question_that_stands_alone_is_left_alone(question: str) -> None:
    assert standalone(question, history()) is None


def test_the_peoples_own_subject_outlives_a_wrong_answer() -> None:
    said = [
        *history("How much is a set of three Wren 2?", "Wren 2 costs 59 euros.", "Prices"),
        *history("And a set of six?", "We measured each of the six parts.", "Personal assistant"),
    ]
    assert standalone("How heavy is it?", said) == "How heavy is it? (Wren 2)"
    assert standalone("And the range?", said) == "And the range? (And a set of six?, Wren 2)"


def test_a_thing_without_a_name_is_carried_over() -> None:
    said = history("When is a laptop replaced?", "After four years.", "IT guide")
    assert standalone("How much memory does it have?", said) == (
        "How much memory does it have? (IT guide, laptop)"
    )


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Where does it begin?", True),
        ("And in Rome?", True),
        ("What about Heron?", True),
        ("And where does the parcel go?", False),
        ("When may I bring my dog?", False),
        ("What do I do with my badge when I leave it?", False),
        ("And when does it open?", True),
    ],
)
def test_questions_that_need_the_conversation(question: str, expected: bool) -> None:
    assert needs_context(question) is expected


def test_there_is_nothing_to_carry_over_without_an_answer() -> None:
    assert standalone("Where is it?", []) is None
    refused = [
        Said(speaker=Speaker.USER, text="Who?"),
        Said(speaker=Speaker.ASSISTANT, text="Nothing found.", refused=True),
    ]
    assert standalone("Where is it?", refused) is None
    assert standalone("Where is it?", [*history(), *refused]) == "Where is it? (Rivers, Nile)"


def test_a_rewritten_question_is_never_longer_than_a_question_may_be() -> None:
    assert standalone("it " * 5461, history()) is None


def test_names_are_runs_of_capitals_within_a_sentence() -> None:
    text = "The Blue Nile meets the White Nile in Khartoum. Its source, Lake Tana, lies in Ethiopia. Khartoum grew. In Khartoum it ends."
    assert entities(text) == ["Khartoum", "Blue Nile", "White Nile", "Lake Tana", "Ethiopia"]
    assert entities("plain words only. Nothing else.") == []
    assert entities("Who was Marie Curie?") == ["Marie Curie"]


def test_content_words_and_pronouns_are_counted_in_several_languages() -> None:
    assert content_words("How long is the river Nile in kilometres?") == 4
    assert content_words("¿Dónde está el río?") == 2
    assert content_words("尼罗河有多长") == 3


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Quand est-ce qu’il finit?", True),
        ("When does the item arrive?", False),
        ("What does that mean?", True),
        ("Why is that?", True),
        ("Which is the river that flows through Cairo?", False),
        ("Who leads the IT department?", False),
        ("Können Sie den Fluss nennen?", False),
        ("Wann wurde sie gebaut?", True),
        ("¿Cuál es la capital del país?", False),
        ("Is there a limit on the size of uploads?", False),
    ],
)
def test_pronouns_that_point_back_are_told_from_words_that_look_like_them(
    question: str, expected: bool
) -> None:
    assert points_back(question) is expected


def test_the_work_grows_with_the_number_of_names_and_not_with_its_square() -> None:
    def calls(count: int) -> int:
        """The number of Python calls, each step of a generator included, for an answer with this many different names."""
        answer = " ".join(
            f"We met Aa{chr(98 + one // 676)}{chr(97 + one // 26 % 26)}{chr(97 + one % 26)}z there."
            for one in range(count)
        )
        said = history(answer=f"The Nile is long. {answer}")
        counted = 0

        def count_call(frame: object, event: str, argument: object) -> None:
            nonlocal counted
            counted += event == "call"

        sys.setprofile(count_call)
        try:
            rewritten = standalone("Where is it?", said)
        finally:
            sys.setprofile(None)
        assert rewritten is not None
        assert rewritten.count(",") == MAX_ENTITIES
        return counted

    assert calls(1000) < 2.5 * calls(500)
