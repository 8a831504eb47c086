"""The text that OpenAI's API sends: nothing is taken back, doubled or mixed from two attempts."""

from __future__ import annotations

import pytest

from responsa_server.domain.errors import Reason, Unavailable
from responsa_server.transports.openai.written import Written

FIRST = "The ferry leaves at six in the morning. "
SECOND = "It takes an hour. "


def test_an_unfinished_sentence_that_is_withdrawn_was_not_sent() -> None:
    written = Written()
    written.add(FIRST + "It ta")
    assert written.take() == FIRST
    written.restart(len(FIRST))
    written.add("The crossing is short.")
    assert written.take(whole=True) == "The crossing is short."


def test_the_same_text_once_more_is_not_sent_again() -> None:
    written = Written()
    written.add(FIRST + SECOND + "And")
    assert written.take() == FIRST + SECOND
    written.restart(0)
    written.add(FIRST)
    assert written.take() == ""
    written.restart(0)
    written.add(FIRST + SECOND + "And that is all.")
    assert written.take(whole=True) == "And that is all."


@pytest.mark.parametrize("whole", [True, False])
def test_another_text_after_a_sent_one_is_an_error(whole: bool) -> None:
    written = Written()
    written.add(FIRST + "It")
    assert written.take() == FIRST
    written.restart(0)
    written.add("The boat leaves at six. It is")
    with pytest.raises(Unavailable) as caught:
        written.take(whole=whole)
    assert caught.value.reason is Reason.ATTEMPT_RESTARTED


@pytest.mark.parametrize(("sent", "mixed"), [(10, True), (4, False)])
def test_a_client_that_comes_back_gets_no_mixture_of_two_attempts(sent: int, mixed: bool) -> None:
    written = Written(sent=sent)
    written.add(FIRST)
    written.restart(0)
    written.add("The boat leaves at six.")
    if mixed:
        with pytest.raises(Unavailable):
            written.take(whole=True)
    else:
        assert written.take(whole=True) == "boat leaves at six."


def test_half_a_stop_sequence_is_not_sent() -> None:
    written = Written(["STOP now"])
    written.add(FIRST + "STOP it. STOP ")
    text = written.take()
    assert "STOP it" in text
    written.add("now, please. Or not. ")
    assert text + written.take() == FIRST + "STOP it. "
    assert written.cut == "stop"
    written.add("More of it. And more. ")
    assert written.take(whole=True) == ""


def test_a_limit_cuts_between_characters() -> None:
    written = Written(most_tokens=1)
    written.add("Fähre: sie fährt um sechs ab. Und zurück")
    assert written.take() == "Fäh"
    assert written.cut == "length"
