"""The tests that the pages about security name exist, and the page about the ASVS has each requirement once."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from tests.instance import ROOT

NAMED = re.compile(r"`(tests/[\w/]+\.py)?(?:::(\w+))?`")
"""A test, and perhaps its function; without a file, a function of the file named before."""
STATES = {"met", "partly", "no", "operator", "–"}
CHAPTERS = {
    1: 27, 2: 11, 3: 19, 4: 10, 5: 9, 6: 35, 7: 18, 8: 7, 9: 7, 10: 29, 11: 14, 12: 9, 13: 13, 14: 9, 15: 13, 16: 16
}  # fmt: skip
"""The number of requirements of the levels 1 and 2 in each chapter of ASVS 5.0.0. Chapter 17 does not apply as a whole."""


def rows() -> list[tuple[str, str, str]]:
    text = (ROOT / "docs" / "asvs.md").read_text(encoding="utf-8")
    found = re.findall(r"^\| (\d[^|]*) \| ([^|]*) \| (.*) \|$", text, re.MULTILINE)
    return [(numbers, state, evidence) for numbers, state, evidence in found]


@pytest.mark.parametrize("page", ["docs/asvs.md", "docs/security.md"])
def test_every_named_test_exists(page: str) -> None:
    named = NAMED.findall((ROOT / page).read_text(encoding="utf-8"))
    assert named
    text = ""
    for file, test in named:
        text = (ROOT / file).read_text(encoding="utf-8") if file else text
        assert not test or f"def {test}(" in text, f"{page}: {file}::{test}"


def test_every_requirement_has_one_row_with_a_state_and_evidence() -> None:
    counted: Counter[str] = Counter()
    for numbers, state, evidence in rows():
        assert state in STATES, numbers
        assert evidence, numbers
        for one in numbers.split(", "):
            first, _, last = one.partition("–")
            begin, end = first.split("."), (last or first).split(".")
            if begin[0] == "17":
                continue
            assert begin[:2] == end[:2], one
            for number in range(int(begin[2]), int(end[2]) + 1):
                counted[f"{begin[0]}.{begin[1]}.{number}"] += 1
    assert [one for one, times in counted.items() if times > 1] == []
    assert Counter(int(one.partition(".")[0]) for one in counted) == CHAPTERS
