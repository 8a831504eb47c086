"""The mark with which a model says that the passages do not answer."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_server.agents.engine.declining import NO_ANSWER, DeclineFilter


def read(*pieces: str, begun: bool = False) -> tuple[str, bool, int]:
    """The text that was passed on, whether the model declined, and the number of later marks."""
    found = DeclineFilter(begun=begun)
    text = "".join(map(found.feed, pieces)) + found.end()
    return text, found.declined, found.late


@pytest.mark.parametrize(
    "text",
    [
        NO_ANSWER,
        f"  \n{NO_ANSWER}.\n",
        "[[No Answer]]",
        "[[no_answer]]",
        f"**{NO_ANSWER}**",
        f"“{NO_ANSWER}”",
        NO_ANSWER[:-1],
        f"{NO_ANSWER} The documents do not say.",
    ],
)
def test_a_text_that_begins_with_the_mark_is_no_answer(text: str) -> None:
    assert read(text) == read(*text) == ("", True, 0)


@pytest.mark.parametrize(
    "text", ["It is long. [1]", "[1] It is.", "[[no answ", "[[1]]", "**Bold**", "> Quoted", "***" * 4 + "x"]
)
def test_any_other_text_is_an_answer_as_it_is(text: str) -> None:
    assert read(text) == read(*text) == (text, False, 0)


def test_a_later_mark_is_removed_with_one_space_and_counted() -> None:
    text = f"It is long. [1] {NO_ANSWER} Its age is unknown.{NO_ANSWER}"
    assert read(text) == read(*text) == ("It is long. [1] Its age is unknown.", False, 2)
    # A text that was sent before cannot be taken back.
    assert read(NO_ANSWER, begun=True) == ("", False, 1)


def test_an_answer_is_passed_on_as_soon_as_it_cannot_be_the_mark() -> None:
    found = DeclineFilter()
    assert [found.feed(one) for one in ("[[", "no", "b", "ody")] == ["", "", "[[nob", "ody"]
    plain = DeclineFilter()
    assert plain.feed("The") == "The"


def test_a_model_that_goes_on_after_the_mark_is_noticed() -> None:
    found = DeclineFilter()
    found.feed(f"{NO_ANSWER}.\n")
    assert not found.over
    found.feed("The")
    assert found.over


_PARTS = st.lists(
    st.sampled_from([NO_ANSWER, "[[", "no", " ", "answer]]", "[1]", "x", "*", "\n", "]"]), max_size=12
)


@given(_PARTS, st.lists(st.integers(0, 80), max_size=6))
def test_it_does_not_matter_where_the_text_is_cut(parts: list[str], cuts: list[int]) -> None:
    text = "".join(parts)
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    assert read(*(text[a:b] for a, b in pairwise(places))) == read(text)
