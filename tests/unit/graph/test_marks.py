"""Marks are removed from a text that arrives in pieces, and all other text stays."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_server.agents.engine.citations import MOST_HELD, MOST_MARKS, Mark, MarkFilter

ALPHABET = st.sampled_from(
    [
        *"[]0123456789,, ab.(`\n",
        " [1]",
        " [2, 3]",
        "[12",
        "``",
        "```\n",
        "é",
        "水",
        " [1, 2, 3, 4]",
        "](x)",
        " (1)",
        "(2).",
        ". ",
        "【3】",
        " [Passage 1",
        "Passage 2",
    ]
)
TEXTS = st.lists(ALPHABET, max_size=40).map("".join)


def cleaned(*pieces: str, start: int = 0, shown: int = 3) -> tuple[str, list[Mark]]:
    marks = MarkFilter(start, shown)
    text = "".join([*(marks.feed(piece) for piece in pieces), marks.end()])
    return text, marks.marks


@pytest.mark.parametrize(
    ("given", "text", "marks"),
    [
        ("Water boils. [2] Then", "Water boils. Then", [(12, 2)]),
        ("Water boils [1], and cools [2, 3].", "Water boils, and cools.", [(11, 1), (22, 2), (22, 3)]),
        ("Close[1][2]", "Close", [(5, 1), (5, 2)]),
        ("a [12,3]\n", "a\n", [(1, 12), (1, 3)]),
        ("水沸腾 [1]。", "水沸腾。", [(9, 1)]),
        ("a [1, 2, 3, 4] b", "a b", [(1, 1), (1, 2), (1, 3), (1, 4)]),
        # Other forms.
        ("So【1】. And【2, 3】。", "So. And。", [(2, 1), (7, 2), (7, 3)]),
        (
            "So [Passage 1]. [passages 2, 3] And [Passage 2, Passage 1].",
            "So. And.",
            [(2, 1), (3, 2), (3, 3), (7, 2), (7, 1)],
        ),
        # At a line's beginning, the space after the mark goes.
        ("[1] [2] So.\n- [3] And", "So.\n- And", [(0, 1), (0, 2), (5, 3)]),
        # Numbers in round brackets.
        ("So (1). And. (2) Then (3)\nEnd (1)", "So. And. Then\nEnd", [(2, 1), (8, 2), (13, 3), (17, 1)]),
        ("So (4). In (2) of f(2).", "So (4). In (2) of f(2).", []),
        ("(1) Open.\nAs follows: (1) Open. (2) Close.", "(1) Open.\nAs follows: (1) Open. (2) Close.", []),
        ("a [1, 2, 3, 4, 5]", "a [1, 2, 3, 4, 5]", []),
        # These brackets name no passages.
        ("in [2024] or [0], [a], [], [1,] or [1 2]", "in [2024] or [0], [a], [], [1,] or [1 2]", []),
        ("an end [1", "an end [1", []),
        ("an end  ", "an end  ", []),
        # A link, and text in code, are not marks.
        ("see [1](https://a) now", "see [1](https://a) now", []),
        ("`a[1]` and a [1]", "`a[1]` and a", [(12, 1)]),
        ("``a` [1]`` b [2]", "``a` [1]`` b", [(12, 2)]),
        ("```\nx [1]\n```\nso [1]", "```\nx [1]\n```\nso", [(16, 1)]),
        # A stray backtick hides at most the rest of its line.
        ("a ` b [1]\nc [2]", "a ` b [1]\nc", [(11, 2)]),
    ],
)
def test_marks_are_taken_out_with_the_space_before_them(given: str, text: str, marks: list[Mark]) -> None:
    assert cleaned(given) == (text, marks)
    assert cleaned(*given) == (text, marks)


@given(TEXTS, st.lists(st.integers(0, 120), max_size=8))
def test_however_a_text_is_cut_the_outcome_is_the_same(text: str, cuts: list[int]) -> None:
    places = sorted({0, len(text), *(min(cut, len(text)) for cut in cuts)})
    pieces = [text[start:end] for start, end in itertools.pairwise(places)]
    whole = cleaned(text)
    assert cleaned(*pieces) == whole
    assert cleaned(*text) == whole
    found, marks = whole
    assert [place for place, _ in marks] == sorted(place for place, _ in marks)
    data = found.encode()
    for place, _ in marks:
        data[:place].decode()  # the place is between characters and within the text
        assert place <= len(data)


@given(TEXTS)
def test_little_is_held_back_and_nothing_of_what_cannot_be_a_mark(text: str) -> None:
    marks = MarkFilter(shown=3)
    fed = out = ""
    for one in text:
        fed += one
        out += marks.feed(one)
        last = fed.encode()[-MOST_HELD:].decode(errors="ignore")
        held = len(fed.encode()) - len(out.encode()) - _taken(fed)
        assert held <= MOST_HELD
        if not set(last) & set(" [【("):
            assert held == 0


def _taken(text: str) -> int:
    """The number of bytes that are removed from a text when another letter follows the text."""
    return len(text.encode()) + 1 - len(cleaned(text, "x")[0].encode())


def test_a_text_goes_on_where_another_ended() -> None:
    assert cleaned(" more [3]", start=10) == (" more", [(15, 3)])


def test_so_many_marks_are_noted_and_all_are_taken_out() -> None:
    text, marks = cleaned("So [1, 2, 3]." * MOST_MARKS)
    assert text == "So." * MOST_MARKS
    assert len(marks) == MOST_MARKS
