from __future__ import annotations

from responsa_server.agents.engine.state import StateMessage
from responsa_server.agents.nodes.searching import after_previous
from responsa_server.domain.conversations import Speaker

NILE = "How long is the Nile?"


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


def test_a_question_carries_the_answered_one_before_it() -> None:
    assert after_previous("Where does it begin?", talk_of("Who?", NILE)) == f"Where does it begin? ({NILE})"


def test_only_answered_questions_are_carried() -> None:
    assert after_previous("Where is it?", []) is None
    refused = talk_of("Who?", refused=True)
    assert after_previous("Where is it?", refused) is None
    waiting = [StateMessage(speaker=Speaker.USER, text="And the Congo?")]
    assert after_previous("Where is it?", [*talk_of(NILE), *refused, *waiting]) == f"Where is it? ({NILE})"


def test_a_question_with_the_one_before_is_never_longer_than_a_question_may_be() -> None:
    assert after_previous("it " * 5461, talk_of(NILE)) is None
