from __future__ import annotations

import pytest

from responsa_server.agents.engine.rewriting import points_back, standalone
from responsa_server.agents.engine.state import StateMessage
from responsa_server.domain.conversations import Speaker


def talk_of(*questions: str, refused: bool = False) -> list[StateMessage]:
    """Questions that were answered, or refused."""
    return [
        one
        for question in questions
        for one in (
            StateMessage(speaker=Speaker.USER, text=question),
            StateMessage(speaker=Speaker.ASSISTANT, text="Here is what was found.", refused=refused),
        )
    ]


NILE = "How long is the Nile?"


@pytest.mark.parametrize(
    "question",
    [
        "Where does it begin?",
        "Which large cities does it pass on its way?",
        "And the width?",
        "So which cities are on the way to Cairo?",
        "What about the Congo?",
        "Wo entspringt er?",
    ],
)
def test_a_follow_up_carries_the_question_before(question: str) -> None:
    assert standalone(question, talk_of(NILE)) == f"{question} ({NILE})"


@pytest.mark.parametrize(
    "question",
    [
        "Which painters worked in Florence during the Renaissance?",
        "How wide is the Nile?",
        "In floods?",
        "Thanks!",
        "尼罗河流经哪些国家以及有多长？",
    ],
)
def test_a_question_that_stands_alone_is_left_alone(question: str) -> None:
    assert standalone(question, talk_of(NILE)) is None


def test_the_questions_are_carried_back_to_the_one_that_names_the_subject() -> None:
    said = talk_of("How much is a set of three Wren 2?", "And a set of six?")
    assert standalone("How heavy is it?", said) == (
        "How heavy is it? (How much is a set of three Wren 2? And a set of six?)"
    )
    long = talk_of(*(f"And set number {place}?" for place in range(9)))
    assert standalone("How heavy is it?", long) == (
        "How heavy is it? (And set number 6? And set number 7? And set number 8?)"
    )


def test_only_answered_questions_are_carried() -> None:
    assert standalone("Where is it?", []) is None
    refused = talk_of("Who?", refused=True)
    assert standalone("Where is it?", refused) is None
    waiting = [StateMessage(speaker=Speaker.USER, text="And the Congo?")]
    assert standalone("Where is it?", [*talk_of(NILE), *refused, *waiting]) == f"Where is it? ({NILE})"


def test_a_rewritten_question_is_never_longer_than_a_question_may_be() -> None:
    assert standalone("it " * 5461, talk_of(NILE)) is None


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
