from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from responsa_formats.text.inline import Form, mark_form, settle_marks, strike_out, superscript

RAISED, LOWERED, STRUCK = Form(1), Form(-1), Form(0, struck=True)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("6", "⁶"),
        ("−12", "⁻¹²"),
        ("n + 1", "ⁿ⁺¹"),
        ("k", "^k"),
        ("2k", "^(2k)"),
        ("a+1", "^(a+1)"),
        ("1.5", "^1.5"),
        ("th", "th"),
        ("me", "me"),
        ("TM", "™"),
        ("a", "ª"),
        ("®", "®"),
        ("*", "*"),
        ("[3]", "[3]"),
        (" 2 ", " ² "),
        ("", ""),
    ],
)
def test_raised_text(text: str, expected: str) -> None:
    assert superscript(text) == expected


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([("x", Form()), ("a", RAISED), ("+", RAISED), ("1", RAISED)], "x^(a+1)"),
        ([("x", Form()), ("1", RAISED), ("2", LOWERED)], "x¹₂"),
        ([("80 ", STRUCK), ("euros ", STRUCK), ("65", Form())], "~~80 euros~~ 65"),
        ([("10", STRUCK), ("1", Form(1, struck=True)), ("2", Form(1, struck=True))], "~~10¹²~~"),
        ([("10", Form(1, struck=True)), (" ", STRUCK), ("m", STRUCK)], "~~¹⁰ m~~"),
        ([(" ", STRUCK), (" ", RAISED)], "  "),
    ],
)
def test_neighbouring_runs_of_a_form_are_one(runs: list[tuple[str, Form]], expected: str) -> None:
    assert settle_marks("".join(mark_form(text, form) for text, form in runs)) == expected


@given(
    st.lists(
        st.tuples(
            st.text("ab 12.", max_size=4),
            st.builds(Form, st.sampled_from([-1, 0, 1]), st.booleans()),
        ),
        max_size=8,
    )
)
def test_no_marks_are_left(runs: list[tuple[str, Form]]) -> None:
    made = settle_marks("".join(mark_form(text, form) for text, form in runs))
    assert made.isprintable()
    for text, form in runs:
        if form == Form():
            assert text in made


def test_white_space_stays_outside_of_struck_text() -> None:
    assert [strike_out(one) for one in (" a b ", " ")] == [" ~~a b~~ ", " "]
